"""θ⁺ = θ - lr ∂J/∂θ on J = ½ (u² + 10 v²): a step too small stands still, one too large diverges.

The curvatures are 1 and 10. Along v a step multiplies the distance by 1 - 10 lr: it shrinks only while lr < 2/10.
Give --plot to draw the paths (needs matplotlib).
"""

import sys
from types import SimpleNamespace

import numpy as np

import gdnet as gd

curvature = np.asarray([1.0, 10.0])


def objective(theta):
    """What an optimizer asks for: value and gradient at a point."""
    return SimpleNamespace(value=0.5 * np.sum(curvature * theta**2), gradient=curvature * theta)


def path(lr, steps=50):
    optimizer, theta = gd.SGD(lr=lr), np.asarray([-4.0, 1.0])
    state, points = optimizer.init(theta), [theta]
    for _ in range(steps):
        theta, state, _ = optimizer.step(objective, theta, state)
        points.append(theta)
    return np.asarray(points)


paths = {}
print(f"{'lr':>6} {'J at first':>11} {'after 10':>11} {'after 50':>11}")
for lr, verdict in [(0.002, "too small"), (0.1, "right"), (0.18, "zigzag"), (0.21, "diverges")]:
    paths[lr] = path(lr)
    first, tenth, last = (float(objective(paths[lr][i]).value) for i in (0, 10, 50))
    print(f"{lr:6} {first:11.4g} {tenth:11.4g} {last:11.4g}  {verdict}")

# The gradient is at right angles to the level line, so it points at the minimum only where the curvatures are equal.
slope = objective(np.asarray([-4.0, 1.0])).gradient
print(f"at (-4, 1) the descent direction is ({-slope[0]:g}, {-slope[1]:g}); the minimum lies in direction (4, -1)")

if "--plot" in sys.argv:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3), layout="constrained")
    u, v = np.meshgrid(np.linspace(-5, 5, 101), np.linspace(-3, 3, 101))
    for axes, (lr, points) in zip(figure.subplots(1, len(paths)), paths.items()):
        axes.contour(u, v, 0.5 * (u**2 + 10 * v**2), 15, linewidths=0.5)
        axes.plot(*points[:20].T, ".-", color="crimson")
        axes.set(xlim=(-5, 5), ylim=(-3, 3), title=f"lr = {lr}")
    figure.savefig("gradient_descent_paths.png")

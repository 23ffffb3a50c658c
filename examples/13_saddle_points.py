"""Points where the gradient vanishes or nearly so and that are not what one looks for: saddles, plateaus, local minima.

f(x, y) = x⁴/4 - x²/2 + 63x/512 + y²/2 has a saddle at x = 1/8, where its gradient is zero in floating-point numbers
too, between a local minimum near x = 0.93 and the lowest one near x = -1.06. A network whose weights are all zero
stands on a saddle as well, and gradient descent never leaves it.
"""

import numpy as np

import gdnet as gd


def surface(v):
    """The value and the gradient."""
    x, y = v
    return x**4 / 4 - x**2 / 2 + 63 * x / 512 + y**2 / 2, np.asarray([x**3 - x + 63 / 512, y])


def hessian(v):
    return np.diag([3 * v[0] ** 2 - 1, 1.0])


low, _, high = np.sort(np.roots([1, 0, -1, 63 / 512]).real)
saddle = 1 / 8
print("eigenvalues of the Hessian")
for name, x in (("lowest minimum", low), ("saddle", saddle), ("local minimum", high)):
    print(f"  {name:15} x = {x:5.2f}   f = {surface([x, 0])[0]:5.2f}   {np.linalg.eigvalsh(hessian([x, 0])).round(2)}")

print("\nsteps of θ - 0.1 ∂J/∂θ, started so far beside the ridge, until |x - ridge| > 0.5; where they end")
for beside in (-1e-1, -1e-3, -1e-6, -1e-9, 0.0, 1e-9):
    theta, path = np.asarray([saddle + beside, 1.0]), []
    for _ in range(300):
        path.append(theta)
        theta = theta - 0.1 * surface(theta)[1]
    away = np.abs(np.asarray(path)[:, 0] - saddle) > 0.5
    print(f"  {beside:7.0e}   {str(np.argmax(away)) if away.any() else 'never':>5}   x = {theta[0]:5.2f}")

print("\nfrom the saddle itself, gradient zero")
for method in ("gd", "bfgs", "newton_cg", "newton"):
    found = gd.minimize(surface, [saddle, 0.0], method=method, jac=True, hess=hessian)
    print(f"  {method:10} x = {found.x[0]:5.2f}   after {found.nit} steps")

# All weights zero: every neuron does the same, and every derivative but that of the last bias is zero.
x = np.linspace(-1, 1, 50)[:, None]
t = np.sin(3 * x)
print("\n1-4-1 network from zero weights           loss   largest |∂J/∂θ|")
for optimizer in (gd.SGD(lr=0.1), gd.BFGS(), gd.Newton(), gd.Newton(modification="saddle_free")):
    net = gd.Sequential(gd.Dense(1, 4, init=gd.zeros()), gd.Tanh(), gd.Dense(4, 1, init=gd.zeros()))
    model = gd.Model(net, loss=gd.SquaredError(), dtype="float64", seed=0)
    model.fit(x, t, optimizer=optimizer, epochs=300, batch_size=None, verbose=0)
    at = model.objective(x, t)(model.theta)
    print(f"  {optimizer!s:34} {at.value:9.1e} {abs(at.gradient).max():12.1e}")

print("\na plateau: the slope of the sigmoid, far out")
a = np.asarray([[0.0, 2.0, 5.0, 10.0, 20.0]])
_, J = gd.Sigmoid()({}, a)
print("".join(f"  f'({at:g}) = {slope:.2g}" for at, slope in zip(a[0], J.vjp_x(np.ones_like(a))[0])))

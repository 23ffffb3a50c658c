"""Too few neurons cannot follow the data, too many follow the noise: training and validation error by size.

Twenty noisy points of sin(5x) are learned, 200 others judge. Give --plot to draw the fits (needs matplotlib).
"""

import sys

import numpy as np

import gdnet as gd

rng = np.random.default_rng(1)


def sample(n):
    x = rng.uniform(-1, 1, (n, 1))
    return x, np.sin(5 * x) + 0.3 * rng.standard_normal((n, 1))


train, validation = sample(20), sample(200)
models = {}
print("hidden   training   validation")
for hidden in (1, 2, 4, 10, 30):
    net = gd.Sequential(gd.Dense(1, hidden, init=gd.normal(2.0)), gd.Tanh(), gd.Dense(hidden, 1))
    model = gd.Model(net, loss=gd.SquaredError(), dtype="float64", seed=0)
    model.fit(*train, optimizer=gd.Adam(lr=0.02), epochs=4000, batch_size=None, verbose=0)
    errors = [float(model.objective(*part)(model.theta).value) for part in (train, validation)]
    models[hidden] = model, errors
    print(f"{hidden:6} {errors[0]:10.4f} {errors[1]:12.4f}")

best = min(models, key=lambda hidden: models[hidden][1][1])
print(f"The noise alone costs 0.09. The best size on unseen data is {best}, not the one with the least training error.")

if "--plot" in sys.argv:
    from matplotlib.figure import Figure

    grid = np.linspace(-1, 1, 200)[:, None]
    figure = Figure(figsize=(12, 3), layout="constrained")
    for axes, (hidden, (model, errors)) in zip(figure.subplots(1, len(models), sharey=True), models.items()):
        axes.plot(*train, "k.")
        axes.plot(grid, model.predict(grid))
        axes.set(title=f"{hidden} hidden, validation {errors[1]:.2f}", ylim=(-2, 2))
    figure.savefig("overfitting.png")

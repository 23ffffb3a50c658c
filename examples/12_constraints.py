"""Networks under constraints by the interior point method, each beside the same network without them.

A fit that must not fall: with tanh between them, weights that are not negative make every output rise with every input.
A conservation law: of A → B → C nothing is lost, so that the three outputs add up to 1, for every input whatever.
"""

import numpy as np

import gdnet as gd

rng = np.random.default_rng(0)


def train(net, x, t, optimizer):
    """(model, its loss, why the run ended) after at most 500 steps."""
    model = gd.Model(net, loss=gd.SquaredError(), dtype="float64", seed=0)
    history = model.fit(x, t, optimizer=optimizer, epochs=500, batch_size=None, verbose=0)
    return model, float(model.objective(x, t)(model.theta).value), history.stop_reason


x = np.sort(rng.uniform(-1, 1, (50, 1)), axis=0)
t = np.tanh(3 * x) + 0.2 * rng.standard_normal(x.shape)
grid = np.linspace(-1, 1, 1001)[:, None]
net = gd.Sequential(gd.Dense(1, 3), gd.Tanh(), gd.Dense(3, 1))
print("a fit that must not fall      loss   violation W >= 0   least rise on 1001 points")
for name, optimizer in {"free": gd.BFGS(), "W >= 0": gd.InteriorPoint(lower={"W": 0.0})}.items():
    model, loss, reason = train(net, x, t, optimizer)
    weights = [value for window, value in model.layout.split(model.theta).items() if window.endswith("W")]
    violation = max(0.0, *(float(-W.min()) for W in weights))
    rise = np.diff(model.predict(grid)[:, 0]).min()
    print(f"  {name:18} {loss:13.5f} {violation:18.1e} {rise:27.1e}   {reason}")

# A decays to B at rate 1, B to C at rate 1/2: measured with an error of 0.05.
hours = np.linspace(0, 5, 30)[:, None]
A, B = np.exp(-hours), 2 * (np.exp(-hours / 2) - np.exp(-hours))
parts = np.hstack([A, B, 1 - A - B]) + 0.05 * rng.standard_normal((30, 3))
net = gd.Sequential(gd.Dense(1, 2), gd.Tanh(), gd.Dense(2, 3))
layout = net.layout()


def law(theta):
    """Zero where every row of the last W adds up to 0 and b to 1: then the outputs add up to 1."""
    windows = layout.split(theta)
    return np.append(windows["2.W"].sum(axis=1), windows["2.b"].sum() - 1.0)


# The law is linear: its Jacobian is constant, and of second derivatives there are none.
slopes = gd.numerical_jacobian(law, np.zeros(layout.size)).round()
conserved = (law, lambda theta: slopes, lambda theta, y: np.zeros((layout.size, layout.size)))
print("\nA + B + C = 1                 loss   violation at 0..5   at 5..20")
for name, optimizer in {"free": gd.BFGS(), "A + B + C = 1": gd.InteriorPoint(h_eq=conserved)}.items():
    model, loss, reason = train(net, hours, parts, optimizer)
    inside, outside = (abs(model.predict(h).sum(axis=1) - 1).max() for h in (hours, 5 + 3 * hours))
    print(f"  {name:18} {loss:13.5f} {inside:18.1e} {outside:13.1e}   {reason}")

"""How the spread of initial weights sets the spread of the activations, layer by layer.

Five hidden layers of 100 neurons, 1000 examples of a standard normal. A net learns badly where activations die out
(spread to 0: all neurons do the same), saturate (sigmoid at 0 and 1, tanh at ±1: no slope left) or blow up.
"""

import numpy as np

import gdnet as gd

x = np.random.default_rng(0).standard_normal((1000, 100))
weights = {
    "zeros": gd.zeros(),
    "normal(1)": gd.normal(1.0),
    "normal(0.01)": gd.normal(0.01),
    "Glorot": gd.glorot_normal(),
    "He": gd.he_normal(),
}


def activations(init, activation):
    """The output of every hidden layer."""
    rng, h, found = np.random.default_rng(1), x, []
    for _ in range(5):
        dense = gd.Dense(100, 100, init=init)
        a, _ = dense(dense.init((100,), rng), h)
        h, _ = activation({}, a)
        found.append(h)
    return found


print("Standard deviation of the activations in layers 1 to 5, and the mean slope f' in layer 5")
for activation in (gd.Sigmoid(), gd.Tanh(), gd.ReLU()):
    print(f"\n{type(activation).__name__}")
    for name, init in weights.items():
        layers = activations(init, activation)
        dense = gd.Dense(100, 100, init=init)
        a, _ = dense(dense.init((100,), np.random.default_rng(2)), layers[3])
        _, J = activation({}, a)
        slope = J.vjp_x(np.ones_like(a)).mean()
        print(f"  {name:13}" + "".join(f"{h.std():10.3g}" for h in layers) + f"   slope {slope:.3f}")

# The picture of it in letters: one histogram for each layer, activations from -1 to 1.
for name in ("normal(1)", "normal(0.01)", "Glorot"):
    print(f"\nTanh, {name}")
    for i, h in enumerate(activations(weights[name], gd.Tanh()), 1):
        counts, _ = np.histogram(h, bins=41, range=(-1, 1))
        print(f"  layer {i} |" + "".join(" .:-=+*#@"[min(8, int(9 * np.sqrt(c / h.size)))] for c in counts) + "|")

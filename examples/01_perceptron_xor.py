"""A perceptron learns AND and OR but not XOR: one straight line cannot separate it. Two layers can."""

import numpy as np

import gdnet as gd

x = np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
targets = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "XOR": [0, 1, 1, 0]}
dense, step = gd.Dense(2, 1), gd.Step()


def perceptron(t):
    """Rosenblatt's rule, W ← W + xₙᵀ (tₙ - yₙ), one example at a time; the best accuracy on the way.

    The step's own derivative is zero and is left out: the error itself is sent into the dense layer's Jacobian.
    """
    params, best = {"W": np.zeros((2, 1)), "b": np.zeros(1)}, 0.0
    rng = np.random.default_rng(0)
    for n in rng.integers(0, 4, 100 * 4):
        a, J = dense(params, x[n : n + 1])
        change, _ = J.vjp(t[n] - step({}, a)[0])
        params = {name: value + change[name] for name, value in params.items()}
        best = max(best, (step({}, dense(params, x)[0])[0] == t).mean())
    return best


print("One layer, perceptron rule, the best of 400 steps")
for name, t in targets.items():
    print(f"  {name:3}  accuracy {perceptron(np.asarray(t, dtype=float)[:, None]):4.0%}")

# Two layers by hand: XOR is "OR, but not AND". The hidden neurons are OR and AND.
net = gd.Sequential(gd.Dense(2, 2), gd.Step(), gd.Dense(2, 1), gd.Step())
by_hand = {
    "0.W": np.asarray([[1.0, 1.0], [1.0, 1.0]]),
    "0.b": np.asarray([-0.5, -1.5]),
    "2.W": np.asarray([[1.0], [-1.0]]),
    "2.b": np.asarray([-0.5]),
}
xor = np.asarray(targets["XOR"], dtype=float)[:, None]
print(f"Two layers, weights by hand   XOR accuracy {(net(by_hand, x)[0] == xor).mean():4.0%}")

# Two layers, learned: the step has no slope to follow, so smooth activations take its place.
net, optimizer = gd.Sequential(gd.Dense(2, 4), gd.Tanh(), gd.Dense(1), gd.Sigmoid()), gd.SGD(lr=0.5)
train = gd.training_step(net, gd.SquaredError(), optimizer)
theta = net.parameters(like=x, seed=1)
state = optimizer.init(theta)
for _ in range(3000):
    theta, state, loss = train(theta, state, x, xor)
y, _ = net(net.layout().split(theta), x)
print(f"Two layers, learned           XOR accuracy {((y > 0.5) == xor).mean():4.0%}, loss {loss:.4f}")

print("Decision region of the learned net (x₁ to the right, x₂ up, from -0.5 to 1.5):")
side = np.linspace(-0.5, 1.5, 25)
for x2 in side[::-2]:
    y, _ = net(net.layout().split(theta), np.column_stack([side, np.full(25, x2)]))
    print("  " + "".join("#" if value > 0.5 else "." for value in y[:, 0]))

"""Backpropagation by hand through a 2-layer regression net, each derivative beside its numerical value.

a = x W₁ + b₁,  h = max(a, 0),  y = h W₂ + b₂,  J = (1/N) Σₙ ||tₙ - yₙ||²
"""

import numpy as np

import gdnet as gd

rng = np.random.default_rng(0)
x, t = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
first, relu, second, loss = gd.Dense(3, 4), gd.ReLU(), gd.Dense(4, 2), gd.SquaredError()
p1 = {"W": rng.standard_normal((3, 4)), "b": rng.standard_normal(4)}
p2 = {"W": rng.standard_normal((4, 2)), "b": rng.standard_normal(2)}

# Forward: every layer returns its value and its Jacobian, the local derivative.
a, J1 = first(p1, x)
h, Jh = relu({}, a)
y, J2 = second(p2, h)
at = loss(y, t)

# Backward: local derivative times the derivative that arrives, which is computed once and handed down.
dy = at.gradient
dp2, dh = J2.vjp(dy)
_, da = Jh.vjp(dh)
dp1, dx = J1.vjp(da)


# The rest of the net as a function of each quantity alone, for the numerical derivative.
def J_of_y(y):
    return loss(y, t).value


def J_of_h(h, **new):
    return J_of_y(second(p2 | new, h)[0])


def J_of_a(a):
    return J_of_h(relu({}, a)[0])


def J_of_x(x, **new):
    return J_of_a(first(p1 | new, x)[0])


print(f"J = {float(at.value):.6f}\nderivative shape       first entry      numerical   largest difference")
for name, exact, f, point in [
    ("dJ/dy", dy, J_of_y, y),
    ("dJ/dW2", dp2["W"], lambda W: J_of_h(h, W=W), p2["W"]),
    ("dJ/db2", dp2["b"], lambda b: J_of_h(h, b=b), p2["b"]),
    ("dJ/dh", dh, J_of_h, h),
    ("dJ/da", da, J_of_a, a),
    ("dJ/dW1", dp1["W"], lambda W: J_of_x(x, W=W), p1["W"]),
    ("dJ/db1", dp1["b"], lambda b: J_of_x(x, b=b), p1["b"]),
    ("dJ/dx", dx, J_of_x, x),
]:
    numerical = gd.numerical_gradient(f, point)
    worst = abs(exact - numerical).max()
    print(f"{name:10} {exact.shape!s:8} {exact.flat[0]:14.9f} {numerical.flat[0]:14.9f} {worst:20.1e}")

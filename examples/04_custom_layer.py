"""A layer of your own: the rule, its Jacobian, and the check that the one belongs to the other."""

import numpy as np

import gdnet as gd


class Gain(gd.Layer):
    """y = x g: every feature has a factor of its own.

    dy = dx g + x dg; transposed: dg = Σₙ xₙ dyₙ, dx = dy g.
    """

    keeps_shape = True
    slip = 1.0  # for the demonstration below: 1.001 makes the rule 0.1 % wrong

    def shapes(self, in_shape):
        return {"g": in_shape}

    def init(self, in_shape, rng):
        return {"g": np.ones(in_shape)}

    def forward(self, params, x, context):
        xp, g = context.xp, params["g"]

        def jvp(dparams, dx):
            dy = dx * g
            return dy + x * xp.expand_dims(dparams["g"], axis=-2) if dparams else dy  # {}: only x moves

        def vjp(dy):
            return {"g": xp.sum(x * dy, axis=-2) * self.slip}, dy * g

        def curve(dparams, dx, gy):  # how vjp(gy) changes when g and x move: for exact Hessian products
            moved = xp.expand_dims(dparams["g"], axis=-2) if dparams else 0.0 * dx
            return {"g": xp.sum(dx * gy, axis=-2)}, gy * moved

        return x * g, gd.Jacobian(jvp, vjp, curve)


report = gd.testing.check_layer(Gain(), (4,))
print(report)

wrong = Gain()
wrong.slip = 1.001
try:
    gd.testing.check_layer(wrong, (4,))
except gd.testing.CheckFailed as error:
    print("\nA rule that is 0.1 % wrong is found:", str(error).splitlines()[0])

# It trains like any other layer: here it finds the factors 1, 2, 3, 4.
x = np.random.default_rng(0).standard_normal((100, 4))
net, optimizer = gd.Sequential(Gain()), gd.SGD(lr=0.1)
step, theta = gd.training_step(net, gd.SquaredError(), optimizer), net.parameters(like=x)
state = optimizer.init(theta)
for _ in range(200):
    theta, state, loss = step(theta, state, x, x * np.asarray([1.0, 2.0, 3.0, 4.0]))
print("\nlearned factors:", theta.round(6))

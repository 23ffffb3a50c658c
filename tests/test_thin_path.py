"""Data -> layer -> loss -> step -> loop -> result, on every array library, with the same numbers."""

import numpy as np

import gdnet as gd


def curve(bk, steps=50):
    rng = np.random.default_rng(0)
    x, t = bk.put(rng.standard_normal((30, 6))), bk.put(rng.integers(0, 3, 30))
    net = gd.Sequential(gd.Dense(6, 5), gd.Tanh(), gd.Sequential(gd.Dense(4), gd.Sigmoid()), gd.Dense(3))
    optimizer = gd.SGD(lr=0.1)
    step = gd.training_step(net, gd.CrossEntropy(), optimizer)
    theta = net.parameters(like=x)
    state, values = optimizer.init(theta), []
    with bk.no_host_reads():
        for _ in range(steps):
            theta, state, value = step(theta, state, x, t)
            values.append(value)
    return np.asarray([float(bk.get(v)) for v in values])


def test_loss_curve_is_the_same_everywhere(bk):
    from gdnet.testing.backends import backend_under_test

    np.testing.assert_allclose(curve(bk), curve(backend_under_test("numpy")), rtol=1e-12)

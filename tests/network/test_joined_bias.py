"""A chain in which a kernel adds a dense layer's bias together with the next activation, against the layers apart."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.backend.cupy.sources import BIASED
from gdnet.layers import Context
from gdnet.testing import check_layer

HOST = get_backend("cpu")
RNG = np.random.default_rng(0)


@pytest.fixture
def noted(monkeypatch):
    """Kernels f(z + b), f'(z + b) on NumPy, by the agnostic rules; the list names those that were called."""
    called = []

    def stand_in(name):
        def kernel(backend, z, b, **config):
            called.append(name)
            rule = getattr(gd, name.removeprefix("bias_"))(**config)
            x = z + b
            y = rule.f(backend, x)
            return y, rule.df(backend, x, y)

        return kernel

    monkeypatch.setattr(HOST, "kernels", {name: stand_in(name) for name in BIASED})
    return called


def products(net, x):
    """Everything that a Jacobian can be asked for, at one point."""
    theta = net.initial(1, x.shape[1:])
    layout = net.layout(x.shape[1:])
    y, J = net.forward(layout.split(theta, np), x, Context(HOST))
    rng = np.random.default_rng(2)
    v, dx, gy = rng.standard_normal(theta.size), rng.standard_normal(x.shape), rng.standard_normal(y.shape)
    dparams, gradient = layout.split(v, np), np.full(theta.size, np.nan)
    J.vjp_into(gy, layout.split(gradient, np))
    found = [y, J.jvp(dparams, dx), J.vjp_x(gy), gradient]
    for own, pulled in (J.vjp(gy), J.dvjp(dparams, dx, gy, None), J.hvp(dparams, dx, gy, lambda dy: 2.0 * dy)):
        found += [*own.values(), pulled]
    return [*found, *J.rows(gy[None]).values(), *J.squares(gy[None]).values(), J.gram(gy[None])]


NETS = {name: gd.Sequential(gd.Dense(4), getattr(gd, name[5:])(), gd.Dense(2)) for name in BIASED}
NETS["options"] = gd.Sequential(gd.Dense(4), gd.LeakyReLU(0.3), gd.Dense(3), gd.ELU(0.7))
NETS["nested"] = gd.Sequential(
    gd.Dense(3),
    gd.Tanh(),
    gd.Residual(gd.Dense(3), gd.GELU(), gd.Dense(3)),
    gd.Parallel(gd.Sequential(gd.Dense(2), gd.Sigmoid()), gd.Sequential(gd.Dense(2), gd.SiLU(), gd.Dropout(0.5))),
    gd.Dense(2),
)


@pytest.mark.parametrize("name", NETS)
def test_every_product_is_that_of_the_two_layers(name, noted, monkeypatch):
    net, x = NETS[name], RNG.standard_normal((5, 3))
    joined = products(net, x)
    assert noted, "no kernel was used"
    monkeypatch.setattr(HOST, "kernels", {})
    for a, b in zip(joined, products(net, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)


def test_joined_are_a_dense_layer_with_a_bias_and_the_rule_right_after_it(noted):
    class Square(gd.Elementwise):
        def f(self, backend, x):
            return x * x

    nets = [
        gd.Sequential(gd.Dense(3, bias=False), gd.Tanh()),
        gd.Sequential(gd.Tanh(), gd.Dense(3)),
        gd.Sequential(gd.Dense(3), Square()),
        gd.Sequential(gd.Dense(3), gd.Softmax()),
        gd.Sequential(gd.Dense(3), gd.Dropout(0.5), gd.Tanh()),
        gd.Sequential(gd.Dense(3), gd.Identity(), gd.Step()),
    ]
    for net in nets:
        net(net.layout((2,)).split(net.initial(0, (2,)), np), np.ones((1, 2)))
    assert noted == []
    net = gd.Sequential(gd.Dense(3), gd.Tanh(), gd.Dense(2), gd.Dense(2), gd.ReLU(), gd.ReLU())
    net(net.layout((2,)).split(net.initial(0, (2,)), np), np.ones((1, 2)))
    assert noted == ["bias_Tanh", "bias_ReLU"]


def test_numpy_has_no_such_kernel():
    assert not set(BIASED) & set(HOST.kernels)


def test_every_check_of_a_layer_holds_with_joined_layers(noted):
    net = gd.Sequential(gd.Dense(3), gd.SiLU(), gd.Dense(2), gd.Residual(gd.Dense(2), gd.Tanh()), gd.Dropout(0.4))
    assert check_layer(net, (3,))
    assert {"bias_SiLU", "bias_Tanh"} <= set(noted)


def test_a_layer_that_stands_in_two_places_may_be_joined(noted):
    shared = gd.Dense(3, 3)
    assert check_layer(gd.Sequential(shared, gd.Tanh(), shared, gd.Sigmoid(), gd.Dense(2)), (3,))
    assert {"bias_Sigmoid", "bias_Tanh"} <= set(noted)


def test_random_layers_draw_the_same_whether_joined_or_not(noted, monkeypatch):
    """Keys go by the place of a layer in the list."""
    net, x = gd.Sequential(gd.Dense(3, 4), gd.Tanh(), gd.Dropout(0.5), gd.Dense(2)), RNG.standard_normal((5, 3))
    params = net.layout().split(net.initial(0), np)
    joined = net(params, x, training=True, key=gd.Key(3))[0]
    assert noted
    monkeypatch.setattr(HOST, "kernels", {})
    np.testing.assert_allclose(net(params, x, training=True, key=gd.Key(3))[0], joined, rtol=1e-13)


def test_a_tangent_is_not_taken_for_another(noted):
    """Two tangents that share their arrays but for one."""
    net, x, rng = gd.Sequential(gd.Dense(3, 4), gd.Tanh()), RNG.standard_normal((5, 3)), np.random.default_rng(4)
    W, b, gy = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 4)), rng.standard_normal((5, 4))
    params = net.layout().split(net.initial(0), np)
    for need_dx in (True, False):
        dxs = rng.standard_normal((2, 5, 3)) if need_dx else [None, None]
        moves = [({"0.W": w, "0.b": v}, dx) for w in W for v in b for dx in dxs]
        J = net.forward(params, x, Context(HOST, need_dx=need_dx))[1]
        for dparams, dx in [*moves, *moves[::-1]]:
            fresh = net.forward(params, x, Context(HOST, need_dx=need_dx))[1]
            np.testing.assert_array_equal(J.jvp(dparams, dx), fresh.jvp(dparams, dx))
            np.testing.assert_array_equal(
                J.dvjp(dparams, dx, gy, None)[0]["0.W"], fresh.dvjp(dparams, dx, gy, None)[0]["0.W"]
            )

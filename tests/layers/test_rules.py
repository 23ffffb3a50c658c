"""Every layer of the table: the checks on every array library, torch's numbers, large inputs, one compiled step."""

import math

import numpy as np
import pytest

import gdnet
from gdnet.backend import Key
from gdnet.layers import Context, Elementwise, Layer
from gdnet.network import Composite, Network
from gdnet.testing.backends import backend_under_test
from gdnet.testing.cases import LAYERS
from gdnet.testing.layers import check_layer

CASES = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
ELEMENTWISE = [case for case in LAYERS if isinstance(case.layer, Elementwise) and case.in_shape == (4,)]


def draw(case, n=5, seed=0):
    """(params, x, dy) on the host."""
    rng = np.random.default_rng(seed)
    params = {name: rng.standard_normal(shape) for name, shape in case.layer.shapes(case.in_shape).items()}
    x = 2.0 * rng.standard_normal((n, *case.in_shape))
    return params, x, rng.standard_normal((n, *case.layer.out_shape(case.in_shape)))


@CASES
def test_checks(bk, case):
    assert check_layer(case.layer, case.in_shape, backend=bk.backend)


@CASES
def test_equals_torch(case):
    torch = pytest.importorskip("torch")
    params, x, dy = draw(case)
    y, J = case.layer(params, x)
    dparams, dx = J.vjp(dy)
    p = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    z = torch.tensor(x, requires_grad=True)
    w = case.torch(torch.nn.functional, p, z)
    (w * torch.tensor(dy)).sum().backward()
    near = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(y, w.detach().numpy(), **near)
    np.testing.assert_allclose(dx, z.grad.numpy(), **near)
    assert dparams.keys() == p.keys()
    for name, value in dparams.items():
        np.testing.assert_allclose(value, p[name].grad.numpy(), **near)


@CASES
def test_compiled_by_jax(case):
    jax = pytest.importorskip("jax")
    bk = backend_under_test("jax")
    params, x, dy = draw(case)
    key_seed = 3

    def both(params, x, dy, step):
        y, J = case.layer.forward(params, x, Context(bk.backend, True, Key(key_seed, step)))
        return y, J.vjp(dy)

    y, (dparams, dx) = jax.jit(both)({k: bk.put(v) for k, v in params.items()}, bk.put(x), bk.put(dy), 7)
    host = backend_under_test("numpy").backend
    z, J = case.layer.forward(params, x, Context(host, True, Key(key_seed, 7)))
    expected = J.vjp(dy)
    np.testing.assert_allclose(bk.get(y), z, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(bk.get(dx), expected[1], rtol=1e-12, atol=1e-14)
    for name, value in dparams.items():
        np.testing.assert_allclose(bk.get(value), expected[0][name], rtol=1e-12, atol=1e-14)


def test_no_public_layer_is_missing_from_the_table():
    abstract = {Layer, Elementwise, Network, Composite}
    values = [getattr(gdnet, name, None) for name in dir(gdnet)]
    public = {value for value in values if isinstance(value, type) and issubclass(value, Layer)} - abstract
    table = {type(case.layer) for case in LAYERS}
    assert len(public) >= 20
    assert public <= table, f"add to gdnet/testing/cases.py: {sorted(c.__name__ for c in public - table)}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", ELEMENTWISE, ids=lambda case: case.name)
def test_large_inputs(bk, case, dtype):
    """At |x| = 1e4 the value is exact, the derivatives finite and of the dtype; NumPy's warnings are errors here."""
    host = np.asarray([[-1e4, -80.0, -1e-40, 0.0, 1e-40, 80.0, 1e4]])
    x = bk.put(host, dtype)
    y, J = case.layer({}, x)
    d = J.vjp(bk.xp.ones_like(x))[1]
    c = J.curve({}, bk.xp.ones_like(x), bk.xp.ones_like(x))[1]
    assert y.dtype == d.dtype == c.dtype == x.dtype
    limits = {
        "Identity": (-1e4, 1e4, 1, 1), "Step": (0, 1, 0, 0), "Sigmoid": (0, 1, 0, 0), "Tanh": (-1, 1, 0, 0),
        "ReLU": (0, 1e4, 0, 1), "LeakyReLU": (None, 1e4, None, 1), "ELU": (None, 1e4, 0, 1),
        "SELU": (-1.7580993408473766, 1.0507009873554805e4, 0, 1.0507009873554805), "Softplus": (0, 1e4, 0, 1),
        "GELU": (0, 1e4, 0, 1), "SiLU": (0, 1e4, 0, 1), "HardTanh": (-1, 1, 0, 0),
    }[type(case.layer).__name__]  # fmt: skip
    y, d, c = bk.get(y)[0], bk.get(d)[0], bk.get(c)[0]
    assert np.isfinite(y).all()
    assert np.isfinite(d).all()
    assert np.isfinite(c).all()
    assert not c[[0, -1]].any()
    found = (y[0], y[-1], d[0], d[-1])
    for value, limit in zip(found, limits):
        assert limit is None or value == pytest.approx(limit, rel=1e-6, abs=1e-6)


SLOPE_AT_0 = {
    "Identity": 1.0, "Step": 0.0, "Sigmoid": 0.25, "Tanh": 1.0, "ReLU": 0.0, "LeakyReLU": 0.01, "ELU": 1.0,
    "SELU": 1.7580993408473766, "Softplus": 0.5, "GELU": 0.5, "SiLU": 0.5, "HardTanh": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("name", SLOPE_AT_0)
def test_derivative_at_zero(bk, name):
    """Exactly 0, and next to it, rules that divide by x take another way; at a kink the left derivative holds."""
    x = bk.put([[0.0, -1e-40]], "float64")
    J = getattr(gdnet, name)()({}, x)[1]
    np.testing.assert_allclose(bk.get(J.vjp(bk.xp.ones_like(x))[1])[0], SLOPE_AT_0[name], rtol=1e-12)


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_logits(bk, name, dtype):
    x = bk.put([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]], dtype)
    y, J = getattr(gdnet, name)()({}, x)
    third = 1.0 / 3.0 if name == "Softmax" else -math.log(3.0)
    first = [1.0, 0.0, 0.0] if name == "Softmax" else [0.0, -1e4, -2e4]
    np.testing.assert_allclose(bk.get(y), [first, [third] * 3], rtol=1e-6)
    assert np.isfinite(bk.get(J.vjp(bk.xp.ones_like(x))[1])).all()
    assert y.dtype == x.dtype


def test_a_backend_may_fuse_a_row():
    """A kernel gives value and derivative at once; the layer's options come as keywords."""
    from gdnet.backend.numpy.backend import NumpyBackend

    asked = []

    def kernel(backend, x, slope):
        asked.append(slope)
        return np.where(x > 0, x, slope * x), np.where(x > 0, np.ones_like(x), slope)

    class Fused(NumpyBackend):
        kernels = {"LeakyReLU": kernel}  # noqa: RUF012

    assert check_layer(gdnet.LeakyReLU(0.3), (4,), backend=Fused())
    assert set(asked) == {0.3}

    class LeakyReLU(gdnet.layers.Elementwise):  # of the user, by the same name
        def f(self, backend, x):
            return 2.0 * x

    asked.clear()
    y, _ = LeakyReLU().forward({}, np.ones((1, 1)), Context(Fused()))
    assert y == 2.0
    assert not asked


def test_dropout(bk):
    layer, x = gdnet.Dropout(0.3), bk.put(np.ones((400, 50)))
    y, J = layer({}, x, training=True, key=Key(0))
    host = bk.get(y)
    np.testing.assert_array_equal(host, bk.get(J.vjp(bk.xp.ones_like(x))[1]))
    assert set(np.unique(host)) == {0.0, 1.0 / 0.7}
    assert abs((host == 0).mean() - 0.3) < 0.01
    assert abs(host.mean() - 1.0) < 0.02
    again = bk.get(layer({}, x, training=True, key=Key(0))[0])
    other = bk.get(layer({}, x, training=True, key=Key(0, step=1))[0])
    np.testing.assert_array_equal(host, again)
    assert (host != other).mean() > 0.3
    single = bk.get(layer({}, bk.put(np.ones((400, 50)), "float32"), training=True, key=Key(0))[0])
    np.testing.assert_array_equal(single > 0, host > 0)
    np.testing.assert_array_equal(bk.get(layer({}, x)[0]), 1.0)
    on_numpy = layer({}, np.ones((400, 50)), training=True, key=Key(0))[0]
    np.testing.assert_array_equal(host, on_numpy)

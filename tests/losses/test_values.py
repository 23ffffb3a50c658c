"""Losses at the edges of what a number can be, labels of every integer type, losses without second derivatives."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.errors import OptionError
from gdnet.testing import CheckFailed, check_loss


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("t", [0.0, 1.0, 3.0, 1e6])
def test_poisson_is_never_nan(t, dtype):
    far = np.asarray([[v] for v in (1e30, 1e37, 1e38, 3e38, -1e38, -1e30, 61.0, 60.0, 0.0)], dtype)
    for y in far:
        at = gd.Poisson()(y[None], np.asarray([[t]], dtype))
        assert not np.isnan(at.value)
        assert not np.isnan(at.gradient).any()
    value = gd.Poisson()(far[:1], np.asarray([[t]], dtype)).value
    assert value > 1e30


def test_poisson_is_what_it_was():
    y, t = np.linspace(-3.0, 59.0, 63)[:, None], np.full((63, 1), 4.0)
    np.testing.assert_allclose(gd.Poisson().l(np, y, t), np.exp(y) - t * y, rtol=1e-15)
    y = np.asarray([[61.0], [100.0]])
    np.testing.assert_allclose(gd.Poisson().l(np, y, t[:2]), np.exp(60.0) * (y - 59.0) - 4.0 * y, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "uint32", "int32", "int64"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_labels_of_every_integer_type_name_their_class(dtype, smoothing, name):
    if name == "torch":
        dtype = {"uint16": "uint8", "uint32": "int32"}.get(dtype, dtype)  # torch hardly computes in these
    rng, backend = np.random.default_rng(0), get_backend("cpu", name)
    y, t = rng.standard_normal((20, 300)).astype("float32"), rng.integers(0, 100, 20)
    rows = np.eye(300, dtype="float32")[t]
    found = gd.CrossEntropy(smoothing)(backend.asarray(y), backend.asarray(t.astype(dtype)))
    expected = gd.CrossEntropy(smoothing)(y, rows)
    assert backend.read(found.value) == pytest.approx(float(expected.value), rel=1e-5)
    np.testing.assert_allclose(backend.to_numpy(found.gradient), expected.gradient, atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("shape", [(4,), (2, 3)])
def test_rows_that_do_not_sum_to_one(smoothing, shape):
    """Every derivative of -Σ t log p counts Σ t, the root as well."""
    target = np.random.default_rng(0).uniform(0.2, 1.5, (5, *shape))
    assert check_loss(gd.CrossEntropy(smoothing), shape, target)


class First(gd.Loss):
    """Squared error with a value and a gradient alone."""

    def at(self, backend, y, t, weight):
        at, xp, n = gd.LossAt(), backend.xp, y.shape[0]
        share = xp.reshape(weight / xp.sum(weight), (n, 1)) if weight is not None else 1.0 / n
        at.value, at.gradient = xp.sum(share * (y - t) ** 2), 2.0 * share * (y - t)
        return at


class WithHessian(First):
    def at(self, backend, y, t, weight):
        at = super().at(backend, y, t, weight)
        share = weight[:, None] / weight.sum() if weight is not None else 1.0 / y.shape[0]
        at.hessian = gd.Map(backend, y.shape, y.shape, y.dtype, *[lambda v: 2.0 * share * v] * 2, {"symmetric"})
        return at


class Wrong(First):
    def at(self, backend, y, t, weight):
        at = super().at(backend, y, t, weight)
        at.root = gd.Map(backend, y.shape, y.shape, y.dtype, *[lambda v: 2.0 * v] * 2)
        return at


class Nothing(First):
    def at(self, backend, y, t, weight):
        return gd.LossAt()


def test_a_loss_without_a_root_is_checked_as_far_as_it_goes():
    assert list(check_loss(First(), (2,)).findings) == ["gradient", "weights", "spec makes it again", "target unharmed"]
    assert "hessian" in check_loss(WithHessian(), (2,)).findings
    with pytest.raises(CheckFailed, match="root"):
        check_loss(Wrong(), (2,))
    with pytest.raises(CheckFailed, match=r"Nothing\(\) gives no value"):
        check_loss(Nothing(), (2,))


def test_methods_say_what_such_a_loss_lacks():
    x, t = np.random.default_rng(0).standard_normal((2, 40, 2))
    model = gd.Model(gd.Sequential(gd.Dense(2, 2)), loss=First(), dtype="float64")
    model.fit(x, t, optimizer=gd.Adam(), epochs=2, verbose=0)
    model.fit(x, t, optimizer=gd.LBFGS(), epochs=2, batch_size=None, verbose=0)
    with pytest.raises(OptionError, match=r"First\(\) has no root R"):
        model.fit(x, t, optimizer=gd.LevenbergMarquardt(), epochs=2, batch_size=None, verbose=0)
    with pytest.raises(OptionError, match=r"First\(\) has no Hessian"):
        model.fit(x, t, optimizer=gd.NewtonCG(), epochs=2, batch_size=None, verbose=0)

"""Every loss of the table: the four checks, agreement between libraries, tracing, and the registry."""

import numpy as np
import pytest

import gdnet.losses
from gdnet.losses import ElementwiseLoss, Loss
from gdnet.testing.backends import backend_under_test
from gdnet.testing.cases_losses import LOSSES
from gdnet.testing.losses import check_loss

cases = pytest.mark.parametrize("case", LOSSES, ids=lambda case: case.name)


TOLERANCE = {"float64": {"rtol": 1e-12}, "float32": {"rtol": 2e-5, "atol": 1e-6}}


def everything(at):
    """Value, gradient, a Hessian and a root product, as one tuple of arrays."""
    return at.value, at.gradient, at.hessian(at.gradient), at.root(at.gradient)


@cases
def test_rules_agree_with_differences(bk, case):
    y, t = case.draw()
    check_loss(case.loss, case.out_shape, t, bk.backend, prediction=y)


@cases
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_numbers_compiled_and_unread(bk, case, dtype):
    y, t = case.draw(n=7, seed=1)
    t = t.astype(dtype) if t.dtype.kind == "f" else t
    w = np.linspace(0.5, 2.0, 7)

    def body(y, t, w):
        return everything(case.loss.at(bk.backend, y, t, w))

    y_there, t_there, w_there = bk.put(y, dtype), bk.put(t), bk.put(w, dtype)
    with bk.no_host_reads():
        found = bk.backend.compile(body)(y_there, t_there, w_there)
    host = backend_under_test("numpy").backend
    expected = everything(case.loss.at(host, y.astype(dtype), t, w.astype(dtype)))
    for a, b in zip(found, expected, strict=True):
        assert dtype in str(a.dtype)
        assert str(b.dtype) == dtype
        np.testing.assert_allclose(bk.get(a), b, **TOLERANCE[dtype])


@cases
def test_weight_counts_as_repetition(case):
    y, t = case.draw(n=2)
    weighted, again = case.loss(y, t, np.asarray([1.0, 2.0])), [0, 1, 1]
    repeated = case.loss(y[again], t[again])
    np.testing.assert_allclose(weighted.value, repeated.value, rtol=1e-14)
    np.testing.assert_allclose(weighted.gradient[1], repeated.gradient[1] + repeated.gradient[2], rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_without_weight_is_still(bk, dtype):
    """A mini-batch may consist of examples of weight 0: it must not turn the parameters into NaN."""
    at = gdnet.losses.SquaredError()(
        bk.put(np.ones((2, 1)), dtype), bk.put(np.zeros((2, 1)), dtype), bk.put(np.zeros(2))
    )
    assert float(bk.get(at.value)) == 0.0
    assert bk.get(at.gradient).tolist() == [[0.0], [0.0]]


@cases
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_predictions_stay_finite(bk, case, dtype):
    """Warnings are errors here, so overflow on the way counts as well."""
    _, t = case.draw()
    y = np.random.default_rng(0).choice([-1e4, -5e3, 5e3, 1e4], (5, *case.out_shape))
    at = case.loss(bk.put(y, dtype), bk.put(t if t.dtype.kind == "i" else t.astype(dtype)))
    for array in everything(at):
        assert np.all(np.isfinite(bk.get(array)))


def test_rules_keep_their_digits():
    """Small differences, large logits: values that a naive formula rounds to 0 or loses half the digits of."""
    d = np.asarray([[1e-9]])
    zero = np.zeros((1, 1))
    np.testing.assert_allclose(float(gdnet.losses.LogCosh()(d, zero).value), 5e-19, rtol=1e-12)
    at = gdnet.losses.BinaryCrossEntropy()(np.asarray([[50.0]]), np.ones((1, 1)))
    np.testing.assert_allclose(float(at.value), np.exp(-50.0), rtol=1e-12)
    np.testing.assert_allclose(float(at.hessian(np.ones((1, 1)))[0, 0]), np.exp(-50.0), rtol=1e-12)
    at = gdnet.losses.LogCosh()(np.asarray([[25.0]]), zero)
    np.testing.assert_allclose(float(at.hessian(np.ones((1, 1)))[0, 0]), 4 * np.exp(-50.0), rtol=1e-12)


def test_every_public_loss_is_in_the_table():
    public = {
        value
        for name in gdnet.losses.__all__
        if isinstance(value := getattr(gdnet.losses, name), type) and issubclass(value, Loss)
    } - {Loss, ElementwiseLoss}
    assert {type(case.loss) for case in LOSSES} == public


@cases
def test_rebuilt_from_its_config(case):
    loss = type(case.loss)(**case.loss.config())
    assert loss == case.loss
    assert repr(loss) == repr(case.loss)
    assert hash(loss) == hash(case.loss)

"""Metrics: by hand and as scikit-learn computes them, on every library; what is refused."""

import math

import numpy as np
import pytest

from gdnet.errors import ArrayError, DataError, OptionError, ShapeError
from gdnet.report import metrics

rng = np.random.default_rng(0)
TRUE = rng.integers(0, 4, 60)
PRED = np.where(rng.uniform(size=60) < 0.6, TRUE, rng.integers(0, 4, 60))
GAPS_TRUE, GAPS_PRED = np.asarray([0, 0, 2, 5, 5]), np.asarray([0, 2, 2, 0, 3])  # 1 and 4 never, 3 only predicted
SCORES = np.round(rng.standard_normal((60, 4)), 1)  # with ties
Y = rng.standard_normal((30, 3))
FIT = Y + 0.3 * rng.standard_normal((30, 3))
FLAT = np.concatenate([Y, np.full((30, 1), 2.0), np.full((30, 1), 0.1)], axis=1)
FLAT_FIT = np.concatenate([FIT, np.full((30, 1), 2.0), FIT[:, :1]], axis=1)


def test_by_hand(bk):
    true, pred = bk.put(np.asarray([0, 1, 2, 2])), bk.put(np.asarray([0, 2, 2, 0]))
    assert metrics.accuracy(true, pred) == 0.5
    assert metrics.confusion_matrix(true, pred).tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 1]]
    assert metrics.precision(true, pred, average=None) == [0.5, 0.0, 0.5]
    assert metrics.recall(y_true=true, y_pred=pred, average=None) == [1.0, 0.0, 0.5]
    assert metrics.f1(true, pred) == pytest.approx((2 / 3 + 0 + 1 / 2) / 3)
    t, y = bk.put(np.asarray([1.0, 2.0, 3.0])), bk.put(np.asarray([[1.0], [2.0], [5.0]]))
    found = [metrics.mse(t, y), metrics.rmse(t, y), metrics.mae(t, y), metrics.r2(t, y)]
    assert found == pytest.approx([4 / 3, math.sqrt(4 / 3), 2 / 3, -1.0])
    assert all(type(value) is float for value in found)


def test_classes_as_scikit_learn(bk):
    theirs = pytest.importorskip("sklearn.metrics")
    for true, pred in ((TRUE, PRED), (GAPS_TRUE, GAPS_PRED)):
        a, b = bk.put(true), bk.put(pred)
        assert metrics.accuracy(a, b) == pytest.approx(theirs.accuracy_score(true, pred), rel=1e-12)
        occurs = np.unique([*true, *pred])
        matrix = metrics.confusion_matrix(a, b)
        np.testing.assert_array_equal(matrix[np.ix_(occurs, occurs)], theirs.confusion_matrix(true, pred))
        assert matrix.sum() == len(true)
        for ours, their in (
            (metrics.precision, theirs.precision_score),
            (metrics.recall, theirs.recall_score),
            (metrics.f1, theirs.f1_score),
        ):
            expected = their(true, pred, average="macro", zero_division=0.0)
            assert ours(a, b) == pytest.approx(expected, rel=1e-12)
            assert ours(a, b, average=None) == pytest.approx(
                their(true, pred, average=None, zero_division=0.0).tolist()
            )


@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_as_scikit_learn(bk, k):
    theirs = pytest.importorskip("sklearn.metrics")
    assert metrics.top_k_accuracy(bk.put(TRUE), bk.put(SCORES), k) == theirs.top_k_accuracy_score(TRUE, SCORES, k=k)
    assert metrics.top_k_accuracy(bk.put(TRUE), bk.put(SCORES), k=4) == 1.0


@pytest.mark.parametrize(("true", "pred"), [(Y, FIT), (Y[:, 0], FIT[:, 0]), (FLAT, FLAT_FIT)])
def test_numbers_as_scikit_learn(bk, true, pred):
    theirs = pytest.importorskip("sklearn.metrics")
    a, b = bk.put(true), bk.put(pred)
    assert metrics.mse(a, b) == pytest.approx(theirs.mean_squared_error(true, pred), rel=1e-12)
    assert metrics.rmse(a, b) == pytest.approx(theirs.root_mean_squared_error(true, pred), rel=1e-12)
    assert metrics.mae(a, b) == pytest.approx(theirs.mean_absolute_error(true, pred), rel=1e-12)
    if true is not FLAT:  # the mean of thirty 0.1 rounds, and the spread of a constant with it
        assert metrics.r2(a, b) == pytest.approx(theirs.r2_score(true, pred), rel=1e-12)


def test_r2_of_a_constant(bk):
    constant = bk.put(np.full(8, 2.0))
    assert metrics.r2(constant, constant) == 1.0
    assert metrics.r2(constant, bk.put(np.arange(8.0))) == 0.0
    assert math.isnan(metrics.r2(constant[:1], constant[:1]))


def test_scores_one_hot_and_columns_are_labels(bk):
    one_hot, column = bk.put(np.eye(4)[TRUE]), bk.put(TRUE.reshape(-1, 1))
    expected = float(np.mean(SCORES.argmax(axis=1) == TRUE))
    for true in (one_hot, column, bk.put(TRUE), bk.put(np.eye(4)[TRUE] == 1)):
        assert metrics.accuracy(true, bk.put(SCORES)) == pytest.approx(expected)
        assert metrics.confusion_matrix(true, one_hot).trace() == 60


def test_integers_and_float32(bk):
    t, y = bk.put(np.asarray([1, 2, 4])), bk.put(np.asarray([1.5, 2.0, 3.0]), "float32")
    assert metrics.mae(t, y) == pytest.approx(0.5)
    assert metrics.mse(t, t) == 0.0
    assert metrics.confusion_matrix(t, t, num_classes=6).shape == (6, 6)


@pytest.mark.parametrize(("metric", "true", "pred", "options", "error", "words"), [
    ("accuracy", TRUE, PRED[:5], {}, ShapeError, "60 examples, y_pred 5"),
    ("accuracy", TRUE[:0], PRED[:0], {}, ShapeError, "n >= 1"),
    ("accuracy", [1, 2], PRED, {}, ArrayError, "y_true must be an array"),
    ("accuracy", np.zeros((2, 2, 2)), PRED, {}, ShapeError, r"\(2, 2, 2\)"),
    ("confusion_matrix", TRUE - 1, PRED, {}, DataError, r"y_true must hold labels in 0\.\.3, got -1\.\.2"),
    ("confusion_matrix", TRUE, PRED, {"num_classes": 3}, DataError, r"0\.\.2"),
    ("confusion_matrix", TRUE, PRED + 0.5, {}, DataError, "y_pred must be integer labels"),
    ("precision", TRUE, PRED, {"average": "micro"}, OptionError, "macro"),
    ("top_k_accuracy", TRUE, PRED, {}, ShapeError, "classes"),
    ("top_k_accuracy", TRUE + 1, SCORES, {}, DataError, r"0\.\.3, got 1\.\.4"),
    ("top_k_accuracy", TRUE, SCORES, {"k": 0}, OptionError, "at least 1"),
    ("mse", Y, FIT[:, :2], {}, ShapeError, "agree"),
    ("r2", Y[:0], FIT[:0], {}, ShapeError, "empty"),
])  # fmt: skip
def test_refused(metric, true, pred, options, error, words):
    with pytest.raises(error, match=words):
        getattr(metrics, metric)(true, pred, **options)


# -- in float64, in any unit -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 2, 4])
@pytest.mark.parametrize("offset", [0.0, 1e4, 1e6])
def test_float32_gives_the_figures_of_float64(bk, outputs, offset):
    drawn = np.random.default_rng(0)
    t = (offset + 10 * drawn.standard_normal((100_000, outputs))).astype("float32")
    y = (t + 5 * drawn.standard_normal(t.shape)).astype("float32")
    wide_t, wide_y = t.astype("float64"), y.astype("float64")
    for name in ("mse", "rmse", "mae", "r2"):
        found = getattr(metrics, name)(bk.put(t, "float32"), bk.put(y, "float32"))
        assert found == pytest.approx(getattr(metrics, name)(wide_t, wide_y), rel=1e-12), name
    miss = wide_y - wide_t
    assert metrics.r2(t, y) == pytest.approx(1 - np.mean(np.mean(miss**2, axis=0) / wide_t.var(axis=0)), rel=1e-9)


def test_jax_without_float64_computes_on_the_host():
    jax = pytest.importorskip("jax")
    drawn = np.random.default_rng(0)
    t = (1e4 + drawn.standard_normal((50_000, 2))).astype("float32")
    y = (t + 0.5 * drawn.standard_normal(t.shape)).astype("float32")
    with jax.enable_x64(False):
        found = metrics.r2(jax.numpy.asarray(t), jax.numpy.asarray(y))
    assert found == pytest.approx(metrics.r2(t.astype("float64"), y.astype("float64")), rel=1e-12)


@pytest.mark.parametrize("unit", [1e-200, 1e-30, 1e30, 1e200])
def test_no_metric_depends_on_the_unit(unit):
    assert metrics.r2(unit * Y, unit * FIT) == pytest.approx(metrics.r2(Y, FIT), rel=1e-12)
    assert metrics.rmse(unit * Y, unit * FIT) == pytest.approx(unit * metrics.rmse(Y, FIT), rel=1e-12)
    assert metrics.mae(unit * Y, unit * FIT) == pytest.approx(unit * metrics.mae(Y, FIT), rel=1e-12)


def test_a_constant_that_no_float_holds_exactly_is_a_constant():
    t = np.full(30, 0.1)  # its mean is not 0.1
    assert metrics.r2(t, t + 1.0) == 0.0
    assert metrics.r2(t, t) == 1.0


def test_labels_of_eight_bits_and_more_than_256_classes(bk):
    drawn = np.random.default_rng(0)
    scores, labels = drawn.standard_normal((400, 1000)), drawn.integers(0, 200, 400)
    for dtype in ("uint8", "int16", "int64"):
        for k in (1, 300, 999):
            expected = metrics.top_k_accuracy(labels, scores, k)
            assert metrics.top_k_accuracy(bk.put(labels.astype(dtype), dtype), bk.put(scores), k) == expected
    matrix = metrics.confusion_matrix(labels.astype("uint8"), labels.astype("uint8"), num_classes=300)
    assert matrix.shape == (300, 300)
    assert matrix.trace() == 400


@pytest.mark.parametrize("name", ["accuracy", "confusion_matrix", "precision", "recall", "f1"])
@pytest.mark.parametrize(
    ("true", "pred", "error", "words"),
    [
        ([1, 0, 1], np.asarray([[0.9], [0.2], [0.7]]), DataError, "y_pred > 0.5"),
        ([1, 0, 1], np.asarray([0.9, 0.2, 0.7]), DataError, "y_pred must be integer labels"),
        ([1, 0, 1], np.asarray([1.0, 0.0, 1.0]), DataError, "y_pred must be integer labels"),  # saturated, or labels?
        ([1, 0, 1], np.asarray([2.5, -1.0, 0.3], "float32"), DataError, "logits at 0"),
        ([1.0, 0.0, 0.5], np.asarray([1, 0, 1]), DataError, "y_true must be integer labels"),
        ([1, 2, 3], np.eye(3), DataError, r"y_true must hold labels in 0\.\.2, got 1\.\.3"),
        ([1, -1, 1], np.eye(3), DataError, r"got -1\.\.1"),
        (np.eye(3), np.ones((3, 4)), ShapeError, "3 classes a row, y_pred 4"),
        ([0, 1, 2], np.asarray([[0.1, 0.9, 0], [np.nan, 0, 1], [1, 0, 0]]), DataError, "NaN"),
        ([0, 1, 2], np.zeros((3, 0)), ShapeError, r"\(3, 0\)"),
    ],
)
def test_what_is_no_class_is_refused(name, true, pred, error, words):
    with pytest.raises(error, match=words):
        getattr(metrics, name)(np.asarray(true), pred)

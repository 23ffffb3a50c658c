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

"""What the public edge refuses, with which words; and class weights."""

import numpy as np
import pytest

from gdnet.errors import ArrayError, DataError, OptionError, ShapeError
from gdnet.losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Huber,
    Poisson,
    SquaredError,
    check_sample_weight,
    class_weights_to_sample_weights,
)
from gdnet.testing.cases_losses import LOSSES

NAN, INF = float("nan"), float("inf")

REFUSED = [
    (CrossEntropy(), (3,), np.asarray([0.0, 1.0]), DataError, "integer labels"),
    (CrossEntropy(), (3,), np.asarray([True, False]), DataError, "integer labels"),
    (CrossEntropy(), (3,), np.asarray([0, 3]), DataError, r"labels in 0\.\.2.*got 3 at index 1.*4 outputs"),
    (CrossEntropy(), (3,), np.asarray([-1, 2]), DataError, "got -1 at index 0"),
    (CrossEntropy(), (3,), np.asarray([[0.5, 0.5, NAN]]), DataError, "finite"),
    (CrossEntropy(), (3,), np.asarray([[0.5, 0.7, -0.2]]), DataError, r"at least 0, got -0.2 at index \(0, 2\)"),
    (CrossEntropy(), (3,), np.asarray([[0.5, 0.5, 0.5]]), DataError, "sum to 1.*got 1.5"),
    (CrossEntropy(), (3,), np.asarray([[1, 1, 0]]), DataError, "sum to 1"),
    (CrossEntropy(), (3,), np.asarray([[0], [1]]), ShapeError, r"or integer labels of shape \(2,\)"),
    (CrossEntropy(), (3,), np.zeros((2, 4)), ShapeError, r"shape \(2, 3\), got \(2, 4\)"),
    (CrossEntropy(), (1,), np.asarray([0, 0]), DataError, "BinaryCrossEntropy"),
    (CrossEntropy(), (3,), np.asarray(["a", "b"]), DataError, "encode classes"),
    (CrossEntropy(), (3,), np.asarray([], dtype=int), DataError, "at least one"),
    (CrossEntropy(), (3,), np.asarray(1), DataError, "at least one"),
    (BinaryCrossEntropy(), (1,), np.asarray([[0.0], [1.5]]), DataError, r"\[0, 1\], got 1.5"),
    (BinaryCrossEntropy(), (1,), np.asarray([[-1], [1]]), DataError, r"\[0, 1\], got -1"),
    (BinaryCrossEntropy(), (1,), np.asarray([0, 1]), ShapeError, r"t\.reshape\(2, 1\)"),
    (Hinge(), (1,), np.asarray([[0], [1]]), DataError, r"-1 and 1, got 0.*2 \* t - 1"),
    (Poisson(), (1,), np.asarray([[3.0], [-1.0]]), DataError, "at least 0, got -1.0"),
    (SquaredError(), (1,), np.asarray([1.0, 2.0]), ShapeError, r"needs targets of shape \(2, 1\), got \(2,\)"),
    (SquaredError(), (), np.asarray([[1.0], [2.0]]), ShapeError, r"t\.reshape\(2,\)"),
    (SquaredError(), (2,), np.asarray([[1.0, INF]]), DataError, r"finite.*inf at index \(0, 1\)"),
    (AbsoluteError(), (2,), np.asarray([[1.0 + 0j, 2.0]]), DataError, "numbers"),
]


@pytest.mark.parametrize(("loss", "out_shape", "t", "error", "words"), REFUSED)
def test_refused(loss, out_shape, t, error, words):
    with pytest.raises(error, match=words):
        loss.check_target(t, out_shape)


@pytest.mark.parametrize("case", LOSSES, ids=lambda case: case.name)
def test_accepted(case):
    t = case.draw()[1]
    case.loss.check_target(t, case.out_shape)
    case.loss.check_target(t.astype(np.float32) if t.dtype.kind == "f" else t.astype(np.int32), case.out_shape)


def test_call_checks_shapes_and_kinds(bk):
    y, w = bk.put(np.zeros((4, 3))), bk.put(np.ones(3))
    with pytest.raises(ShapeError, match=r"shape \(4, 3\), got \(4,\)"):
        SquaredError()(y, bk.put(np.zeros(4)))
    with pytest.raises(ShapeError, match="sample_weight"):
        SquaredError()(y, y, w)
    with pytest.raises(DataError, match="integer labels"):
        CrossEntropy()(y, bk.put(np.zeros(4)))
    with pytest.raises(ShapeError, match="at least one example"):
        SquaredError()(bk.put(np.zeros((0, 3))), bk.put(np.zeros((0, 3))))
    with pytest.raises(ArrayError, match="target"):
        SquaredError()(y, [[0.0]])


@pytest.mark.parametrize("make", [
    lambda: CrossEntropy(1.0), lambda: CrossEntropy(-0.1), lambda: CrossEntropy(NAN), lambda: BinaryCrossEntropy(1.0),
    lambda: BinaryCrossEntropy(NAN), lambda: Huber(0.0), lambda: Huber(-1.0), lambda: Huber(NAN), lambda: Huber(INF),
])  # fmt: skip
def test_options_outside_their_domain(make):
    with pytest.raises(OptionError):
        make()


@pytest.mark.parametrize(("weights", "t", "expected"), [
    ({0: 2.0, 1: 0.5}, [0, 1, 1], [2.0, 0.5, 0.5]),
    ({1: 3.0, 7: 1.0}, [0, 1], [1.0, 3.0]),
    ([1.0, 4.0], [[1], [0]], [4.0, 1.0]),
    ((1.0, 4.0), [[0.1, 0.9], [0.8, 0.2]], [4.0, 1.0]),
    ({-1: 2.0}, [[-1.0], [1.0]], [2.0, 1.0]),
    ("balanced", [0, 1, 1, 3], [4 / 3, 2 / 3, 2 / 3, 4 / 3]),
])  # fmt: skip
def test_class_weights(weights, t, expected):
    np.testing.assert_allclose(class_weights_to_sample_weights(weights, np.asarray(t)), expected)


@pytest.mark.parametrize(("weights", "t", "error", "words"), [
    ("auto", [0, 1], OptionError, "balanced"),
    ({"a": 1.0}, [0, 1], OptionError, "integer labels"),
    ({0: -1.0}, [0, 1], OptionError, "at least 0"),
    ({0: NAN}, [0, 1], OptionError, "finite"),
    ({0: "x"}, [0, 1], OptionError, "numbers"),
    ([1.0, 2.0], [0, 2], OptionError, r"labels 0\.\.2"),
    ([1.0, 2.0], [-1, 1], OptionError, r"labels -1\.\.1"),
    (3.0, [0, 1], OptionError, "one a class"),
    ([1.0, 2.0], [0.5, 1.0], DataError, "fractions"),
    ([1.0, 2.0], [NAN, 1.0], DataError, "fractions"),
    ([1.0, 2.0], [], DataError, "labels"),
    ([1.0, 2.0], [[[0, 1]]], DataError, "labels"),
])  # fmt: skip
def test_class_weights_refused(weights, t, error, words):
    with pytest.raises(error, match=words):
        class_weights_to_sample_weights(weights, np.asarray(t))


@pytest.mark.parametrize(("weight", "error"), [
    ([1.0], ShapeError), ([[1.0, 2.0]], ShapeError), ([1.0, -1.0], DataError), ([1.0, NAN], DataError),
    ([0.0, 0.0], DataError), (["a", "b"], DataError), ([1.0, INF], DataError),
])  # fmt: skip
def test_sample_weight_refused(weight, error):
    check_sample_weight(np.asarray([0, 1]), 2)
    with pytest.raises(error, match="sample_weight"):
        check_sample_weight(np.asarray(weight), 2)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int64"])
def test_labels_of_few_bits_and_many_classes(bk, dtype):
    """The numbers of 300 classes do not fit into eight bits; the labels do."""
    labels = np.asarray([0, 44, 127, 3])
    z = np.random.default_rng(0).standard_normal((4, 300))
    found = CrossEntropy().at(bk.backend, bk.put(z), bk.put(labels.astype(dtype), dtype), None)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    assert float(bk.get(found.value)) == pytest.approx(-log_p[range(4), labels].mean(), rel=1e-12)
    np.testing.assert_allclose(bk.get(found.gradient), (np.exp(log_p) - np.eye(300)[labels]) / 4, atol=1e-12)

"""Splits, standardising and one-hot rows."""

import numpy as np
import pytest

from gdnet.data import Standardizer, k_fold, one_hot, split, train_test_split
from gdnet.errors import ArrayError, DataError, NotBuilt, OptionError, ShapeError

N = 101
X, T = np.arange(2.0 * N).reshape(N, 2), np.arange(N)
CLASSES = np.repeat([0, 1, 2], [70, 21, 10])


@pytest.mark.parametrize(("size", "held"), [(0.25, 25), (30, 30), (0.5, 50), (1, 1), (np.int64(7), 7)])
def test_train_and_test_are_disjoint_and_complete(size, held):
    x_train, x_test, t_train, t_test = train_test_split(X, T, test_size=size, seed=5)
    assert (len(x_test), len(x_train)) == (held, N - held)
    assert sorted([*t_train, *t_test]) == list(range(N))
    np.testing.assert_array_equal(x_train[:, 0], 2 * t_train)
    np.testing.assert_array_equal(x_test[:, 0], 2 * t_test)


def test_splits_repeat_by_seed_and_are_the_same_everywhere(bk):
    expected = train_test_split(X, T, seed=1)
    for part, same in zip(train_test_split(bk.put(X), bk.put(T), seed=1), expected, strict=True):
        np.testing.assert_array_equal(bk.get(part), same)
    assert (train_test_split(X, T, seed=2)[3] != expected[3]).any()


def test_three_parts(bk):
    parts = split(bk.put(X), bk.put(T), fractions=(0.6, 0.3, 0.1), stratify=bk.put(CLASSES))
    numbers = [bk.get(t) for _, t in parts]
    assert [len(t) for t in numbers] == [61, 30, 10]
    assert sorted(np.concatenate(numbers)) == list(range(N))
    for t in numbers:
        np.testing.assert_allclose(np.bincount(CLASSES[t], minlength=3), np.asarray([70, 21, 10]) * len(t) / N, atol=2)


def test_stratified_by_names():
    names = np.asarray(["cat", "dog"] * 20)
    _, test = train_test_split(names, test_size=0.5, stratify=names)
    assert (test == "cat").sum() == 10


@pytest.mark.parametrize("stratify", [None, CLASSES])
def test_folds_hold_each_example_out_once(stratify):
    pairs = list(k_fold(N, 4, seed=3, stratify=stratify))
    assert sorted(np.concatenate([held for _, held in pairs])) == list(range(N))
    for train, held in pairs:
        assert sorted([*train, *held]) == list(range(N))
        assert len(held) in (25, 26)
        if stratify is not None:
            assert np.bincount(CLASSES[held], minlength=3).min() >= 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: train_test_split(X, T, test_size=0), OptionError, "at least one of 101 examples"),
        (lambda: train_test_split(X, T, test_size=1.0), OptionError, "at least one of 101 examples"),
        (lambda: train_test_split(X, T, test_size=0.001), OptionError, "at least one of 101 examples"),
        (lambda: train_test_split(), OptionError, "at least one array"),
        (lambda: train_test_split(X, T[:5]), ShapeError, "argument 2 must have 101 examples"),
        (lambda: train_test_split(X, stratify=T[:5]), ShapeError, "stratify must have shape"),
        (lambda: train_test_split(X, stratify=T / 2), DataError, "real numbers"),
        (lambda: train_test_split(X[:0]), DataError, "no examples"),
        (lambda: split(X, fractions=(0.5, 0.6)), OptionError, "add up to 1"),
        (lambda: split(X, fractions=(1.5, -0.5)), OptionError, "positive"),
        (lambda: split(X[:4]), OptionError, "a part would be empty"),
        (lambda: k_fold(5, 6), OptionError, "k must be from 2 to"),
        (lambda: k_fold(5, 1), OptionError, "k must be from 2 to"),
        (lambda: k_fold(5, 2.5), OptionError, "k must be from 2 to"),
        (lambda: k_fold("5", 2), OptionError, "n must be the number of examples"),
        (lambda: split(X, fractions=("half", 0.5)), OptionError, "positive numbers"),
        (lambda: split(X, fractions=0.5), OptionError, "positive numbers"),
        (lambda: train_test_split(X, test_size="half"), OptionError, "at least one of 101 examples"),
        (lambda: train_test_split(X, test_size=np.nan), OptionError, "at least one of 101 examples"),
        (lambda: train_test_split(X, seed=-1), OptionError, "seed must be an integer of at least 0, got -1"),
        (lambda: split(X, seed=1.5), OptionError, "seed must be an integer of at least 0, got 1.5"),
        (lambda: k_fold(5, 2, seed=True), OptionError, "seed must be an integer of at least 0, got True"),
        (lambda: k_fold(5, 2, seed="a"), OptionError, "seed must be an integer of at least 0, got 'a'"),
    ],
)
def test_impossible_splits(call, error, message):
    with pytest.raises(error, match=message):
        call()


# -- standardising ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_standardised_features(bk, dtype):
    x = np.random.default_rng(0).standard_normal((500, 3)) * [1.0, 100.0, 1e-3] + [0.0, 1000.0, 5.0]
    x[:, 1] = 3.7  # does not vary
    put = bk.put(x, dtype)
    scale = Standardizer().fit(put)
    z = scale.transform(put)
    assert dtype in str(z.dtype)
    tol = 1e-11 if dtype == "float64" else 1e-3  # 5 ± 0.001 has four digits left in float32
    np.testing.assert_allclose(bk.get(z).mean(axis=0), 0, atol=tol)
    np.testing.assert_allclose(bk.get(z).std(axis=0)[[0, 2]], 1, rtol=tol)
    np.testing.assert_allclose(bk.get(scale.inverse(z)), x, rtol=1e-12 if dtype == "float64" else 1e-5)
    np.testing.assert_allclose(scale.mean, x.astype(dtype).astype("float64").mean(axis=0), rtol=1e-14)


def test_statistics_of_many_pieces_in_float32():
    x = (np.random.default_rng(0).standard_normal((400_000, 4)) + 1000).astype("float32")
    scale = Standardizer().fit(x)
    np.testing.assert_allclose(scale.mean, x.mean(axis=0, dtype="float64"), rtol=1e-13)
    np.testing.assert_allclose(scale.std, x.std(axis=0, dtype="float64"), rtol=1e-10)


def test_a_constant_feature_that_no_float_holds_exactly():
    for value in (0.1, 1e10 + 0.1, -1e-30, 0.0):
        for dtype in ("float32", "float64"):
            x = np.full((100_003, 1), value, dtype)
            scale = Standardizer().fit(x)
            assert scale.std == 1
            assert not scale.transform(x).any()


NOISE = np.random.default_rng(5)


@pytest.mark.parametrize(
    "column",
    [
        np.where(np.arange(1000) % 2, 0.3, 0.1 + 0.2),
        20 + 1e-15 * NOISE.standard_normal(1000),
        -7e300 * (1 + 1e-16 * NOISE.standard_normal(1000)),
        np.float32(0.3) * (1 + np.float32(6e-8) * (np.arange(1000) % 2)).astype("float32"),
    ],
)
def test_a_feature_that_varies_by_rounding_is_constant(column):
    assert np.ptp(column) > 0
    x = np.stack([column, np.linspace(-1, 1, 1000)], axis=1).astype(column.dtype)
    scale = Standardizer().fit(x)
    assert scale.std[0] == 1
    assert scale.std[1] == pytest.approx(0.5779, rel=1e-3)
    other = (column[:1] * 1.001).astype(column.dtype)
    assert abs(scale.transform(np.stack([other, other], axis=1))[0, 0]) <= abs(0.0011 * float(column[0]))


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6, 1e12])
def test_a_small_spread_about_a_large_mean_is_a_spread(offset):
    x = offset + np.random.default_rng(0).standard_normal((500, 1))
    z = Standardizer().fit(x).transform(x)
    assert z.std() == pytest.approx(1, rel=1e-9)
    assert abs(z.mean()) < 1e-3 * max(1, offset / 1e12)


@pytest.mark.parametrize("unit", [1e-310, 1e-200, 1e-12, 1e12, 1e200, 1e307])
def test_standardised_features_do_not_depend_on_the_unit(unit):
    x = np.random.default_rng(0).uniform(-1, 3, (200, 2)) * [1.0, 5.0]
    z, scale = Standardizer().fit(x).transform(x), Standardizer().fit(unit * x)
    rtol = 1e-12 if unit > 1e-300 else 1e-8  # subnormal numbers have fewer digits
    np.testing.assert_allclose(scale.transform(unit * x), z, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(scale.inverse(z), unit * x, rtol=rtol, atol=rtol * unit)


@pytest.mark.parametrize(("dtype", "end"), [("float64", 1e308), ("float64", 1.7e308), ("float32", 3.3e38)])
def test_both_ends_of_the_range(bk, dtype, end):
    x = np.asarray([[end, 1.0, -end], [-end, 2.0, -end], [end, 3.0, end]], dtype)
    scale = Standardizer().fit(x)
    z = bk.get(scale.transform(bk.put(x, dtype)))
    centred = x / x.dtype.type(end) - np.mean(x / x.dtype.type(end), axis=0)
    np.testing.assert_allclose(z[:, 0], centred[:, 0] / centred[:, 0].std(), rtol=1e-5)
    np.testing.assert_allclose(z[:, 1], [-np.sqrt(1.5), 0, np.sqrt(1.5)], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bk.get(scale.inverse(bk.put(z, dtype))), x, rtol=1e-4)


def test_float32_data_far_from_zero_are_centred_to_their_last_digit():
    x = (16_000_000 + np.random.default_rng(0).integers(0, 400, (1000, 1))).astype("float32")  # all exact
    z = Standardizer().fit(x).transform(x)
    wide = x.astype("float64")
    np.testing.assert_allclose(z, (wide - wide.mean()) / wide.std(), atol=1e-6)


def test_pieces_are_merged_also_where_the_data_drift(monkeypatch):
    from gdnet.data import checks

    x = np.linspace(0, 10, 5000)[:, None] + np.random.default_rng(0).standard_normal((5000, 2))
    monkeypatch.setattr(checks, "_CHUNK_BYTES", 1024)
    scale = Standardizer().fit(x)
    np.testing.assert_allclose(scale.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale.std, x.std(axis=0), rtol=1e-12)


def test_targets_of_one_axis():
    t = np.asarray([1.0, 3.0])
    assert Standardizer().fit(t).transform(t).tolist() == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Standardizer().transform(X), NotBuilt, "call fit"),
        (lambda: Standardizer().fit(X).transform(X[:, :1]), ShapeError, "examples of shape"),
        (lambda: Standardizer().fit(T), ArrayError, "integers"),
        (lambda: Standardizer().fit(X).transform(X.astype(int)), ArrayError, "integers"),
        (lambda: Standardizer().fit(X[:0]), DataError, "at least one example"),
        (lambda: Standardizer().fit(X * np.nan), DataError, "NaN"),
        (lambda: one_hot(np.asarray([0, 5]), 3), DataError, "5 at index 1"),
        (lambda: one_hot(np.asarray([0, -1])), DataError, "-1 at index 1"),
        (lambda: one_hot(np.asarray([0.0])), ArrayError, "integer labels"),
        (lambda: one_hot(np.zeros((2, 2), int)), ShapeError, "one label an example"),
        (lambda: one_hot(np.zeros(2, int), dtype="int8"), OptionError, "dtype"),
    ],
)
def test_misuse(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("t", "k"), [([2, 0, 1], 4), ([2, 0, 1], None), ([True, False], 2), ([True, False], None)])
def test_one_hot_rows(bk, t, k):
    rows = one_hot(bk.put(np.asarray(t)), k)
    assert "float32" in str(rows.dtype)
    np.testing.assert_array_equal(bk.get(rows), np.eye(k or max(t) + 1)[np.asarray(t, int)])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int64"])
def test_one_hot_of_more_classes_than_the_dtype_has_numbers(bk, dtype):
    rows = bk.get(one_hot(bk.put(np.asarray([0, 44, 127], dtype), dtype), 300))
    np.testing.assert_array_equal(rows, np.eye(300)[[0, 44, 127]])

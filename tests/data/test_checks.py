"""Bad data get an error of gdnet's own that says what is wrong and where."""

import re

import numpy as np
import pytest

from gdnet.backend import get_backend
from gdnet.data import Dataset, check_data, check_labels
from gdnet.errors import ArrayError, DataError, GdnetError, ShapeError

X, T = np.ones((4, 3)), np.arange(4)


def spoilt(value, *places):
    x = X.copy()
    for place in places:
        x[place] = value
    return x


AT, ATS = (f" that {verb} NaN or infinite, the first at index " for verb in ("is", "are"))

BAD = [
    ("a list", [[1.0]], None, None, ArrayError, "x must be an array, got list"),
    ("no examples", np.ones((0, 3)), np.ones(0), None, DataError, "x is empty: its shape is (0, 3)"),
    ("no features", np.ones((4, 0)), T, None, DataError, "x is empty: its shape is (4, 0)"),
    ("lengths", X, T[:3], None, ShapeError, "x has 4 examples and t has 3 (shapes (4, 3) and (3,))"),
    ("one axis", X[:, 0], T, None, ShapeError, "x must have shape (examples, features) or more axes, got (4,)"),
    ("no axis in t", X, np.asarray(1.0), None, ShapeError, "t must have one row an example"),
    ("NaN", spoilt(np.nan, (1, 2)), T, None, DataError, "x contains 1 value" + AT + "(1, 2)"),
    ("inf", spoilt(-np.inf, (3, 0), (2, 1)), T, None, DataError, "x contains 2 values" + ATS + "(2, 1)"),
    ("NaN in t", X, np.asarray([0.0, 1.0, np.nan, np.inf]), None, DataError, "t contains 2 values" + ATS + "2"),
    ("integers", X.astype("int64"), T, None, ArrayError, "convert and scale them, as in x.astype('float32')"),
    ("bytes", X.astype("uint8"), T, None, ArrayError, "x.astype('float32') / 255"),
    ("booleans", X > 0, T, None, ArrayError, "got integers (bool)"),
    ("half precision", X.astype("float16"), T, None, ArrayError, "x must be float32 or float64, got float16"),
    ("long double", X.astype(np.longdouble), T, None, ArrayError, "x must be float32 or float64"),
    ("complex", X.astype(complex), T, None, ArrayError, "x must hold real numbers, got complex numbers"),
    ("objects", X.astype(object), T, None, ArrayError, "x must hold real numbers, got Python objects"),
    ("text", X.astype(str), T, None, ArrayError, "x must hold real numbers, got text"),
    ("text in t", X, np.asarray(["a", "b", "c", "d"]), None, ArrayError, "t must hold real numbers, got text"),
    ("dates", X, T.astype("datetime64[s]"), None, ArrayError, "t must hold real numbers"),
    ("weights' length", X, T, np.ones(3), ShapeError, "x has 4 examples and sample_weight has 3"),
    ("weights' axes", X, T, np.ones((4, 1)), ShapeError, "sample_weight must have shape (4,)"),
    ("negative weight", X, T, np.asarray([1.0, 1, -2, 1]), DataError, "must not be negative, got -2.0 at index 2"),
    ("zero weights", X, T, np.zeros(4), DataError, "sample_weight is zero for every example"),
    ("NaN weight", X, T, np.asarray([1.0, 1, np.nan, 1]), DataError, "sample_weight contains 1 value"),
]  # fmt: skip


@pytest.mark.parametrize(("x", "t", "weight", "error", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_data_are_refused(x, t, weight, error, message):
    with pytest.raises(error, match=re.escape(message)):
        check_data(x, t, weight)


@pytest.mark.parametrize(
    ("x", "t", "weight", "error", "message"),
    [
        b[1:]
        for b in BAD
        if b[0] in ("NaN", "inf", "NaN in t", "integers", "lengths", "negative weight", "zero weights")
    ],
)
def test_bad_data_are_refused_on_every_backend(bk, x, t, weight, error, message):
    with pytest.raises(error, match=re.escape(message)):
        check_data(bk.put(x), bk.put(t), None if weight is None else bk.put(weight))


@pytest.mark.parametrize(
    ("x", "t", "weight"),
    [
        (X, T, None),
        (X.astype("float32"), None, None),
        (np.ones((4, 2, 2, 1)), X, np.asarray([0, 1, 0, 2])),
        (X * 1e308, X > 0, None),  # the sum overflows, the values do not
        (X.astype(">f4")[::2], T[::2], T[::2] > 0),
    ],
)
def test_good_data_pass_as_they_are(x, t, weight):
    data = check_data(x, t, weight)
    assert isinstance(data, Dataset)
    assert data.x is x


def test_good_data_pass_on_every_backend(bk):
    x, t = bk.put(X), bk.put(T)
    data = check_data(x, t, bk.put(np.ones(4)), classes=4)
    assert len(data) == 4
    assert data.x is x


def test_the_first_bad_value_is_found_beyond_the_first_piece():
    x = np.ones((600_000, 5), "float32")
    x[550_001, 4] = x[550_002, 0] = np.inf
    with pytest.raises(DataError, match=re.escape("2 values" + ATS + "(550001, 4)")):
        check_data(x, np.zeros(600_000))


def test_a_file_is_checked_in_pieces(tmp_path):
    import tracemalloc

    x = np.ones((200_000, 20))
    x[199_999, 3] = np.nan
    np.save(tmp_path / "x.npy", x)
    tracemalloc.start()
    with pytest.raises(DataError, match=re.escape("(199999, 3)")):
        check_data(np.load(tmp_path / "x.npy", mmap_mode="r"), np.zeros(200_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12e6  # the file has 32 MB


def test_other_libraries_and_devices_are_refused(bk):
    torch = pytest.importorskip("torch") if bk.name != "torch" else None
    foreign = np.ones((4, 3)) if torch is None else torch.ones((4, 3))
    with pytest.raises(ArrayError, match="arrays must share one library and device"):
        check_data(bk.put(X), foreign[:, 0])
    if torch is not None:
        with pytest.raises(ArrayError, match="the model is on"):
            check_data(foreign, backend=bk.backend)
    check_data(X, T, backend=bk.backend)  # host data will do for every backend


@pytest.mark.parametrize(
    ("t", "error", "message"),
    [
        ([0, 3, 1], DataError, "labels from 0 to 2, got values from 0 to 3 (3 at index 1)"),
        ([0, 1, -1], DataError, "labels from 0 to 2, got values from -1 to 1 (-1 at index 2)"),
        ([0.0, 1.0], ArrayError, "t must hold integer labels from 0 to 2, got float64"),
    ],
)
def test_labels_out_of_range(bk, t, error, message):
    with pytest.raises(error, match=re.escape(message)):
        check_labels(bk.put(np.asarray(t)), 3)


def test_labels_in_range(bk):
    check_labels(bk.put(np.asarray([0, 2, 1])), 3)
    check_labels(bk.put(np.asarray([True, False])), 2)
    with pytest.raises(DataError, match="labels from 0 to 1"):
        check_data(X, T, classes=2)


def test_prepared_data_are_checked_as_they_come_out():
    raw = np.ones((4, 3), "uint8")
    check_data(Dataset(raw, T, prepare=lambda x: x.astype("float32")))
    with pytest.raises(ArrayError, match="x, as prepared, must be float32 or float64, got integers"):
        check_data(Dataset(raw, T, prepare=lambda x: x * 2))


def test_messages_are_gdnets_own():
    for _, x, t, weight, _, _ in BAD:
        with pytest.raises(GdnetError):
            check_data(x, t, weight, backend=get_backend("cpu"))

"""Bad data are refused at the edge, in words, before anything has been computed."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, backend_of
from gdnet.data.arrays import Dataset, is_integer, name_of
from gdnet.errors import ArrayError, DataError, OptionError, ShapeError

_ROW = 4096  # numbers a row, where BLAS was fastest
_CHUNK_BYTES = 2**23
WEIGHTS = (1e-20, 1e20)
"""Where the largest weight must lie."""


def check_data(
    x: Array | Dataset,
    t: Array | None = None,
    sample_weight: Array | None = None,
    *,
    backend: Backend | None = None,
    dtype: str | None = None,
    classes: int | None = None,
    names: tuple[str, str, str] = ("x", "t", "sample_weight"),
) -> Dataset:
    """The data as a `Dataset`, if they can be trained on.

    Parameters
    ----------
    x : (n, ...) of float32 or float64
    t : (n, ...), optional
        Reals, or integers and booleans (labels, counts).
    sample_weight : (n,), optional
        Not negative, not all zero.
    backend : Backend, optional
        Where they are needed. NumPy arrays will do for every backend, arrays of another library or device will not.
    dtype : str, optional
        The precision that they are converted to; float64 values that it cannot hold are refused.
    classes : int, optional
        If t holds one integer an example, it must lie in 0..classes-1.
    names : tuple of str
        What to call the arrays in messages.

    Raises
    ------
    ArrayError
        Not arrays, arrays of another library or device, integers for x, text, objects, complex numbers.
    ShapeError
        Different numbers of examples, or too few axes.
    DataError
        No examples, NaN or infinity, labels out of range, negative weights.

    Notes
    -----
    One pass over the data, in pieces: a memory-mapped file is read once and not kept. With a `Dataset` that has a
    `prepare` function x is checked as it comes out of that function for the first example.

    >>> check_data(np.asarray([[0.0], [np.nan]]), np.asarray([0, 1]))
    Traceback (most recent call last):
    gdnet.errors.DataError: x contains 1 value that is NaN or infinite, the first at index (1, 0): remove or replace it
    """
    prepare = None
    if isinstance(x, Dataset):
        if t is not None or sample_weight is not None:
            raise OptionError(f"a Dataset holds {names[1]} and {names[2]} itself: give them to Dataset(...)")
        prepare, (x, t, sample_weight) = x.prepare, x._all
    if x is None:
        raise ArrayError(f"{names[0]} must be an array, got None")
    given = {n: a for n, a in zip(names, (x, t, sample_weight)) if a is not None}
    home = backend_of(*given.values(), names=tuple(given))
    for name, array in given.items():
        _check_kind(array, name)
    _check_sizes(given, names)
    data = Dataset(x, t, sample_weight, prepare=prepare)
    if backend is not None:
        data.on(backend, whole=False)  # refuses arrays of another library or device
    if prepare is None:
        _check_real(x, names[0])
        check_finite(home, x, names[0], dtype)
    else:
        first = prepare(x[:1])
        _check_real(first, f"{names[0]}, as prepared,")
        check_finite(home, first, f"{names[0]}, as prepared,")
    if t is not None:
        check_finite(home, t, names[1], dtype)
        if classes is not None and t.ndim == 1:
            check_labels(t, classes, names[1])
    if sample_weight is not None:
        check_finite(home, sample_weight, names[2])
        _check_weight(home, sample_weight, names[2])
    return data


def check_labels(t: Array, classes: int, name: str = "t") -> None:
    """A `DataError` or `ArrayError` unless t holds integers from 0 to classes - 1.

    >>> check_labels(np.asarray([0, 3]), 3)
    Traceback (most recent call last):
    gdnet.errors.DataError: t must hold labels from 0 to 2, got values from 0 to 3 (3 at index 1)
    """
    backend = backend_of(t, names=(name,))
    xp = backend.xp
    if not is_integer(t):
        raise ArrayError(
            f"{name} must hold integer labels from 0 to {classes - 1}, got {name_of(t)}: "
            f"convert it, as in {name}.astype('int64'), or give one-hot rows"
        )
    if name_of(t) == "bool":
        t = xp.astype(t, backend.dtype("int32"))
    low, high = int(xp.min(t)), int(xp.max(t))
    if low < 0 or high >= classes:
        at, value = (int(xp.argmin(t)), low) if low < 0 else (int(xp.argmax(t)), high)
        raise DataError(
            f"{name} must hold labels from 0 to {classes - 1}, got values from {low} to {high} ({value} at index {at})"
        )


def _check_kind(array: Array, name: str) -> None:
    kind = name_of(array)
    if isinstance(array, np.ma.MaskedArray):
        raise ArrayError(f"{name} is a masked array: leave out or fill what is masked, as in {name}.filled(0.0)")
    if isinstance(array, np.matrix):
        raise ArrayError(f"{name} is a numpy.matrix, whose products differ from an array's: give numpy.asarray({name})")
    if isinstance(array, np.ndarray) and array.dtype.kind not in "fiub":
        what = {"O": "Python objects", "U": "text", "S": "text", "T": "text", "c": "complex numbers"}
        raise ArrayError(
            f"{name} must hold real numbers, got {what.get(array.dtype.kind, kind)} (dtype {array.dtype}): "
            f"make it an array of numbers, as in {name}.astype('float64')"
        )
    if not (is_integer(array) or kind in ("float32", "float64")):
        raise ArrayError(f"{name} must be float32 or float64, got {kind}: convert it, as in {name}.astype('float32')")


def _check_real(x: Array, name: str) -> None:
    if is_integer(x):
        scale = " / 255" if name_of(x) == "uint8" else ""
        raise ArrayError(
            f"{name} must be float32 or float64, got integers ({name_of(x)}): convert and scale them, as in "
            f"{name.split(',')[0]}.astype('float32'){scale}"
        )


def _check_sizes(given: dict[str, Array], names: tuple[str, str, str]) -> None:
    x, t, weight = (given.get(name) for name in names)
    if x is not None and x.ndim < 2:
        raise ShapeError(
            f"{names[0]} must have shape (examples, features) or more axes, got {tuple(x.shape)}: one feature an "
            f"example is {names[0]}[:, None], one example alone {names[0]}[None, :]"
        )
    if t is not None and t.ndim < 1:
        raise ShapeError(f"{names[1]} must have one row an example, got a single number")
    n = x.shape[0]  # type: ignore[union-attr]
    if weight is not None and weight.ndim == 0:
        raise ShapeError(f"{names[2]} must have one weight an example, got a single number")
    for name, array in given.items():
        if 0 in array.shape:
            raise DataError(f"{name} is empty: its shape is {tuple(array.shape)}")
        if array.shape[0] != n:
            raise ShapeError(
                f"{names[0]} has {n} examples and {name} has {array.shape[0]} (shapes {tuple(x.shape)} and "  # type: ignore[union-attr]
                f"{tuple(array.shape)}): they must be equally many"
            )
    if weight is not None and weight.ndim != 1:
        raise ShapeError(f"{names[2]} must have shape ({n},), one weight an example, got {tuple(weight.shape)}")


def _pieces(array: Array) -> Iterator[tuple[int, Array]]:
    """Host data in pieces, so that no file is read whole, with the number of their first row; device data whole."""
    if not isinstance(array, np.ndarray):
        yield 0, array
        return
    rows = max(1, _CHUNK_BYTES // max(1, array.itemsize * math.prod(array.shape[1:])))
    for start in range(0, array.shape[0], rows):
        yield start, np.asarray(array[start : start + rows])


def _has_finite_total(xp: Any, array: Array) -> bool:
    """Of host data as a product with ones, which BLAS does at the speed of memory."""
    with np.errstate(all="ignore"):
        if not (isinstance(array, np.ndarray) and array.flags.c_contiguous):
            return math.isfinite(float(xp.sum(array)))
        flat = array.reshape(-1)
        whole = flat.size - flat.size % _ROW
        rows = flat[:whole].reshape(-1, _ROW) @ np.ones(_ROW, flat.dtype)
        return math.isfinite(float(np.sum(rows) + np.sum(flat[whole:])))


def check_finite(backend: Backend, array: Array, name: str, dtype: str | None = None) -> None:
    """A total is finite only if all its terms are (the converse fails on overflow, so a closer look decides)."""
    if is_integer(array):
        return
    xp, count, first = backend.xp, 0, ""
    largest = float(np.finfo(np.float32).max) if dtype == "float32" and name_of(array) == "float64" else math.inf
    as_it_lies = not isinstance(array, np.ndarray) or (array.flags.c_contiguous and array.dtype.isnative)
    if largest == math.inf and as_it_lies and _has_finite_total(xp, array):
        return  # without a copy; all else is looked at piece by piece
    for start, piece in _pieces(array):
        good = _has_finite_total(xp, piece)
        if largest < math.inf and math.isfinite(high := float(xp.max(xp.abs(piece)))) and high > largest:
            raise DataError(f"{name} reaches {high:.3g}, more than float32 can hold: scale it, or use dtype='float64'")
        if good:
            continue
        bad = xp.astype(~xp.isfinite(piece), backend.dtype("int32"))
        found = int(xp.sum(bad))
        if found and not count:
            at = np.unravel_index(int(xp.argmax(xp.reshape(bad, (-1,)))), tuple(piece.shape))
            place: tuple[Any, ...] = (int(at[0]) + start, *map(int, at[1:]))
            first = str(place) if len(place) > 1 else str(place[0])
        count += found
    if count:
        many = f"{count} values that are" if count > 1 else "1 value that is"
        raise DataError(
            f"{name} contains {many} NaN or infinite, the first at index {first}: "
            f"remove or replace {'them' if count > 1 else 'it'}"
        )


def _check_weight(backend: Backend, weight: Array, name: str) -> None:
    xp = backend.xp
    if name_of(weight) == "bool":
        weight = xp.astype(weight, backend.dtype("int32"))
    low, high = float(xp.min(weight)), float(xp.max(weight))
    if low < 0:
        raise DataError(f"{name} must not be negative, got {low} at index {int(xp.argmin(weight))}")
    if high == 0:
        raise DataError(f"{name} is zero for every example: nothing would be learned")
    if not WEIGHTS[0] <= high <= WEIGHTS[1]:  # sums of a batch must be representable in float32
        raise DataError(
            f"the largest {name} is {high:.3g}, outside {WEIGHTS[0]:g} to {WEIGHTS[1]:g}: only the ratios "
            f"of weights count, so multiply all by one factor"
        )

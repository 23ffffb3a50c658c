"""Figures of merit, `metric(y_true, y_pred)` as in scikit-learn, for arrays of any library.

They are computed where the arrays live; only the result comes to the host, as a Python float.

Classes: `y_true` and `y_pred` are integer labels (n,) or (n, 1), or rows of scores, probabilities or one-hot (n, k),
whose largest entry is the class. Real numbers that are not such rows are refused, since nothing says where to cut them.
Numbers: both are (n,) or (n, outputs); several outputs are averaged evenly. Sums run in float64 whatever the arrays
hold, since a mean over many float32 rows loses digits.
"""

import math
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, backend_of, get_backend
from gdnet.backend.base import resolve_dtype
from gdnet.errors import DataError, OptionError, ShapeError

# -- classes -----------------------------------------------------------------------------------------------------------


def accuracy(y_true: Array, y_pred: Array) -> float:
    """The share of examples whose class is right.

    >>> import numpy as np
    >>> accuracy(np.asarray([0, 1, 2, 2]), np.asarray([0, 1, 2, 0]))
    0.75
    """
    backend, true, pred = _classes(y_true, y_pred)
    xp = backend.xp
    return int(backend.to_numpy(xp.count_nonzero(true == pred))) / true.shape[0]


def top_k_accuracy(y_true: Array, y_score: Array, k: int = 5) -> float:
    """The share of examples whose class is among the k highest scores (n, classes); of equal scores the last wins.

    >>> import numpy as np
    >>> top_k_accuracy(np.asarray([0, 1]), np.asarray([[0.3, 0.5, 0.2], [0.1, 0.2, 0.7]]), k=2)
    1.0
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise OptionError(f"top_k_accuracy: k must be an integer of at least 1, got {k!r}")
    if y_score.ndim != 2:
        raise ShapeError(f"top_k_accuracy: y_score must have shape (n, classes), got {tuple(y_score.shape)}")
    backend, true, _ = _classes(y_true, y_score)
    xp, classes = backend.xp, y_score.shape[1]
    _check_range(backend, true, classes, "y_true")
    number = xp.reshape(xp.arange(classes, dtype=xp.int32, device=backend.device), (1, classes))
    true = xp.reshape(xp.astype(true, xp.int32), (-1, 1))
    own = xp.sum(xp.where(number == true, y_score, xp.zeros_like(y_score)), axis=1, keepdims=True)
    before = (y_score > own) | ((y_score == own) & (number > true))
    rank = xp.count_nonzero(before, axis=1)
    return int(backend.to_numpy(xp.count_nonzero(rank < k))) / true.shape[0]


def confusion_matrix(y_true: Array, y_pred: Array, num_classes: int | None = None) -> np.ndarray:
    """Counts [true class, predicted class] as a host array; classes are 0 .. num_classes-1 (by default all that occur).

    >>> import numpy as np
    >>> confusion_matrix(np.asarray([0, 1, 1]), np.asarray([0, 1, 0])).tolist()
    [[1, 0], [1, 1]]
    """
    backend, true, pred = _classes(y_true, y_pred)
    xp = backend.xp
    if num_classes is None:
        num_classes = 1 + max(int(backend.to_numpy(xp.max(labels))) for labels in (true, pred))
    for name, labels in (("y_true", true), ("y_pred", pred)):
        _check_range(backend, labels, num_classes, name)
    pair = xp.astype(true, xp.int32) * num_classes + xp.astype(pred, xp.int32)
    cells, counts = xp.unique_counts(pair)
    matrix = np.zeros(num_classes * num_classes, dtype=np.int64)
    matrix[backend.to_numpy(cells)] = backend.to_numpy(counts)
    return matrix.reshape(num_classes, num_classes)


def precision(y_true: Array, y_pred: Array, average: str | None = "macro") -> Any:
    """Right predictions of a class / all predictions of it; 0 for a class that was never predicted.

    `average="macro"` is the mean over the classes that occur in either array; None gives a list, one number each.

    >>> import numpy as np
    >>> precision(np.asarray([0, 1, 1]), np.asarray([0, 1, 0]))
    0.75
    """
    right, _, pred = _counts(y_true, y_pred, average)
    return _average(_ratio(right, pred), average)


def recall(y_true: Array, y_pred: Array, average: str | None = "macro") -> Any:
    """Right predictions of a class / all examples of it; 0 for a class without examples. `average` as in `precision`.

    >>> import numpy as np
    >>> recall(np.asarray([0, 1, 1]), np.asarray([0, 1, 0]))
    0.75
    """
    right, true, _ = _counts(y_true, y_pred, average)
    return _average(_ratio(right, true), average)


def f1(y_true: Array, y_pred: Array, average: str | None = "macro") -> Any:
    """The harmonic mean of precision and recall of a class. `average` as in `precision`.

    >>> import numpy as np
    >>> round(f1(np.asarray([0, 1, 1]), np.asarray([0, 1, 0])), 6)
    0.666667
    """
    right, true, pred = _counts(y_true, y_pred, average)
    return _average(_ratio(2 * right, true + pred), average)


def _counts(y_true: Array, y_pred: Array, average: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right predictions, examples and predictions of each class that occurs."""
    if average not in ("macro", None):
        raise OptionError(f'average must be "macro" or None, got {average!r}')
    matrix = confusion_matrix(y_true, y_pred)
    right, true, pred = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    occurs = true + pred > 0
    return right[occurs], true[occurs], pred[occurs]


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.where(bottom > 0, top / np.maximum(bottom, 1), 0.0)


def _average(values: np.ndarray, average: str | None) -> Any:
    return values.tolist() if average is None else float(np.mean(values))


def _classes(y_true: Array, y_pred: Array) -> tuple[Backend, Array, Array]:
    """Both as labels (n,)."""
    backend = backend_of(y_true, y_pred, names=("y_true", "y_pred"))
    labels = [_labels(backend, y_true, "y_true"), _labels(backend, y_pred, "y_pred")]
    if labels[0].shape[0] != labels[1].shape[0]:
        raise ShapeError(f"y_true holds {labels[0].shape[0]} examples, y_pred {labels[1].shape[0]}")
    wide = {name: y.shape[1] for name, y in (("y_true", y_true), ("y_pred", y_pred)) if _is_wide(y)}
    if len(set(wide.values())) > 1:
        raise ShapeError(f"y_true has {wide['y_true']} classes a row, y_pred {wide['y_pred']}: they must agree")
    for name, y, own in (("y_true", y_true, labels[0]), ("y_pred", y_pred, labels[1])):
        if wide and not _is_wide(y):
            _check_range(backend, own, max(wide.values()), name)
    return backend, labels[0], labels[1]


def _is_wide(y: Array) -> bool:
    """Whether y holds a row of numbers for each example, one a class."""
    return y.ndim == 2 and y.shape[1] > 1


def _labels(backend: Backend, y: Array, name: str) -> Array:
    """The class of each example, (n,)."""
    xp = backend.xp
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise ShapeError(f"{name} must have shape (n,) or (n, classes) with n >= 1, got {tuple(y.shape)}")
    if _is_bool(xp, y):
        y = xp.astype(y, xp.int32)
    if _is_wide(y):
        if xp.isdtype(y.dtype, "real floating") and bool(backend.to_numpy(xp.any(xp.isnan(y)))):
            raise DataError(f"{name} holds NaN among its scores: no class is the largest there")
        return xp.argmax(y, axis=1)
    if not xp.isdtype(y.dtype, "integral"):
        raise DataError(
            f"{name} must be integer labels or rows of scores, got real numbers ({y.dtype}) of shape {tuple(y.shape)}: "
            f"cut probabilities of one output, as in ({name} > 0.5), logits at 0; or convert labels to integers"
        )
    return xp.reshape(y, (-1,))


def _is_bool(xp: Any, y: Array) -> bool:
    return xp.isdtype(y.dtype, "bool")


def _check_range(backend: Backend, labels: Array, classes: int, name: str) -> None:
    low, high = (int(backend.to_numpy(bound(labels))) for bound in (backend.xp.min, backend.xp.max))
    if low < 0 or high >= classes:
        raise DataError(f"{name} must hold labels in 0..{classes - 1}, got {low}..{high}")


# -- numbers -----------------------------------------------------------------------------------------------------------


def mse(y_true: Array, y_pred: Array) -> float:
    """Mean of (y_true - y_pred)².

    >>> import numpy as np
    >>> mse(np.asarray([1.0, 2.0]), np.asarray([1.0, 4.0]))
    2.0
    """
    backend, true, pred = _numbers(y_true, y_pred)
    return backend.read(backend.xp.mean((true - pred) ** 2))


def rmse(y_true: Array, y_pred: Array) -> float:
    """Root of the mean of (y_true - y_pred)², in the units of y; for several outputs the mean of their roots.

    >>> import numpy as np
    >>> rmse(np.asarray([0.0, 0.0]), np.asarray([3.0, 3.0]))
    3.0
    """
    backend, true, pred = _numbers(y_true, y_pred)
    xp = backend.xp
    miss, unit = _in_own_unit(xp, true - pred)
    return backend.read(xp.mean(unit * xp.sqrt(xp.mean(miss**2, axis=0))))


def mae(y_true: Array, y_pred: Array) -> float:
    """Mean of |y_true - y_pred|.

    >>> import numpy as np
    >>> mae(np.asarray([1.0, 2.0]), np.asarray([1.0, 4.0]))
    1.0
    """
    backend, true, pred = _numbers(y_true, y_pred)
    return backend.read(backend.xp.mean(backend.xp.abs(true - pred)))


def r2(y_true: Array, y_pred: Array) -> float:
    """1 - Σ (y_true - y_pred)² / Σ (y_true - mean)²: 1 is perfect, 0 no better than the mean.

    An output that never changes counts 1 if it is met exactly, else 0. NaN for fewer than two examples.

    >>> import numpy as np
    >>> r2(np.asarray([1.0, 2.0, 3.0]), np.asarray([1.0, 2.0, 4.0]))
    0.5
    """
    backend, true, pred = _numbers(y_true, y_pred)
    if true.shape[0] < 2:
        return math.nan
    xp = backend.xp
    miss, miss_unit = _in_own_unit(xp, true - pred)
    moved, unit = _in_own_unit(xp, true - true[:1, :])  # exactly 0 for an output that never changes
    spread = xp.sum((moved - xp.mean(moved, axis=0, keepdims=True)) ** 2, axis=0)
    moves = spread > 0
    share = xp.sum(miss**2, axis=0) / xp.where(moves, spread, xp.ones_like(spread)) * (miss_unit / unit) ** 2
    met = xp.astype(xp.all(miss == 0, axis=0), share.dtype)
    return backend.read(xp.mean(xp.where(moves, 1.0 - share, met)))


def _numbers(y_true: Array, y_pred: Array) -> tuple[Backend, Array, Array]:
    """Both as (n, outputs), of one floating dtype."""
    backend = backend_of(y_true, y_pred, names=("y_true", "y_pred"))
    xp, both = backend.xp, []
    for name, y in (("y_true", y_true), ("y_pred", y_pred)):
        if y.ndim not in (1, 2) or 0 in y.shape:
            raise ShapeError(f"{name} must have shape (n,) or (n, outputs), not empty, got {tuple(y.shape)}")
        both.append(xp.reshape(y, (y.shape[0], -1)))
    true, pred = both
    if tuple(true.shape) != tuple(pred.shape):
        raise ShapeError(f"y_true has shape {tuple(y_true.shape)}, y_pred {tuple(y_pred.shape)}: they must agree")
    try:
        dtype = backend.dtype(resolve_dtype(backend, "float64"))
    except OptionError:  # a library without float64
        true, pred = (backend.to_numpy(y) for y in (true, pred))
        backend, dtype = get_backend("cpu"), np.float64
    return backend, backend.xp.astype(true, dtype), backend.xp.astype(pred, dtype)


def _in_own_unit(xp: Any, columns: Array) -> tuple[Array, Array]:
    """Each column divided by its largest size, and those sizes: squares neither overflow nor vanish in any unit."""
    unit = xp.max(xp.abs(columns), axis=0)
    unit = xp.where((unit > 0) & xp.isfinite(unit), unit, xp.ones_like(unit))
    return columns / unit, unit

"""Training, validation and test parts of a data set, drawn without replacement."""

from collections.abc import Iterator, Sequence

import numpy as np

from gdnet.backend import Array, host_generator
from gdnet.checks import is_real, is_whole
from gdnet.data.arrays import Dataset, name_of
from gdnet.errors import DataError, OptionError, ShapeError


def train_test_split(
    *arrays: Array, test_size: float | int = 0.25, seed: int = 0, stratify: Array | None = None
) -> list[Array]:
    """Each array in two parts: `x_train, x_test, t_train, t_test = train_test_split(x, t)`.

    Parameters
    ----------
    test_size : float or int
        A fraction of the examples below 1, or their number.
    stratify : (n,), optional
        Labels whose shares are kept in both parts, to within one example a class.

    >>> x_train, x_test = train_test_split(np.arange(10.0), test_size=0.2)
    >>> len(x_train), len(x_test)
    (8, 2)
    """
    n = _length(arrays)
    real = is_whole(test_size) or (is_real(test_size) and np.isfinite(test_size))
    test = 0 if not real else int(test_size) if is_whole(test_size) else round(n * test_size)
    if not 0 < test < n:
        raise OptionError(
            f"test_size must leave both parts at least one of {n} examples: a fraction between 0 and 1 or a number "
            f"from 1 to {n - 1}; got {test_size!r}"
        )
    train, held = _cut(n, [n - test, test], seed, stratify)
    return [part for a in arrays for part in (_take(a, train), _take(a, held))]


def split(
    *arrays: Array,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    stratify: Array | None = None,
) -> list[tuple[Array, ...]]:
    """The examples in as many parts as there are fractions: `train, validation, test = split(x, t)`.

    Each part is a tuple with one array for each that was given, so `model.fit(*train, validation_data=validation)`.

    >>> train, validation, test = split(np.zeros((20, 3)), np.zeros(20))
    >>> [x.shape for x, t in (train, validation, test)]
    [(16, 3), (2, 3), (2, 3)]
    """
    n = _length(arrays)
    real = isinstance(fractions, (list, tuple)) and all(map(is_real, fractions))
    if not real or not fractions or any(not f > 0 for f in fractions) or abs(sum(fractions) - 1) > 1e-9:
        raise OptionError(f"fractions must be positive numbers that add up to 1, got {fractions!r}")
    ends = np.rint(np.cumsum(fractions) * n).astype(int)
    sizes = np.diff(ends, prepend=0).tolist()
    if 0 in sizes:
        raise OptionError(f"{n} examples are too few for the fractions {tuple(fractions)}: a part would be empty")
    return [tuple(_take(a, index) for a in arrays) for index in _cut(n, sizes, seed, stratify)]


def k_fold(n: int, k: int = 5, seed: int = 0, stratify: Array | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """k pairs of example numbers (training, validation) for cross-validation; each example is held out once.

    >>> for train, held in k_fold(6, 3):
    ...     print(len(train), len(held))
    4 2
    4 2
    4 2
    """
    if not is_whole(n) or n < 2:
        raise OptionError(f"n must be the number of examples, an integer of at least 2, got {n!r}")
    if not is_whole(k) or not 2 <= k <= n:
        raise OptionError(f"k must be from 2 to the number of examples, {n}, got {k!r}")
    folds = _cut(n, [n // k + (i < n % k) for i in range(k)], seed, stratify)
    return ((np.concatenate(folds[:i] + folds[i + 1 :]), folds[i]) for i in range(k))


def _length(arrays: tuple[Array, ...]) -> int:
    if not arrays:
        raise OptionError("give at least one array to be split")
    data = [Dataset(a) for a in arrays]
    for i, a in enumerate(arrays):
        if a.ndim == 0 or a.shape[0] != arrays[0].shape[0]:
            raise ShapeError(f"argument {i + 1} must have {len(data[0])} examples, got shape {tuple(a.shape)}")
    if len(data[0]) == 0:
        raise DataError("there are no examples to be split")
    return len(data[0])


def _take(array: Array, index: np.ndarray) -> Array:
    return Dataset(array).take(index)[0]


def _cut(n: int, sizes: list[int], seed: int, labels: Array | None) -> list[np.ndarray]:
    """Disjoint random parts of 0..n-1 of these sizes; each has its share of every class if labels are given."""
    if not is_whole(seed) or seed < 0:
        raise OptionError(f"seed must be an integer of at least 0, got {seed!r}")
    rng = host_generator(int(seed), "split")
    order = rng.permutation(n)
    if labels is not None:
        # Every class is spread evenly over [0, 1): wherever that line is cut, a piece has its share of the class.
        classes = _classes(labels, n)[order]
        place = np.empty(n)
        for c in np.unique(classes):
            members = np.flatnonzero(classes == c)
            place[members] = (np.arange(len(members)) + rng.random()) / len(members)
        order = order[np.argsort(place, kind="stable")]
    ends = np.cumsum(sizes)[:-1]
    return [rng.permutation(part) if labels is not None else part for part in np.split(order, ends)]


def _classes(labels: Array, n: int) -> np.ndarray:
    if tuple(labels.shape) != (n,):
        raise ShapeError(f"stratify must have shape ({n},), one label an example, got {tuple(labels.shape)}")
    if name_of(labels).startswith("float"):
        raise DataError("stratify must hold labels (integers or text), got real numbers")
    data = Dataset(labels)
    return labels if data.on_host else data.home.to_numpy(labels)

"""What is done to data before training: standardising, one-hot targets."""

from collections.abc import Callable, Iterator

import numpy as np

from gdnet.backend import Array, Backend, backend_of, check_float
from gdnet.data.arrays import name_of
from gdnet.data.checks import _check_kind, _check_real, _pieces, check_finite, check_labels
from gdnet.errors import DataError, NotBuilt, ShapeError


class Standardizer:
    """(x - mean) / std, feature by feature, with the mean and the standard deviation of the training data.

    A feature that does not vary is only centred, and so is one whose standard deviation is at most twice the rounding
    of its dtype, eps · max |x|: such differences come from arithmetic. Sums run in float64 on the host, so that the
    statistics of one data set are the same for every library; `transform` and `inverse` keep the dtype and the device
    of what they are given.

    Attributes
    ----------
    mean, std : float64 arrays of the shape of one example
        `std` is 1 for a feature that does not vary.

    Source: the merging of pieces is that of Chan, Golub and LeVeque, The American Statistician 37 (1983) 242-247.

    >>> scale = Standardizer().fit(np.asarray([[1.0, 5.0], [3.0, 5.0]]))
    >>> scale
    Standardizer(2 features)
    >>> scale.transform(np.asarray([[1.0, 5.0], [5.0, 6.0]])).tolist()
    [[-1.0, 0.0], [3.0, 1.0]]
    """

    mean: np.ndarray | None = None
    std: np.ndarray | None = None

    def __repr__(self) -> str:
        return "Standardizer()" if self.mean is None else f"Standardizer({self.mean.size} features)"

    def fit(self, x: Array) -> "Standardizer":
        """Learn mean and standard deviation (of the population, 1/n) from x (n, ...)."""
        backend = backend_of(x, names=("x",))
        _check_kind(x, "x")
        _check_real(x, "x")
        if 0 in x.shape or x.ndim == 0:
            raise DataError(f"x must hold at least one example, got shape {tuple(x.shape)}")
        check_finite(backend, x, "x")
        shape, host = tuple(x.shape[1:]), _host(backend, x)
        largest = np.zeros(shape)
        for piece in host():
            np.maximum(largest, np.abs(piece).max(axis=0), out=largest)
        # In units of a power of two above the largest size of each feature, squares neither overflow nor vanish.
        power = np.frexp(largest)[1]
        first, n, mean, squares = None, 0, np.zeros(shape), np.zeros(shape)
        for piece in host():
            piece = np.ldexp(piece, -power)
            first = piece[0].copy() if first is None else first
            piece -= first  # a feature that does not vary is now zero, without rounding
            m = piece.shape[0]
            middle = piece.mean(axis=0)
            shift = middle - mean
            squares = squares + np.square(piece - middle).sum(axis=0) + shift**2 * (n * m / (n + m))
            mean, n = mean + shift * (m / (n + m)), n + m
        std = np.sqrt(squares / n)
        varies = std > 2 * np.finfo(name_of(x)).eps * np.ldexp(largest, -power)
        self.mean, self.std = np.ldexp(first + mean, power), np.where(varies, np.ldexp(std, power), 1.0)
        return self

    def transform(self, x: Array) -> Array:
        """(x - mean) / std."""
        high, low, std, quarter = self._like(x)
        moved = quarter * x - high if quarter < 1 else x - high
        return (moved - low) / std

    def inverse(self, x: Array) -> Array:
        """x · std + mean: back to the units of the data."""
        high, low, std, quarter = self._like(x)
        return (x * std + low + high) / quarter

    def _like(self, x: Array) -> tuple[Array, Array, Array, float]:
        """(high, low, std, quarter): the mean as a sum of two numbers of x's dtype, so that x - high - low keeps the
        digits that one number of that dtype cannot hold. Near the end of the dtype's range all are a quarter of
        themselves, since x - mean could exceed it."""
        if self.mean is None or self.std is None:
            raise NotBuilt("this Standardizer has no mean yet: call fit(x) with the training data first")
        backend = backend_of(x, names=("x",))
        _check_kind(x, "x")
        _check_real(x, "x")
        if tuple(x.shape[1:]) != self.mean.shape:
            raise ShapeError(f"x must have examples of shape {self.mean.shape}, got {tuple(x.shape[1:])}")
        dtype = name_of(x)
        end = float(np.finfo(dtype).max)
        quarter = 0.25 if max(np.max(np.abs(self.mean)), np.max(self.std)) > end / 16 else 1.0
        with np.errstate(over="ignore"):  # data of another dtype than those of fit may lie beyond its range
            mean, std = self.mean * quarter, self.std * quarter
            high = mean.astype(dtype)
            low = np.where(np.isfinite(high), mean - high, 0.0)
        return (*(backend.asarray(a, dtype) for a in (high, low, std)), quarter)  # type: ignore[return-value]


def _host(backend: Backend, x: Array) -> Callable[[], Iterator[np.ndarray]]:
    """A function that goes through x in pieces, as float64 copies on the host."""

    def pieces() -> Iterator[np.ndarray]:
        for _, piece in _pieces(x):
            yield (piece if isinstance(piece, np.ndarray) else backend.to_numpy(piece)).astype(np.float64)

    return pieces


def one_hot(t: Array, k: int | None = None, dtype: str = "float32") -> Array:
    """Rows of zeros with a 1 where the label says: (n,) integers from 0 to k - 1 to (n, k) reals.

    Without `k`, the largest label is taken to be the last class.

    >>> one_hot(np.asarray([2, 0]), 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    backend = backend_of(t, names=("t",))
    xp = backend.xp
    if t.ndim != 1 or t.shape[0] == 0:
        raise ShapeError(f"t must have shape (n,), one label an example, got {tuple(t.shape)}")
    if name_of(t) == "bool":
        t = xp.astype(t, xp.int32)
    if k is None:
        check_labels(t, 2**31)
        k = int(xp.max(t)) + 1
    check_labels(t, k)
    # In 32 bits: numbers of classes wrap in uint8.
    labels = xp.arange(k, dtype=xp.int32, device=backend.device)
    return xp.astype(xp.expand_dims(xp.astype(t, xp.int32), axis=1) == labels, backend.dtype(check_float(dtype)))

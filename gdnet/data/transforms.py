"""What is done to data before training: standardising, one-hot targets."""

import numpy as np

from gdnet.backend import Array, backend_of, check_float
from gdnet.data.arrays import name_of
from gdnet.data.checks import _check_kind, _check_real, _pieces, check_finite, check_labels
from gdnet.errors import DataError, NotBuilt, ShapeError


class Standardizer:
    """(x - mean) / std, feature by feature, with the mean and the standard deviation of the training data.

    A feature that does not vary is only centred. Sums run in float64 on the host, so that the statistics of one data
    set are the same for every library and dtype; `transform` and `inverse` keep the dtype and the device of what
    they are given.

    Attributes
    ----------
    mean, std : float64 arrays of the shape of one example
        `std` is 1 for a feature that does not vary.

    Source: the merging of pieces is that of Chan, Golub and LeVeque, The American Statistician 37 (1983) 242-247.

    >>> scale = Standardizer().fit(np.asarray([[1.0, 5.0], [3.0, 5.0]]))
    >>> scale.transform(np.asarray([[1.0, 5.0], [5.0, 6.0]])).tolist()
    [[-1.0, 0.0], [3.0, 1.0]]
    """

    mean: np.ndarray | None = None
    std: np.ndarray | None = None

    def fit(self, x: Array) -> "Standardizer":
        """Learn mean and standard deviation (of the population, 1/n) from x (n, ...)."""
        backend = backend_of(x, names=("x",))
        _check_kind(x, "x")
        _check_real(x, "x")
        if 0 in x.shape or x.ndim == 0:
            raise DataError(f"x must hold at least one example, got shape {tuple(x.shape)}")
        check_finite(backend, x, "x")
        first, n, mean, squares = None, 0, np.zeros(tuple(x.shape[1:])), np.zeros(tuple(x.shape[1:]))
        for _, piece in _pieces(x):
            host = (piece if isinstance(piece, np.ndarray) else backend.to_numpy(piece)).astype(np.float64)
            first = host[0].copy() if first is None else first
            host -= first  # a feature that does not vary is now zero, without rounding
            m = host.shape[0]
            middle = host.mean(axis=0)
            shift = middle - mean
            squares = squares + np.square(host - middle).sum(axis=0) + shift**2 * (n * m / (n + m))
            mean, n = mean + shift * (m / (n + m)), n + m
        std = np.sqrt(squares / n)
        self.mean, self.std = first + mean, np.where(std > 0, std, 1.0)
        return self

    def transform(self, x: Array) -> Array:
        """(x - mean) / std."""
        mean, std = self._like(x)
        return (x - mean) / std

    def inverse(self, x: Array) -> Array:
        """x · std + mean: back to the units of the data."""
        mean, std = self._like(x)
        return x * std + mean

    def _like(self, x: Array) -> tuple[Array, Array]:
        if self.mean is None or self.std is None:
            raise NotBuilt("this Standardizer has no mean yet: call fit(x) with the training data first")
        backend = backend_of(x, names=("x",))
        _check_kind(x, "x")
        _check_real(x, "x")
        if tuple(x.shape[1:]) != self.mean.shape:
            raise ShapeError(f"x must have examples of shape {self.mean.shape}, got {tuple(x.shape[1:])}")
        dtype = name_of(x)
        return backend.asarray(self.mean, dtype), backend.asarray(self.std, dtype)


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
        t = xp.astype(t, backend.dtype("int32"))
    if k is None:
        check_labels(t, 2**31)
        k = int(xp.max(t)) + 1
    check_labels(t, k)
    labels = xp.arange(k, dtype=t.dtype, device=backend.device)
    return xp.astype(xp.expand_dims(t, axis=1) == labels, backend.dtype(check_float(dtype)))

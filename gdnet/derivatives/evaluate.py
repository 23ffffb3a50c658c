"""A function around one point: checks what goes in and comes out, and evaluates perturbed copies in batches.

Everything here runs outside training steps and reads a few values on the host, to refuse bad input by name.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, backend_of
from gdnet.backend.base import itemsize
from gdnet.errors import ArrayError, DataError, OptionError, ShapeError

MAX_MEMORY = 256 << 20
"""Bytes that a batch of perturbed points may take: 256 MiB."""


class Around:
    """f near x. Points are flat: a batch of them is (b, P), whatever x's shape.

    Attributes
    ----------
    flat : (P,)
        x as a vector.
    value : the shape of f's result
        f(x), known to be finite.
    eps : float
        The spacing of x's numbers at 1.
    """

    def __init__(
        self, f: Callable, x: Array, *, vectorized: bool = False, max_memory: int = MAX_MEMORY, scalar: bool = False
    ) -> None:
        x = real_array(x)
        if not max_memory > 0:
            raise OptionError(f"max_memory must be a positive number of bytes, got {max_memory!r}")
        self.f, self.vectorized = f, vectorized
        self.backend: Backend = backend_of(x, names=("x",))
        self.xp = xp = self.backend.xp
        self.dtype, self.shape, self.size = x.dtype, tuple(x.shape), math.prod(x.shape)
        self.eps = float(xp.finfo(x.dtype).eps)
        self.flat = xp.reshape(x, (self.size,))
        if not bool(xp.all(xp.isfinite(self.flat))):
            raise DataError("x has entries that are NaN or infinite: there is no derivative there")
        self.value = self.at(1.0 * self.flat[None, :])[0, ...]  # a copy: f may write into what it gets
        if scalar and self.value.ndim:
            raise ShapeError(
                f"f must return one number, got an array of shape {tuple(self.value.shape)}: reduce it (sum, mean), or "
                f"ask for numerical_jacobian"
            )
        if not bool(xp.all(xp.isfinite(self.value))):
            raise DataError("f(x) is NaN or infinite, so that it has no derivative at x")
        # Four arrays of that size are alive at once: points, their mask, results and a difference.
        largest = int(max_memory // (4 * itemsize(x.dtype) * max(self.size + math.prod(self.value.shape), 1)))
        self.batch = max(1, largest if vectorized else min(largest, 64))

    def at(self, points: Array) -> Array:
        """f at each of (b, P) points: (b, ...)."""
        xp, b = self.xp, points.shape[0]
        points = xp.reshape(points, (b, *self.shape))
        if not self.vectorized:
            return xp.stack([self._result(self.f(points[k, ...]), points.dtype) for k in range(b)])
        values = self._result(self.f(points), points.dtype)
        if values.ndim == 0 or values.shape[0] != b:
            raise ShapeError(
                f"vectorized=True: f got {b} points of shape {self.shape} at once and must return {b} results along "
                f"axis 0, got shape {tuple(values.shape)}"
            )
        return values

    def _result(self, value: Any, dtype: Any) -> Array:
        """What f returned, as an array of x's library, at least as precise as x."""
        xp = self.xp
        if isinstance(value, (bool, int, float)) and not isinstance(value, np.generic):
            return xp.asarray(float(value), dtype=dtype, device=self.backend.device)
        if isinstance(value, (complex, np.generic)):
            value = self.backend.asarray(value)
        if backend_of(value, names=("f's result",)) is not self.backend:
            raise ArrayError(
                f"x is a {self.backend.name} array on {self.backend.device}, but f returned a "
                f"{backend_of(value).name} array on {backend_of(value).device}"
            )
        if xp.isdtype(value.dtype, ("bool", "integral")):
            return xp.astype(value, dtype)
        if xp.isdtype(value.dtype, "complex floating") and not xp.isdtype(dtype, "complex floating"):
            raise ArrayError(f"f returned {value.dtype} for real x: a derivative needs a real result")
        if float(xp.finfo(value.dtype).eps) > self.eps:
            raise ArrayError(
                f"f returned {value.dtype} for x of {self.dtype}: rounding to {value.dtype} would swamp differences "
                f"with steps fit for {self.dtype}; compute f in x's precision"
            )
        return value

    def blocks(self, count: int | None = None) -> Iterator[np.ndarray]:
        """The indices 0 ... count - 1 (by default of x's entries), as many at a time as the memory budget allows."""
        count = self.size if count is None else count
        for start in range(0, count, self.batch):
            yield np.arange(start, min(start + self.batch, count))

    def one_hot(self, entries: np.ndarray) -> Array:
        """(b, P) of bool: true where row k meets entry `entries[k]`."""
        xp = self.xp
        every = xp.arange(self.size, dtype=xp.int64, device=self.backend.device)
        return self.backend.asarray(entries, "int64")[:, None] == every[None, :]

    def replaced(self, entries: np.ndarray, moved: Array) -> Array:
        """f at x with one entry of it taken from `moved` (P,), for each of `entries`: (b, ...)."""
        points = self.xp.where(self.one_hot(entries), moved[None, :], self.flat[None, :])
        return self.finite(self.at(points), entries)

    def finite(self, values: Array, entries: np.ndarray) -> Array:
        """`values`, unless one of them is NaN or infinite."""
        xp = self.xp
        good = xp.all(xp.reshape(xp.isfinite(values), (values.shape[0], -1)), axis=1)
        if not bool(xp.all(good)):
            entry = int(entries[int(np.argmin(self.backend.to_numpy(good)))])
            raise DataError(
                f"f is finite at x but not near it: moving entry {entry} by the step gives NaN or infinity; take a "
                f'smaller h, or method="forward" or "backward" at the edge of f\'s domain'
            )
        return values


def real_array(x: Any) -> Array:
    """x as an array of real floating-point numbers; a Python float becomes a NumPy one."""
    if isinstance(x, float) and not isinstance(x, np.generic):
        return np.asarray(x)
    if isinstance(x, int):
        raise ArrayError(f"x must be real, got the integer {x}: write {x}.0")
    xp = backend_of(x, names=("x",)).xp
    if not xp.isdtype(x.dtype, "real floating"):
        raise ArrayError(f"x must hold real floating-point numbers, got {x.dtype}: a step of {x.dtype} is no small one")
    return xp.asarray(x)

"""Linear maps as values: apply, transpose, compose, and turn into a matrix only when asked."""

import math
from collections.abc import Callable
from typing import Any

from gdnet.backend import Array, Backend
from gdnet.errors import OptionError, ShapeError

MAX_BYTES = 1 << 30
"""The largest dense matrix that `dense` makes unasked: 1 GiB."""


class Map:
    """A linear map from arrays of shape `in_shape` to arrays of shape `out_shape`.

    `A(v)` applies it, `A.T(u)` its transpose, `A @ B` composes, `A + B` and `c * A` do what they say. Axes before
    `in_shape` are batch axes: many vectors go through at once.

    Parameters
    ----------
    backend : Backend
        Where its arrays live.
    in_shape, out_shape : tuple of int
    dtype : the library's dtype
    forward, adjoint : callables
        v -> A v and u -> Aᵀ u, each for any number of leading axes.
    tags : of "symmetric", "psd", "diagonal", "per_example"
        What is known of its structure; solvers ask for it.

    >>> import numpy as np
    >>> from gdnet.backend import get_backend
    >>> double = Map(get_backend("cpu"), (2,), (2,), np.float64, lambda v: 2 * v, lambda u: 2 * u)
    >>> (double @ double)(np.ones(2))
    array([4., 4.])
    """

    def __init__(
        self,
        backend: Backend,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        dtype: Any,
        forward: Callable[[Array], Array],
        adjoint: Callable[[Array], Array],
        tags: frozenset[str] | set[str] = frozenset(),
    ) -> None:
        self.backend, self.dtype = backend, dtype
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        self.forward, self.adjoint, self.tags = forward, adjoint, frozenset(tags)

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs), as of the matrix."""
        return math.prod(self.out_shape), math.prod(self.in_shape)

    @property
    def T(self) -> "Map":
        if self.tags & {"symmetric", "psd", "diagonal"}:
            return self
        return Map(
            self.backend, self.out_shape, self.in_shape, self.dtype, self.adjoint, self.forward,
            self.tags & {"per_example"},
        )  # fmt: skip

    def __call__(self, v: Array) -> Array:
        k = len(self.in_shape)
        if v.ndim < k or tuple(v.shape[v.ndim - k :]) != self.in_shape:
            raise ShapeError(f"this map takes arrays of shape (..., {self.in_shape}), got {tuple(v.shape)}")
        return self.forward(v)

    def __matmul__(self, other: Any) -> Any:
        if not isinstance(other, Map):
            return self(other)
        if other.out_shape != self.in_shape:
            raise ShapeError(f"cannot compose: the inner map gives {other.out_shape}, the outer takes {self.in_shape}")
        return Map(
            self.backend, other.in_shape, self.out_shape, self.dtype,
            lambda v: self.forward(other.forward(v)), lambda u: other.adjoint(self.adjoint(u)),
        )  # fmt: skip

    def __add__(self, other: "Map") -> "Map":
        if (other.in_shape, other.out_shape) != (self.in_shape, self.out_shape):
            raise ShapeError(f"cannot add maps of shapes {self.shape} and {other.shape}")
        return Map(
            self.backend, self.in_shape, self.out_shape, self.dtype,
            lambda v: self.forward(v) + other.forward(v), lambda u: self.adjoint(u) + other.adjoint(u),
            self.tags & other.tags,
        )  # fmt: skip

    def __rmul__(self, c: float) -> "Map":
        kept = self.tags if c >= 0 else self.tags - {"psd"}
        return Map(
            self.backend, self.in_shape, self.out_shape, self.dtype,
            lambda v: c * self.forward(v), lambda u: c * self.adjoint(u), kept,
        )  # fmt: skip

    def dense(self, max_bytes: int = MAX_BYTES) -> Array:
        """The matrix, (outputs, inputs), column by column in one batch; refused above `max_bytes`."""
        rows, columns = self.shape
        xp, itemsize = self.backend.xp, 8 if "64" in str(self.dtype) else 4
        if (needed := rows * columns * itemsize) > max_bytes:
            raise OptionError(
                f"the dense matrix is {rows} x {columns}, {needed / 2**30:.1f} GiB: use products with the map, "
                f"or raise max_bytes (now {max_bytes})"
            )
        if rows < columns:  # a row is one application of the transpose
            basis = xp.eye(rows, dtype=self.dtype, device=self.backend.device)
            return xp.reshape(self.adjoint(xp.reshape(basis, (rows, *self.out_shape))), (rows, columns))
        basis = xp.eye(columns, dtype=self.dtype, device=self.backend.device)
        found = self.forward(xp.reshape(basis, (columns, *self.in_shape)))
        return xp.matrix_transpose(xp.reshape(found, (columns, rows)))

    def to_scipy(self) -> Any:
        """The same map as a `scipy.sparse.linalg.LinearOperator` over flat host vectors."""
        from scipy.sparse.linalg import LinearOperator

        def through(apply: Callable[[Array], Array], shape: tuple[int, ...]) -> Callable[[Any], Any]:
            return lambda v: self.backend.to_numpy(apply(self.backend.asarray(v.reshape(shape)))).reshape(-1)

        return LinearOperator(
            self.shape, matvec=through(self.forward, self.in_shape), rmatvec=through(self.adjoint, self.out_shape),
            dtype="float64" if "64" in str(self.dtype) else "float32",
        )  # fmt: skip


def symmetric(backend: Backend, shape: tuple[int, ...], dtype: Any, apply: Callable[[Array], Array], *tags: str) -> Map:
    """A map that is its own transpose."""
    return Map(backend, shape, shape, dtype, apply, apply, {"symmetric", *tags})

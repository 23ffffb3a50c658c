"""Linear maps as values: apply, transpose, compose, and turn into a matrix only when asked."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend
from gdnet.backend.base import float_name, itemsize
from gdnet.errors import OptionError, ShapeError

MAX_BYTES = 1 << 30
"""The largest dense matrix that `dense` makes unasked: 1 GiB."""
BATCH_BYTES = 1 << 22
"""What vectors that go through a map together may take: 4 MiB, so that many small products become one large one and
yet stay in the processor's cache. A dense Hessian of 1,000 parameters takes three times as long with 32 MiB."""


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
        What is known of its structure; solvers ask for it. A diagonal map is an array that multiplies.
    work : int
        How many numbers one product holds at its peak, where that is more than its input and output: whoever sends
        many vectors at once goes by it.

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
        work: int = 0,
    ) -> None:
        self.backend, self.dtype = backend, dtype
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        self.forward, self.adjoint, self.tags = forward, adjoint, frozenset(tags)
        self.work = max(work, sum(self.shape))

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
            self.tags & {"per_example"}, self.work,
        )  # fmt: skip

    def __call__(self, v: Array) -> Array:
        k = len(self.in_shape)
        if v.ndim < k or tuple(v.shape[v.ndim - k :]) != self.in_shape:
            raise ShapeError(f"this map takes arrays of shape (..., {self.in_shape}), got {tuple(v.shape)}")
        return self.forward(v)

    # -- algebra -------------------------------------------------------------------------------------------------------

    __array_ufunc__ = None  # so that NumPy's numbers leave `c * A` to the map

    def __matmul__(self, other: Any) -> Any:
        if not isinstance(other, Map):
            return self(other)
        if other.out_shape != self.in_shape:
            raise ShapeError(f"cannot compose: the inner map gives {other.out_shape}, the outer takes {self.in_shape}")
        return Map(
            self.backend, other.in_shape, self.out_shape, self.dtype,
            lambda v: self.forward(other.forward(v)), lambda u: other.adjoint(self.adjoint(u)),
            self.tags & other.tags & {"diagonal", "per_example"}, max(self.work, other.work),
        )  # fmt: skip

    def __add__(self, other: "Map") -> "Map":
        if not isinstance(other, Map):
            return NotImplemented
        if (other.in_shape, other.out_shape) != (self.in_shape, self.out_shape):
            raise ShapeError(f"cannot add maps of shapes {self.shape} and {other.shape}")
        tags = _implied(self.tags) & _implied(other.tags)
        return Map(
            self.backend, self.in_shape, self.out_shape, self.dtype,
            lambda v: self.forward(v) + other.forward(v), lambda u: self.adjoint(u) + other.adjoint(u),
            tags, max(self.work, other.work),
        )  # fmt: skip

    def __rmul__(self, c: Any) -> "Map":
        kept = self.tags
        if isinstance(c, np.number):
            c = float(c)  # a weak number: it widens nothing
        if not (isinstance(c, (int, float)) and c >= 0):  # an array's sign is not read
            kept = _implied(self.tags) - {"psd"}
        return Map(
            self.backend, self.in_shape, self.out_shape, self.dtype,
            lambda v: c * self.forward(v), lambda u: c * self.adjoint(u), kept, self.work,
        )  # fmt: skip

    def __mul__(self, c: Any) -> "Map":
        return NotImplemented if isinstance(c, Map) else self.__rmul__(c)

    def __neg__(self) -> "Map":
        return self.__rmul__(-1.0)

    def __sub__(self, other: "Map") -> "Map":
        return self + (-other)

    # -- as a matrix ---------------------------------------------------------------------------------------------------

    def dense(self, max_bytes: int = MAX_BYTES) -> Array:
        """The matrix, (outputs, inputs), as many columns (or rows) at once as memory allows.

        Raises
        ------
        OptionError
            If the matrix is larger than `max_bytes`.
        """
        rows, columns = self.shape
        xp = self.backend.xp
        if (needed := rows * columns * itemsize(self.dtype)) > max_bytes:
            raise OptionError(
                f"the dense matrix is {rows} x {columns}, {needed / 2**30:.1f} GiB: use products with the map, "
                f"or raise max_bytes (now {max_bytes})"
            )
        if rows < columns:  # a row is one application of the transpose
            found = [self.adjoint(basis) for basis in self._basis(self.out_shape, max_bytes)]
            return xp.concat([xp.reshape(some, (-1, columns)) for some in found])
        found = [self.forward(basis) for basis in self._basis(self.in_shape, max_bytes)]
        return xp.matrix_transpose(xp.concat([xp.reshape(some, (-1, rows)) for some in found]))

    def diagonal(self, max_bytes: int = MAX_BYTES) -> Array:
        """The diagonal of the matrix of a square map, of shape `in_shape`; products with all basis vectors in blocks.

        Raises
        ------
        ShapeError
            If the map is not square.
        """
        if self.in_shape != self.out_shape:
            raise ShapeError(f"only a square map has a diagonal, this one is {self.shape[0]} x {self.shape[1]}")
        xp = self.backend.xp
        if "diagonal" in self.tags:
            return self.forward(xp.ones(self.in_shape, dtype=self.dtype, device=self.backend.device))
        basis = self._basis(self.in_shape, max_bytes)
        axes = tuple(range(1, len(self.in_shape) + 1))
        found = xp.concat([xp.sum(self.forward(some) * some, axis=axes) for some in basis])
        return xp.reshape(found, self.in_shape)

    def blocks(self) -> Array:
        """The blocks (n, outputs, inputs) on the diagonal of a map that acts on each of n examples alone.

        Raises
        ------
        OptionError
            If nothing says that it does: it has neither the tag "per_example" nor "diagonal".
        """
        if not self.tags & {"diagonal", "per_example"} or self.in_shape[:1] != self.out_shape[:1]:
            raise OptionError("only a map tagged per_example has blocks, one for each example: use dense()")
        xp, n, out = self.backend.xp, self.out_shape[0], self.out_shape[1:]
        k = math.prod(out)
        eye = xp.reshape(xp.eye(k, dtype=self.dtype, device=self.backend.device), (k, 1, *out))
        found = self.adjoint(xp.broadcast_to(eye, (k, n, *out)))
        return xp.moveaxis(xp.reshape(found, (k, n, math.prod(self.in_shape[1:]))), 0, 1)

    def trace(self, max_bytes: int = MAX_BYTES) -> Array:
        """The sum of the diagonal, a scalar on the device."""
        return self.backend.xp.sum(self.diagonal(max_bytes))

    def _basis(self, shape: tuple[int, ...], max_bytes: int) -> Iterator[Array]:
        """All unit vectors of this shape, in blocks whose products fit."""
        xp, size = self.backend.xp, math.prod(shape)
        block = max(1, min(size, min(max_bytes, BATCH_BYTES) // (self.work * itemsize(self.dtype))))
        for start in range(0, size, block):
            n = min(block, size - start)
            yield xp.reshape(xp.eye(n, size, k=start, dtype=self.dtype, device=self.backend.device), (n, *shape))

    def to_scipy(self) -> Any:
        """The same map as a `scipy.sparse.linalg.LinearOperator` over flat host vectors and matrices of columns.

        >>> import numpy as np
        >>> from gdnet.backend import get_backend
        >>> A = Map(get_backend("cpu"), (2,), (2,), np.float64, lambda v: 2 * v, lambda u: 2 * u).to_scipy()
        >>> A @ np.ones(2), (A.T @ np.eye(2)).tolist()
        (array([2., 2.]), [[2.0, 0.0], [0.0, 2.0]])
        """
        from scipy.sparse.linalg import LinearOperator

        dtype = float_name(self.dtype)

        def through(apply: Callable[[Array], Array], shape: tuple[int, ...], many: bool) -> Callable[[Any], Any]:
            def product(v: Any) -> Any:
                lead = (v.shape[1],) if many else ()
                found = self.backend.to_numpy(apply(self.backend.asarray(v.T.reshape((*lead, *shape)), dtype)))
                return found.reshape((*lead, -1)).T

            return product

        forward, adjoint = self.forward, self.adjoint
        return LinearOperator(
            self.shape, matvec=through(forward, self.in_shape, False), rmatvec=through(adjoint, self.out_shape, False),
            matmat=through(forward, self.in_shape, True), rmatmat=through(adjoint, self.out_shape, True), dtype=dtype,
        )  # fmt: skip


def _implied(tags: frozenset[str]) -> frozenset[str]:
    """These tags and what follows from them: positive semidefinite maps and diagonals are symmetric."""
    return tags | {"symmetric"} if tags & {"psd", "diagonal"} else tags


def symmetric(
    backend: Backend, shape: tuple[int, ...], dtype: Any, apply: Callable[[Array], Array], *tags: str, work: int = 0
) -> Map:
    """A map that is its own transpose."""
    return Map(backend, shape, shape, dtype, apply, apply, {"symmetric", *tags}, work)


def diagonal(backend: Backend, d: Array, *tags: str) -> Map:
    """The map that multiplies by `d`, an array of the vectors' shape; "psd" in `tags` where it has no negative entry.

    >>> import numpy as np
    >>> from gdnet.backend import get_backend
    >>> diagonal(get_backend("cpu"), np.asarray([1.0, 2.0]), "psd").dense()
    array([[1., 0.],
           [0., 2.]])
    """
    return symmetric(backend, tuple(d.shape), d.dtype, lambda v: d * v, "diagonal", *tags)

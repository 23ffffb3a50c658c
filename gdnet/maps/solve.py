"""Solving with matrices and maps: Cholesky, modified Cholesky, |H| by eigenvalues, conjugate gradients, MINRES."""

from gdnet.backend import Array, Backend
from gdnet.errors import ShapeError
from gdnet.maps.base import Map


class Matrix(Map):
    """A matrix (outputs, inputs) as a map; `dense` hands back the matrix itself.

    >>> import numpy as np
    >>> from gdnet.backend import get_backend
    >>> Matrix(get_backend("cpu"), np.array([[1.0, 2.0], [0.0, 3.0]])).T(np.array([1.0, 1.0]))
    array([1., 5.])
    """

    def __init__(self, backend: Backend, matrix: Array, *tags: str) -> None:
        if matrix.ndim != 2:
            raise ShapeError(f"a matrix has two axes, got an array of shape {tuple(matrix.shape)}")
        rows, columns = matrix.shape
        xp = backend.xp
        super().__init__(
            backend, (columns,), (rows,), matrix.dtype,
            lambda v: v @ xp.matrix_transpose(matrix) if v.ndim > 1 else matrix @ v,
            lambda u: u @ matrix, frozenset(tags),
        )  # fmt: skip
        self.matrix = matrix

    def dense(self, max_bytes: int = 0) -> Array:
        """The matrix; it exists already, so no limit applies."""
        return self.matrix


__all__ = ["Matrix"]

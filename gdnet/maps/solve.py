"""Solving with matrices and maps: Cholesky, modified Cholesky, |H| by eigenvalues."""

import math

from gdnet.backend import Array, Backend
from gdnet.backend.linalg import cholesky_factor
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


def cholesky(backend: Backend, A: Array) -> Array | None:
    """The lower factor L with A = L Lᵀ, or None where A is not positive definite in this precision.

    A pivot within rounding of zero, n ε max A_ii, counts as zero: what it divides would be noise. `cholesky_factor`
    allows such pivots.

    >>> import numpy as np
    >>> from gdnet.backend import get_backend
    >>> cholesky(get_backend("cpu"), np.array([[4.0, 2.0], [2.0, 5.0]]))
    array([[2., 0.],
           [1., 2.]])
    """
    xp, L = backend.xp, cholesky_factor(backend, A)
    if L is None:
        return None
    least = xp.min(xp.linalg.diagonal(L))
    total, root, most = backend.to_numpy(xp.stack([xp.sum(L), least, xp.max(xp.linalg.diagonal(A))])).tolist()
    noise = A.shape[0] * float(xp.finfo(A.dtype).eps) * most
    return L if math.isfinite(total) and root**2 > noise else None


def modified_cholesky(backend: Backend, A: Array, beta: float = 1e-5) -> tuple[Array, float]:
    """(A + τ I, τ) with the first τ of 0, τ₀, 2 τ₀, ... that makes it positive definite.

    τ₀ is beta times the largest diagonal entry, more where the diagonal itself is negative.
    Reference: Nocedal and Wright, Numerical Optimization (2006), algorithm 3.3.

    >>> import numpy as np
    >>> from gdnet.backend import get_backend
    >>> modified_cholesky(get_backend("cpu"), np.diag([2.0, -1.0]))[1]
    1.00002
    """
    xp = backend.xp
    diagonal = xp.linalg.diagonal(A)
    least, size = backend.to_numpy(xp.stack([xp.min(diagonal), xp.max(xp.abs(A))])).tolist()
    if not math.isfinite(size):
        raise ValueError("the matrix is not finite")
    eye = xp.eye(A.shape[0], dtype=A.dtype, device=backend.device)
    beta = beta * (size if size > 0 else 1.0)
    tau = 0.0 if least > 0 else beta - least
    while True:
        shifted = A if tau == 0.0 else A + tau * eye
        if cholesky(backend, shifted) is not None:
            return shifted, tau
        tau = max(2.0 * tau, beta)


def absolute_solve(backend: Backend, A: Array, b: Array, floor: float | None = None) -> Array:
    """|A|⁻¹ b for symmetric A, |A| having the absolute eigenvalues, none below `floor` times the largest.

    Reference: Dauphin et al., Identifying and attacking the saddle point problem, NeurIPS 2014.

    >>> import numpy as np
    >>> from gdnet.backend import get_backend
    >>> absolute_solve(get_backend("cpu"), np.diag([2.0, -4.0]), np.array([2.0, 4.0]))
    array([1., 1.])
    """
    xp = backend.xp
    values, Q = xp.linalg.eigh(A)
    size = xp.abs(values)
    if floor is None:
        floor = A.shape[0] * float(xp.finfo(A.dtype).eps)
    size = xp.maximum(size, floor * xp.max(size))
    return Q @ ((xp.matrix_transpose(Q) @ b) / size)


__all__ = ["Matrix", "absolute_solve", "cholesky", "modified_cholesky"]

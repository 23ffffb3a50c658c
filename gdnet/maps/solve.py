"""Solving with matrices and maps: Cholesky, modified Cholesky, |H| by eigenvalues, conjugate gradients, MINRES."""

import math
from typing import Any, NamedTuple

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


class Solution(NamedTuple):
    """x, the number of products, the residual's norm, and whether it is below the tolerance."""

    x: Array
    products: int
    residual: float
    converged: bool


def cg(A: Map, b: Array, *, x0: Array | None = None, rtol: float = 1e-6, max_iter: int | None = None) -> Solution:
    """A x = b for symmetric positive definite A by conjugate gradients, until ||b - A x|| <= rtol ||b||.

    It ends early, not converged, where A proves indefinite. Two scalars are read a product.
    Reference: Hestenes and Stiefel (1952).

    >>> import numpy as np
    >>> from gdnet.backend import get_backend
    >>> cg(Matrix(get_backend("cpu"), np.diag([1.0, 2.0])), np.array([1.0, 1.0])).x
    array([1. , 0.5])
    """
    read, xp = A.backend.read, A.backend.xp
    _square(A, b)
    x = xp.zeros_like(b) if x0 is None else x0
    r = b if x0 is None else b - A(x0)
    limit = rtol * math.sqrt(read(xp.sum(b * b)))
    p, rr, products = r, read(xp.sum(r * r)), int(x0 is not None)
    while math.sqrt(rr) > limit and products < (10 * b.shape[0] if max_iter is None else max_iter):
        Ap = A(p)
        products += 1
        curvature = read(xp.sum(p * Ap))
        if not curvature > 0:
            break
        step = rr / curvature
        x, r = x + step * p, r - step * Ap
        old, rr = rr, read(xp.sum(r * r))
        p = r + (rr / old) * p
    return Solution(x, products, math.sqrt(rr), math.sqrt(rr) <= limit)


def minres(A: Map, b: Array, *, rtol: float = 1e-6, max_iter: int | None = None) -> Solution:
    """min ||b - A x|| over Krylov spaces for symmetric A, definite or not, until it is <= rtol ||b||.

    Lanczos vectors, and Givens rotations of the tridiagonal matrix on the host.
    Reference: Paige and Saunders, SIAM J. Numer. Anal. 12 (1975) 617-629.

    >>> import numpy as np
    >>> from gdnet.backend import get_backend
    >>> minres(Matrix(get_backend("cpu"), np.diag([1.0, -2.0])), np.array([1.0, 1.0])).x.round(12)
    array([ 1. , -0.5])
    """
    read, xp = A.backend.read, A.backend.xp
    _square(A, b)
    beta = size = math.sqrt(read(xp.sum(b * b)))
    x = zero = xp.zeros_like(b)
    if beta == 0.0:
        return Solution(x, 0, 0.0, True)
    v_old, v = zero, b / beta
    w_old, w = zero, zero
    c_old, c, s_old, s, rest, products = 1.0, 1.0, 0.0, 0.0, beta, 0
    beta = 0.0
    while abs(rest) > rtol * size and products < (10 * b.shape[0] if max_iter is None else max_iter):
        Av = A(v) - beta * v_old
        products += 1
        alpha = read(xp.sum(v * Av))
        Av = Av - alpha * v
        beta_next = math.sqrt(read(xp.sum(Av * Av)))
        # The new column of the tridiagonal matrix through the two last rotations, and the rotation that ends it.
        r3, r2 = s_old * beta, c * (c_old * beta) + s * alpha
        diagonal = c * alpha - s * (c_old * beta)
        r1 = math.hypot(diagonal, beta_next)
        if r1 <= 1e-300:
            break
        c_old, s_old = c, s
        c, s = diagonal / r1, beta_next / r1
        w_old, w = w, (v - r3 * w_old - r2 * w) / r1
        x = x + (c * rest) * w
        rest = -s * rest
        if beta_next <= 1e-15 * (abs(alpha) + beta):
            break
        v_old, v, beta = v, Av / beta_next, beta_next
    return Solution(x, products, abs(rest), abs(rest) <= rtol * size)


def _square(A: Map, b: Any) -> None:
    if A.in_shape != A.out_shape or tuple(b.shape) != A.in_shape or len(A.in_shape) != 1:
        raise ShapeError(f"a square map of one axis and b of that shape are needed, got {A.shape} and {tuple(b.shape)}")


__all__ = ["Matrix", "Solution", "absolute_solve", "cg", "cholesky", "minres", "modified_cholesky"]

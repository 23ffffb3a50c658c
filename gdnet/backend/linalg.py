"""Cholesky factors that may fail, and triangular systems, on any array library."""

from itertools import pairwise
from typing import Any

from gdnet.backend.base import Array, Backend, overridable

BLOCK = 96
"""Rows solved at once where the library has no triangular solver: above it, matrix products do the work."""


def cholesky_factor(backend: Backend, A: Array) -> Array | None:
    """The lower L with A = L Lᵀ, or None where A is not positive definite in this precision. One host read.

    Some libraries raise, some return NaN, and some return what they had when they met a pivot <= 0: all become None.

    >>> import numpy as np
    >>> from gdnet.backend import get_backend
    >>> cholesky_factor(get_backend("cpu"), np.array([[1.0, 2.0], [2.0, 1.0]])) is None
    True
    """
    xp = backend.xp
    try:
        L = xp.linalg.cholesky(A)
    except Exception as error:
        if "LinAlgError" not in type(error).__name__:
            raise
        return None
    return L if backend.read(xp.min(xp.linalg.diagonal(L))) > 0.0 else None


def solve_triangular(backend: Backend, T: Array, b: Array, *, lower: bool = True) -> Array:
    """x with T x = b for a triangular T (n, n) and b (n,) or (n, k).

    >>> import numpy as np
    >>> from gdnet.backend import get_backend
    >>> solve_triangular(get_backend("cpu"), np.array([[2.0, 0.0], [1.0, 4.0]]), np.array([2.0, 9.0]))
    array([1., 2.])
    """
    if b.ndim == 1:
        return solve_triangular(backend, T, b[:, None], lower=lower)[:, 0]
    return triangular_solution(backend, T, b, lower)


def cholesky_solve(backend: Backend, L: Array, b: Array) -> Array:
    """x with L Lᵀ x = b."""
    half = solve_triangular(backend, L, b)
    return solve_triangular(backend, backend.xp.matrix_transpose(L), half, lower=False)


@overridable
def triangular_solution(xp: Any, T: Array, b: Array, lower: bool) -> Array:
    """Substitution by blocks: small diagonal systems by the general solver, the rest by matrix products."""
    n = T.shape[0]
    edges = [*range(0, n, BLOCK), n]
    blocks = list(pairwise(edges))
    done: Any = None
    for i, j in blocks if lower else reversed(blocks):
        right = b[i:j, :]
        if done is not None:
            right = right - (T[i:j, :i] if lower else T[i:j, j:]) @ done
        found = xp.linalg.solve(T[i:j, i:j], right)
        done = found if done is None else xp.concat([done, found] if lower else [found, done], axis=0)
    return done

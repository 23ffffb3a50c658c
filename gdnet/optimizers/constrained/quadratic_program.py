"""`quadratic_program`: convex quadratic programs. `mehrotra` holds the method, `diagnosis` why there is no solution.

min ½ xᵀP x + qᵀx   s.t.  G x <= h,  A x = b,  lower <= x <= upper
"""

from typing import Any

import numpy as np

from gdnet.backend import Backend, backend_of, get_backend
from gdnet.errors import DataError, OptionError, ShapeError
from gdnet.optimizers.constrained.bounds import bound_vector, check_bounds, free_variables, host
from gdnet.optimizers.constrained.diagnosis import diagnose
from gdnet.optimizers.constrained.mehrotra import Iterate, Program, Scaled, conditions, solve
from gdnet.optimizers.options import COUNT_FROM_0, POSITIVE, checked
from gdnet.optimizers.result import OptimizeResult, stop_message


def quadratic_program(
    P: Any,
    q: Any,
    G: Any = None,
    h: Any = None,
    A: Any = None,
    b: Any = None,
    lower: Any = None,
    upper: Any = None,
    *,
    tol: float = 1e-9,
    max_iter: int = 100,
) -> OptimizeResult:
    """min ½ xᵀP x + qᵀx s.t. G x <= h, A x = b, lower <= x <= upper, for P symmetric positive semidefinite.

    Dense linear algebra in float64 on the host; x comes back in the library of the inputs. Bounds hold exactly.

    Parameters
    ----------
    P : (n, n), or None for a linear program
    q : (n,)
    G, h : (m, n), (m,)
    A, b : (k, n), (k,)
    lower, upper : number or (n,)
    tol : float
        What each row may be violated by, each entry of P x + q + Aᵀy + Gᵀz - z_lower + z_upper may differ from zero
        by, and the gap between primal and dual objective may be, relative to the size of the numbers that make it up:
        the answer does not depend on the units of objective, rows and variables.

    Returns
    -------
    OptimizeResult
        x, fun, nit, success, stop_reason ("converged", "infeasible", "unbounded", "max_iter", "precision"),
        violation, stationarity, complementarity, gap, and `multipliers` by "h_eq", "g_le", "lower" and "upper".

    Raises
    ------
    OptionError
        Where P is not positive semidefinite or lower > upper.
    ShapeError, DataError
        Where sizes do not fit, or numbers are not finite.

    >>> found = quadratic_program([[2.0, 0.0], [0.0, 2.0]], [-2.0, -5.0], A=[[1.0, 1.0]], b=[1.0], lower=0.0)
    >>> found.stop_reason, [round(v, 6) for v in found.x.tolist()]
    ('converged', [0.0, 1.0])
    """
    arrays = [a for a in (q, P, G, A) if a is not None and not isinstance(a, (int, float, list, tuple))]
    backend = backend_of(*arrays) if arrays else get_backend("cpu")
    tol = checked("quadratic_program", "tol", tol, POSITIVE)
    max_iter = checked("quadratic_program", "max_iter", max_iter, COUNT_FROM_0)
    data = check(P, q, G, h, A, b, lower, upper)
    free = free_variables(data.lower, data.upper)
    fixed = np.where(free, 0.0, data.lower)
    scaled = Scaled.of(data.restrict(np.flatnonzero(free), fixed))
    found, count, stop = solve(scaled.program, tol, max_iter)
    if stop != "converged":
        stop = diagnose(scaled.program, max_iter) or stop
    return result(backend, data, np.flatnonzero(free), fixed, scaled.back(found), scaled.original, count, stop)


def check(P: Any, q: Any, G: Any, h: Any, A: Any, b: Any, lower: Any, upper: Any) -> Program:
    """The data as host arrays of fitting shapes."""
    q = np.atleast_1d(host(q))
    n = q.size
    if q.shape != (n,) or n == 0:
        raise ShapeError(f"q must be a vector of n > 0 numbers, got shape {q.shape}")
    P = np.zeros((n, n)) if P is None else host(P)
    if P.shape != (n, n):
        raise ShapeError(f"P must have shape ({n}, {n}), as q has {n} entries, got {P.shape}")
    rows = []
    for matrix, vector, name in ((G, h, "G and h"), (A, b, "A and b")):
        if (matrix is None) != (vector is None):
            raise OptionError(f"{name} must be given together")
        M = np.zeros((0, n)) if matrix is None else np.atleast_2d(host(matrix))
        v = np.zeros(0) if vector is None else np.atleast_1d(host(vector))
        if M.shape != (v.size, n) or v.ndim != 1:
            raise ShapeError(f"{name}: expected shapes (m, {n}) and (m,), got {M.shape} and {v.shape}")
        rows += [M, v]
    low, high = bound_vector(lower, n, -np.inf, None, "lower"), bound_vector(upper, n, np.inf, None, "upper")
    check_bounds(low, high)
    for array, name in ((P, "P"), (q, "q"), (rows[0], "G"), (rows[2], "A"), (rows[3], "b")):
        if not np.all(np.isfinite(array)):
            raise DataError(f"{name} must be finite, got NaN or infinite entries")
    if np.any(np.isnan(rows[1])) or np.any(rows[1] == -np.inf):
        raise DataError("h must be numbers or +inf (no constraint)")
    root = np.sqrt(np.abs(np.diagonal(P)))
    root = np.where(root > 0, root, 1.0)  # the units of P are those of its diagonal: P_jk <= √(P_jj P_kk)
    unit = P / root / root[:, None]
    if np.max(np.abs(unit - unit.T), initial=0.0) > 1e-8:
        raise OptionError("P must be symmetric: give (P + P.T) / 2")
    try:
        np.linalg.cholesky(0.5 * (unit + unit.T) + 1e-9 * np.eye(n))
    except np.linalg.LinAlgError:
        raise OptionError(
            "P must be positive semidefinite; for a nonconvex problem use minimize(..., method='interior_point')"
        ) from None
    kept = np.isfinite(rows[1])
    return Program(0.5 * (P + P.T), q, rows[0][kept], rows[1][kept], rows[2], rows[3], low, high)


def result(
    backend: Backend, d: Program, free: np.ndarray, x: np.ndarray, p: Iterate, inner: Program, count: int, stop: str
) -> OptimizeResult:
    """The result over all variables; fixed ones get the multiplier that makes them stationary."""
    k = d.b.size
    x = x.copy()
    x[free] = p.x
    lower, upper = np.zeros(x.size), np.zeros(x.size)
    lower[free], upper[free] = p.zl, p.zu
    slope = d.P @ x + d.q + d.A.T @ p.y[:k] + d.G.T @ p.z
    rest = np.setdiff1d(np.arange(x.size), free)
    lower[rest], upper[rest] = np.maximum(slope[rest], 0.0), np.maximum(-slope[rest], 0.0)
    r = conditions(inner, p)
    violation = float(np.max(r.violation, initial=0.0))
    stationarity = float(np.max(np.abs(r.stationarity), initial=0.0))
    status, text = stop_message(stop)
    return OptimizeResult(
        x=backend.asarray(np.clip(x, d.lower, d.upper)), fun=float(0.5 * x @ d.P @ x + d.q @ x), nit=count,
        success=stop == "converged", status=status, stop_reason=stop, violation=violation,
        stationarity=stationarity, complementarity=r.complementarity, gap=r.gap,
        message=f"{text} At the end: violation {violation:.3g}, stationarity {stationarity:.3g}, gap {r.gap:.3g}.",
        multipliers={"h_eq": p.y[:k], "g_le": p.z, "lower": lower, "upper": upper},
    )  # fmt: skip

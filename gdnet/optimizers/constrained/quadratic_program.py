"""Convex quadratic programs by Mehrotra's predictor-corrector method.

    min ½ xᵀP x + qᵀx   s.t.  G x <= h,  A x = b,  lower <= x <= upper

S. Mehrotra, "On the implementation of a primal-dual interior point method", SIAM J. Optim. 2 (1992) 575-601. One
factorisation an iteration serves two solves: the predictor (σ = 0) and the corrector with σ = (μ_aff / μ)³.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gdnet.backend import Backend, backend_of, get_backend
from gdnet.errors import DataError, OptionError, ShapeError
from gdnet.optimizers.constrained.bounds import bound_vector, host
from gdnet.optimizers.constrained.kkt import Factor, Kkt
from gdnet.optimizers.constrained.problem import check_bounds
from gdnet.optimizers.options import DOMAINS, checked
from gdnet.optimizers.result import OptimizeResult, stop_message

STEP, REGULARISE = 0.995, 1e-11
ROUNDS, UNITS = 5, 1e8


@dataclass(frozen=True)
class Data:
    """The problem on the host, fixed variables included."""

    P: np.ndarray
    q: np.ndarray
    G: np.ndarray
    h: np.ndarray
    A: np.ndarray
    b: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    def restrict(self, free: np.ndarray, fixed: np.ndarray) -> "Data":
        """The problem of the free variables, the others being `fixed`."""
        return Data(
            self.P[np.ix_(free, free)], self.q[free] + self.P[free] @ fixed, self.G[:, free], self.h - self.G @ fixed,
            self.A[:, free], self.b - self.A @ fixed, self.lower[free], self.upper[free],
        )  # fmt: skip


class Point(NamedTuple):
    """Primal x and slacks s of G x <= h; multipliers y of the rows (A, G), z of s, zl and zu of the bounds."""

    x: np.ndarray
    s: np.ndarray
    y: np.ndarray
    z: np.ndarray
    zl: np.ndarray
    zu: np.ndarray


@dataclass(frozen=True)
class Scaled:
    """The problem with rows, columns and objective of size one; points are judged in the original units."""

    original: Data
    data: Data
    f: float
    rows: np.ndarray
    """(k + m,), what the rows of A, then of G, were divided by."""
    columns: np.ndarray
    """(n,), the unit of each variable."""

    @classmethod
    def of(cls, d: Data) -> "Scaled":
        rows, c = equilibrate(d)
        a, g = rows[: d.b.size], rows[d.b.size :]
        P, q = d.P * c * c[:, None], d.q * c
        f = max(float(np.max(np.abs(q), initial=0.0)), float(np.max(np.abs(P), initial=0.0))) or 1.0
        A, G = d.A * c / a[:, None], d.G * c / g[:, None]
        return cls(d, Data(P / f, q / f, G, d.h / g, A, d.b / a, d.lower / c, d.upper / c), f, rows, c)

    def back(self, p: "Point") -> "Point":
        """A point of the scaled problem in the original units, within the bounds to the last bit."""
        g, c, d = self.rows[self.original.b.size :], self.columns, self.original
        x = np.clip(p.x * c, d.lower, d.upper)
        return Point(x, p.s * g, p.y * self.f / self.rows, p.z * self.f / g, p.zl * self.f / c, p.zu * self.f / c)


def equilibrate(d: Data) -> tuple[np.ndarray, np.ndarray]:
    """What to divide rows by and to multiply columns with, so that the largest entry of each is about 1.

    D. Ruiz, "A scaling algorithm to equilibrate both rows and columns norms in matrices", RAL-TR-2001-034.
    """
    M, P, c = np.abs(np.concatenate([d.A, d.G])), np.abs(d.P), np.ones(d.q.size)

    def size(largest: np.ndarray) -> np.ndarray:
        return np.where(largest > 0, largest, 1.0)

    rows = np.ones(len(M))
    for _ in range(ROUNDS):
        rows = rows * np.sqrt(size(np.max(M * c / rows[:, None], axis=1, initial=0.0)))
        S = np.concatenate([M / rows[:, None] * c, P * c * c[:, None]])
        c = np.clip(c / np.sqrt(size(np.max(S, axis=0, initial=0.0))), 1.0 / UNITS, UNITS)
    return size(np.max(M * c, axis=1, initial=0.0)), c


class Residuals(NamedTuple):
    violation: float
    stationarity: float
    complementarity: float
    """The largest of s z and of distance times multiplier over the bounds."""
    gap: float
    """Primal less dual objective."""


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
        The violation, the stationarity max |Px + q + Aᵀy + Gᵀz - z_lower + z_upper| and the gap must be at most tol;
        where the precision allows no more, at most tol times the size of the data. For an objective whose numbers are
        all below 1, the last two are judged relative to the largest of them.

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
    tol = checked("quadratic_program", "tol", tol, DOMAINS["tol"])
    max_iter = checked("quadratic_program", "max_iter", max_iter, DOMAINS["max_iter"])
    data = check(P, q, G, h, A, b, lower, upper)
    gap = data.upper - data.lower
    free = gap > 1e-13 * np.maximum(1.0, np.where(np.isfinite(data.lower), np.abs(data.lower), 0.0))
    fixed = np.where(free, 0.0, np.where(free, 0.0, data.lower))
    inner = data.restrict(np.flatnonzero(free), fixed)
    point, count, stop = solve(inner, tol, max_iter)
    if stop != "converged":
        stop = diagnose(inner, tol, max_iter) or stop
    return result(backend, data, np.flatnonzero(free), fixed, point, inner, count, stop)


def check(P: Any, q: Any, G: Any, h: Any, A: Any, b: Any, lower: Any, upper: Any) -> Data:
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
    size = max(float(np.max(np.abs(P), initial=0.0)), 1e-300)
    if np.max(np.abs(P - P.T), initial=0.0) > 1e-8 * size:
        raise OptionError("P must be symmetric: give (P + P.T) / 2")
    P = 0.5 * (P + P.T)
    try:
        np.linalg.cholesky(P + 1e-9 * size * np.eye(n))
    except np.linalg.LinAlgError:
        raise OptionError(
            "P must be positive semidefinite; for a nonconvex problem use minimize(..., method='interior_point')"
        ) from None
    kept = np.isfinite(rows[1])
    return Data(P, q, rows[0][kept], rows[1][kept], rows[2], rows[3], low, high)


def residuals(d: Data, p: Point) -> Residuals:
    """The optimality conditions of x and the multipliers; the slacks do not enter."""
    k = d.b.size
    violation = max(
        float(np.max(np.abs(d.A @ p.x - d.b), initial=0.0)), float(np.max(d.G @ p.x - d.h, initial=0.0)), 0.0
    )
    has_l, has_u = np.isfinite(d.lower), np.isfinite(d.upper)
    Px = d.P @ p.x
    r = Px + d.q + d.A.T @ p.y[:k] + d.G.T @ p.z - p.zl + p.zu
    products = [p.s * p.z, (p.x - d.lower)[has_l] * p.zl[has_l], (d.upper - p.x)[has_u] * p.zu[has_u]]
    dual = -0.5 * p.x @ Px - d.b @ p.y[:k] - d.h @ p.z + d.lower[has_l] @ p.zl[has_l] - d.upper[has_u] @ p.zu[has_u]
    primal = 0.5 * p.x @ Px + d.q @ p.x
    gap = max(float(np.max(np.abs(v), initial=0.0)) for v in products)
    return Residuals(violation, float(np.max(np.abs(r), initial=0.0)), gap, float(primal - dual))


def sizes(d: Data, p: Point) -> tuple[float, float, float]:
    """What violation, stationarity and gap are relative to where rounding forbids the absolute tolerance."""
    rows = max(float(np.max(np.abs(v), initial=1.0)) for v in (d.b, d.h, np.abs(d.A) @ np.abs(p.x)))
    slope = max(float(np.max(np.abs(v), initial=1.0)) for v in (d.q, d.P @ p.x))
    return rows, slope, max(1.0, abs(float(0.5 * p.x @ (d.P @ p.x) + d.q @ p.x)))


def start(d: Data) -> Point:
    """Mehrotra's start: the least-squares solution, shifted into the interior."""
    n, k, m = d.q.size, d.b.size, d.h.size
    has_l, has_u = np.isfinite(d.lower), np.isfinite(d.upper)
    rows = np.concatenate([d.A, d.G])
    kkt = Kkt(d.P, rows, np.where(has_l | has_u, 1.0, 1e-6), np.ones(m), np.arange(k, k + m), np.ones(m))
    found = kkt.factor(1e-8, 1e-8)
    if isinstance(found, Factor):
        w, y, _ = found.solve(np.concatenate([-d.q, np.zeros(m)]), np.concatenate([d.b, d.h]))
    else:
        w, y = np.zeros(n + m), np.zeros(k + m)
    gap = np.where(has_l & has_u, d.upper - d.lower, np.inf)
    push = np.minimum(1.0, 0.25 * gap)
    x = np.where(has_l, np.maximum(w[:n], d.lower + push), w[:n])
    x = np.where(has_u, np.minimum(x, d.upper - push), x)
    s = d.h - d.G @ x
    s = s + max(0.0, -1.5 * float(np.min(s, initial=0.0)))
    s = np.maximum(s, 1e-2 * max(1.0, float(np.max(np.abs(s), initial=0.0))))
    z = np.maximum(1.0, np.abs(y[k:]))
    y = np.concatenate([y[:k], z])
    r = d.P @ x + d.q + rows.T @ y
    spread = max(1.0, float(np.max(np.abs(r), initial=0.0)) * 1e-1)
    zl = np.where(has_l, np.maximum(r, 0.0) + spread, 0.0)
    zu = np.where(has_u, np.maximum(-r, 0.0) + spread, 0.0)
    return Point(x, s, y, z, zl, zu)


def solve(original: Data, tol: float, max_iter: int) -> tuple[Point, int, str]:
    """(point, iterations, stop reason) for variables that are not fixed."""
    scaled = Scaled.of(original)
    d = scaled.data
    small = min(1.0, scaled.f)  # an objective of tiny numbers is not solved because its slopes are tiny
    n, k, m = d.q.size, d.b.size, d.h.size
    rows = np.concatenate([d.A, d.G])
    l, u = np.flatnonzero(np.isfinite(d.lower)), np.flatnonzero(np.isfinite(d.upper))
    right = np.concatenate([d.b, d.h])
    linear = not np.any(d.P)
    count = m + l.size + u.size
    p = best = start(d)
    least, since = np.inf, 0
    for i in range(max_iter + 1):
        r = residuals(original, scaled.back(p))
        worst = max(r.violation, r.stationarity / small, abs(r.gap) / small)
        if worst <= tol:
            return scaled.back(p), i, "converged"
        if not np.isfinite(worst):
            break
        if worst < 0.9 * least:
            least, since, best = worst, 0, p
        else:
            since += 1
        huge = max(float(np.max(np.abs(v), initial=0.0)) for v in p)
        if since > 15 or huge > 1e15 or i == max_iter:
            break
        dl, du = p.x[l] - d.lower[l], d.upper[u] - p.x[u]
        mu = (float(p.s @ p.z) + float(dl @ p.zl[l]) + float(du @ p.zu[u])) / max(1, count)
        diag_x = np.zeros(n)
        diag_x[l] += p.zl[l] / dl
        diag_x[u] += p.zu[u] / du
        kkt = Kkt(d.P, rows, diag_x, p.z / p.s, np.arange(k, k + m), np.ones(m))
        factor, regular = kkt.factor(REGULARISE, REGULARISE), REGULARISE
        while not isinstance(factor, Factor) and regular < 1e-2:
            regular *= 100.0
            factor = kkt.factor(regular, regular)
        if not isinstance(factor, Factor):
            break
        slope = d.P @ p.x + d.q + rows.T @ p.y
        gap_rows = right - rows @ p.x - np.concatenate([np.zeros(k), p.s])

        def direction(
            target: float, cs: Any, cl: Any, cu: Any, p: Point = p, dl: Any = dl, du: Any = du, factor: Factor = factor,
            slope: Any = slope, gap_rows: Any = gap_rows,
        ) -> Point:  # fmt: skip
            """Newton's direction to s z = target - correction, and so for the bounds."""
            rx = -slope
            rx[l] += (target - cl) / dl
            rx[u] -= (target - cu) / du
            rs = (target - cs) / p.s - p.y[k:]
            w, dy, _ = factor.solve(np.concatenate([rx, rs]), gap_rows)
            dx, ds = w[:n], w[n:]
            zl, zu = np.zeros(n), np.zeros(n)
            zl[l] = (target - cl) / dl - p.zl[l] - p.zl[l] / dl * dx[l]
            zu[u] = (target - cu) / du - p.zu[u] + p.zu[u] / du * dx[u]
            return Point(dx, ds, dy, (target - cs) / p.s - p.z - p.z / p.s * ds, zl, zu)

        t = direction(0.0, 0.0, 0.0, 0.0)
        ap, ad = longest(d, p, t, l, u)
        after = (
            float((p.s + ap * t.s) @ (p.z + ad * t.z))
            + float((dl + ap * t.x[l]) @ (p.zl + ad * t.zl)[l])
            + float((du - ap * t.x[u]) @ (p.zu + ad * t.zu)[u])
        ) / max(1, count)
        sigma = min(1.0, (max(after, 0.0) / mu) ** 3) if mu > 0 else 0.0
        t = direction(sigma * mu, t.s * t.z, t.x[l] * t.zl[l], -t.x[u] * t.zu[u])
        ap, ad = longest(d, p, t, l, u)
        ap, ad = min(1.0, STEP * ap), min(1.0, STEP * ad)
        if not linear:
            ap = ad = min(ap, ad)
        new = Point(p.x + ap * t.x, p.s + ap * t.s, p.y + ad * t.y, p.z + ad * t.z, p.zl + ad * t.zl, p.zu + ad * t.zu)
        x = np.clip(new.x, np.nextafter(d.lower, np.inf), np.nextafter(d.upper, -np.inf))
        p = new._replace(x=x)
    best = scaled.back(best)
    r, (rows_size, slope_size, f_size) = residuals(original, best), sizes(original, best)
    slopes, gaps = r.stationarity <= tol * slope_size * small, abs(r.gap) <= tol * f_size * small
    good = r.violation <= tol * rows_size and slopes and gaps
    return best, i, "converged" if good else "max_iter" if i >= max_iter else "precision"


def longest(d: Data, p: Point, t: Point, l: np.ndarray, u: np.ndarray) -> tuple[float, float]:
    """The longest primal and dual steps to the boundary, each up to 1 / STEP."""

    def reach(v: np.ndarray, dv: np.ndarray) -> float:
        falling = dv < 0
        return float(np.min(-v[falling] / dv[falling], initial=1.0 / STEP))

    primal = min(reach(p.s, t.s), reach(p.x[l] - d.lower[l], t.x[l]), reach(d.upper[u] - p.x[u], -t.x[u]))
    return primal, min(reach(p.z, t.z), reach(p.zl[l], t.zl[l]), reach(p.zu[u], t.zu[u]))


def diagnose(d: Data, tol: float, max_iter: int) -> str | None:
    """Why there is no solution, proved by two linear programs that always have one.

    min Σt with G x - t <= h, |A x - b| <= t tells whether the problem is infeasible; min qᵀv with P v = 0, G v <= 0,
    A v = 0, v in the bounds' recession cone and |v| <= 1 whether it falls for ever along a direction.
    """
    n, k, m = d.q.size, d.b.size, d.h.size
    I, O = np.eye, np.zeros
    G = np.block([[d.G, -I(m), O((m, k))], [d.A, O((k, m)), -I(k)], [-d.A, O((k, m)), -I(k)]])
    elastic = Data(
        O((n + m + k, n + m + k)), np.concatenate([O(n), np.ones(m + k)]), G, np.concatenate([d.h, d.b, -d.b]),
        O((0, n + m + k)), O(0), np.concatenate([d.lower, O(m + k)]), np.concatenate([d.upper, np.full(m + k, np.inf)]),
    )  # fmt: skip
    p, _, stop = solve(elastic, 1e-8, max_iter)
    size = max(1.0, float(np.max(np.abs(elastic.h), initial=0.0)))
    if stop == "converged" and float(np.sum(p.x[n:])) > 1e-6 * size:
        return "infeasible"
    cone = Data(
        O((n, n)), d.q, d.G, O(m), np.concatenate([d.A, d.P]), O(k + n), np.where(np.isfinite(d.lower), 0.0, -1.0),
        np.where(np.isfinite(d.upper), 0.0, 1.0),
    )  # fmt: skip
    movable = np.flatnonzero(cone.lower < cone.upper)
    p, _, stop = solve(cone.restrict(movable, O(n)), 1e-8, max_iter)
    slope = float(d.q[movable] @ p.x)
    return "unbounded" if stop == "converged" and slope < -1e-6 * max(1.0, float(np.max(np.abs(d.q)))) else None


def result(
    backend: Backend, d: Data, free: np.ndarray, x: np.ndarray, p: Point, inner: Data, count: int, stop: str
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
    r = residuals(inner, p)
    status, text = stop_message(stop)
    return OptimizeResult(
        x=backend.asarray(np.clip(x, d.lower, d.upper)), fun=float(0.5 * x @ d.P @ x + d.q @ x), nit=count,
        success=stop == "converged", status=status, stop_reason=stop, violation=r.violation,
        stationarity=r.stationarity, complementarity=r.complementarity, gap=r.gap,
        message=f"{text} At the end: violation {r.violation:.3g}, stationarity {r.stationarity:.3g}, gap {r.gap:.3g}.",
        multipliers={"h_eq": p.y[:k], "g_le": p.z, "lower": lower, "upper": upper},
    )  # fmt: skip

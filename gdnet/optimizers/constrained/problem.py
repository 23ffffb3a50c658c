"""The problem as the interior point method sees it: slacks on the inequalities, scaled functions, no fixed variables.

    min f(x)  s.t.  h(x) = 0,  g(x) + s = 0,  s >= 0,  lower <= x <= upper        w = (x, s),  c = (h, g + s)

Functions are scaled at the start so that no gradient entry exceeds 100; bounds are never moved.
"""

from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from gdnet.errors import OptionError

SCALE_ABOVE, LEAST_SCALE = 100.0, 1e-8
EPS = float(np.finfo(np.float64).eps)


class Functions(Protocol):
    """What the user gives, on the host in float64, unscaled, for the whole x. The rows of c are h, then g."""

    n: int
    equalities: int
    inequalities: int
    failure: Exception | None

    def value(self, x: np.ndarray) -> float: ...
    def gradient(self, x: np.ndarray) -> np.ndarray: ...
    def constraints(self, x: np.ndarray) -> np.ndarray: ...
    def jacobian(self, x: np.ndarray) -> np.ndarray: ...
    def convex_hessian(self, x: np.ndarray) -> np.ndarray | None: ...
    def hessian(self, x: np.ndarray, sigma: float, y: np.ndarray) -> np.ndarray:
        """σ ∇²f + Σ y_i ∇²c_i."""
        ...


class Residuals(NamedTuple):
    """How far a point is from the optimality conditions, in the user's units."""

    violation: float
    """max(|h|, g⁺, distance out of the bounds)."""
    stationarity: float
    """max |∇f + Jᵀy - z_lower + z_upper|."""
    complementarity: float
    """max of |multiplier * constraint|, over equalities, inequalities and bounds."""
    scales: tuple[float, float]
    """What the last two are relative to: max(1, |∇f|) and max(1, |f|)."""

    def within(self, tol: float, violation: float) -> bool:
        """Whether all three are small; a NaN is not."""
        return bool(
            self.violation <= violation
            and self.stationarity <= tol * self.scales[0]
            and self.complementarity <= tol * self.scales[1]
        )


class Point:
    """Values at one w; derivatives when asked for."""

    def __init__(self, problem: Any, w: np.ndarray) -> None:
        self.problem, self.w = problem, w
        self.f, self.c = problem.evaluate(w)
        self.theta = float(np.sum(np.abs(self.c)))
        self.finite = bool(np.isfinite(self.f) and np.isfinite(self.theta))

    @cached_property
    def gradient(self) -> np.ndarray:
        """∇f by w."""
        return self.problem.gradient(self.w)

    @cached_property
    def J(self) -> np.ndarray:
        """(m, n): the Jacobian of c by x."""
        return self.problem.jacobian(self.w)

    def pull(self, y: np.ndarray) -> np.ndarray:
        """Aᵀ y by w."""
        p = self.problem
        return np.concatenate([self.J.T @ y, p.sign * y[p.row]])


class Form:
    """min f(w) s.t. c(x) + S v = 0 with bounds on w = (x, v); see `kkt`. Base of the problem and its restoration."""

    n: int
    m: int
    row: np.ndarray
    sign: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    eps: float = EPS
    """The rounding unit in which the functions are computed."""

    def finish(self) -> None:
        """What follows from the bounds."""
        self.has_lower, self.has_upper = np.flatnonzero(self.lower > -np.inf), np.flatnonzero(self.upper < np.inf)
        lone_l, lone_u = self.upper[self.has_lower] == np.inf, self.lower[self.has_upper] == -np.inf
        self.lone_lower, self.lone_upper = lone_l.astype(float), lone_u.astype(float)
        self._points: dict[bytes, Point] = {}

    def at(self, w: np.ndarray) -> Point:
        """The point w; the last few are kept."""
        key = w.tobytes()
        if key not in self._points:
            while len(self._points) >= 4:
                self._points.pop(next(iter(self._points)))
            self._points[key] = Point(self, w)
        return self._points[key]

    def distances(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far w is from its lower and its upper bounds."""
        return w[self.has_lower] - self.lower[self.has_lower], self.upper[self.has_upper] - w[self.has_upper]

    def spread(self, at_lower: np.ndarray, at_upper: np.ndarray) -> np.ndarray:
        """A vector by w with these entries added where there are bounds."""
        found = np.zeros(self.lower.size)
        found[self.has_lower] += at_lower
        found[self.has_upper] += at_upper
        return found

    def inside(self, w: np.ndarray, push: float) -> np.ndarray:
        """w moved strictly inside: at least `push` from each bound, or that share of the interval."""
        l, u = self.lower, self.upper
        gap = np.where(np.isfinite(l) & np.isfinite(u), u - l, np.inf)
        pl = np.minimum(push * np.maximum(1.0, np.abs(np.where(np.isfinite(l), l, 0.0))), push * gap)
        pu = np.minimum(push * np.maximum(1.0, np.abs(np.where(np.isfinite(u), u, 0.0))), push * gap)
        w = np.where(np.isfinite(l), np.maximum(w, l + pl), w)
        return np.where(np.isfinite(u), np.minimum(w, u - pu), w)

    def keep_inside(self, w: np.ndarray) -> np.ndarray:
        """Undo rounding that has put w onto a bound."""
        w = np.where(w <= self.lower, np.nextafter(self.lower, np.inf), w)
        return np.where(w >= self.upper, np.nextafter(self.upper, -np.inf), w)

    def barrier_changed(self, mu: float) -> None:
        """Told when μ changes."""

    def convex_hessian(self, w: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        """A Gauss-Newton matrix to use with damping where the Hessian is not convex, if there is one."""
        return None

    def hessian(self, w: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The Hessian of the Lagrangian: the block of x, and the diagonal of v."""
        raise NotImplementedError


class SlackProblem(Form):
    """The user's problem over its free variables, with slacks and scaling."""

    def __init__(self, functions: Functions, x0: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        self.functions = functions
        gap = upper - lower  # an interval of a few units in the last place has no inside: it fixes the variable
        free = gap > 1e-13 * np.maximum(1.0, np.where(np.isfinite(lower), np.abs(lower), 0.0))
        self.free = np.flatnonzero(free)
        self.full = np.where(free, x0, lower)
        self.n, p = self.free.size, functions.inequalities
        self.m = functions.equalities + p
        self.row, self.sign = np.arange(functions.equalities, self.m), np.ones(p)
        self.lower = np.concatenate([lower[self.free], np.zeros(p)])
        self.upper = np.concatenate([upper[self.free], np.full(p, np.inf)])
        self.f_scale, self.c_scale = 1.0, np.ones(self.m)
        self.finish()

    source: Any = None
    """The objective from which this was made."""

    def start(self, push: float, scaling: bool) -> np.ndarray:
        """The first w, strictly inside; sets the scales."""
        x = self.inside(np.concatenate([self.full[self.free], np.ones(self.m - self.functions.equalities)]), push)
        if scaling:
            full = self.whole(x)
            g = np.max(np.abs(self.functions.gradient(full)[self.free]), initial=0.0)
            J = np.max(np.abs(self.functions.jacobian(full)[:, self.free]), axis=1, initial=0.0)
            with np.errstate(divide="ignore", invalid="ignore"):
                self.f_scale = float(max(LEAST_SCALE, min(1.0, SCALE_ABOVE / g))) if np.isfinite(g) else 1.0
                self.c_scale = np.where(np.isfinite(J), np.clip(SCALE_ABOVE / J, LEAST_SCALE, 1.0), 1.0)
            self._points.clear()
        c = self.c_scale * self.functions.constraints(self.whole(x))
        x[self.n :] = np.maximum(np.nan_to_num(-c[self.row]), push)
        return x

    def whole(self, w: np.ndarray) -> np.ndarray:
        """The user's x."""
        full = self.full.copy()
        full[self.free] = w[: self.n]
        return full

    def evaluate(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        x = self.whole(w)
        c = self.c_scale * self.functions.constraints(x)
        c[self.row] += w[self.n :]
        return self.f_scale * self.functions.value(x), c

    def gradient(self, w: np.ndarray) -> np.ndarray:
        g = self.f_scale * self.functions.gradient(self.whole(w))[self.free]
        return np.concatenate([g, np.zeros(self.row.size)])

    def jacobian(self, w: np.ndarray) -> np.ndarray:
        return self.c_scale[:, None] * self.functions.jacobian(self.whole(w))[:, self.free]

    def hessian(self, w: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The Hessian of the Lagrangian: the block of x and the diagonal of v."""
        H = self.functions.hessian(self.whole(w), self.f_scale, self.c_scale * y)[np.ix_(self.free, self.free)]
        return 0.5 * (H + H.T), np.zeros(self.row.size)

    def convex_hessian(self, w: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        # the curvature of constraints must not be left out: with them the exact Hessian is the better one
        H = self.functions.convex_hessian(self.whole(w)) if self.m == 0 else None
        if H is None:
            return None
        H = self.f_scale * H[np.ix_(self.free, self.free)]
        return 0.5 * (H + H.T)

    def constraint_hessian(self, w: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Σ y_i ∇²c_i alone, for the restoration phase."""
        H = self.functions.hessian(self.whole(w), 0.0, self.c_scale * y)[np.ix_(self.free, self.free)]
        return 0.5 * (H + H.T)

    def multipliers(self, y: np.ndarray, zl: np.ndarray, zu: np.ndarray) -> tuple[np.ndarray, ...]:
        """(y_h, y_g, z_lower, z_upper) of the unscaled problem, for the whole x; y_g is never negative."""
        k, n = self.functions.equalities, self.n
        z = self.spread(zl, np.zeros(self.has_upper.size)) / self.f_scale
        zup = self.spread(np.zeros(self.has_lower.size), zu) / self.f_scale
        lower, upper = np.zeros(self.full.size), np.zeros(self.full.size)
        lower[self.free], upper[self.free] = z[:n], zup[:n]
        return self.c_scale[:k] * y[:k] / self.f_scale, self.c_scale[k:] * z[n:], lower, upper

    def residuals(self, w: np.ndarray, y: np.ndarray, zl: np.ndarray, zu: np.ndarray) -> Residuals:
        """The check on which success rests. Fixed variables are exact by construction and have no condition."""
        fun, x = self.functions, self.whole(w)
        yh, yg, lower, upper = self.multipliers(y, zl, zu)
        p = self.at(w)
        c = (p.c - np.concatenate([np.zeros(fun.equalities), w[self.n :]])) / self.c_scale
        h, g = c[: fun.equalities], c[fun.equalities :]
        violation = max((np.max(np.abs(h), initial=0.0)), np.max(g, initial=0.0))
        grad, J = p.gradient[: self.n] / self.f_scale, p.J / self.c_scale[:, None]
        r = grad + J.T @ np.concatenate([yh, yg]) - lower[self.free] + upper[self.free]
        bl, bu = np.isfinite(self.lower[: self.n]), np.isfinite(self.upper[: self.n])
        v = x[self.free]
        zl, zu = lower[self.free], upper[self.free]
        products = [yh * h, yg * g, zl[bl] * (v - self.lower[: self.n])[bl], zu[bu] * (self.upper[: self.n] - v)[bu]]
        gap = max(float(np.max(np.abs(q), initial=0.0)) for q in products)
        scales = (max(1.0, float(np.max(np.abs(grad), initial=0.0))), max(1.0, abs(p.f / self.f_scale)))
        return Residuals(float(violation), float(np.max(np.abs(r), initial=0.0)), gap, scales)


def check_bounds(lower: np.ndarray, upper: np.ndarray) -> None:
    """Bounds that no x can meet are an error of the call, not of the method."""
    if np.any(np.isnan(lower)) or np.any(np.isnan(upper)):
        raise OptionError("bounds must not be NaN; use None or ±inf where there is no bound")
    bad = np.flatnonzero((lower > upper) | (lower == np.inf) | (upper == -np.inf))
    if bad.size:
        i = int(bad[0])
        raise OptionError(f"no x satisfies the bounds: lower[{i}] = {lower[i]} and upper[{i}] = {upper[i]}")

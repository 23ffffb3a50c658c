"""Mehrotra's predictor-corrector method for convex quadratic programs.

    min ½ xᵀP x + qᵀx   s.t.  G x <= h,  A x = b,  lower <= x <= upper

S. Mehrotra, "On the implementation of a primal-dual interior point method", SIAM J. Optim. 2 (1992) 575-601. One
factorisation an iteration serves two solves: the predictor (σ = 0) and the corrector with σ = (μ_aff / μ)³.
The method runs in the units of `scaling`, so that neither its path nor its end depends on the user's.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from gdnet.optimizers.constrained.kkt import Factor, Kkt
from gdnet.optimizers.constrained.scaling import units

STEP, REGULARISE, PATIENCE, HUGE = 0.995, 1e-11, 15, 1e15
FLOOR = 1e-3
"""The least size, in units of the scaled program, to which the error of a row or a slope is relative; its square is
the one for the gap."""
STRICT = 1e-8, 1e-3
"""The least and the largest such size while the iteration can still get better: stricter than the last test."""
ROUNDING = 50.0 * float(np.finfo(np.float64).eps)
"""What sums may be wrong by, relative to the sum of the absolute values of their terms."""


@dataclass(frozen=True)
class Program:
    """A quadratic program on the host."""

    P: np.ndarray
    q: np.ndarray
    G: np.ndarray
    h: np.ndarray
    A: np.ndarray
    b: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @cached_property
    def rows(self) -> np.ndarray:
        """(k + m, n): A, then G."""
        return np.concatenate([self.A, self.G])

    @cached_property
    def right(self) -> np.ndarray:
        """(k + m,): b, then h."""
        return np.concatenate([self.b, self.h])

    @cached_property
    def at_lower(self) -> np.ndarray:
        """The variables that have a lower bound."""
        return np.flatnonzero(np.isfinite(self.lower))

    @cached_property
    def at_upper(self) -> np.ndarray:
        """The variables that have an upper bound."""
        return np.flatnonzero(np.isfinite(self.upper))

    def restrict(self, free: np.ndarray, fixed: np.ndarray) -> "Program":
        """The program of the free variables, the others being `fixed`."""
        return Program(
            self.P[np.ix_(free, free)], self.q[free] + self.P[free] @ fixed, self.G[:, free], self.h - self.G @ fixed,
            self.A[:, free], self.b - self.A @ fixed, self.lower[free], self.upper[free],
        )  # fmt: skip


class Iterate(NamedTuple):
    """Primal x and slacks s of G x <= h; multipliers y of the rows (A, G), z of s, zl and zu of the bounds."""

    x: np.ndarray
    s: np.ndarray
    y: np.ndarray
    z: np.ndarray
    zl: np.ndarray
    zu: np.ndarray


@dataclass(frozen=True)
class Scaled:
    """A program in units of its own."""

    original: Program
    program: Program
    f: float
    rows: np.ndarray
    """(k + m,), what the rows of A, then of G, were divided by."""
    columns: np.ndarray
    """(n,), the unit of each variable."""

    @classmethod
    def of(cls, d: Program) -> "Scaled":
        """Variables by `units`, within their box; then rows and objective so that their largest coefficient is 1."""
        with np.errstate(invalid="ignore"):
            sizes = [d.lower, d.upper, d.upper - d.lower]
        box = np.maximum(np.abs(d.lower), np.abs(d.upper))
        c = np.minimum(units(d.P, d.q, d.rows, d.right, sizes).variables, np.where(box > 0, box, np.inf))
        largest = np.max(np.abs(d.rows * c), axis=1, initial=0.0)
        r = np.where(largest > 0, largest, np.where(d.right != 0, np.abs(d.right), 1.0))
        P, q = d.P * c * c[:, None], d.q * c
        f = max(float(np.max(np.abs(q), initial=0.0)), float(np.max(np.abs(P), initial=0.0))) or 1.0
        a, g = r[: d.b.size], r[d.b.size :]
        A, G = d.A * c / a[:, None], d.G * c / g[:, None]
        return cls(d, Program(P / f, q / f, G, d.h / g, A, d.b / a, d.lower / c, d.upper / c), f, r, c)

    def back(self, p: Iterate) -> Iterate:
        """An iterate in the original units, within the bounds to the last bit."""
        g, c, d = self.rows[self.original.b.size :], self.columns, self.original
        x = np.clip(p.x * c, d.lower, d.upper)
        return Iterate(x, p.s * g, p.y * self.f / self.rows, p.z * self.f / g, p.zl * self.f / c, p.zu * self.f / c)


class Conditions(NamedTuple):
    """How far an iterate is from the optimality conditions; the slacks do not enter."""

    violation: np.ndarray
    """(k + m,), of A x = b and of G x <= h."""
    stationarity: np.ndarray
    """(n,), P x + q + Aᵀy + Gᵀz - z_lower + z_upper."""
    gap: float
    """Primal less dual objective."""
    complementarity: float
    """The largest of s z and of distance times multiplier over the bounds."""


def conditions(d: Program, p: Iterate) -> Conditions:
    """The optimality conditions at p."""
    k, l, u = d.b.size, d.at_lower, d.at_upper
    short = d.rows @ p.x - d.right
    violation = np.concatenate([np.abs(short[:k]), np.maximum(short[k:], 0.0)])
    Px, multipliers = d.P @ p.x, np.concatenate([p.y[:k], p.z])
    r = Px + d.q + d.rows.T @ multipliers - p.zl + p.zu
    products = [p.s * p.z, (p.x - d.lower)[l] * p.zl[l], (d.upper - p.x)[u] * p.zu[u]]
    dual = -0.5 * p.x @ Px - d.right @ multipliers + d.lower[l] @ p.zl[l] - d.upper[u] @ p.zu[u]
    largest = max(float(np.max(np.abs(v), initial=0.0)) for v in products)
    return Conditions(violation, r, float(0.5 * p.x @ Px + d.q @ p.x - dual), largest)


def error(d: Program, p: Iterate, tol: float, floor: float = FLOOR, most: float = np.inf) -> float:
    """The largest of the conditions at p over what is allowed: at most 1 where p is a solution. `d` is scaled.

    Each is allowed `tol` times the size of what it is made of, between `floor` and `most`, and what rounding takes.
    """
    found, k, l, u = conditions(d, p), d.b.size, d.at_lower, d.at_upper
    x, multipliers = np.abs(p.x), np.concatenate([p.y[:k], p.z])
    rows = tol * np.clip(np.abs(d.right), floor, most) + ROUNDING * (np.abs(d.rows) @ x)
    Px, pulled = d.P @ p.x, d.rows.T @ multipliers
    slope = np.maximum.reduce([np.abs(d.q), np.abs(Px), np.abs(pulled), p.zl, p.zu, np.full(x.size, floor)])
    slopes = tol * np.minimum(slope, most) + ROUNDING * (np.abs(d.P) @ x + np.abs(d.rows).T @ np.abs(multipliers))
    value = min(most, max(abs(0.5 * float(p.x @ Px)), abs(float(d.q @ p.x)), floor**2))
    terms = np.abs(d.q) @ x + x @ (np.abs(d.P) @ x) + np.abs(d.right) @ np.abs(multipliers)
    terms = terms + np.abs(d.lower[l]) @ p.zl[l] + np.abs(d.upper[u]) @ p.zu[u]
    return max(
        float(np.max(found.violation / rows, initial=0.0)),
        float(np.max(np.abs(found.stationarity) / slopes, initial=0.0)),
        abs(found.gap) / (tol * value + ROUNDING * float(terms)),
    )


def start(d: Program) -> Iterate:
    """Mehrotra's start: the least-squares solution, shifted into the interior."""
    n, k, m = d.q.size, d.b.size, d.h.size
    has_l, has_u = np.isfinite(d.lower), np.isfinite(d.upper)
    kkt = Kkt(d.P, d.rows, np.where(has_l | has_u, 1.0, 1e-6), np.ones(m), np.arange(k, k + m), np.ones(m))
    found = kkt.factor(1e-8, 1e-8)
    if isinstance(found, Factor):
        w, y, _ = found.solve(np.concatenate([-d.q, np.zeros(m)]), d.right)
    else:
        w, y = np.zeros(n + m), np.zeros(k + m)
    push = np.minimum(1.0, 0.25 * np.where(has_l & has_u, d.upper - d.lower, np.inf))
    x = np.where(has_l, np.maximum(w[:n], d.lower + push), w[:n])
    x = np.where(has_u, np.minimum(x, d.upper - push), x)
    s = d.h - d.G @ x
    s = s + max(0.0, -1.5 * float(np.min(s, initial=0.0)))
    s = np.maximum(s, 1e-2 * max(1.0, float(np.max(np.abs(s), initial=0.0))))
    z = np.maximum(1.0, np.abs(y[k:]))
    y = np.concatenate([y[:k], z])
    r = d.P @ x + d.q + d.rows.T @ y
    spread = max(1.0, float(np.max(np.abs(r), initial=0.0)) * 1e-1)
    zl = np.where(has_l, np.maximum(r, 0.0) + spread, 0.0)
    zu = np.where(has_u, np.maximum(-r, 0.0) + spread, 0.0)
    return Iterate(x, s, y, z, zl, zu)


class Newton:
    """Newton's directions from one iterate: one factorisation, any number of targets."""

    def __init__(self, d: Program, p: Iterate) -> None:
        self.d, self.p = d, p
        n, k, m, l, u = d.q.size, d.b.size, d.h.size, d.at_lower, d.at_upper
        self.dl, self.du = p.x[l] - d.lower[l], d.upper[u] - p.x[u]
        diagonal = np.zeros(n)
        diagonal[l] += p.zl[l] / self.dl
        diagonal[u] += p.zu[u] / self.du
        kkt = Kkt(d.P, d.rows, diagonal, p.z / p.s, np.arange(k, k + m), np.ones(m))
        self.slope = d.P @ p.x + d.q + d.rows.T @ p.y
        self.short = d.right - d.rows @ p.x - np.concatenate([np.zeros(k), p.s])
        regular, self.factor = REGULARISE, kkt.factor(REGULARISE, REGULARISE)
        while not isinstance(self.factor, Factor) and regular < 1e-2:
            regular *= 100.0
            self.factor = kkt.factor(regular, regular)

    def mean(self, step: Iterate | None = None, primal: float = 0.0, dual: float = 0.0) -> float:
        """μ, the mean of s z and of distance times multiplier; of the point that lies these lengths along `step`."""
        p, dl, du, l, u = self.p, self.dl, self.du, self.d.at_lower, self.d.at_upper
        if step is not None:
            dl, du = dl + primal * step.x[l], du - primal * step.x[u]
            p = moved(p, step, primal, dual)
        total = float(p.s @ p.z) + float(dl @ p.zl[l]) + float(du @ p.zu[u])
        return total / max(1, p.s.size + dl.size + du.size)

    def direction(self, target: float, s: np.ndarray, l: np.ndarray, u: np.ndarray) -> Iterate:
        """Towards s z = target - s, and the same for lower and upper bounds: the last three are second-order terms."""
        d, p, n, k = self.d, self.p, self.d.q.size, self.d.b.size
        at_l, at_u = d.at_lower, d.at_upper
        rx = -self.slope
        rx[at_l] += (target - l) / self.dl
        rx[at_u] -= (target - u) / self.du
        rs = (target - s) / p.s - p.y[k:]
        assert isinstance(self.factor, Factor)
        w, dy, _ = self.factor.solve(np.concatenate([rx, rs]), self.short)
        dx, ds = w[:n], w[n:]
        zl, zu = np.zeros(n), np.zeros(n)
        zl[at_l] = (target - l) / self.dl - p.zl[at_l] - p.zl[at_l] / self.dl * dx[at_l]
        zu[at_u] = (target - u) / self.du - p.zu[at_u] + p.zu[at_u] / self.du * dx[at_u]
        return Iterate(dx, ds, dy, (target - s) / p.s - p.z - p.z / p.s * ds, zl, zu)

    def predicted(self) -> Iterate:
        """The direction to complementarity zero."""
        return self.direction(0.0, *(np.zeros(v.size) for v in (self.p.s, self.dl, self.du)))

    def corrected(self) -> Iterate:
        """Mehrotra's direction: a target from what the predictor achieves, and the predictor's second-order terms."""
        t, l, u = self.predicted(), self.d.at_lower, self.d.at_upper
        mu, after = self.mean(), self.mean(t, *(STEP * v for v in longest_steps(self.d, self.p, t)))
        sigma = min(1.0, (max(after, 0.0) / mu) ** 3) if mu > 0 else 0.0
        return self.direction(sigma * mu, t.s * t.z, t.x[l] * t.zl[l], -t.x[u] * t.zu[u])


def moved(p: Iterate, step: Iterate, primal: float, dual: float) -> Iterate:
    """p after steps of these lengths."""
    lengths = (primal, primal, dual, dual, dual, dual)
    return Iterate(*(v + a * dv for v, a, dv in zip(p, lengths, step)))


def longest_steps(d: Program, p: Iterate, t: Iterate) -> tuple[float, float]:
    """The longest primal and dual steps to the boundary, each up to 1 / STEP."""

    def reach(v: np.ndarray, dv: np.ndarray) -> float:
        falling = dv < 0
        return float(np.min(-v[falling] / dv[falling], initial=1.0 / STEP))

    l, u = d.at_lower, d.at_upper
    primal = min(reach(p.s, t.s), reach(p.x[l] - d.lower[l], t.x[l]), reach(d.upper[u] - p.x[u], -t.x[u]))
    return primal, min(reach(p.z, t.z), reach(p.zl[l], t.zl[l]), reach(p.zu[u], t.zu[u]))


def solve(d: Program, tol: float, max_iter: int) -> tuple[Iterate, int, str]:
    """(iterate, iterations, "converged", "max_iter" or "precision") of a scaled program; the best iterate seen."""
    linear = not np.any(d.P)
    p = best = start(d)
    least, since, patience = np.inf, 0, PATIENCE
    for i in range(max_iter + 1):
        now = error(d, p, tol, *STRICT)
        if now <= 1.0:
            return p, i, "converged"
        if not np.isfinite(now):
            break
        if now < 0.9 * least:
            least, since, best = now, 0, p
            patience = PATIENCE if error(d, p, tol) > 1.0 else 1
        else:
            since += 1
        if i == max_iter or since > patience or max(float(np.max(np.abs(v), initial=0.0)) for v in p) > HUGE:
            break
        newton = Newton(d, p)
        if not isinstance(newton.factor, Factor):
            break
        t = newton.corrected()
        primal, dual = (min(1.0, STEP * a) for a in longest_steps(d, p, t))
        if not linear:
            primal = dual = min(primal, dual)
        p = moved(p, t, primal, dual)
        p = p._replace(x=np.clip(p.x, np.nextafter(d.lower, np.inf), np.nextafter(d.upper, -np.inf)))
    if error(d, best, tol) <= 1.0:
        return best, i, "converged"
    return best, i, "max_iter" if i == max_iter else "precision"

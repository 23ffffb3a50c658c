"""One iteration of the primal-dual barrier method: convergence test, μ, direction, line search.

A. Wächter and L. T. Biegler, "On the implementation of an interior-point filter line-search algorithm for large-scale
nonlinear programming", Math. Program. 106 (2006) 25-57; constants and order of the steps as there.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gdnet.optimizers.constrained.filter import Accepted, Filter, search
from gdnet.optimizers.constrained.form import Form, Point
from gdnet.optimizers.constrained.kkt import Factor, Inertia, Kkt

KAPPA_EPS, KAPPA_SIGMA, S_MAX, KAPPA_D, TAU_MIN = 10.0, 1e10, 100.0, 1e-5, 0.99
Y_MAX = 1e3
BLOCKED, PATIENCE, MAX_RAISES = 0.02, 10, 6
MU_LEAST = 1e-24


@dataclass(frozen=True)
class Options:
    """Constants of the method; none of them is meant to be tuned to a problem."""

    tol: float = 1e-8
    max_iter: int = 3000
    mu_init: float = 1.0
    kappa_mu: float = 0.2
    theta_mu: float = 1.5
    push: float = 0.01
    scaling: bool = True
    central: bool = False
    """Start with multipliers μ / distance instead of 1."""
    deadline: float = np.inf
    """On `time.perf_counter`'s clock: phases of many iterations end there."""


class State(NamedTuple):
    """Where the method stands; everything that an iteration needs of those before it."""

    w: np.ndarray
    """(n + k,), x and slacks, strictly inside the bounds."""
    y: np.ndarray
    """(m,), multipliers of c = 0."""
    zl: np.ndarray
    zu: np.ndarray
    """Multipliers of the lower and upper bounds that exist."""
    mu: float
    filter: Filter
    dw: float
    """The last Hessian perturbation that was needed."""
    least_dw: float
    """A perturbation forced for this iteration, after a failed line search."""
    tiny: int
    """Steps in a row that were lost in rounding."""
    blocked: int
    """Consecutive steps that a bound has made shorter than `BLOCKED`."""
    raised: int
    """How often μ was raised because of such steps."""
    least_error: float
    """The least relative error of the optimality conditions so far, as far as it fell to half of the one before."""
    stalled: int
    """Iterations since `least_error` was set."""
    iteration: int


class Outcome(NamedTuple):
    """What an iteration ended with: "step", "tiny", "restore" (no acceptable step), "nan", or "stuck"."""

    state: State
    kind: str
    alpha: float = 0.0


def begin(problem: Form, w: np.ndarray, options: Options) -> State:
    """The state at a first w."""
    zl, zu = np.ones(problem.has_lower.size), np.ones(problem.has_upper.size)
    if options.central:
        dl, du = problem.distances(w)
        zl, zu = options.mu_init / dl, options.mu_init / du
    p = problem.at(w)
    y = least_squares_multipliers(problem, p, zl, zu) if p.finite else np.zeros(problem.m)
    theta = p.theta if np.isfinite(p.theta) else 1.0
    return State(w, y, zl, zu, options.mu_init, Filter.around(theta, problem.eps), 0.0, 0.0, 0, 0, 0, np.inf, 0, 0)


def least_squares_multipliers(problem: Form, p: Point, zl: np.ndarray, zu: np.ndarray) -> np.ndarray:
    """argmin over y of ||∇f + Aᵀy - z_l + z_u||; zero where that is useless (larger than 10³)."""
    m, n = problem.m, problem.n
    if m == 0:
        return np.zeros(0)
    r = p.gradient + problem.spread(-zl, zu)
    if not (np.all(np.isfinite(r)) and np.all(np.isfinite(p.J))):
        return np.zeros(m)
    k = Kkt(np.zeros((n, n)), p.J, np.ones(n), np.ones(problem.row.size), problem.row, problem.sign)
    found = k.factor(0.0, 0.0)
    if not isinstance(found, Factor):
        found = k.factor(0.0, 1e-8)
    if not isinstance(found, Factor):
        return np.zeros(m)
    y = found.solve(-r, np.zeros(m))[1]
    return y if np.max(np.abs(y)) <= Y_MAX else np.zeros(m)


def barrier(problem: Form, p: Point, mu: float) -> float:
    """φ = f - μ Σ log(distances), with a small linear term for variables with one bound."""
    dl, du = problem.distances(p.w)
    logs = float(np.sum(np.log(dl)) + np.sum(np.log(du)))
    lone = float(problem.lone_lower @ dl + problem.lone_upper @ du)
    return p.f - mu * logs + KAPPA_D * mu * lone


def barrier_gradient(problem: Form, p: Point, mu: float) -> np.ndarray:
    dl, du = problem.distances(p.w)
    return p.gradient + problem.spread(
        -mu / dl + KAPPA_D * mu * problem.lone_lower, mu / du - KAPPA_D * mu * problem.lone_upper
    )


def error(problem: Form, s: State, mu: float) -> float:
    """E_μ: the largest of the scaled residuals of the barrier problem's optimality conditions."""
    p = problem.at(s.w)
    dl, du = problem.distances(s.w)
    z = float(np.sum(s.zl) + np.sum(s.zu))
    count = s.zl.size + s.zu.size
    sd = max(S_MAX, (float(np.sum(np.abs(s.y))) + z) / max(1, s.y.size + count)) / S_MAX
    sc = max(S_MAX, z / max(1, count)) / S_MAX
    r = p.gradient + p.pull(s.y) + problem.spread(-s.zl, s.zu)
    gaps = np.concatenate([s.zl * dl, s.zu * du]) - mu
    return max(
        float(np.max(np.abs(r), initial=0.0)) / sd,
        float(np.max(np.abs(p.c), initial=0.0)),
        float(np.max(np.abs(gaps), initial=0.0)) / sc,
    )


def lower_mu(problem: Form, s: State, options: Options, mu_min: float, force: bool = False) -> State:
    """μ falls while its barrier problem is solved well enough; the filter starts afresh with each μ."""
    while s.mu > mu_min and (force or error(problem, s, s.mu) <= KAPPA_EPS * s.mu):
        mu = max(mu_min, min(options.kappa_mu * s.mu, s.mu**options.theta_mu))
        s = s._replace(mu=mu, filter=s.filter.emptied(), tiny=0)
        problem.barrier_changed(mu)
        force = False
    return s


def raise_mu(problem: Form, s: State) -> State:
    """Leave a boundary along which the iteration crawls: a larger μ pushes it off. A few times only."""
    if s.blocked < PATIENCE or s.raised >= MAX_RAISES:
        return s
    mu = 10.0 * s.mu
    problem.barrier_changed(mu)
    return s._replace(mu=mu, filter=s.filter.emptied(), blocked=0, raised=s.raised + 1)


def longest(z: np.ndarray, dz: np.ndarray, tau: float) -> float:
    """The longest α <= 1 with z + α dz >= (1 - τ) z."""
    falling = dz < 0
    return float(min(1.0, np.min(-tau * z[falling] / dz[falling], initial=1.0)))


def iterate(problem: Form, s: State) -> Outcome:
    """One Newton step on the barrier problem with the present μ."""
    p, mu = problem.at(s.w), s.mu
    dl, du = problem.distances(s.w)
    W, diag_v = problem.hessian(s.w, s.y)
    if not (p.finite and all(np.all(np.isfinite(a)) for a in (p.gradient, p.J, W))):
        return Outcome(s, "nan")
    sigma = problem.spread(s.zl / dl, s.zu / du)
    kkt = Kkt(W, p.J, sigma[: problem.n], sigma[problem.n :] + diag_v, problem.row, problem.sign)
    factor, dw_used, damped = None, 0.0, False
    if s.least_dw == 0.0:
        plain = kkt.factor(0.0, 0.0)
        if isinstance(plain, Factor):
            factor = plain
        elif (convex := problem.convex_hessian(s.w, s.y)) is not None and np.all(np.isfinite(convex)):
            kkt.W, damped = convex, True
            factor, dw_used = Inertia.correct(kkt, mu, 0.0, s.dw if s.dw > 0 else Inertia.first)
    if factor is None:
        damped = False
        factor, dw_used = Inertia.correct(kkt, mu, s.dw, s.least_dw)
    if factor is None:
        return Outcome(s, "restore")
    gradient = barrier_gradient(problem, p, mu)
    rhs = -(gradient + p.pull(s.y))
    dw, dy, residual = factor.solve(rhs, -p.c)
    s = s._replace(dw=dw_used if dw_used > 0 else s.dw)
    if not (np.all(np.isfinite(dw)) and np.all(np.isfinite(dy))) or residual > 1e-3:
        return Outcome(s, "restore")
    tau = max(TAU_MIN, 1.0 - mu)

    def reach(step: np.ndarray) -> float:
        return min(longest(dl, step[problem.has_lower], tau), longest(du, -step[problem.has_upper], tau))

    if np.max(np.abs(dw) / (1.0 + np.abs(s.w)), initial=0.0) < 10.0 * problem.eps:
        alpha = reach(dw)
        found: Accepted | None = Accepted(s.w + alpha * dw, dy, alpha, s.filter)
        tiny = s.tiny + 1
    else:
        tiny = 0

        def phi_of(w: np.ndarray) -> tuple[float, float, np.ndarray]:
            w = problem.keep_inside(w)
            q = problem.at(w)
            return (q.theta, barrier(problem, q, mu), q.c) if q.finite else (np.nan, np.nan, q.c)

        def corrected(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return factor.solve(rhs, -c)[:2]

        found = search(phi_of, s.w, (dw, dy), float(gradient @ dw), reach, corrected, s.filter)
    if found is None:
        return Outcome(s, "restore")
    if damped:
        whole = found.alpha >= 0.9 * reach(dw)
        s = s._replace(dw=max(1e-12, dw_used / 3.0) if whole else 4.0 * dw_used)
    w = problem.keep_inside(found.w)
    if not problem.at(w).finite:
        return Outcome(s, "restore")
    dzl = mu / dl - s.zl - s.zl / dl * dw[problem.has_lower]
    dzu = mu / du - s.zu + s.zu / du * dw[problem.has_upper]
    az = min(longest(s.zl, dzl, tau), longest(s.zu, dzu, tau))
    nl, nu = problem.distances(w)
    zl = np.clip(s.zl + az * dzl, mu / (KAPPA_SIGMA * nl), KAPPA_SIGMA * mu / nl)
    zu = np.clip(s.zu + az * dzu, mu / (KAPPA_SIGMA * nu), KAPPA_SIGMA * mu / nu)
    new = s._replace(
        w=w, y=s.y + found.alpha * found.dy, zl=zl, zu=zu, filter=found.filter, tiny=tiny, least_dw=0.0,
        blocked=s.blocked + 1 if found.alpha < BLOCKED else 0, iteration=s.iteration + 1,
    )  # fmt: skip
    return Outcome(new, "tiny" if tiny else "step", found.alpha)

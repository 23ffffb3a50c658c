"""The restoration phase: when no step is acceptable, look for a point that violates less, near the present one.

    min ρ Σ (p + n) + ½ ζ ||D (w - w_R)||²   s.t.  c(w) - p + n = 0,  p, n >= 0,  bounds on w

It is solved by the same barrier iteration: p and n are two more variables of the diagonal kind (see `kkt`).
A minimum with c ≠ 0 is a point of local infeasibility, and that is then what the method reports.
"""

import time
from typing import NamedTuple

import numpy as np

from gdnet.optimizers.constrained.barrier import (
    Options,
    State,
    barrier,
    error,
    iterate,
    least_squares_multipliers,
    lower_mu,
)
from gdnet.optimizers.constrained.filter import EPS, Filter
from gdnet.optimizers.constrained.form import Form

RHO, KAPPA_RESTO = 1000.0, 0.9


class Restoration(Form):
    """The elastic problem around a reference point."""

    def __init__(self, outer: Form, w: np.ndarray, mu: float) -> None:
        self.outer, self.reference, self.mu = outer, w, mu
        self.n, self.m, self.k = outer.n, outer.m, outer.row.size
        rows, ones = np.arange(self.m), np.ones(self.m)
        self.row = np.concatenate([outer.row, rows, rows])
        self.sign = np.concatenate([outer.sign, -ones, ones])
        self.lower = np.concatenate([outer.lower, np.zeros(2 * self.m)])
        self.upper = np.concatenate([outer.upper, np.full(2 * self.m, np.inf)])
        self.weight = 1.0 / np.maximum(1.0, np.abs(w)) ** 2
        self.zeta, self.eps = np.sqrt(mu), outer.eps
        self.finish()

    def barrier_changed(self, mu: float) -> None:
        self.zeta = np.sqrt(mu)
        self._points.clear()

    def evaluate(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        w, elastic = z[: self.n + self.k], z[self.n + self.k :]
        c = self.outer.at(w).c - elastic[: self.m] + elastic[self.m :]
        move = w - self.reference
        return RHO * float(np.sum(elastic)) + 0.5 * self.zeta * float(np.sum(self.weight * move * move)), c

    def gradient(self, z: np.ndarray) -> np.ndarray:
        w = z[: self.n + self.k]
        return np.concatenate([self.zeta * self.weight * (w - self.reference), np.full(2 * self.m, RHO)])

    def jacobian(self, z: np.ndarray) -> np.ndarray:
        return self.outer.at(z[: self.n + self.k]).J

    def hessian(self, z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        W = self.outer.constraint_hessian(z[: self.n + self.k], y)  # type: ignore[attr-defined]
        W = W + np.diag(self.zeta * self.weight[: self.n])
        return W, np.concatenate([self.zeta * self.weight[self.n :], np.zeros(2 * self.m)])

    def start(self, s: State) -> State:
        """p and n from the closed form of their barrier problem; multipliers as Ipopt starts them."""
        c = self.outer.at(s.w).c
        mu = max(s.mu, float(np.max(np.abs(c), initial=0.0)))
        a = (mu - RHO * c) / (2.0 * RHO)
        minus = a + np.sqrt(a * a + mu * c / (2.0 * RHO))
        plus = c + minus
        tiny = 1e-12 * max(1.0, mu)
        plus, minus = np.maximum(plus, tiny), np.maximum(minus, tiny)
        w = np.concatenate([s.w, plus, minus])
        zl = np.concatenate([np.minimum(RHO, s.zl), mu / plus, mu / minus])
        self.barrier_changed(mu)
        theta = self.at(w).theta
        filt = Filter.around(theta, self.eps)
        return State(
            w, np.zeros(self.m), zl, np.minimum(RHO, s.zu), mu, filt, 0.0, 0.0, 0, 0, 0, np.inf, 0, s.iteration
        )


class Restored(NamedTuple):
    """How the phase ended: "restored", "infeasible", "feasible" (nothing to restore), "nan", "stuck", or a limit."""

    state: State
    kind: str


def restore(outer: Form, s: State, options: Options) -> Restored:
    """A state with less violation that the filter accepts, or the reason why there is none."""
    here = outer.at(s.w)
    if here.theta <= 1e-2 * options.tol or outer.m == 0:
        return Restored(s, "feasible")
    filt = s.filter.plus(here.theta, barrier(outer, here, s.mu))
    problem = Restoration(outer, s.w, s.mu)
    r = problem.start(s)
    count = outer.n + outer.row.size
    kind = "max_iter"
    for _ in range(options.max_iter - s.iteration):
        if error(problem, r, 0.0) <= options.tol:
            kind = "infeasible"
            break
        if time.perf_counter() > options.deadline:
            kind = "max_time"
            break
        r = lower_mu(problem, r, options, 0.1 * options.tol)
        step = iterate(problem, r)
        if step.kind == "nan":
            kind = "nan"
            break
        if step.kind == "restore":
            if r.least_dw > 1e10:
                kind = "stuck"
                break
            r = r._replace(least_dw=max(1e-4, 100.0 * r.least_dw))
            continue
        r = step.state
        if step.kind == "tiny" and r.tiny >= 2:
            if r.mu <= 0.1 * options.tol:
                kind = "infeasible"
                break
            r = lower_mu(problem, r, options, 0.1 * options.tol, force=True)
        p = outer.at(r.w[:count])
        if p.finite and p.theta <= KAPPA_RESTO * here.theta and filt.accepts(p.theta, barrier(outer, p, s.mu)):
            kind = "restored"
            break
    w = r.w[:count]
    s = s._replace(iteration=max(r.iteration, s.iteration + 1))
    if kind in ("infeasible", "stuck"):
        p = outer.at(w)
        if p.finite and p.theta <= max(options.tol, 1e2 * EPS * float(np.max(np.abs(w), initial=0.0))):
            kind = "restored"  # feasible after all: the filter must not forbid it
            filt = filt.emptied()
        else:
            return Restored(s._replace(w=w), kind)
    if kind != "restored":
        return Restored(s, kind)
    zl, zu = r.zl[: outer.has_lower.size], r.zu[: outer.has_upper.size]
    if max(np.max(zl, initial=0.0), np.max(zu, initial=0.0)) > 1e3:
        zl, zu = np.ones_like(zl), np.ones_like(zu)
    y = least_squares_multipliers(outer, outer.at(w), zl, zu)
    return Restored(s._replace(w=w, y=y, zl=zl, zu=zu, filter=filt, tiny=0, least_dw=0.0), "restored")

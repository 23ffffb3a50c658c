"""The outer loop of the interior point method: one call, one iteration, and the reason when there is no further one."""

from typing import NamedTuple

import numpy as np

from gdnet.optimizers.constrained.barrier import Options, State, iterate, lower_mu, raise_mu
from gdnet.optimizers.constrained.problem import Residuals, SlackProblem
from gdnet.optimizers.constrained.restoration import restore

DIVERGED = 1e20


class Report(NamedTuple):
    """What an iteration tells."""

    residuals: Residuals
    stop: str | None
    alpha: float
    restored: bool = False


def acceptable(r: Residuals, tol: float) -> bool:
    """Whether a point that cannot be improved still counts: 100 tol; complementarity and violation 10 tol."""
    return bool(
        r.violation <= 10 * tol
        and r.stationarity <= 100 * tol * r.scales[0]
        and r.complementarity <= 10 * tol * r.scales[1]
    )


def advance(problem: SlackProblem, s: State, options: Options) -> tuple[State, Report]:
    """One iteration. Where it stops, the state is the one to report."""
    p = problem.at(s.w)
    if not (p.finite and np.all(np.isfinite(p.gradient)) and np.all(np.isfinite(p.J))):
        return s, Report(Residuals(np.nan, np.nan, np.nan, (1.0, 1.0)), "nan", 0.0)
    found = problem.residuals(s.w, s.y, s.zl, s.zu)
    stop = None
    if found.within(options.tol, options.tol):
        stop = "converged"
    elif p.f / problem.f_scale < -DIVERGED and found.violation <= 1e-6:
        stop = "unbounded"
    elif np.max(np.abs(s.w), initial=0.0) > DIVERGED:
        stop = "diverging"
    elif s.iteration >= options.max_iter:
        stop = "max_iter"
    if stop:
        return s, judged(found, stop, options)
    size = min(1.0, problem.f_scale * found.scales[1])
    mu_min = max(1e-18, options.tol * size / 11.0)
    s = raise_mu(problem, lower_mu(problem, s, options, mu_min))
    out = iterate(problem, s)
    new = out.state
    if out.kind == "nan":
        return s, Report(found, "nan", 0.0)
    if out.kind == "step":
        return new, Report(found, None, out.alpha)
    if out.kind == "tiny":
        if new.tiny >= 2:
            if new.mu <= mu_min:
                return new, no_progress(problem, new, options)
            new = lower_mu(problem, new, options, mu_min, force=True)
        return new, Report(found, None, out.alpha)
    return recover(problem, new, options, found, mu_min)


def recover(problem: SlackProblem, s: State, options: Options, found: Residuals, mu_min: float) -> tuple[State, Report]:
    """After a failed line search: the restoration phase, or, where nothing is violated, a shorter step."""
    back = restore(problem, s, options)
    if back.kind == "restored":
        return back.state, Report(found, None, 0.0, restored=True)
    if back.kind in ("nan", "max_iter", "max_time"):
        return back.state, judged(found, back.kind, options)
    if back.kind == "infeasible":
        p = problem.at(back.state.w)
        worst = problem.residuals(back.state.w, s.y, s.zl, s.zu)
        if p.finite and worst.violation > 10 * options.tol:
            return back.state, Report(worst, "infeasible", 0.0)
    s = s._replace(iteration=back.state.iteration)  # what the phase has spent counts, or this would never end
    if s.least_dw < 1e12:
        forced = max(1e-4, 1e2 * s.least_dw, 8.0 * s.dw if s.least_dw == 0 else 0.0)
        return s._replace(least_dw=forced, filter=s.filter.emptied()), Report(found, None, 0.0)
    if s.mu > mu_min:
        return lower_mu(problem, s._replace(least_dw=0.0), options, mu_min, force=True), Report(found, None, 0.0)
    return s, no_progress(problem, s, options)


def no_progress(problem: SlackProblem, s: State, options: Options) -> Report:
    """The end where no step helps any more: solved well enough, stuck at a violation, or simply stuck."""
    found = problem.residuals(s.w, s.y, s.zl, s.zu)
    if found.violation > 10 * options.tol and stationary_violation(problem, s.w):
        return Report(found, "infeasible", 0.0)
    return judged(found, "precision", options)


def stationary_violation(problem: SlackProblem, w: np.ndarray) -> bool:
    """Whether ||c||² cannot be lowered to first order within the bounds."""
    p = problem.at(w)
    step = w - np.clip(w - p.pull(p.c), problem.lower, problem.upper)
    return bool(np.max(np.abs(step), initial=0.0) <= 1e-6 * float(np.max(np.abs(p.c), initial=0.0)))


def judged(found: Residuals, stop: str, options: Options) -> Report:
    """A stop without convergence is still a success where the unscaled conditions hold well enough."""
    if stop in ("precision", "max_iter", "nan") and acceptable(found, options.tol):
        stop = "acceptable"
    return Report(found, stop, 0.0)

"""The outer loop of the interior point method: one call, one iteration, and the reason when there is no further one."""

from typing import NamedTuple

import numpy as np

from gdnet.optimizers.constrained.barrier import MU_LEAST, Options, State, iterate, lower_mu, raise_mu
from gdnet.optimizers.constrained.form import Point
from gdnet.optimizers.constrained.polish import polished
from gdnet.optimizers.constrained.problem import UNKNOWN, Residuals, SlackProblem
from gdnet.optimizers.constrained.restoration import restore

DIVERGED = 1e20
NEARLY = 30.0
"""Forward differences are given up for central ones where the conditions hold to this many times the tolerance."""
ACCEPTABLE = (10.0, 100.0, 10.0)
"""By how much violation, stationarity and complementarity may exceed tol where no further progress is possible."""


STALLED = 200
"""The run ends after so many iterations in which the error has not fallen to half."""
SUCCESSES = ("converged", "acceptable")


class Report(NamedTuple):
    """What an iteration tells."""

    residuals: Residuals
    stop: str | None
    alpha: float


def next_iteration(problem: SlackProblem, s: State, options: Options) -> tuple[State, Report]:
    """One iteration. Where it stops, the state is the one to report."""
    p = problem.at(s.w)
    if not (p.finite and np.all(np.isfinite(p.gradient)) and np.all(np.isfinite(p.J))):
        return s, Report(UNKNOWN, "nan", 0.0)
    found = problem.residuals(s.w, s.y, s.zl, s.zu)
    if found.within(NEARLY * options.tol) and problem.use_central_differences():
        p = problem.at(s.w)
        found = problem.residuals(s.w, s.y, s.zl, s.zu)
    worst = max(found.relative)
    fell = worst < 0.5 * s.least_error
    s = s._replace(least_error=worst if fell else s.least_error, stalled=0 if fell else s.stalled + 1)
    stop = None
    if found.within(options.tol):
        stop = "converged"
    elif p.f < -DIVERGED and found.relative[0] <= 1e-6:
        stop = "unbounded" if strictly_feasible(problem, p) else "infeasible"
    elif np.max(np.abs(s.w), initial=0.0) > DIVERGED:
        stop = "diverging"
    elif s.iteration >= options.max_iter:
        stop = "max_iter"
    if stop:
        return s, judged(found, stop, options)
    if s.stalled > STALLED:
        return no_progress(problem, s._replace(stalled=0), options)
    mu_min = max(MU_LEAST, options.tol * min(1.0, found.scale) / 11.0)
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
                return no_progress(problem, new, options)
            new = lower_mu(problem, new, options, mu_min, force=True)
        return new, Report(found, None, out.alpha)
    if problem.use_central_differences():
        return s._replace(iteration=s.iteration + 1), Report(found, None, 0.0)
    return recover(problem, new, options, found, mu_min)


def recover(problem: SlackProblem, s: State, options: Options, found: Residuals, mu_min: float) -> tuple[State, Report]:
    """After a failed line search: the restoration phase, or, where nothing is violated, a shorter step."""
    back = restore(problem, s, options)
    if back.kind == "restored":
        return back.state, Report(found, None, 0.0)
    if back.kind in ("nan", "max_iter", "max_time"):
        return back.state, judged(found, back.kind, options)
    if back.kind == "infeasible":
        p = problem.at(back.state.w)
        worst = problem.residuals(back.state.w, s.y, s.zl, s.zu)
        if p.finite and worst.relative[0] > 10 * options.tol:
            return back.state, Report(worst, "infeasible", 0.0)
    s = s._replace(iteration=back.state.iteration)  # what the phase has spent counts, or this would never end
    if s.least_dw < 1e12:
        forced = max(1e-4, 1e2 * s.least_dw, 8.0 * s.dw if s.least_dw == 0 else 0.0)
        return s._replace(least_dw=forced, filter=s.filter.emptied()), Report(found, None, 0.0)
    if s.mu > mu_min:
        return lower_mu(problem, s._replace(least_dw=0.0), options, mu_min, force=True), Report(found, None, 0.0)
    return no_progress(problem, s, options)


def no_progress(problem: SlackProblem, s: State, options: Options) -> tuple[State, Report]:
    """The end where no step helps any more: solved well enough, stuck at a violation, or simply stuck."""
    if problem.use_central_differences():
        found = problem.residuals(s.w, s.y, s.zl, s.zu)
        return s._replace(tiny=0, iteration=s.iteration + 1), Report(found, None, 0.0)
    found = problem.residuals(s.w, s.y, s.zl, s.zu)
    if found.relative[0] > 10 * options.tol and stationary_violation(problem, s.w):
        return s, Report(found, "infeasible", 0.0)
    return s, judged(found, "precision", options)


def strictly_feasible(problem: SlackProblem, p: Point) -> bool:
    """Whether every constraint holds by itself, and none only since it vanishes far away, as exp(x) <= 0 does."""
    k, n = problem.functions.equalities, problem.n
    values, slopes = p.c[k:] - p.w[n:], np.max(np.abs(p.J[k:]), axis=1, initial=0.0)
    started = np.max(np.abs(problem.first_jacobian[k:]), axis=1, initial=0.0)
    return not bool(np.any((values >= 0.0) & (slopes == 0.0) & (started > 0.0)))


def stationary_violation(problem: SlackProblem, w: np.ndarray) -> bool:
    """Whether ||c||² cannot be lowered to first order within the bounds."""
    p = problem.at(w)
    step = w - np.clip(w - p.pull(p.c), problem.lower, problem.upper)
    return bool(np.max(np.abs(step), initial=0.0) <= 1e-6 * float(np.max(np.abs(p.c), initial=0.0)))


def judged(found: Residuals, stop: str, options: Options) -> Report:
    """A stop without convergence is still a success where the unscaled conditions hold well enough."""
    if stop in ("precision", "nan") and found.within(options.tol, ACCEPTABLE):
        stop = "acceptable"
    return Report(found, stop, 0.0)


def finish(
    problem: SlackProblem, s: State, report: Report, options: Options, first_value: float
) -> tuple[State, Report]:
    """The last word on a success: put active bounds and constraints onto zero, and compare with the start.

    Success is never said above the value of a start that kept the constraints. Where the start itself satisfies the
    conditions, with the multipliers found, it is the result.
    """
    s = polished(problem, s)
    p = problem.at(s.w)
    found = problem.residuals(s.w, s.y, s.zl, s.zu)
    stop = report.stop
    if p.f / problem.f_scale > first_value:
        first = problem.first_point()
        there = problem.residuals(first, s.y, s.zl, s.zu)
        if there.within(options.tol, ACCEPTABLE if stop == "acceptable" else (1.0, 1.0, 1.0)):
            return s._replace(w=first), Report(there, stop, 0.0)
        if p.f / problem.f_scale - first_value > 10.0 * problem.eps * abs(first_value):
            stop = "above_start"
    return s, Report(found, stop, report.alpha)

"""Interior point: bounds, inequalities and equalities, for networks and for functions.

    min f(x)  s.t.  g(x) <= 0,  h(x) = 0,  lower <= x <= upper

A primal-dual barrier method with slacks on g and a filter line search. `loop` and `barrier` hold the iteration,
`kkt` its linear algebra, `filter` the line search, `restoration` what is done when no step is acceptable.
The linear algebra is dense, in float64 on the host: the functions and the network stay on their device.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from gdnet.backend import Array, Backend, backend_of
from gdnet.backend.base import float_name
from gdnet.errors import OptionError, ShapeError
from gdnet.optimizers.base import Objective, Optimizer
from gdnet.optimizers.constrained.barrier import Options, State, begin
from gdnet.optimizers.constrained.bounds import bound_vector, cast_inside, check_bounds, host
from gdnet.optimizers.constrained.constraints import as_constraints, check_functions_of_x
from gdnet.optimizers.constrained.filter import Filter
from gdnet.optimizers.constrained.loop import SUCCESSES, finish, next_iteration
from gdnet.optimizers.constrained.network_functions import ObjectiveFunctions
from gdnet.optimizers.constrained.problem import SLOPE, UNKNOWN, SlackProblem
from gdnet.optimizers.constrained.user_functions import UserFunctions
from gdnet.optimizers.options import (
    COUNT_FROM_0,
    FLAG,
    NOT_NEGATIVE_OR_INF,
    POSITIVE,
    Domain,
    check_options,
    one_of,
    option,
)
from gdnet.optimizers.result import OptimizeResult, stop_message
from gdnet.optimizers.solver import asks_to_stop, check_start
from gdnet.optimizers.verbose import show_iteration, show_result

NEAR = 1e-4
"""The first barrier parameter of a second run, which must not leave the neighbourhood of the start."""


class InteriorPointState(NamedTuple):
    """Host numbers and arrays; `at` is a cache that may be replaced by None at any time."""

    iteration: int
    elapsed: float
    w: np.ndarray
    """(n + slacks,), scaled, without fixed variables; empty before the first step."""
    y: np.ndarray
    zl: np.ndarray
    zu: np.ndarray
    mu: float
    filter: np.ndarray
    """(1 + pairs, 2): (θ_min, θ_max), then the pairs (θ, φ)."""
    dw: float
    least_dw: float
    tiny: int
    blocked: int
    raised: int
    least_error: float
    stalled: int
    units: np.ndarray
    """(1 + m + 2 n,): factors of f and of the constraints, units and curvature of the free variables."""
    steps: np.ndarray
    """(variables,), the sizes to which difference steps are relative."""
    central: bool
    """Whether differences are central ones."""
    first_value: float
    """f at the start, infinite where the start violates a constraint."""
    at: Any = None


class InteriorPointInfo(NamedTuple):
    """What a step tells: the objective and the three unscaled residuals before the step, and more."""

    value: float
    new_value: float
    violation: float
    stationarity: float
    complementarity: float
    mu: float
    alpha: float
    stop: str | None
    moved: bool = True


@dataclass(frozen=True, kw_only=True)
class InteriorPoint(Optimizer):
    """Primal-dual interior point method with a filter line search.

    Every iterate lies inside the bounds, which are never relaxed. `success` is claimed only after a check of the
    problem as the user gave it: violation, stationarity and complementarity are at most tol times the size of the
    numbers that they are made of (`SlackProblem.sizes`), so that nothing depends on units; where the arithmetic allows
    no further progress, 10, 100 and 10 times as much, and the stop reason says "acceptable". It is never claimed above
    the value of a start that keeps the constraints ("above_start").

    Parameters
    ----------
    lower, upper : number, vector, mapping or None
        A mapping goes from parameter names, or their last parts, to numbers or arrays: `{"W": 0.0}` bounds all weights
        of a network from below, `{"0.W": 0.0}` those of layer 0.
    g_le, h_eq : function, Constraint, OutputConstraint, tuple (fun, jac, hess), or a list of these
        g(x) <= 0 and h(x) = 0, functions of the whole vector. Missing derivatives are numerical.
    curvature : {"auto", "exact", "gauss_newton", "bfgs"}
        The Hessian of f. "auto": of a network the exact one, and where that is not convex (and there are bounds only)
        the Gauss-Newton matrix with damping; of a function the given one, or differences of the gradient for up to 100
        variables (30 without a gradient), and damped BFGS of the Lagrangian beyond that.
    tol : float, optional
        Without a unit; 1e-8 in float64, 1e-4 in float32.
    mu_init : float, optional
        The first barrier parameter; 1 for functions, 10⁻² for networks.
    max_iter : int
    max_time : float
        Seconds.
    verbose : int
        1: the result, 2: every iteration.

    Raises
    ------
    OptionError
        Where lower > upper, or a name matches no parameter.
    ShapeError
        Where a function returns a wrong shape.

    An exception from a function goes on unchanged. Only an ArithmeticError (division by zero) and the "math domain
    error" of Python's `math` mean "not defined there": steps are shortened, and where that does not help, it is raised.

    References
    ----------
    A. Wächter, L. T. Biegler, Math. Program. 106 (2006) 25-57.

    >>> import numpy as np
    >>> from gdnet.optimizers.constrained.interior_point import interior_point
    >>> found = interior_point(lambda x: (x[0] - 2) ** 2 + x[1] ** 2, np.zeros(2), h_eq=lambda x: x[0] + x[1] - 1,
    ...                        bounds=[(0, None), (0, None)])
    >>> found.stop_reason, np.round(found.x, 6).tolist(), found.violation <= 1e-8
    ('converged', [1.0, 0.0], True)
    """

    full_batch = True
    lower: Any = None
    upper: Any = None
    g_le: Any = None
    h_eq: Any = None
    curvature: str = option("auto", one_of("auto", "exact", "gauss_newton", "bfgs"))
    tol: float | None = option(None, POSITIVE)
    max_iter: int = option(3000, COUNT_FROM_0)
    max_time: float = option(np.inf, NOT_NEGATIVE_OR_INF)
    mu_init: float | None = option(None, POSITIVE)
    scaling: bool = option(True, FLAG)
    verbose: int = option(0, Domain(lambda v: isinstance(v, int) and v >= 0, "0, 1 or 2"))
    layout: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_options(self)
        as_constraints(self.g_le, "g_le"), as_constraints(self.h_eq, "h_eq")

    def bind(self, layout: Any) -> "InteriorPoint":
        """The same method for parameters of this layout, so that bounds may be given by name."""
        return replace(self, layout=layout)

    # -- one step at a time ------------------------------------------------------------------------------------------

    def init(self, theta: Array) -> InteriorPointState:
        none, filt = np.zeros(0), np.zeros((0, 2))
        return InteriorPointState(
            0, 0.0, none, none, none, none, 0.0, filt, 0.0, 0.0, 0, 0, 0, np.inf, 0, none, none, False, np.inf
        )

    def step(
        self, objective: Objective, theta: Array, state: InteriorPointState
    ) -> tuple[Array, InteriorPointState, InteriorPointInfo]:
        """One iteration. A full start strictly inside the bounds replaces `theta` at the first one."""
        began = time.perf_counter()
        backend = backend_of(theta, names=("theta",))
        options = replace(self._options(objective, theta), deadline=began + self.max_time - state.elapsed)
        if isinstance(state.at, SlackProblem):
            state.at.functions.failure = None
        problem, inner, first_value = self._resume(objective, backend, theta, state, options)
        before = problem.at(inner.w).f / problem.f_scale
        new, report = next_iteration(problem, inner, options)
        if report.stop == "nan" and problem.functions.failure is not None:
            raise problem.functions.failure  # the user's own exception says more than "nan"
        if report.stop in SUCCESSES:
            new, report = finish(problem, new, report, options, first_value)
        after = problem.at(new.w).f / problem.f_scale
        elapsed = state.elapsed + time.perf_counter() - began
        stop = report.stop or ("max_time" if elapsed >= self.max_time else None)
        r = report.residuals
        info = InteriorPointInfo(
            before, after, r.violation, r.stationarity, r.complementarity, new.mu, report.alpha, stop,
            new.w is not inner.w,
        )  # fmt: skip
        state = pack(new, elapsed, first_value, problem)
        return self._theta(problem, new, backend, theta), state, info

    def _options(self, objective: Any, theta: Array) -> Options:
        """A network starts with a small barrier: a large one makes all its hidden units alike."""
        network = hasattr(objective, "net")
        mu = self.mu_init if self.mu_init is not None else 1e-2 if network else 1.0
        tol = self.tol if self.tol is not None else (1e-8 if "64" in str(theta.dtype) else 1e-4)
        return Options(tol=tol, max_iter=self.max_iter, mu_init=mu, scaling=self.scaling, central=network)

    def _resume(
        self, objective: Any, backend: Backend, theta: Array, state: InteriorPointState, options: Options
    ) -> tuple[SlackProblem, State, float]:
        """The problem, the iteration's state and f at the start: new at the first step, cached, or from numbers."""
        if isinstance(state.at, SlackProblem) and state.at.source is objective:
            return state.at, unpack(state), float(state.first_value)
        problem = self._problem(objective, backend, theta)
        if state.units.size:
            problem.resume(host(state.units), host(state.steps), bool(state.central))
            return problem, unpack(state, problem.eps), float(state.first_value)
        w = problem.start(options.push, options.scaling, 1.0 if problem.functions.weights else SLOPE)
        return problem, begin(problem, w, options), problem.start_value(options.tol)

    def _problem(self, objective: Any, backend: Backend, theta: Array) -> SlackProblem:
        layout = self.layout if self.layout is not None else getattr(objective, "layout", None)
        n = int(theta.shape[0])
        lower = bound_vector(self.lower, n, -np.inf, layout, "lower")
        upper = bound_vector(self.upper, n, np.inf, layout, "upper")
        check_bounds(lower, upper)
        x0 = np.asarray(backend.to_numpy(theta), dtype=np.float64)
        if not np.all(np.isfinite(x0)):
            raise OptionError("the starting point must be finite, got NaN or infinite entries")
        dtype = float_name(theta.dtype)
        source = ObjectiveFunctions(objective, backend, dtype, self.curvature)
        inside = np.clip(x0, lower, upper)
        functions = UserFunctions(
            backend, dtype, n, source,
            source.bind(as_constraints(self.g_le, "g_le")), source.bind(as_constraints(self.h_eq, "h_eq")),
            lower, upper, source.mode, inside,
        )  # fmt: skip
        problem = SlackProblem(functions, inside, lower, upper)
        problem.eps, problem.source = float(np.finfo(dtype).eps), objective
        return problem

    def _theta(self, problem: SlackProblem, s: State, backend: Backend, theta: Array) -> Array:
        dtype = float_name(theta.dtype)
        f = problem.functions
        return backend.asarray(cast_inside(problem.whole(s.w), f.lower, f.upper, dtype), dtype)  # type: ignore[attr-defined]

    # -- to the end --------------------------------------------------------------------------------------------------

    def run(
        self, objective: Objective, theta: Array, callback: Callable[[OptimizeResult], Any] | None = None
    ) -> OptimizeResult:
        """Iterate until a stop rule holds.

        The result has SciPy's fields, `violation`, `stationarity` and `complementarity` in the user's units, and
        `multipliers`, a dictionary of "h_eq", "g_le", "lower" and "upper" with
        ∇f + Σ h_eq ∇h + Σ g_le ∇g - lower + upper = 0 and the last three never negative.

        Where the point found lies above a feasible start, a second run begins with a small barrier, which keeps to the
        start's neighbourhood.
        """
        check_start(theta)
        found = self._run(objective, theta, callback)
        if found.stop_reason == "above_start" and self.mu_init is None:
            again = replace(self, mu_init=NEAR)._run(objective, theta, callback)
            again["nit"] += found.nit
            found = again if again.fun <= found.fun else found
        show_result(self.verbose, found)
        return found

    def _run(self, objective: Objective, theta: Array, callback: Any) -> OptimizeResult:
        backend = backend_of(theta, names=("x0",))
        state, stop = self.init(theta), None
        while stop is None:
            theta, state, info = self.step(objective, theta, state)
            stop = info.stop
            show_iteration(
                self.verbose, state.iteration, f=info.value, violation=info.violation, stationarity=info.stationarity,
                complementarity=info.complementarity, mu=info.mu, alpha=info.alpha,
            )  # fmt: skip
            if callback is not None and stop is None:
                stop = "callback" if asks_to_stop(callback, self._result(backend, theta, state, "running")) else None
        return self._result(backend, theta, state, stop)

    def _result(self, backend: Backend, theta: Array, state: InteriorPointState, stop: str) -> OptimizeResult:
        problem, s = state.at, unpack(state)
        f = problem.functions
        p = problem.at(s.w)
        whole = p.finite and np.all(np.isfinite(p.gradient)) and np.all(np.isfinite(p.J))
        r = problem.residuals(s.w, s.y, s.zl, s.zu) if whole else UNKNOWN
        ended = stop != "running"
        gradient, multipliers = problem.gradient_and_multipliers(s.w, s.y, s.zl, s.zu, ended and whole)
        status, text = stop_message(stop)
        message = (
            f"{text} At the end: violation {r.violation:.3g}, stationarity {r.stationarity:.3g}, "
            f"complementarity {r.complementarity:.3g} (in the units of f and of the constraints)."
        )
        return OptimizeResult(
            x=theta, fun=p.f / problem.f_scale, jac=backend.asarray(gradient, f.dtype), nit=s.iteration,
            nfev=f.nfev, njev=f.njev, nhev=f.nhev, success=stop in SUCCESSES, status=status,
            message=message, stop_reason=stop, violation=r.violation, stationarity=r.stationarity,
            complementarity=r.complementarity, mu=s.mu, multipliers=multipliers,
        )  # fmt: skip


def pack(s: State, elapsed: float, first_value: float, problem: SlackProblem) -> InteriorPointState:
    """The state as plain numbers and arrays."""
    filt = np.asarray([(s.filter.theta_min, s.filter.theta_max), *s.filter.pairs], dtype=np.float64)
    return InteriorPointState(
        s.iteration, elapsed, s.w, s.y, s.zl, s.zu, s.mu, filt, s.dw, s.least_dw, s.tiny, s.blocked, s.raised,
        s.least_error, s.stalled, problem.units(), problem.functions.unit.copy(), problem.functions.central,
        first_value, problem,
    )  # fmt: skip


def unpack(state: InteriorPointState, eps: float = Filter.eps) -> State:
    """The iteration's state from plain numbers, or from arrays of the library that a checkpoint was read with."""
    (low, high), *pairs = [(float(t), float(p)) for t, p in host(state.filter)]
    eps = state.at.eps if state.at is not None else eps
    filt = Filter(low, high, tuple(pairs), eps)
    return State(
        host(state.w), host(state.y), host(state.zl), host(state.zu), float(state.mu), filt, float(state.dw),
        float(state.least_dw), int(state.tiny), int(state.blocked), int(state.raised), float(state.least_error),
        int(state.stalled), int(state.iteration),
    )  # fmt: skip


def interior_point(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple = (),
    jac: Any = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    g_le: Any = None,
    h_eq: Any = None,
    callback: Callable[[OptimizeResult], Any] | None = None,
    **options: Any,
) -> OptimizeResult:
    """min fun(x) s.t. g_le(x) <= 0, h_eq(x) = 0 and bounds; what `minimize(..., method="interior_point")` calls.

    Parameters
    ----------
    fun, jac, hess, hessp, args
        As in `scipy.optimize.minimize`; missing derivatives are numerical, with points inside the bounds only.
    x0 : array of any library
    bounds : sequence of (low, high) or an object with `lb` and `ub`, optional
        None or an infinity where there is no bound.
    g_le, h_eq
        See `InteriorPoint`. They are called with x alone, as SciPy's constraints are: `args` go to the objective.
    **options
        Fields of `InteriorPoint`.
    """
    from gdnet.optimizers.scipy_api.function import FunctionObjective
    from gdnet.optimizers.solver import as_start

    check_functions_of_x(g_le, "g_le")
    check_functions_of_x(h_eq, "h_eq")
    x0 = as_start(x0)
    lower, upper = split_bounds(bounds, int(x0.shape[0]))
    method = InteriorPoint(lower=lower, upper=upper, g_le=g_le, h_eq=h_eq, **options)
    return method.run(FunctionObjective(fun, jac, hess, hessp, args=args), x0, callback)


def split_bounds(bounds: Any, n: int) -> tuple[Any, Any]:
    """(lower, upper) from pairs or from an object with `lb` and `ub`."""
    if bounds is None:
        return None, None
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        lower, upper = host(bounds.lb), host(bounds.ub)
        return lower.reshape(()) if lower.size == 1 else lower, upper.reshape(()) if upper.size == 1 else upper
    wanted = f"bounds must be {n} pairs (low, high), one for each variable"
    try:
        pairs = [tuple(pair) for pair in bounds]
        lower, upper = (
            np.asarray([absent if pair[k] is None else float(pair[k]) for pair in pairs if len(pair) == 2])
            for k, absent in enumerate((-np.inf, np.inf))
        )
    except (TypeError, ValueError) as error:
        raise OptionError(f"{wanted}, numbers or None, got {bounds!r}") from error
    if not len(pairs) == lower.size == n:
        raise ShapeError(f"{wanted}, got {len(pairs)} entries")
    return lower, upper

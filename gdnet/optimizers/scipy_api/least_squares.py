"""`least_squares`: fit parameters of any function by Levenberg-Marquardt, with SciPy's signature."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, backend_of
from gdnet.errors import DataError, OptionError
from gdnet.optimizers.gauss_newton.box import make_box
from gdnet.optimizers.gauss_newton.levenberg_marquardt import LevenbergMarquardt
from gdnet.optimizers.gauss_newton.polish import newton_finish, undamped_step
from gdnet.optimizers.gauss_newton.residuals import BudgetSpent, DenseRoot, ResidualObjective
from gdnet.optimizers.options import COUNT, NOT_NEGATIVE, checked
from gdnet.optimizers.point import Point, read
from gdnet.optimizers.result import OptimizeResult, least_squares_message
from gdnet.optimizers.solver import as_start, asks_to_stop
from gdnet.optimizers.verbose import show_iteration, show_result

STATIONARY = 1e-4
"""`success` needs max_j |J_jᵀ r| / (|J_j| |r|) at most this, whatever the stop reason: checked at the end."""
NEWTON_LIMIT = 50
"""Parameters at most for which the whole Hessian is formed, where JᵀJ does not confirm a minimum."""
STILL = 1e-6
"""Or, where residuals are mere rounding and their direction says nothing: an undamped step this small, relatively."""


def least_squares(
    fun: Callable,
    x0: Any,
    jac: Any = None,
    bounds: Any = (-math.inf, math.inf),
    method: str = "lm",
    ftol: float | None = 1e-8,
    xtol: float | None = 1e-8,
    gtol: float | None = 1e-14,
    x_scale: Any = "jac",
    max_nfev: int | None = None,
    verbose: int = 0,
    args: Sequence[Any] = (),
    kwargs: dict[str, Any] | None = None,
    callback: Callable[[OptimizeResult], Any] | None = None,
    space: str | None = None,
) -> OptimizeResult:
    """Minimise ½ ||fun(x)||² over x, within bounds.

    Parameters
    ----------
    fun : x, *args, **kwargs -> (M,)
        The residuals, on arrays of x0's library.
    x0 : (n,) array of any library, or numbers
    jac : callable, "2-point", "3-point", "cs" or None
        x, *args, **kwargs -> (M, n). None: forward differences on the way, central ones for the last digits. "cs":
        complex steps, exact to rounding, for functions that keep complex numbers.
    bounds : (lower, upper)
        Numbers or (n,) arrays; infinite ones do not bind. The start must lie within. Steps are projected onto the
        box, with the parameters held that a bound stops.
    method : "lm"
    ftol, xtol : float or None
        Relative change of the cost, actual and predicted, and of the scaled parameters, that end the iteration; the
        result is then polished by undamped steps, and doubted if the undamped model still promises a decrease.
    gtol : float or None
        Stop where max_j |J_jᵀ r| / (|J_j| |r|) is at most this.
    x_scale : "jac" or (n,) array
        "jac": Moré's scaling by the Jacobian's columns, so that units do not matter. Else a typical size of each x_j.
    max_nfev : int, optional
        Calls of `fun` at most, those for differences too; by default max(10000, 1000 n), times n + 1 for differences.
    verbose : 0, 1 or 2
        2 prints a line an iteration, 1 the last one.
    callback : OptimizeResult -> True to stop
        StopIteration stops as well.
    space : "parameters", "samples", "cg" or "auto"
        See `LevenbergMarquardt`; "parameters" by default, "auto" from 2000 parameters on.

    Returns
    -------
    OptimizeResult
        x, cost (½ ||fun||²), fun, jac, grad, optimality (max|grad| over free parameters), active_mask, nit, nfev (all
        calls of `fun`, those for differences and for the curvature along a step too), njev (Jacobians, numerical ones
        too), status, message, success, stop_reason, orthogonality (max_j |J_jᵀ r| / (|J_j| |r|)). Where `max_nfev` left
        no calls for a Jacobian at x, jac is that of the last point which had one, or NaN.

    Raises
    ------
    DataError
        If `fun` or `jac` is not finite at x0, or x0 lies outside the bounds.
    ShapeError, ArrayError, OptionError
        For results of the wrong shape or kind, and for unknown options.

    >>> import numpy as np
    >>> t = np.linspace(0.0, 1.0, 9)
    >>> y = 2.0 * np.exp(-3.0 * t)
    >>> found = least_squares(lambda x: x[0] * np.exp(x[1] * t) - y, [1.0, -1.0])
    >>> np.round(found.x, 8), found.success
    (array([ 2., -3.]), True)
    """
    if method != "lm":
        raise OptionError(f'method must be "lm" (bounds are handled by it as well), got {method!r}')
    x = as_start(x0)
    backend, n = backend_of(x, names=("x0",)), int(x.shape[0])
    box = make_box(backend, bounds, x)
    for name, value in (("ftol", ftol), ("xtol", xtol), ("gtol", gtol)):
        if value is not None:
            checked("least_squares", name, value, NOT_NEGATIVE)
    if max_nfev is not None:
        checked("least_squares", "max_nfev", max_nfev, COUNT)
    if box is not None and space not in (None, "parameters"):
        raise OptionError(f'bounds need space="parameters", got {space!r}')
    limit = max(10_000, 1000 * n) * (1 if callable(jac) else n + 1) if max_nfev is None else int(max_nfev)
    args = tuple(args) if isinstance(args, (tuple, list)) else (args,)
    objective = ResidualObjective(backend, fun, jac, args, kwargs, limit, box)
    solver = LevenbergMarquardt(
        min_grad=0.0, ftol=ftol or 0.0, xtol=xtol or 0.0, decrease=0.1, bend=1.5, trust=0.5, forget_after=30, box=box,
        unit=_unit(backend, x_scale, x), space=space or ("parameters" if n < 2000 else "auto"),
    )  # fmt: skip
    begun = np.abs(backend.to_numpy(x))
    state, at, stop = solver.init(x), Point(backend, objective(x), x), None
    try:
        if not math.isfinite(at.value) or not at.finite:
            what = "the Jacobian" if math.isfinite(at.value) else "the sum of squares of fun"
            raise DataError(f"{what} is not finite at x0: choose another starting point")
    except BudgetSpent:
        stop = "max_nfev"
    state = state._replace(at=at)
    while stop is None:
        try:
            if gtol is not None and orthogonality(at, box) <= gtol:
                stop = "min_grad" if at.norm == 0.0 else "gtol"
                break
            x, state, info = solver.step(objective, x, state)
            at, stop = state.at, info.stop
            if info.moved:
                show_iteration(verbose, state.iteration, cost=at.value, gradient=at.norm, mu=state.memory.mu)
            if (
                callback is not None
                and info.moved
                and asks_to_stop(callback, _result(objective, state, "running", box))
            ):
                stop = stop or "callback"
        except BudgetSpent:
            stop = "max_nfev"
    if stop == "max_nfev" and objective.best is not None:
        state = state._replace(at=Point(backend, objective.best, objective.best.theta))
    found = _result(objective, state, stop, box)
    if found.status in (1, 2, 3, 5, 6) and not found.success and n <= NEWTON_LIMIT:
        try:
            sizes = np.maximum(begun, np.abs(backend.to_numpy(at.theta)))
            sizes = np.where(sizes > 0.0, sizes, 1.0) if objective.typical is None else objective.typical
            at, done = newton_finish(at, lambda v: Point(backend, objective(v), v), sizes, ftol or STILL, box)
            found = _result(objective, state._replace(at=at), stop, box)
            found["success"] = found.success or done
        except BudgetSpent:
            found["nfev"] = objective.nfev
    show_result(verbose, found)
    return found


def orthogonality(at: Point, box: Any = None, A: DenseRoot | None = None) -> float:
    """max_j |J_jᵀ r| / (|J_j| |r|) over the free parameters: free of units, 0 at every minimum with residuals."""
    xp, A = at.backend.xp, at.evaluation.root_jacobian if A is None else A
    size = xp.sqrt(A.diagonal()) * xp.sqrt(xp.sum(A.residual * A.residual))
    cosine = xp.abs(A.gradient) / xp.where(size > 0.0, size, xp.ones_like(size))
    if box is not None:
        cosine = cosine * box.free(at.theta, A.gradient)
    return read(at.backend, xp.max(cosine))[0]


def _last_root(objective: ResidualObjective, at: Point) -> DenseRoot:
    """The last Jacobian, or NaN, with the residuals at this point: there were no calls left for its own."""
    own: DenseRoot | None = at.evaluation.__dict__.get("root_jacobian")
    if own is not None:
        return own
    r, x, xp, known = at.evaluation.residual, at.theta, at.backend.xp, objective.known
    unknown = math.nan * (r[:, None] * xp.ones_like(x))
    return DenseRoot(at.backend, unknown if known is None else known.matrix, r, x, objective.residual)


def _result(objective: ResidualObjective, state: Any, stop: str, box: Any) -> OptimizeResult:
    at: Point = state.at
    xp, A = at.backend.xp, at.evaluation.root_jacobian if stop != "max_nfev" else _last_root(objective, at)
    status, message = least_squares_message(stop)
    cosine = orthogonality(at, box, A)
    free = xp.ones_like(at.theta) if box is None else box.free(at.theta, A.gradient)
    mask = at.backend.asarray(np.zeros(at.theta.shape[0], dtype=np.int64)) if box is None else box.active(at.theta)
    return OptimizeResult(
        x=at.theta, cost=at.value, fun=A.residual, jac=A.dense(), grad=A.gradient,
        optimality=read(at.backend, xp.max(xp.abs(A.gradient * free)))[0], active_mask=mask, nit=state.iteration,
        nfev=objective.nfev, njev=objective.njev, status=status,
        success=bool(stop == "vanished" or (status in (1, 2, 3, 5, 6) and (cosine <= STATIONARY or _still(at, box)))),
        message=f"{message} Largest cosine between the residual and a column of the Jacobian: {cosine:.1e}.",
        stop_reason=stop, orthogonality=cosine,
    )  # fmt: skip


def _still(at: Point, box: Any) -> bool:
    """Whether an undamped step would hardly move the parameters."""
    step = undamped_step(at, at.evaluation.root_jacobian, box)
    if step is None:
        return False
    xp, D = at.backend.xp, at.evaluation.root_jacobian.diagonal()
    moved, size = read(at.backend, xp.sum(D * step * step), xp.sum(D * at.theta * at.theta))
    return moved <= STILL**2 * size


def _unit(backend: Backend, x_scale: Any, x: Array) -> Array | None:
    if isinstance(x_scale, str):
        if x_scale != "jac":
            raise OptionError(f'x_scale must be "jac" or positive numbers, got {x_scale!r}')
        return None
    try:
        host = np.broadcast_to(np.asarray(x_scale, dtype=np.float64), tuple(x.shape))
    except (TypeError, ValueError) as error:
        raise OptionError(f'x_scale must be "jac", a number, or numbers of shape {tuple(x.shape)}: {error}') from error
    if not (np.all(np.isfinite(host)) and np.all(host > 0)):
        raise OptionError("x_scale must be positive and finite")
    return backend.xp.astype(backend.asarray(np.array(host)), x.dtype)

"""Full-batch solvers: one step at a time inside `fit`, or run to the end by `minimize`.

A solver's step reads a scalar or two on the host, openly. Its state is a named tuple of numbers, of the method's own
memory, and of the last evaluation. The evaluation is a cache: it is used again only for the same vector (the same
object), and may be replaced by None at any time, as a checkpoint does, without changing a single bit of the run.
"""

import math
import numbers
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gdnet.backend import Array, backend_of
from gdnet.errors import ArrayError, ShapeError
from gdnet.optimizers.base import Objective, Optimizer
from gdnet.optimizers.options import (
    COUNT_FROM_0,
    NOT_NEGATIVE,
    NOT_NEGATIVE_OR_INF,
    NUMBER,
    check_options,
    option,
    short_repr,
)
from gdnet.optimizers.point import Point, exhausted, read, refined, stands_still, too_coarse
from gdnet.optimizers.progress import Progress
from gdnet.optimizers.result import OptimizeResult, stop_message

UNBOUNDED = 1e20
"""J counts as unbounded below after a fall by this many times its value at the start, or times the gain that was
expected of the first step, whichever is larger."""
SHORT = 0.01
"""A step is short if it is below this part of the way gone so far."""
NOISE = 1e3
"""Changes of J below this many units of rounding count as no change."""


def asks_to_stop(callback: Callable[[OptimizeResult], Any], found: OptimizeResult) -> bool:
    """Whether the user's callback ended the run: by True (NumPy's too) or StopIteration. It gets a copy of x."""
    backend = backend_of(found.x)
    if backend.mutable:
        found.x = 1.0 * found.x
    try:
        asked = callback(found)
    except StopIteration:
        return True
    return isinstance(asked, (bool, np.bool_)) and bool(asked)


class Move(NamedTuple):
    """What a method did in one iteration: the new point, or None and the reason why there is none.

    >>> Move(None, (), "precision").stop
    'precision'
    """

    point: Point | None
    memory: Any
    stop: str | None = None


class SolverState(NamedTuple):
    """`at` is a cache (the last `Point`) and `memory` the method's own named tuple."""

    iteration: int
    elapsed: float
    progress: Progress
    memory: Any
    at: Any = None


class SolverInfo(NamedTuple):
    """What a step tells: `value` before the step (on the device), `new_value` after it, why it stops or None."""

    value: Any
    new_value: float
    gradient_norm: float
    stop: str | None
    moved: bool = True


@dataclass(frozen=True, kw_only=True, repr=False)
class Solver(Optimizer):
    """Base class of the methods that need the whole objective: line searches, curvature.

    Subclasses write `start(theta) -> memory` and `advance(at, memory, trial) -> Move`, where `trial(theta)` evaluates a
    vector and `memory` is a named tuple of arrays and numbers. `minimize(fun, x0, method=MySolver())` runs one.

    Parameters
    ----------
    goal : float
        Stop when the value is at most this.
    min_grad : float
        Stop when every |∂J/∂θ_i| is at most this times the largest that it has been in the run, and the last step was
        short against the way gone (`converged`). A ratio: it does not depend on the units of J and θ.
    gtol : float
        Stop when max_i |∂J/∂θ_i| is at most this, in the units of J and θ (SciPy's gtol); 0, off, by default.
    max_iter : int, optional
        Of `run`: max(1000, 200 n) by default. Inside `fit` the number of epochs limits.
    max_time : float
        Seconds.
    ftol : float
        Stop when |J - J⁺| <= ftol max(|J|, |J⁺|); off by default.
    xtol : float
        Stop when max|θ⁺ - θ| <= xtol max|θ|; off by default.

    Raises
    ------
    OptionError
        If one of these, or a method's own option, is outside its domain.

    >>> import numpy as np
    >>> from gdnet.optimizers import FunctionObjective, Move
    >>> class FixedStep(Solver):
    ...     def advance(self, at, memory, trial):
    ...         return Move(trial(at.theta - 0.25 * at.gradient), memory)
    >>> J = FunctionObjective(lambda x: float(x @ x), lambda x: 2.0 * x)
    >>> found = FixedStep(gtol=0.1).run(J, np.asarray([1.0]))
    >>> found.x, found.nit, found.stop_reason
    (array([0.03125]), 5, 'gtol')
    """

    full_batch = True
    figures: ClassVar[tuple[str, ...]] = ()
    """Names of further numbers that a step's info has; `fit` writes them into its history."""
    goal: float = option(-math.inf, NUMBER)
    min_grad: float = option(1e-8, NOT_NEGATIVE)
    gtol: float = option(0.0, NOT_NEGATIVE)
    max_iter: int | None = option(None, COUNT_FROM_0)
    max_time: float = option(math.inf, NOT_NEGATIVE_OR_INF)
    ftol: float = option(0.0, NOT_NEGATIVE)
    xtol: float = option(0.0, NOT_NEGATIVE)

    def __post_init__(self) -> None:
        check_options(self)

    def __repr__(self) -> str:
        return short_repr(self)

    # -- what a method writes ----------------------------------------------------------------------------------------

    def start(self, theta: Array) -> Any:
        """The method's memory before the first step."""
        return ()

    def advance(self, at: Point, memory: Any, trial: Callable[[Array], Point]) -> Move:
        """One iteration from the point `at`."""
        raise NotImplementedError

    def converged(self, at: Point, progress: Progress) -> str | None:
        """The stop reason of a point that counts as a solution, or None: the one test behind `success`.

        The gradient is zero or below `gtol`; or each of its entries has fallen to `min_grad` times the largest that it
        has been, and the last step was short: after a start of huge derivatives the ratio alone would be small long
        before the minimum. Neither depends on the units of J, on those of any parameter, or on a constant added to J.
        """
        if at.norm <= self.gtol:
            return "gtol" if at.norm else "min_grad"
        short = progress.step <= math.sqrt(self.min_grad) * progress.way
        return "min_grad" if progress.fallen <= self.min_grad and short else None

    def confirmed(self, at: Point) -> bool:
        """Whether a converged point may be a minimum; a method that knows the Hessian refuses a saddle."""
        return True

    def leave(self, at: Point, memory: Any, trial: Callable[[Array], Point]) -> Move:
        """One iteration away from a point that is not `confirmed`."""
        return Move(None, memory, "saddle")

    # -- one step at a time ------------------------------------------------------------------------------------------

    def init(self, theta: Array) -> SolverState:
        return SolverState(0, 0.0, Progress(), self.start(theta))

    def step(self, objective: Objective, theta: Array, state: SolverState) -> tuple[Array, SolverState, SolverInfo]:
        """One iteration. Where it stops before moving (already solved, not finite), theta comes back unchanged."""
        began = time.perf_counter()
        backend = backend_of(theta, names=("theta",))

        trials = 0

        def trial(vector: Array) -> Point:
            nonlocal trials
            trials += 1
            return Point(backend, objective(vector), vector)

        at = state.at if state.at is not None and state.at.theta is theta else trial(theta)
        value = at.evaluation.value
        if not at.finite:
            return theta, state._replace(at=at), SolverInfo(value, at.value, at.norm, "not_finite", moved=False)
        if state.iteration == 0:
            state = state._replace(progress=Progress.begin(at))
        stop, confirmed = self._solved(at, state.progress)
        if stop and (finer := refined(at)) is not None:
            at, state = finer, state._replace(progress=state.progress.after(at, finer))
            value = at.evaluation.value
            stop, confirmed = self._solved(at, state.progress)
        if stop:
            return theta, state._replace(at=at), SolverInfo(value, at.value, at.norm, stop, moved=False)

        point, memory, stop = (self.advance if confirmed else self.leave)(at, state.memory, trial)
        if confirmed and _stuck(at, point, stop) and not self.confirmed(at):
            # Where the gradient is rounding alone there is nothing to hold it against, and it may be a saddle's.
            point, memory, stop = self.leave(at, state.memory, trial)
        elapsed = state.elapsed + time.perf_counter() - began
        if point is None:
            state = state._replace(elapsed=elapsed, memory=memory, at=at)
            if stop in (None, "precision") and (finer := refined(at)) is not None:
                state = state._replace(memory=self.start(theta), at=finer)
                return theta, state, SolverInfo(value, at.value, at.norm, None, moved=False)
            return theta, state, SolverInfo(value, at.value, at.norm, stop or "precision", moved=False)
        if trials > 8 or too_coarse(at, point):
            point = refined(point) or point
        progress = state.progress.after(at, point) if point.finite else state.progress
        state = SolverState(state.iteration + 1, elapsed, progress, memory, point)
        stop = stop or self._stop(at, point, state)
        return point.theta, state, SolverInfo(value, point.value, point.norm, stop)

    def _solved(self, at: Point, progress: Progress) -> tuple[str | None, bool]:
        """(why to stop here as at a solution, or None; False where the only objection is a saddle)."""
        if (reason := self.converged(at, progress)) is not None:
            return (reason, True) if (confirmed := self.confirmed(at)) else (None, confirmed)
        return ("goal" if at.value <= self.goal else None), True

    def _stop(self, old: Point, new: Point, state: SolverState) -> str | None:
        progress = state.progress
        if progress.value - new.value > UNBOUNDED * max(abs(progress.value), progress.unit):
            return "unbounded"
        if stop := self._solved(new, progress)[0]:
            return stop
        if exhausted(old, new):
            return "precision"
        if self.min_grad and stands_still(old, new) and self._verdict(new, progress, "precision")[1]:
            return "precision"
        if self.ftol and abs(old.value - new.value) <= self.ftol * max(abs(old.value), abs(new.value)):
            return "ftol"
        if self.xtol:
            xp = new.backend.xp
            if progress.step <= self.xtol * read(new.backend, xp.max(xp.abs(old.theta)))[0]:
                return "xtol"
        if self.max_iter is not None and state.iteration >= self.max_iter:
            return "max_iter"
        return "max_time" if state.elapsed >= self.max_time else None

    # -- to the end --------------------------------------------------------------------------------------------------

    def run(
        self, objective: Objective, theta: Array, callback: Callable[[OptimizeResult], Any] | None = None
    ) -> OptimizeResult:
        """Iterate until a stop rule holds. `success`: `converged`, the goal, or the end of precision near a minimum.

        `callback` gets the intermediate result after every iteration; True from it, or StopIteration, ends the run.
        """
        check_start(theta)
        limit = max(1000, 200 * int(theta.shape[0])) if self.max_iter is None else self.max_iter
        evaluations = 0

        def counted(theta: Array) -> Any:
            nonlocal evaluations
            evaluations += 1
            return objective(theta)

        state, stop = self.init(theta), None
        if limit == 0:
            at, stop = Point(backend_of(theta), counted(theta), theta), "not_finite"
            if at.finite:
                state = state._replace(progress=Progress.begin(at))
                stop = self._solved(at, state.progress)[0] or "max_iter"
            state = state._replace(at=at)
        while stop is None:
            theta, state, info = self.step(counted, theta, state)
            stop = info.stop
            if callback is not None and info.moved:
                asked = asks_to_stop(callback, self._result(objective, state, stop or "running", evaluations))
                stop = stop or ("callback" if asked else None)
            if stop is None and state.iteration >= limit:
                stop = "max_iter"
        return self._result(objective, state, stop, evaluations)

    def _result(self, objective: Any, state: SolverState, stop: str, evaluations: int) -> OptimizeResult:
        at: Point = state.at
        stop, success = self._verdict(at, state.progress, stop) if at.finite else (stop, False)
        status, message = stop_message(stop)
        return OptimizeResult(
            x=at.theta, fun=at.value, jac=at.gradient, nit=state.iteration,
            nfev=getattr(objective, "nfev", evaluations), njev=getattr(objective, "njev", evaluations),
            nhev=getattr(objective, "nhev", 0), success=success, status=status,
            message=f"{message} max|gradient| = {at.norm:.3g}.", stop_reason=stop, gradient_norm=at.norm,
        )  # fmt: skip

    def _verdict(self, at: Point, progress: Progress, stop: str) -> tuple[str, bool]:
        """(the stop reason, whether it is a success): never above the start, nor where the test behind it fails."""
        eps = float(at.backend.xp.finfo(at.theta.dtype).eps)
        if stop in ("unbounded", "saddle") or at.value > progress.value + 10.0 * eps * abs(progress.value):
            return stop, at.value <= self.goal
        if self._solved(at, progress)[0]:
            return stop, True
        if stop in ("ftol", "xtol"):
            # Gill, Murray and Wright (1981), section 8.2.3: the third of their conditions on the last iterate.
            tolerance = (self.ftol if stop == "ftol" else self.xtol * self.xtol) ** (1 / 3)
            return stop, progress.fallen <= tolerance and self._sway(at) <= tolerance * abs(at.value)
        if stop == "precision" and (progress.fallen <= math.sqrt(self.min_grad) or self._is_noise(at, progress, eps)):
            return "rounding", True
        return stop, False

    def _is_noise(self, at: Point, progress: Progress, eps: float) -> bool:
        """Whether the gradient is no larger than its own errors, as at a start that is the solution already."""
        xp = at.backend.xp
        error = getattr(at.evaluation, "gradient_error", None)
        if error is not None:
            return read(at.backend, xp.max(xp.abs(at.gradient) - error))[0] <= 0.0
        size = read(at.backend, xp.max(xp.abs(at.theta)))[0]
        stayed = progress.way <= SHORT * size and size > 0.0
        return stayed and self._sway(at) <= NOISE * eps * abs(at.value)

    @staticmethod
    def _sway(at: Point) -> float:
        """||g|| ||θ||, largest entries: what J would change by if a parameter moved by the size of the largest."""
        xp = at.backend.xp
        return at.norm * read(at.backend, xp.max(xp.abs(at.theta)))[0]


def _stuck(at: Point, point: Point | None, stop: str | None) -> bool:
    """Whether an iteration found nothing better than rounding gives."""
    return stop in (None, "precision") if point is None else point.finite and stands_still(at, point)


def check_start(theta: Any) -> Array:
    """`theta` if a solver may start there: one vector of real floating-point numbers."""
    backend = backend_of(theta, names=("x0",))
    if theta.dtype not in (backend.xp.float64, backend.xp.float32):
        raise ArrayError(f"x0 must be an array of real floating-point numbers, float64 or float32, got {theta.dtype}")
    if theta.ndim != 1:
        raise ShapeError(f"x0 must be one vector of shape (n,), got shape {tuple(theta.shape)}")
    if theta.shape[0] == 0:
        raise ShapeError("x0 is empty: there is nothing to choose")
    return theta


def as_start(x0: Any) -> Array:
    """What a user gives as x0: an array of any library, or numbers, which become a NumPy float64 vector."""
    if isinstance(x0, (numbers.Real, list, tuple)):
        try:
            x0 = np.atleast_1d(np.asarray(x0))
        except ValueError as error:  # rows of different lengths
            raise ShapeError(f"x0 must be one vector of shape (n,): {error}") from error
    if isinstance(x0, (np.ndarray, np.generic)) and np.asarray(x0).dtype.kind in "iub":
        x0 = np.asarray(x0, dtype=np.float64)
    if getattr(x0, "ndim", None) == 0:
        x0 = backend_of(x0, names=("x0",)).xp.reshape(x0, (1,))
    return check_start(x0)

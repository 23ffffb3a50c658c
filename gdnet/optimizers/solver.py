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
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gdnet.backend import Array, Backend, backend_of
from gdnet.errors import ArrayError, ShapeError
from gdnet.optimizers.base import Objective, Optimizer
from gdnet.optimizers.options import check_options, short_repr
from gdnet.optimizers.result import OptimizeResult, stop_message

UNBOUNDED = 1e20
"""A value below minus this, relative to the first one, is taken as falling without bound."""


def read(backend: Backend, *scalars: Any) -> tuple[float, ...]:
    """Numbers and device scalars on the host, all device scalars in one transfer."""
    here = [s for s in scalars if not isinstance(s, numbers.Real)]
    if len(here) == 1:
        found = iter([backend.read(here[0])])
    else:
        found = iter(backend.to_numpy(backend.xp.stack(here)).tolist() if here else [])
    return tuple(float(s) if isinstance(s, numbers.Real) else next(found) for s in scalars)


def half_square(xp: Any, r: Array) -> Any:
    """½ ||r||²; infinite, without a warning, where squares are too large for the dtype."""
    with np.errstate(over="ignore"):
        return 0.5 * xp.sum(r * r)


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


class Point:
    """A vector, its evaluation, and what of it has been read on the host."""

    def __init__(self, backend: Backend, evaluation: Any, theta: Array) -> None:
        self.backend, self.evaluation, self.theta = backend, evaluation, theta

    @cached_property
    def value(self) -> float:
        """The objective on the host; one read."""
        return read(self.backend, self.evaluation.value)[0]

    @property
    def gradient(self) -> Array:
        return self.evaluation.gradient

    @cached_property
    def norm(self) -> float:
        """max_i |∂J/∂θ_i|, unscaled; one read."""
        xp = self.backend.xp
        return read(self.backend, xp.max(xp.abs(self.gradient)))[0]

    def dots(self, *pairs: tuple[Array, Array]) -> tuple[float, ...]:
        """The inner products of these pairs, and the gradient's norm kept in passing; one read."""
        xp = self.backend.xp
        *found, norm = read(self.backend, *(xp.sum(a * b) for a, b in pairs), xp.max(xp.abs(self.gradient)))
        self.__dict__["norm"] = norm
        return tuple(found)

    @property
    def finite(self) -> bool:
        return math.isfinite(self.value) and math.isfinite(self.norm)


class Move(NamedTuple):
    """What a method did in one iteration: the new point, or None and the reason why there is none."""

    point: Point | None
    memory: Any
    stop: str | None = None


class SolverState(NamedTuple):
    """`at` is a cache (the last `Point`) and `memory` the method's own named tuple."""

    iteration: int
    elapsed: float
    first: float
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
    vector and `memory` is a named tuple of arrays and numbers.

    Parameters
    ----------
    goal : float
        Stop when the value is at most this.
    min_grad : float
        Stop when max_i |∂J/∂θ_i| is at most this (SciPy's gtol).
    max_iter : int, optional
        Of `run`: max(1000, 200 n) by default. Inside `fit` the number of epochs limits.
    max_time : float
        Seconds.
    ftol : float
        Stop when |J - J⁺| <= ftol max(|J|, |J⁺|, 1); off by default.
    xtol : float
        Stop when max|θ⁺ - θ| <= xtol (1 + max|θ|); off by default.

    Raises
    ------
    OptionError
        If one of these, or a method's own option, is outside its domain.

    >>> import numpy as np
    >>> from gdnet.optimizers import FunctionObjective
    >>> from gdnet.optimizers.solver import Move
    >>> class FixedStep(Solver):
    ...     def advance(self, at, memory, trial):
    ...         return Move(trial(at.theta - 0.25 * at.gradient), memory)
    >>> J = FunctionObjective(lambda x: float(x @ x), lambda x: 2.0 * x)
    >>> found = FixedStep(min_grad=0.1).run(J, np.asarray([1.0]))
    >>> found.x, found.nit, found.stop_reason
    (array([0.03125]), 5, 'min_grad')
    """

    full_batch = True
    figures: ClassVar[tuple[str, ...]] = ()
    """Names of further numbers that a step's info has; `fit` writes them into its history."""
    goal: float = -math.inf
    min_grad: float = 1e-6
    max_iter: int | None = None
    max_time: float = math.inf
    ftol: float = 0.0
    xtol: float = 0.0

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

    def confirmed(self, at: Point) -> bool:
        """Whether to stop at a point of vanishing gradient; a method that knows the Hessian may refuse a saddle."""
        return True

    # -- one step at a time ------------------------------------------------------------------------------------------

    def init(self, theta: Array) -> SolverState:
        return SolverState(0, 0.0, 0.0, self.start(theta))

    def step(self, objective: Objective, theta: Array, state: SolverState) -> tuple[Array, SolverState, SolverInfo]:
        """One iteration. Where it stops before moving (already solved, not finite), theta comes back unchanged."""
        began = time.perf_counter()
        backend = backend_of(theta, names=("theta",))

        def trial(vector: Array) -> Point:
            return Point(backend, objective(vector), vector)

        at = state.at if state.at is not None and state.at.theta is theta else trial(theta)
        if state.iteration == 0:
            state = state._replace(first=at.value)
        value = at.evaluation.value
        if stop := self._solved(at) if at.finite else "not_finite":
            return theta, state._replace(at=at), SolverInfo(value, at.value, at.norm, stop, moved=False)

        point, memory, stop = self.advance(at, state.memory, trial)
        elapsed = state.elapsed + time.perf_counter() - began
        new = at if point is None else point
        state = SolverState(state.iteration + (point is not None), elapsed, state.first, memory, new)
        if point is None:
            return theta, state, SolverInfo(value, at.value, at.norm, stop or "precision", moved=False)
        stop = stop or self._stop(at, point, state)
        return point.theta, state, SolverInfo(value, point.value, point.norm, stop)

    def _solved(self, at: Point) -> str | None:
        if at.norm <= self.min_grad and self.confirmed(at):
            return "min_grad"
        return "goal" if at.value <= self.goal else None

    def _stop(self, old: Point, new: Point, state: SolverState) -> str | None:
        if new.value < -UNBOUNDED * max(1.0, abs(state.first)):
            return "unbounded"
        if stop := self._solved(new):
            return stop
        if self.ftol and abs(old.value - new.value) <= self.ftol * max(abs(old.value), abs(new.value), 1.0):
            return "ftol"
        if self.xtol:
            xp = new.backend.xp
            moved, size = read(new.backend, xp.max(xp.abs(new.theta - old.theta)), xp.max(xp.abs(old.theta)))
            if moved <= self.xtol * (1.0 + size):
                return "xtol"
        if self.max_iter is not None and state.iteration >= self.max_iter:
            return "max_iter"
        return "max_time" if state.elapsed >= self.max_time else None

    # -- to the end --------------------------------------------------------------------------------------------------

    def run(
        self, objective: Objective, theta: Array, callback: Callable[[OptimizeResult], Any] | None = None
    ) -> OptimizeResult:
        """Iterate until a stop rule holds. `success` is claimed only by the unscaled gradient or the goal.

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
            at = Point(backend_of(theta), counted(theta), theta)
            state, stop = state._replace(at=at), (self._solved(at) if at.finite else "not_finite") or "max_iter"
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
        status, message = stop_message(stop)
        success = at.finite and (at.norm <= self.min_grad or at.value <= self.goal)
        if stop in ("ftol", "xtol") and at.finite:
            # Gill, Murray and Wright (1981), section 8.2.3: the third of their conditions on the last iterate.
            tolerance = self.ftol if stop == "ftol" else self.xtol * self.xtol
            success = success or at.norm <= max(tolerance, 1e-16) ** (1 / 3) * (1.0 + abs(at.value))
        success = success and stop not in ("unbounded", "saddle")
        return OptimizeResult(
            x=at.theta, fun=at.value, jac=at.gradient, nit=state.iteration,
            nfev=getattr(objective, "nfev", evaluations), njev=getattr(objective, "njev", evaluations),
            nhev=getattr(objective, "nhev", 0), success=bool(success), status=status,
            message=f"{message} max|gradient| = {at.norm:.3g}.", stop_reason=stop, gradient_norm=at.norm,
        )  # fmt: skip


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

"""Levenberg-Marquardt: damped Gauss-Newton steps for sums of squares and for every other convex loss."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from gdnet.backend import Array, Backend
from gdnet.errors import OptionError
from gdnet.optimizers.gauss_newton.box import BoxedSpace
from gdnet.optimizers.gauss_newton.convergence import (
    CONSTANT,
    SLOW,
    Measures,
    alike,
    fallen,
    length,
    measure,
    rounding,
    spread_of,
    vanished,
)
from gdnet.optimizers.gauss_newton.damped_systems import Damped, choose_space, damped_system
from gdnet.optimizers.gauss_newton.polish import polish, settle
from gdnet.optimizers.gauss_newton.target_unit import in_target_unit, layout_of
from gdnet.optimizers.options import (
    COUNT_FROM_0,
    FLAG,
    FRACTION,
    INSIDE,
    NOT_NEGATIVE,
    NOT_NEGATIVE_OR_INF,
    POSITIVE,
    POSITIVE_OR_INF,
    one_of,
    option,
)
from gdnet.optimizers.point import Point, read
from gdnet.optimizers.progress import Progress
from gdnet.optimizers.solver import Move, Solver

ATTEMPTS = 200
PROBE = 0.1
"""Where along a step the residual is asked for its curvature: far enough for float32."""
SHORT_STEP = 1e-3
"""Steps below this part of the parameters are straight enough without acceleration."""
SHRUNK = 1e8
"""Moré's maximum is at most this many times the present diag(AᵀA): a column that has shrunk by more, as that of a rate
does when its amplitude turns out to be 1e-12, is damped by what it is now."""
FORGET = 0.5
"""What Moré's maximum keeps of itself at each step, once `forget_after` steps did not suffice."""
MARQUARDT_UNIT = 2.0
"""The classic rule is written for the value ||e||² and EᵀE + μ I; the Gauss-Newton matrix here is 2 EᵀE."""


class LMMemory(NamedTuple):
    """What a step hands to the next: damping, Moré's running maximum of diag(AᵀA), and the measures of convergence.

    `unit` is a typical size of each parameter, (P,): 1, and the targets' spread where a parameter has their unit.
    """

    mu: float
    nu: float
    scale: Any = None
    first: float = math.nan
    last: float = math.nan
    doubted: float = math.inf
    steps: int = 0
    unit: Any = None


class Attempt(NamedTuple):
    """A trial point and what the model said of it.

    `size` and `norm` are Σ_j |A_j|² v_j² and Σ_j |A_j|² θ_j²: how far the step goes and how large the parameters are,
    by what they do to the residuals here.
    """

    point: Point
    size: float
    norm: float
    predicted: float
    short: bool


@dataclass(frozen=True, kw_only=True)
class LevenbergMarquardt(Solver):
    """Solves (AᵀA + μ D²) v = -g and moves by v, with more damping when a step fails and less when it succeeds.

    AᵀA is the Gauss-Newton matrix: JᵀJ of the residuals of a sum of squares, (R J)ᵀ(R J) with the loss's root R
    (RᵀR = H) for any other convex loss. A step that fails costs no new derivatives. Where H = 0, as for
    `AbsoluteError` and `Hinge`, there is no such matrix: the steps are damped gradient steps, and a warning says so.

    Parameters
    ----------
    damping : "nielsen" or "marquardt"
        How μ changes. "nielsen": μ max(decrease, 1 - (2ρ - 1)³) after a success, μ ν with ν = 2, 4, 8, ... after a
        failure; ρ is the actual decrease over the predicted one. "marquardt": × 0.1 and × 10 with D = I and no
        acceleration, the rule of MATLAB's trainlm and of torch-levenberg-marquardt (give mu_min=1e-10 for the latter);
        μ is then added to EᵀE where the value is ||e||².
    scaling : "auto", "more", "mean" or "identity"
        D²: "more" is the largest diag(AᵀA) so far, so that the units of parameters do not matter; "mean" is the mean of
        that, for parameters measured in `target_unit`, and one number in the space of samples; "identity" is 1. "auto"
        takes "more" for functions of the user's and "mean" for networks, where Moré's rule needs several times the
        steps: it holds a weight by the largest derivative that it has ever had.
    space : "auto", "parameters", "samples" or "cg"
        Where the system is solved: P x P, M x M (the matrix A is never stored), or by products alone; "auto" takes
        the cheapest that fits into `max_memory` bytes.
    accelerate : bool
        Geodesic acceleration: the step is v + a/2 with (AᵀA + μ D²) a = -Aᵀ r_vv, for one more evaluation of the
        residuals; v alone where 2||D a|| > `bend` ||D v||, and then only if ρ > `trust`.
    mu, mu_min, mu_max, decrease : float
        The damping's start, its limits and Nielsen's strongest decrease. `mu_max` is 1e10 for "marquardt", else 1e20.
    target_unit : bool
        A network's last layer is measured in the spread of the targets, and its initial weights, which are made for
        targets of about 1, are multiplied by it: the fit then takes the same course in every unit. A network that
        explains half of the targets' variance already keeps its weights. Not with "marquardt".
    first_step : float
        μ is raised before the first step until ||D v|| <= first_step ||D theta||; not with the identity.
    unit : array (P,), optional
        A typical size of each parameter: D = 1 / unit instead of `scaling`.
    box : Box, optional
        Bounds, as `least_squares` makes them; they need the space of parameters.
    forget_after : int
        After so many steps Moré's maximum halves at each: a start with far larger derivatives no longer slows it.
    polish : int
        Undamped steps by QR at most, once `ftol` or `xtol` holds; 0 for none.
    ftol, xtol : float
        Relative changes of the value (actual and predicted) and of the parameters, each weighed by its column's length,
        that count as converged; 0 is off.
    min_grad : float
        Stop where max_j |g_j| / (|A_j| ||r||) is at most this, the largest cosine between the residual and a column of
        A: neither the targets' unit nor a parameter's matters. ||r|| is √(2 |V|) for a loss that is no sum of squares.
        An exact fit, whose residuals are rounding and no more, stops with reason "vanished".
    goal, max_iter, max_time
        As of every solver.

    Reference: Nielsen (1999), IMM-REP-1999-05; Moré (1978), LNM 630; Transtrum and Sethna (2012), arXiv 1201.5885;
    Hagan and Menhaj (1994), IEEE TNN 5(6).

    >>> import numpy as np
    >>> from gdnet.optimizers.scipy_api.function import FunctionObjective
    >>> valley = FunctionObjective(residual=lambda x: np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]]))
    >>> found = LevenbergMarquardt().run(valley, np.array([-1.2, 1.0]))
    >>> np.round(found.x, 6), found.success
    (array([1., 1.]), True)
    """

    min_grad: float = option(1e-7, NOT_NEGATIVE)
    damping: str = option("nielsen", one_of("nielsen", "marquardt"))
    scaling: str = option("auto", one_of("auto", "more", "mean", "identity"))
    space: str = option("auto", one_of("auto", "parameters", "samples", "cg"))
    accelerate: bool = option(True, FLAG)
    target_unit: bool = option(True, FLAG)
    bend: float = option(1.0, POSITIVE_OR_INF)
    trust: float = option(0.25, FRACTION)
    mu: float = option(1e-3, POSITIVE)
    mu_min: float = option(1e-20, NOT_NEGATIVE)
    mu_max: float | None = option(None, POSITIVE_OR_INF)
    decrease: float = option(1.0 / 3.0, INSIDE)
    first_step: float = option(10.0, POSITIVE_OR_INF)
    forget_after: float = option(math.inf, NOT_NEGATIVE_OR_INF)
    polish: int = option(12, COUNT_FROM_0)
    max_memory: int = option(1 << 31, POSITIVE_OR_INF)
    cg_tol: float = option(5e-4, POSITIVE)
    unit: Any = None
    box: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mu <= self._mu_max:
            raise OptionError(f"{type(self).__name__}: mu = {self.mu} is above mu_max = {self._mu_max}")

    @property
    def _classic(self) -> bool:
        return self.damping == "marquardt"

    @property
    def _mu_max(self) -> float:
        return self.mu_max if self.mu_max is not None else 1e10 if self._classic else 1e20

    def _scaling(self, A: Any) -> str:
        return self.scaling if self.scaling != "auto" else "more" if layout_of(A) is None else "mean"

    # -- one iteration -----------------------------------------------------------------------------------------------

    def start(self, theta: Array) -> LMMemory:
        return LMMemory(self.mu, 2.0)

    def advance(self, at: Point, memory: LMMemory, trial: Callable[[Array], Point]) -> Move:
        """One iteration; a warning where it is the last one and the network's predictions are still constant."""
        move = self._advance(at, memory, trial)
        if move.stop is not None:
            warn_of_constant(at if move.point is None else move.point)
        return move

    def _advance(self, at: Point, memory: LMMemory, trial: Callable[[Array], Point]) -> Move:
        """Attempts from one point, with one Jacobian, until the value falls or nothing helps."""
        fresh = math.isnan(memory.first)
        if fresh:
            memory = memory._replace(first=at.value)
            warn_without_curvature(at)
            if self.target_unit and not self._classic and memory.steps == 0:
                at, unit = in_target_unit(at, trial, root_of(at))
                memory = memory._replace(first=at.value, unit=unit)
        system, seen = self._system(at, memory)
        memory = memory._replace(scale=seen)
        found = measure(at, system.A.gradient, system.curvature, self.box)
        stop = self._stationary(at, found)
        if stop is not None:
            return Move(None, memory, stop)
        if (fresh or memory.steps == 0) and not self._classic and self.scaling != "identity":
            memory = self._gentle(system, at, memory)

        stop = "mu_max"
        blind = False
        for _ in range(ATTEMPTS):
            if memory.mu > self._mu_max:
                break
            attempt = self._attempt(system, at, memory, trial)
            if attempt is None:
                memory = self._more_damping(memory, at.backend, at.theta)
                continue
            new, predicted = attempt.point, attempt.predicted
            rho = (at.value - new.value) / predicted if predicted > 0 else -1.0
            near = self._near(at, attempt)
            accepted = new.value < at.value and (attempt.short or rho > self.trust)
            done = self._solved_exactly(at, found.scale, attempt, memory, near) if accepted else None
            # A gradient that is not finite damps more, except in the last steps: polishing takes derivatives anew.
            # If an earlier trial of this iteration had such a gradient, the last steps are refused too.
            if accepted and (((done or near) and not blind) or math.isfinite(new.norm)):
                memory = self._less_damping(memory, rho)
                memory = memory._replace(last=attempt.size, steps=memory.steps + 1)
                if done and self.polish:
                    new = settle(at, new, trial, root_of, self.max_memory, self.box)
                if done or near is None:
                    return Move(new, memory, done)
                point, memory, stop = self._finish(new, memory, near, trial)
                return Move(point, memory, stop)
            blind = blind or accepted
            memory = self._more_damping(memory, at.backend, at.theta)
            if near is None and predicted <= rounding(at) * at.value:
                near = "precision"
            if near is not None:
                point, memory, stop = self._finish(at, memory, near, trial)
                if point is not at:
                    return Move(point, memory, stop)
                if stop is not None:
                    break
        # Lower values were found, but only where derivatives are not finite.
        return Move(None, memory, "not_finite" if blind else stop or "mu_max")

    def _system(self, at: Point, memory: LMMemory) -> tuple[Damped, Any]:
        """The damped system at a point and Moré's running maximum, raw: a parameter without effect keeps its zero."""
        A = root_of(at)
        xp, seen = at.backend.xp, [memory.scale]
        kind = self._scaling(A)
        unit = 1.0 if memory.unit is None else memory.unit

        def scale(curvature: Array) -> Any:
            if self._classic:
                return MARQUARDT_UNIT
            if self.unit is not None:
                return 1.0 / (self.unit * self.unit)
            if kind == "identity":
                return 1.0
            if kind == "mean" and curvature.ndim:
                curvature = xp.mean(unit * unit * curvature) / (unit * unit)
            old = memory.scale
            fits = old is not None and tuple(old.shape) == tuple(curvature.shape)
            if fits:
                old = FORGET * old if memory.steps > self.forget_after else old
                # A column that has shrunk for good would otherwise be damped by what it was.
                old = xp.where(curvature > 0.0, xp.minimum(old, SHRUNK * curvature), old)
                seen[0] = xp.maximum(old, curvature)
            else:
                seen[0] = curvature
            return xp.where(seen[0] > 0.0, seen[0], xp.ones_like(seen[0]))

        if self.box is not None:
            system: Damped = BoxedSpace(at.backend, A, scale, self.max_memory, self.box, at.theta)
        else:
            system = damped_system(at.backend, A, self.space, scale, self.max_memory, self.cg_tol)
        return system, seen[0]

    def _gentle(self, system: Damped, at: Point, memory: LMMemory) -> LMMemory:
        """Damping with which the first step is not far longer than the parameters themselves."""
        for _ in range(ATTEMPTS):
            if system.factor(memory.mu):
                size, norm = read(at.backend, system.weighted(system.step()), system.weighted(at.theta))
                if not norm > 0.0 or size <= self.first_step**2 * norm:
                    break
            memory = memory._replace(mu=2.0 * memory.mu)
        return memory

    def _attempt(self, system: Damped, at: Point, memory: LMMemory, trial: Callable[[Array], Point]) -> Attempt | None:
        """The trial point for this damping, or None where there is no usable step."""
        xp, A = at.backend.xp, system.A
        if not system.factor(memory.mu):
            return None
        v = system.step()
        size, norm, slope, moved, whole = read(
            at.backend, system.weighted(v), system.weighted(at.theta), xp.sum(A.gradient * v),
            xp.sum(system.curvature * v * v), xp.sum(system.curvature * at.theta * at.theta),
        )  # fmt: skip
        predicted = system.promise(v, size, slope, memory.mu)
        if not math.isfinite(predicted):
            return None
        step, short = v, True
        if self.accelerate and not self._classic and size > SHORT_STEP**2 * norm:
            a = system.pull(A.bend(v, PROBE))
            (bent,) = read(at.backend, system.weighted(a))
            short = math.isfinite(bent) and 4.0 * bent <= self.bend**2 * size
            step = v + 0.5 * a if short else v
        point = trial(at.theta + step if self.box is None else self.box.project(at.theta + step, at.theta))
        return Attempt(point, moved, whole, predicted, short) if math.isfinite(point.value) else None

    def _less_damping(self, memory: LMMemory, rho: float) -> LMMemory:
        if self._classic:
            factor = 0.1
        else:
            factor = max(self.decrease, 1.0 - (2.0 * rho - 1.0) ** 3) if rho < 1.0 else self.decrease
        return memory._replace(mu=max(memory.mu * factor, self.mu_min), nu=2.0)

    def _more_damping(self, memory: LMMemory, backend: Backend, theta: Array) -> LMMemory:
        if self._classic:
            return memory._replace(mu=10.0 * memory.mu)
        # Damping below the rounding of the scaled matrix is none at all: do not climb through it.
        floor = float(backend.xp.finfo(theta.dtype).eps)
        return memory._replace(mu=max(memory.mu * memory.nu, floor), nu=2.0 * memory.nu)

    # -- convergence -------------------------------------------------------------------------------------------------

    def _near(self, at: Point, attempt: Attempt) -> str | None:
        """Whether value or parameters hardly change any more, for `ftol` and `xtol`."""
        change = self.ftol * at.value
        if self.ftol and abs(at.value - attempt.point.value) <= change and attempt.predicted <= change:
            return "ftol"
        return "xtol" if self.xtol and attempt.size <= self.xtol * self.xtol * attempt.norm else None

    def _stationary(self, at: Point, found: Measures) -> str | None:
        """Whether no parameter changes the residuals any more, or there are none left: free of every unit."""
        if self.min_grad and found.cosine <= max(self.min_grad, 10.0 * rounding(at)):
            return "min_grad"
        return (
            "vanished" if root_of(at).residual is not None and vanished(found.size, found.scale, rounding(at)) else None
        )

    def _solved_exactly(
        self, at: Point, scale: float, attempt: Attempt, memory: LMMemory, near: str | None
    ) -> str | None:
        """Residuals at nothing, or steps that shrink so fast that the next one would be rounding.

        The residuals are compared with the scale of the old point: no new derivatives are needed where every parameter
        has kept its size. Where one has not, the next iteration looks again.
        """
        new = attempt.point
        size, slow = length(new), attempt.size > SLOW * memory.last
        gone = vanished(size, scale, rounding(new)) or (slow and fallen(size, scale, rounding(new), memory.first))
        if self.ftol and gone and alike(at, new):
            return "vanished"
        limit = (500.0 * rounding(new)) ** 2 * attempt.norm
        return "xtol" if near == "xtol" and attempt.size * (attempt.size / memory.last) < limit else None

    def _finish(
        self, point: Point, memory: LMMemory, near: str, trial: Callable[[Array], Point]
    ) -> tuple[Point, LMMemory, str | None]:
        """Polish the point. If the undamped model still promises a decrease, go on with less damping instead, once."""
        if not self.polish or (near == "precision" and not (self.ftol or self.xtol)):
            return point, memory, near
        doubtful = point.value < memory.doubted * (1.0 - 1e-6)
        better = polish(point, trial, root_of, self.polish, self.max_memory, doubtful, self.box)
        if better is None:
            return point, memory._replace(mu=max(memory.mu * 1e-3, 1e-12), nu=2.0, doubted=point.value), None
        return better, memory, near if math.isfinite(better.norm) else "not_finite"

    def converged(self, at: Point, progress: Progress) -> str | None:
        """What can be told without the matrix; `_stationary` is asked in `advance`, which forms it."""
        if at.norm <= self.gtol:
            return "gtol" if at.norm else "min_grad"
        return None

    def _verdict(self, at: Point, progress: Progress, stop: str) -> tuple[str, bool]:
        """Success is claimed by the measures of `_stationary`, taken again at the end, or by the goal."""
        solved = self._solved(at, progress)[0] or self._stationary(at, self._measured(at))
        return (solved if solved and stop in ("max_iter", "max_time") else stop), solved is not None

    def _measured(self, at: Point) -> Measures:
        """The measures at a point whose system was not formed, with the diagonal that its space would have."""
        A = root_of(at)
        diagonal = A.diagonal(self.max_memory)
        samples = self.space == "samples" or (self.space == "auto" and choose_space(A, self.max_memory) == "samples")
        return measure(at, A.gradient, at.backend.xp.mean(diagonal) if samples else diagonal, self.box)

    def _stop(self, old: Point, new: Point, state: Any) -> str | None:
        """`ftol` and `xtol` are judged inside `advance`, by the model as well as by the change."""
        if stop := self._solved(new, state.progress)[0]:
            return stop
        if self.max_iter is not None and state.iteration >= self.max_iter:
            return "max_iter"
        return "max_time" if state.elapsed >= self.max_time else None


def root_of(point: Point) -> Any:
    """The evaluation's A with AᵀA the Gauss-Newton matrix; an error where there is none."""
    found = getattr(point.evaluation, "root_jacobian", None)
    if found is not None:
        return found
    if getattr(point.evaluation, "residual", None) is None:
        raise OptionError(
            "LevenbergMarquardt needs residuals or a loss with a root (every convex loss of a network has one): this "
            "objective is a scalar function; give its residuals to least_squares, or minimise it by BFGS or NewtonCG"
        )
    return _dense_root(point)


def warn_without_curvature(at: Point) -> None:
    """A warning where AᵀA g = 0 and g is not: a loss with l'' = 0 for every example has no Gauss-Newton matrix."""
    A, xp = root_of(at), at.backend.xp
    if A.residual is not None or at.norm == 0.0:
        return
    bent = A.matvec(at.gradient)
    if read(at.backend, xp.sum(xp.abs(bent)))[0] == 0.0:
        warnings.warn(
            "the loss has no second derivative at the start (AbsoluteError and Hinge have none anywhere, Huber none "
            "beyond delta): until it has one, Levenberg-Marquardt takes damped gradient steps; take BFGS or LBFGS",
            UserWarning,
            stacklevel=2,
        )


def warn_of_constant(at: Point) -> None:
    """A warning where a fit has ended at a network that predicts hardly more than the targets' mean."""
    spread = spread_of(at) if at.finite and root_of(at).residual is not None else None
    if spread and 2.0 * at.value > CONSTANT * spread:
        warnings.warn(
            f"the fit ended at {2.0 * at.value / spread:.3g} of the targets' variance: a constant fits as well. If the "
            "data tell more, inputs far from the unit scale may have saturated the activations from the start: "
            "standardise them, with gd.data.Standardizer().fit(x), or start from other weights (another seed)",
            UserWarning,
            stacklevel=2,
        )


def _dense_root(point: Point) -> Any:
    """A plain function's residual and Jacobian map as a root, kept with the point."""
    from gdnet.optimizers.gauss_newton.residuals import DenseRoot

    kept = point.__dict__.get("root")
    if kept is None:
        at, o = point.evaluation, point.evaluation.objective
        kept = DenseRoot(point.backend, at.jacobian.dense(), at.residual, point.theta, lambda x: o(x).residual)
        point.__dict__["root"] = kept
    return kept

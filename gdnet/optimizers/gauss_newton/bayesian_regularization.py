"""Bayesian regularisation: Levenberg-Marquardt that finds its own weight decay from the evidence of the data."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from gdnet.backend import Array, Backend
from gdnet.errors import OptionError
from gdnet.optimizers.gauss_newton.convergence import CONSTANT, spread_of
from gdnet.optimizers.gauss_newton.damped_systems import choose_space
from gdnet.optimizers.gauss_newton.levenberg_marquardt import LevenbergMarquardt, LMMemory, root_of
from gdnet.optimizers.options import NOT_NEGATIVE, POSITIVE, option
from gdnet.optimizers.point import Point, read
from gdnet.optimizers.progress import Progress
from gdnet.optimizers.solver import Move, SolverInfo, SolverState

TINY = 1e-300
WEAK = 0.01
"""The precision α of the weights before there is any evidence: 1/√α = 10 is then an ordinary size of a weight."""
HELD, LONGEST = 5, 50
"""At first the precisions are held fixed, for at least `HELD` and at most `LONGEST` steps."""
STEADY = 0.05
"""In between they are released once a step lowers the error of the data by less than this part."""
UNIT = 30.0
"""Targets whose standard deviation is above this are told of: the prior is made for about 1."""


class Evidence(NamedTuple):
    """What the data say: noise precision beta, weight precision alpha, effective number of parameters gamma."""

    alpha: float
    beta: float
    gamma: float
    data_error: float
    weight_error: float


class BayesMemory(NamedTuple):
    """Levenberg-Marquardt's memory, the precisions, and the unit in which the data's error is counted."""

    lm: LMMemory
    evidence: Evidence
    settled: int = 0
    held: int = 0


class BayesInfo(NamedTuple):
    """What a step tells: a solver's own fields, and alpha, beta and gamma after it."""

    value: Any
    new_value: float
    gradient_norm: float
    stop: str | None
    moved: bool
    alpha: float
    beta: float
    gamma: float


class PenalisedRoot:
    """[√β' A; √α I]: the rows of A and one more for each parameter, in the same protocol."""

    def __init__(self, A: Any, theta: Array, beta: float, alpha: float) -> None:
        self.A, self.theta, self.b, self.a = A, theta, math.sqrt(beta), math.sqrt(alpha)
        self.backend, self.xp, self.dtype = A.backend, A.xp, A.dtype
        self.m, self.p = A.shape
        self.shape = (self.m + self.p, self.p)
        self.accuracy = A.accuracy

    @cached_property
    def gradient(self) -> Array:
        return self.b**2 * self.A.gradient + self.a**2 * self.theta

    @cached_property
    def residual(self) -> Array:
        return self.xp.concat([self.b * self.A.residual, self.a * self.theta])

    def matvec(self, v: Array) -> Array:
        return self.xp.concat([self.b * self.A.matvec(v), self.a * v])

    def rmatvec(self, u: Array) -> Array:
        return self.b * self.A.rmatvec(u[: self.m]) + self.a * u[self.m :]

    def bend(self, v: Array, h: float) -> Array:
        return self.xp.concat([self.b * self.A.bend(v, h), self.xp.zeros_like(v)])

    def dense(self, max_bytes: int = 1 << 31) -> Array:
        eye = self.xp.eye(self.p, dtype=self.dtype, device=self.backend.device)
        return self.xp.concat([self.b * self.A.dense(max_bytes), self.a * eye], axis=0)

    def normal(self, max_bytes: int = 1 << 31) -> Array:
        eye = self.xp.eye(self.p, dtype=self.dtype, device=self.backend.device)
        return self.b**2 * self.A.normal(max_bytes) + self.a**2 * eye

    def gram(self) -> Array:
        """[[β' A Aᵀ, √(αβ') A], [., α I]]."""
        xp, rows, eye = self.xp, self.A.dense(), self.xp.eye(self.p, dtype=self.dtype, device=self.backend.device)
        side = (self.a * self.b) * rows
        above = xp.concat([self.b**2 * self.A.gram(), side], axis=1)
        return xp.concat([above, xp.concat([xp.matrix_transpose(side), self.a**2 * eye], axis=1)], axis=0)

    def diagonal(self, max_bytes: int = 1 << 31) -> Array:
        return self.b**2 * self.A.diagonal(max_bytes) + self.a**2

    @property
    def gram_flops(self) -> float:
        return math.inf  # the rows of the penalty make the space of samples no smaller

    @property
    def product_flops(self) -> float:
        return self.A.product_flops


class PenalisedEvaluation:
    """β' E + α ||theta||² / 2 at one theta, from the evaluation of the data's part."""

    def __init__(self, inner: Any, theta: Array, beta: float, alpha: float, backend: Backend) -> None:
        self.inner, self.theta, self.beta, self.alpha, self.backend = inner, theta, beta, alpha, backend

    @cached_property
    def value(self) -> Array:
        xp = self.backend.xp
        return self.beta * self.inner.value + (0.5 * self.alpha) * xp.sum(self.theta * self.theta)

    @cached_property
    def root_jacobian(self) -> PenalisedRoot:
        A = _squares(root_of(Point(self.backend, self.inner, self.theta)))
        return PenalisedRoot(A, self.theta, self.beta, self.alpha)

    @property
    def gradient(self) -> Array:
        return self.root_jacobian.gradient


@dataclass(frozen=True, kw_only=True)
class BayesianRegularization(LevenbergMarquardt):
    """Minimises F = β E_D + α E_W with E_D = Σ e², E_W = Σ θ², and sets α and β to their most probable values.

    After each accepted step, with H = 2β EᵀE + 2α I: γ = P - 2α tr H⁻¹ parameters are determined by the data,
    α = γ / (2 E_W) and β = (M - γ) / (2 E_D). No validation set is needed to choose the weight decay.

    The zero function is a maximum of the evidence too: from initial weights, which are small and fit nothing, the
    formulas give a large α, which flattens the network for ever. So α and β keep their first values until the fit has
    taken shape: for 5 steps at least, and until E_D falls by less than 5 % in a step.

    Parameters
    ----------
    alpha : float, optional
        α while the precisions are held; by default 0.01, less where the targets' variance is above 1.
    beta : float, optional
        β in that time; by default M / (2 S) with the sum S of squares of the targets about their mean (of a plain
        function's residuals at the start), so that the targets' unit does not matter to it.
    mu : float
        0.005, as there.
    settle : float
        The run ends, with reason "evidence", when γ has changed by less than this, relatively, and E_D by less than
        `settle`², over five steps; 0 is off. With reason "constant", and a warning, where it has settled at an E_D
        above 0.9 of the targets' variance.
    scaling, target_unit
        "mean" and False: one decay for all weights goes with one damping for all, and the weights start small.
    **options
        Of `LevenbergMarquardt`. `min_grad`, `goal` and the history are those of the objective without the penalty.

    Notes
    -----
    One α for all weights supposes that they are of one size: bring x and t to about 1 (`gd.data.Standardizer`). Targets
    of 1e4 need weights of 1e4 in the last layer, and with these one α lets go of all others or flattens all.

    `info` carries alpha, beta and gamma; so do the result of `run` and the history of `fit`. The objective must be a
    sum of squares: its value V = ½||r||² is brought to the textbook's E_D by e = r √(N/2) for the mean squared error of
    N examples, for which r = √(2/N) e; a plain function's residuals are taken as e themselves. The scale of e only
    scales β.

    Reference: MacKay (1992), Neural Computation 4(3); Foresee and Hagan (1997), ICNN.

    >>> import numpy as np, gdnet as gd
    >>> rng = np.random.default_rng(0)
    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> t = np.sin(3 * x) + 0.2 * rng.standard_normal(x.shape)
    >>> net = gd.Sequential(gd.Dense(1, 15), gd.Tanh(), gd.Dense(1))
    >>> objective = gd.Objective(net, gd.SquaredError(), x, t, backend=gd.get_backend(), layout=net.layout())
    >>> found = BayesianRegularization(max_iter=100).run(objective, net.parameters(like=x))
    >>> bool(2 < found.gamma < 15), net.layout().size
    (True, 46)
    """

    figures: ClassVar[tuple[str, ...]] = ("alpha", "beta", "gamma")
    scaling: str = "mean"
    target_unit: bool = False
    mu: float = 0.005
    alpha: float | None = option(None, NOT_NEGATIVE)
    beta: float | None = option(None, POSITIVE)
    settle: float = option(1e-4, NOT_NEGATIVE)

    def start(self, theta: Array) -> Any:
        nothing = Evidence(_or_nan(self.alpha), _or_nan(self.beta), float(theta.shape[0]), math.nan, math.nan)
        return BayesMemory(super().start(theta), nothing)

    def advance(self, at: Point, memory: Any, trial: Callable[[Array], Point]) -> Move:
        """A Levenberg-Marquardt step on the penalised objective, then new precisions."""
        backend, unit = at.backend, _unit(at)
        if math.isnan(memory.evidence.data_error):
            memory = memory._replace(evidence=self._first(at, memory.evidence, unit))
        evidence = memory.evidence
        weight, decay = 2.0 * evidence.beta * unit, 2.0 * evidence.alpha  # β Σe² = β unit · 2V, α Σθ² = 2α · ½||θ||²

        def penalised(point: Point) -> Point:
            inner = PenalisedEvaluation(point.evaluation, point.theta, weight, decay, backend)
            return Point(backend, inner, point.theta)

        move = super().advance(penalised(at), memory.lm._replace(first=math.nan), lambda v: penalised(trial(v)))
        new = at if move.point is None else Point(backend, move.point.evaluation.inner, move.point.theta)
        found, steps = self._evidence(new, evidence, unit), memory.held + 1
        if memory.held < LONGEST:
            falling = found.data_error < (1.0 - STEADY) * evidence.data_error
            if move.stop is None and (steps <= HELD or (falling and steps < LONGEST)):
                found = found._replace(alpha=evidence.alpha, beta=evidence.beta)
            else:
                steps = LONGEST  # released, for good
        same = memory.held >= LONGEST and abs(found.gamma - evidence.gamma) <= self.settle * found.gamma
        same = same and abs(found.data_error - evidence.data_error) <= self.settle**2 * found.data_error
        settled = memory.settled + 1 if same else 0
        stop = self._settled(new, found, unit) if self.settle and settled >= 5 else None
        if move.stop is not None and same:
            return Move(move.point, BayesMemory(move.memory, found, settled, steps), move.stop)
        # The objective has changed with its precisions: predictions start anew, the damping stays in its own units.
        lm = move.memory._replace(scale=None, last=math.nan)
        if move.stop is not None:  # at a minimum for the old precisions, not for the new ones
            lm = lm._replace(mu=self.mu, nu=2.0)
        return Move(new, BayesMemory(lm, found, settled, steps), stop)

    def _first(self, at: Point, given: Evidence, unit: float) -> Evidence:
        """The precisions to hold: weights hardly matter yet, and all of the targets' variance counts as noise."""
        weights, errors = _errors(at, unit)
        spread = spread_of(at)
        if spread is not None and (size := math.sqrt(0.5 * spread)) > UNIT:
            warnings.warn(
                f"the targets' standard deviation is {size:.2g}, and BayesianRegularization's one weight decay "
                "supposes about 1: the fit may flatten to a constant. Standardise them: gd.data.Standardizer().fit(t)",
                UserWarning,
                stacklevel=2,
            )
        noise, m = errors if spread is None or spread == 0.0 else spread * unit, root_of(at).shape[0]
        beta = m / max(2.0 * noise, TINY) if math.isnan(given.beta) else given.beta
        # The last layer's weights grow with the targets, from initial ones of about 1.
        alpha = WEAK / max(1.0, noise / m) if math.isnan(given.alpha) else given.alpha
        return given._replace(alpha=alpha, beta=beta, data_error=errors, weight_error=weights)

    def _settled(self, at: Point, found: Evidence, unit: float) -> str:
        """The reason of a run whose precisions change no more; a warning where it fits no better than a constant."""
        spread = spread_of(at)
        if spread is None or found.data_error <= CONSTANT * spread * unit:
            return "evidence"
        warnings.warn(
            f"BayesianRegularization settled at {found.data_error / (spread * unit):.2g} of the targets' variance: for "
            "this network and start the evidence sees no more than a constant. If there is more in the data, start "
            "from other weights (another seed, or some steps of LevenbergMarquardt first), take more hidden units, or "
            "standardise x and t",
            UserWarning,
            stacklevel=2,
        )
        return "constant"

    def _verdict(self, at: Point, progress: Progress, stop: str) -> tuple[str, bool]:
        """Success: the precisions have settled, at a minimum of the objective with its penalty; or the goal."""
        settled = stop in ("evidence", "min_grad", "gtol", "vanished") and math.isfinite(at.norm)
        return stop, settled or at.value <= self.goal

    def _evidence(self, at: Point, old: Evidence, unit: float) -> Evidence:
        """MacKay's update of the precisions at a new point."""
        A = root_of(at)
        m, p = A.shape
        weights, errors = _errors(at, unit)
        gamma = float(p) if old.alpha == 0.0 else self._effective(A, 2.0 * old.beta * unit, 2.0 * old.alpha)
        gamma = min(max(gamma, 1e-3), float(p))
        alpha = gamma / max(2.0 * weights, TINY)
        beta = max(m - gamma, 1.0) / max(2.0 * errors, TINY)
        if not (math.isfinite(alpha) and math.isfinite(beta)):
            return old._replace(gamma=gamma, data_error=errors, weight_error=weights)
        return Evidence(alpha, beta, gamma, errors, weights)

    def _effective(self, A: Any, weight: float, decay: float) -> float:
        """γ = Σ λ / (λ + α'/β') over the eigenvalues λ of AᵀA, or of A Aᵀ where that is smaller."""
        xp = A.backend.xp
        space = choose_space(A, self.max_memory)
        matrix = A.gram() if space == "samples" or A.shape[0] < A.shape[1] else A.normal(self.max_memory)
        values = xp.linalg.eigvalsh(matrix)
        values = xp.where(values > 0.0, values, xp.zeros_like(values))
        return read(A.backend, xp.sum(values / (values + decay / weight)))[0]

    def step(self, objective: Any, theta: Array, state: SolverState) -> tuple[Array, SolverState, Any]:
        theta, state, info = super().step(objective, theta, state)
        found: Evidence = state.memory.evidence
        told: SolverInfo = info
        return theta, state, BayesInfo(*told, found.alpha, found.beta, found.gamma)

    def _result(self, objective: Any, state: SolverState, stop: str, evaluations: int) -> Any:
        result = super()._result(objective, state, stop, evaluations)
        found: Evidence = state.memory.evidence
        result.update(alpha=found.alpha, beta=found.beta, gamma=found.gamma)
        return result


def _or_nan(given: float | None) -> float:
    return math.nan if given is None else given


def _squares(A: Any) -> Any:
    """A root that has residuals; an error for other losses."""
    if A.residual is None:
        raise OptionError("BayesianRegularization needs a sum of squares: the evidence is that of Gaussian noise")
    return A


def _errors(at: Point, unit: float) -> tuple[float, float]:
    """(E_W, E_D), by one read."""
    xp, r = at.backend.xp, _squares(root_of(at)).residual
    weights, errors = read(at.backend, xp.sum(at.theta * at.theta), xp.sum(r * r))
    return weights, errors * unit


def _unit(at: Point) -> float:
    """What turns ||r||² into Σ e²: N / 2 for a network's mean over N examples, 1 for plain residuals."""
    prediction = getattr(at.evaluation, "prediction", None)
    return 1.0 if prediction is None else 0.5 * prediction.shape[0]

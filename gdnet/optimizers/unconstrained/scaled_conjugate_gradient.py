"""Møller's scaled conjugate gradients: a curvature product in place of a line search."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gdnet.backend import Array
from gdnet.optimizers.options import POSITIVE, one_of, option
from gdnet.optimizers.point import Point
from gdnet.optimizers.progress import first_step
from gdnet.optimizers.solver import Move, Solver

LARGEST = 1e30
"""A scale that has grown by this factor within one iteration has made the step vanish."""


class ScaledConjugateGradientMemory(NamedTuple):
    """The next direction (None before the first iteration), the scale λ (0 before), and steps since a restart."""

    direction: Array | None
    scale: float
    since: int = 0


@dataclass(frozen=True, repr=False)
class ScaledConjugateGradient(Solver):
    """θ⁺ = θ + μ/δ p with μ = -pᵀg and δ = pᵀH p + λ pᵀp; λ falls and rises with the quality of the parabola.

    The comparison Δ = 2 δ (J - J⁺) / μ² accepts where Δ >= 0; Δ >= ¾ divides λ by 4, Δ < ¼ adds δ (1 - Δ) / pᵀp.
    Reference: Møller, Neural Networks 6 (1993) 525-533.

    Parameters
    ----------
    sigma : float
        The length over which `hvp="difference"` compares gradients, as a part of ||θ||; where that is 0, of the first
        step of steepest descent.
    scale : float
        λ at the start, as a part of the first direction's curvature |pᵀH p| / pᵀp; Møller's number is absolute.
    hvp : "exact" or "difference"
        H p from the objective's own product, or Møller's (g(θ + σ p/||p||) - g(θ)) ||p|| / σ, σ = `sigma` ||θ||.

    >>> import numpy as np
    >>> from gdnet.optimizers.scipy_api.function import FunctionObjective
    >>> f = FunctionObjective(lambda x: float(x[0] ** 2 + 9 * x[1] ** 2), lambda x: np.array([2.0, 18.0]) * x)
    >>> ScaledConjugateGradient().run(f, np.array([3.0, 4.0])).success
    True
    """

    sigma: float = option(5e-5, POSITIVE)
    scale: float = option(5e-7, POSITIVE)
    hvp: str = option("exact", one_of("exact", "difference"))

    def start(self, theta: Array) -> ScaledConjugateGradientMemory:
        return ScaledConjugateGradientMemory(None, 0.0)

    def advance(self, at: Point, memory: ScaledConjugateGradientMemory, trial: Callable[[Array], Point]) -> Move:
        g, scale = at.gradient, memory.scale
        p = -g if memory.direction is None else memory.direction
        gg, pp, gp = at.dots((g, g), (p, p), (g, p))
        if not gp < 0 and memory.direction is not None:
            return self.advance(at, ScaledConjugateGradientMemory(None, scale), trial)
        mu = -gp
        (curvature,) = at.dots((p, self._product(at, p, math.sqrt(pp), trial)))
        # Where there is no curvature, λ is that of a first step of steepest descent.
        scale = scale or self.scale * (abs(curvature) / pp or 1.0 / first_step(at))
        begun = scale
        slack = min(1e-6, 1e3 * float(at.backend.xp.finfo(g.dtype).eps)) * abs(at.value)
        while True:
            delta = curvature + scale * pp
            if not delta > 0:  # make it positive: λ moves to where δ becomes -δ + λ pᵀp
                scale = 2.0 * (scale - delta / pp)
                delta = curvature + scale * pp
            new = trial(at.theta + (mu / delta) * p)
            gain = at.value - new.value
            ratio = 2.0 * delta * gain / (mu * mu) if math.isfinite(new.value) or new.value < 0 else -math.inf
            if abs(gain) <= slack and not ratio >= 0.25:  # values differ by rounding only: gradients decide
                (hh,) = new.dots((new.gradient, new.gradient))
                ratio = 0.5 if hh < gg else -1.0
            if ratio >= 0:
                break
            scale = 4.0 * scale if ratio == -math.inf else scale + delta * (1.0 - ratio) / pp
            if not scale * pp < LARGEST * (abs(curvature) + begun * pp):
                start = ScaledConjugateGradientMemory(None, 0.0)
                return Move(None, start, "precision") if memory.direction is None else self.advance(at, start, trial)
        if ratio >= 0.75:
            scale = max(0.25 * scale, 1e-300)
        elif ratio < 0.25:
            scale += delta * (1.0 - ratio) / pp
        count = memory.since + 1
        if count >= g.shape[0]:
            return Move(new, ScaledConjugateGradientMemory(None, scale))
        h = new.gradient
        hh, hg = new.dots((h, h), (h, g))
        return Move(new, ScaledConjugateGradientMemory(-h + ((hh - hg) / mu) * p, scale, count))

    def _product(self, at: Point, p: Array, length: float, trial: Callable[[Array], Point]) -> Array:
        if self.hvp == "exact":
            return at.evaluation.hessian(p)
        (size,) = at.dots((at.theta, at.theta))
        step = self.sigma * (math.sqrt(size) / length or first_step(at))
        return (trial(at.theta + step * p).gradient - at.gradient) / step

"""Gradient descent with a line search."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gdnet.backend import Array
from gdnet.optimizers.line_search.armijo import ARMIJO
from gdnet.optimizers.line_search.ray import LINE_SEARCH, LineSearch, Ray
from gdnet.optimizers.options import option
from gdnet.optimizers.point import Point
from gdnet.optimizers.progress import first_step
from gdnet.optimizers.solver import Move, Solver


class GradientDescentMemory(NamedTuple):
    """The decrease of the last step, which is hoped for again, and its length in gradients."""

    decrease: float = 0.0
    step: float = 0.0


@dataclass(frozen=True, repr=False)
class GradientDescent(Solver):
    """θ⁺ = θ - a ∂J/∂θ with a from a line search.

    The first trial is `first_step`; later ones expect the decrease of the step before
    (Nocedal and Wright, Numerical Optimization, 2006, equation 3.60), and are no more than ten times as long.

    >>> import numpy as np
    >>> from gdnet.optimizers.scipy_api.function import FunctionObjective
    >>> f = FunctionObjective(lambda x: float(x @ x), lambda x: 2 * x)
    >>> GradientDescent().run(f, np.array([3.0, 4.0])).success
    True
    """

    line_search: LineSearch = option(ARMIJO, LINE_SEARCH)

    def start(self, theta: Array) -> GradientDescentMemory:
        return GradientDescentMemory()

    def advance(self, at: Point, memory: GradientDescentMemory, trial: Callable[[Array], Point]) -> Move:
        direction = -at.gradient
        slope = -at.dots((at.gradient, at.gradient))[0]
        first = min(2.02 * memory.decrease / -slope, 10.0 * memory.step) if memory.decrease > 0 else first_step(at)
        found = self.line_search(Ray(at, direction, slope, trial), first)
        if found is None:
            return Move(None, GradientDescentMemory(), "precision")
        return Move(found.point, GradientDescentMemory(at.value - found.value, found.a))

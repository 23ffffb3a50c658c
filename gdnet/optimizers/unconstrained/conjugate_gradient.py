"""Nonlinear conjugate gradients: each rule for β by its name."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gdnet.backend import Array
from gdnet.optimizers.line_search.ray import LINE_SEARCH, LineSearch, Ray
from gdnet.optimizers.line_search.strong_wolfe import StrongWolfe
from gdnet.optimizers.options import one_of, option
from gdnet.optimizers.point import Point
from gdnet.optimizers.progress import first_step
from gdnet.optimizers.solver import Move, Solver


class Products(NamedTuple):
    """Inner products of the old gradient g, the new one h, y = h - g and the direction d."""

    gg: float
    hh: float
    hy: float
    yy: float
    dy: float
    dg: float
    dh: float
    dd: float


def fletcher_reeves(p: Products) -> float:
    """β = h·h / g·g (Fletcher and Reeves 1964)."""
    return p.hh / p.gg


def polak_ribiere(p: Products) -> float:
    """β = max(0, h·y / g·g) (Polak and Ribière 1969, with Powell's bound, "PR+")."""
    return max(0.0, p.hy / p.gg)


def hestenes_stiefel(p: Products) -> float:
    """β = max(0, h·y / d·y) (Hestenes and Stiefel 1952, bounded in the same way)."""
    return max(0.0, p.hy / p.dy) if p.dy else 0.0


def dai_yuan(p: Products) -> float:
    """β = h·h / d·y (Dai and Yuan 1999)."""
    return p.hh / p.dy if p.dy else 0.0


def hager_zhang(p: Products) -> float:
    """β = max((y - 2 d y·y / d·y)·h / d·y, 0.4 d·g / d·d) (Hager and Zhang 2005; bound of 2013)."""
    if not p.dy:
        return 0.0
    beta = (p.hy - 2.0 * p.yy * p.dh / p.dy) / p.dy
    return max(beta, 0.4 * p.dg / p.dd)


RULES: dict[str, Callable[[Products], float]] = {
    rule.__name__: rule for rule in (fletcher_reeves, polak_ribiere, hestenes_stiefel, dai_yuan, hager_zhang)
}
POWELL = {"fletcher_reeves", "polak_ribiere", "hestenes_stiefel"}
"""Rules that restart where successive gradients are far from orthogonal, |h·g| > 0.2 h·h (Powell 1977)."""

EXACT_WOLFE = StrongWolfe(c2=0.1)


class ConjugateGradientMemory(NamedTuple):
    """The next direction, its slope, and the first trial step; None before the first iteration."""

    direction: Array | None = None
    slope: float = 0.0
    first: float = 1.0


@dataclass(frozen=True, repr=False)
class ConjugateGradient(Solver):
    """d⁺ = -g⁺ + β d with a line search along d.

    Parameters
    ----------
    rule : str
        How β is chosen: "fletcher_reeves", "polak_ribiere" (PR+), "hestenes_stiefel", "dai_yuan" or "hager_zhang".
    line_search : LineSearch
        A tight one: conjugacy rests on it.

    Reference: Hager and Zhang, A survey of nonlinear conjugate gradient methods, Pacific J. Optim. 2 (2006).

    >>> import numpy as np
    >>> from gdnet.optimizers.scipy_api.function import FunctionObjective
    >>> f = FunctionObjective(lambda x: float(x[0] ** 2 + 9 * x[1] ** 2), lambda x: np.array([2.0, 18.0]) * x)
    >>> ConjugateGradient("dai_yuan").run(f, np.array([3.0, 4.0])).success
    True
    """

    rule: str = option("polak_ribiere", one_of(*RULES))
    line_search: LineSearch = option(EXACT_WOLFE, LINE_SEARCH)

    def start(self, theta: Array) -> ConjugateGradientMemory:
        return ConjugateGradientMemory()

    def advance(self, at: Point, memory: ConjugateGradientMemory, trial: Callable[[Array], Point]) -> Move:
        g, d, slope, first = at.gradient, memory.direction, memory.slope, memory.first
        if d is None:
            d, slope, first = -g, -at.dots((g, g))[0], first_step(at)
        found = self.line_search(Ray(at, d, slope, trial), first)
        if found is None:
            start = ConjugateGradientMemory()
            return Move(None, start, "precision") if memory.direction is None else self.advance(at, start, trial)
        h = found.point.gradient
        y = h - g
        p = Products(*found.point.dots((g, g), (h, h), (h, y), (y, y), (d, y), (d, g), (d, h), (d, d)))
        beta = RULES[self.rule](p)
        if not math.isfinite(beta) or (self.rule in POWELL and abs(p.hh - p.hy) > 0.2 * p.hh):
            beta = 0.0
        if not -p.hh + beta * p.dh < -1e-12 * p.hh:  # not a descent direction
            beta = 0.0
        direction, slope = -h + beta * d, -p.hh + beta * p.dh
        return Move(found.point, ConjugateGradientMemory(direction, slope, found.a * p.dg / slope if slope else 1.0))

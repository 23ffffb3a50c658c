"""The measures of a run: how far gradient, parameters and value have come, each in the problem's own units."""

import math
from typing import NamedTuple

from gdnet.backend import Array
from gdnet.optimizers.point import Point, read

IDLE = 1e-7
"""A parameter is idle if moving it by its own size changes J by less than this part of what another one does."""


class Progress(NamedTuple):
    """What a run has met so far: every measure that a point is held against, in the problem's own units.

    Attributes
    ----------
    value : float
        The objective at the start.
    unit : float
        The gain that a first steepest-descent step hopes for: a size in the objective's unit.
    largest, size : Array (P,) or None
        The largest |∂J/∂θ_i| and |θ_i| met, each parameter by itself; None before the first evaluation.
    fallen : float
        max_i |∂J/∂θ_i| / largest_i at the present point: 1 at the start, 0 where the gradient is zero. For an idle
        parameter the divisor is max_j largest_j size_j / size_i times 1e-7, since its own derivative is rounding only.
    way, step : float
        The length (largest entry) of all steps together, and of the last one.
    """

    value: float = 0.0
    unit: float = 0.0
    largest: Array | None = None
    size: Array | None = None
    fallen: float = 1.0
    way: float = 0.0
    step: float = 0.0

    @classmethod
    def begin(cls, at: Point) -> "Progress":
        """The measures at the start of a run."""
        xp = at.backend.xp
        unit = first_step(at) * at.norm * at.norm
        return cls(at.value, unit, xp.abs(at.gradient), xp.abs(at.theta), 1.0 if at.norm else 0.0)

    def after(self, old: Point, new: Point) -> "Progress":
        """The measures after one more step; one read."""
        xp = new.backend.xp
        slope = xp.abs(new.gradient)
        largest, size = xp.maximum(self.largest, slope), xp.maximum(self.size, xp.abs(new.theta))
        one = xp.ones_like(size)
        idle = IDLE * xp.max(largest * size) / xp.where(size > 0.0, size, one)
        measure = xp.maximum(largest, xp.where(size > 0.0, idle, 0.0 * one))
        ratio = slope / xp.where(measure > 0.0, measure, one)
        step, fallen = read(new.backend, xp.max(xp.abs(new.theta - old.theta)), xp.max(ratio))
        unit = self.unit or abs(old.value - new.value)
        return Progress(self.value, unit, largest, size, fallen, self.way + step, step)


def first_step(at: Point) -> float:
    """The first trial along the negative gradient, where nothing is known of the curvature: a with θ - a g.

    All entries together move by a quarter of the largest one, and no further than to twice where the tangent meets
    zero: the smaller of ¼ max|θ_i| / ||g||₁ and 2 |J| / ||g||². Where θ and J are both zero, 1 / ||g||₁.
    """
    if not 0.0 < at.norm < math.inf:
        return 1.0
    xp, g = at.backend.xp, at.gradient / at.norm  # squares of very large and very small entries leave the range
    size, one, square = read(at.backend, xp.max(xp.abs(at.theta)), xp.sum(xp.abs(g)), xp.sum(g * g))
    steps = 0.25 * size / one, 2.0 * abs(at.value) / at.norm / square
    return min((a for a in steps if 0.0 < a < math.inf), default=1.0 / one) / at.norm

"""The half-line that a search walks along, its samples, and the tests that the searches share."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Protocol

from gdnet.backend import Array
from gdnet.optimizers.options import Domain
from gdnet.optimizers.point import Point
from gdnet.optimizers.solver import UNBOUNDED


class Sample:
    """φ at one step length: `a`, `value`, and `slope` when asked for."""

    def __init__(self, ray: "Ray", a: float, point: Point) -> None:
        self.ray, self.a, self.point, self.value = ray, a, point, point.value

    @cached_property
    def slope(self) -> float:
        """φ'(a) = gᵀ d; NaN where the value is not finite."""
        return self.point.dots((self.point.gradient, self.ray.direction))[0] if math.isfinite(self.value) else math.nan

    @property
    def slope_known(self) -> bool:
        return "slope" in self.__dict__


class Ray:
    """The half-line θ + a d from a point, with the slope at its origin; `ray(a)` evaluates there."""

    def __init__(self, at: Point, direction: Array, slope: float, trial: Callable[[Array], Point]) -> None:
        self.at, self.direction, self.trial = at, direction, trial
        self.origin = Sample(self, 0.0, at)
        self.origin.slope = slope
        xp = at.backend.xp
        # Below this relative height differences of values are rounding, and slopes decide.
        self.slack = min(1e-6, 1e3 * float(xp.finfo(at.theta.dtype).eps)) * abs(at.value)

    def __call__(self, a: float) -> Sample:
        return Sample(self, a, self.trial(self.at.theta + a * self.direction))

    @property
    def value(self) -> float:
        return self.origin.value

    @property
    def slope(self) -> float:
        return self.origin.slope

    def has_no_bound(self, s: Sample, first: float) -> bool:
        """Whether φ has fallen by far more than its own size and what the first trial hoped for."""
        return self.value - s.value > UNBOUNDED * max(abs(self.value), -first * self.slope)


class LineSearch(Protocol):
    """`search(ray, first)` -> the accepted sample or None."""

    def __call__(self, ray: Ray, first: float) -> Sample | None: ...


LINE_SEARCH = Domain(callable, "a line search such as StrongWolfe()")


def falls_enough(ray: Ray, s: Sample, c1: float) -> bool:
    """Armijo's condition, and a true decrease: a c1 φ'(0) may be lost in rounding."""
    return s.value <= ray.value + c1 * s.a * ray.slope and s.value < ray.value


def approximate_wolfe(ray: Ray, s: Sample, delta: float = 0.1, sigma: float = 0.9) -> bool:
    """Whether values are equal within rounding, and the slopes show that a minimum of a parabola has been neared."""
    if not abs(s.value - ray.value) <= ray.slack:
        return False
    return (2 * delta - 1) * ray.slope >= s.slope >= sigma * ray.slope


def parabola(low: Sample, high: Sample, least: float, most: float) -> float:
    """Where the parabola through both values and low's slope has its minimum, as a fraction of the way to `high`."""
    width = high.a - low.a
    rise = high.value - low.value - low.slope * width
    if not (math.isfinite(rise) and rise > 0):
        return least if not math.isfinite(high.value) else most
    return min(max(-0.5 * low.slope * width / rise, least), most)

"""The strong Wolfe conditions by bracketing and cubic zoom."""

import math
from dataclasses import dataclass

from gdnet.errors import OptionError
from gdnet.optimizers.line_search.ray import Ray, Sample, approximate_wolfe, falls_enough, parabola
from gdnet.optimizers.options import COUNT, INSIDE, check_options, option, real


@dataclass(frozen=True)
class StrongWolfe:
    """φ(a) <= φ(0) + c1 a φ'(0) and |φ'(a)| <= c2 |φ'(0)|, by bracketing and cubic zoom.

    Where values differ by rounding only, Hager and Zhang's approximate Wolfe conditions decide, which look at slopes.
    Reference: Nocedal and Wright, Numerical Optimization (2006), algorithms 3.5 and 3.6.

    Parameters
    ----------
    c1, c2 : float
        0 < c1 < c2 < 1; a small c2 (0.1) is an exact search.
    max_evals : int
        After that many trials the lowest acceptable point is taken.

    >>> StrongWolfe(c2=0.4)
    StrongWolfe(c1=0.0001, c2=0.4, max_evals=30)
    """

    c1: float = option(1e-4, INSIDE)
    c2: float = option(0.9, real(lambda v: 0.0 < v < 1.0, "a number with 0 < c1 < c2 < 1"))
    max_evals: int = option(30, COUNT)

    def __post_init__(self) -> None:
        check_options(self)
        if not self.c1 < self.c2:
            raise OptionError(f"StrongWolfe: 0 < c1 < c2 < 1 is needed, got c1={self.c1}, c2={self.c2}")

    def __call__(self, ray: Ray, first: float) -> Sample | None:
        low, a = ray.origin, first
        for used in range(1, self.max_evals + 1):
            s = ray(a)
            if ray.has_no_bound(s, first):
                return s
            if self._too_high(ray, low, s):
                return s if self._accepted(ray, s) else self._zoom(ray, low, s, used)
            if self._accepted(ray, s):
                return s
            if not math.isfinite(s.slope):
                return self._zoom(ray, low, s, used)
            if s.slope >= 0:
                return self._zoom(ray, s, low, used)
            # Still falling: extrapolate by the cubic, between twice and ten times as far.
            a = low.a + (s.a - low.a) * cubic(low, s, 2.0, 10.0)
            low = s
        return low if low.a > 0 else None

    def _too_high(self, ray: Ray, low: Sample, s: Sample) -> bool:
        return not (falls_enough(ray, s, self.c1) and (low.a == 0 or s.value < low.value))

    def _accepted(self, ray: Ray, s: Sample) -> bool:
        if falls_enough(ray, s, self.c1) and abs(s.slope) <= -self.c2 * ray.slope:
            return True
        return approximate_wolfe(ray, s)

    def _zoom(self, ray: Ray, low: Sample, high: Sample, used: int) -> Sample | None:
        """Shrink an interval of which `low` is the lower, acceptable end and points into it."""
        for _ in range(self.max_evals - used):
            width = abs(high.a - low.a)
            if width <= 1e-14 * max(abs(low.a), abs(high.a)):
                break
            s = ray(low.a + (high.a - low.a) * cubic(low, high, 0.1, 0.9))
            if self._too_high(ray, low, s) and not self._accepted(ray, s):
                high = s
                continue
            if self._accepted(ray, s):
                return s
            if not math.isfinite(s.slope):
                high = s
                continue
            if s.slope * (high.a - low.a) >= 0:
                high = low
            low = s
        return low if low.a > 0 else None


STRONG_WOLFE = StrongWolfe()

QUASI_NEWTON_WOLFE = StrongWolfe(c2=0.5)
"""Tighter than 0.9: over the problems of Moré, Garbow and Hillstrom that saves more steps than it costs trials."""


def cubic(low: Sample, high: Sample, least: float, most: float) -> float:
    """The same for the cubic through both values and slopes, where high's slope is known.

    Reference: Nocedal and Wright (2006), equation 3.59.
    """
    if not high.slope_known or not math.isfinite(high.slope):
        return parabola(low, high, least, most)
    width = high.a - low.a
    d1 = low.slope + high.slope - 3 * (high.value - low.value) / width
    square = d1 * d1 - low.slope * high.slope
    if square < 0:
        return most
    d2 = math.copysign(math.sqrt(square), width)
    bottom = high.slope - low.slope + 2 * d2
    t = 1 - (high.slope + d2 - d1) / bottom if bottom else math.inf
    return min(max(t, least), most) if math.isfinite(t) and t > 0 else most

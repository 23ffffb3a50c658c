"""Line searches: how far to go along a descent direction.

φ(a) = J(θ + a d), with φ(0) and φ'(0) < 0 known. A search is called with a `Ray` and the first step to try, and gives a
`Sample`, or None where no step lowers φ in this precision. Each trial reads φ(a); its slope, one more read and a
gradient, is asked for only where the value alone does not reject the step. A value that is not finite rejects a step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from gdnet.backend import Array
from gdnet.errors import OptionError
from gdnet.optimizers.options import check_options
from gdnet.optimizers.solver import UNBOUNDED, Point


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


@dataclass(frozen=True)
class Armijo:
    """Backtracking: the first of a, a', a'', ... with φ(a) <= φ(0) + c1 a φ'(0).

    The next trial minimises the parabola through φ(0), φ'(0), φ(a), kept within [0.1, 0.5] a.
    Reference: Nocedal and Wright, Numerical Optimization (2006), section 3.1.

    >>> Armijo(c1=1e-4)
    Armijo(c1=0.0001, max_evals=40)
    """

    c1: float = 1e-4
    max_evals: int = 40

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, ray: Ray, first: float) -> Sample | None:
        a = first
        for _ in range(self.max_evals):
            s = ray(a)
            if _falls_enough(ray, s, self.c1) or _approximate_wolfe(ray, s):
                return s
            a *= _parabola(ray.origin, s, 0.1, 0.5)
        return None


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

    c1: float = 1e-4
    c2: float = 0.9
    max_evals: int = 30

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
            a = low.a + (s.a - low.a) * _cubic(low, s, 2.0, 10.0)
            low = s
        return low if low.a > 0 else None

    def _too_high(self, ray: Ray, low: Sample, s: Sample) -> bool:
        return not (_falls_enough(ray, s, self.c1) and (low.a == 0 or s.value < low.value))

    def _accepted(self, ray: Ray, s: Sample) -> bool:
        if _falls_enough(ray, s, self.c1) and abs(s.slope) <= -self.c2 * ray.slope:
            return True
        return _approximate_wolfe(ray, s)

    def _zoom(self, ray: Ray, low: Sample, high: Sample, used: int) -> Sample | None:
        """Shrink an interval of which `low` is the lower, acceptable end and points into it."""
        for _ in range(self.max_evals - used):
            width = abs(high.a - low.a)
            if width <= 1e-14 * max(abs(low.a), abs(high.a)):
                break
            s = ray(low.a + (high.a - low.a) * _cubic(low, high, 0.1, 0.9))
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


@dataclass(frozen=True)
class HagerZhang:
    """Approximate Wolfe conditions by bisection and double secant steps.

    Accepts where φ(a) - φ(0) <= δ a φ'(0) and φ'(a) >= σ φ'(0), or φ(a) <= φ(0) + ε |φ(0)| and
    (2δ - 1) φ'(0) >= φ'(a) >= σ φ'(0); the second form stays meaningful to the last digit.
    Reference: Hager and Zhang, ACM Transactions on Mathematical Software 32(1), 2006 (algorithm 851).

    >>> HagerZhang().sigma
    0.9
    """

    delta: float = 0.1
    sigma: float = 0.9
    epsilon: float = 1e-6
    theta: float = 0.5
    gamma: float = 0.66
    rho: float = 5.0
    max_evals: int = 50

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, ray: Ray, first: float) -> Sample | None:
        return _HagerZhangSearch(self, ray).run(first)


class _Accepted(Exception):
    """Carries the accepted sample out of the nested steps of a search."""


class _HagerZhangSearch:
    def __init__(self, rule: HagerZhang, ray: Ray) -> None:
        self.rule, self.ray, self.left = rule, ray, rule.max_evals
        self.limit = ray.value + rule.epsilon * abs(ray.value)
        self.best: Sample | None = None
        self.first = 0.0

    def run(self, first: float) -> Sample | None:
        self.first = first
        try:
            a, b = self.bracket(self.sample(first))
            while b.a - a.a > 1e-14 * b.a:
                low, high = self.secant2(a, b)
                if high.a - low.a > self.rule.gamma * (b.a - a.a):
                    low, high = self.update(low, high, self.sample(0.5 * (low.a + high.a)))
                a, b = low, high
        except _Accepted as found:
            return found.args[0]
        return self.best

    def sample(self, a: float) -> Sample:
        """Evaluate; leave the search if the step is acceptable, or when the trials are used up."""
        s, rule, ray = self.ray(a), self.rule, self.ray
        self.left -= 1
        if ray.has_no_bound(s, self.first):
            raise _Accepted(s)
        if math.isfinite(s.value) and math.isfinite(s.slope):
            wolfe = s.value - ray.value <= rule.delta * a * ray.slope and s.slope >= rule.sigma * ray.slope
            near = s.value <= self.limit and (2 * rule.delta - 1) * ray.slope >= s.slope >= rule.sigma * ray.slope
            if wolfe or near:
                raise _Accepted(s)
            if s.value < (ray.value if self.best is None else self.best.value):
                self.best = s
        if self.left <= 0:
            raise _Accepted(self.best)
        return s

    def falls(self, s: Sample) -> bool:
        return math.isfinite(s.value) and s.slope < 0 and s.value <= self.limit

    def rises(self, s: Sample) -> bool:
        return math.isfinite(s.value) and s.slope >= 0

    def bracket(self, s: Sample) -> tuple[Sample, Sample]:
        last = self.ray.origin
        while True:
            if self.rises(s):
                return last, s
            if not self.falls(s):
                return self.bisect(last, s)
            last, s = s, self.sample(self.rule.rho * s.a)

    def bisect(self, low: Sample, high: Sample) -> tuple[Sample, Sample]:
        """From an end that falls and one that is too high: an interval whose right end rises."""
        while True:
            t = self.rule.theta if math.isfinite(high.value) else 0.1
            s = self.sample((1 - t) * low.a + t * high.a)
            if self.rises(s):
                return low, s
            low, high = (s, high) if self.falls(s) else (low, s)

    def update(self, a: Sample, b: Sample, c: Sample) -> tuple[Sample, Sample]:
        if not a.a < c.a < b.a:
            return a, b
        if self.rises(c):
            return a, c
        return (c, b) if self.falls(c) else self.bisect(a, c)

    def secant(self, a: Sample, b: Sample) -> float:
        width = b.slope - a.slope
        return (a.a * b.slope - b.a * a.slope) / width if width > 0 else 0.5 * (a.a + b.a)

    def secant2(self, a: Sample, b: Sample) -> tuple[Sample, Sample]:
        c = self.secant(a, b)
        if not a.a < c < b.a:
            return a, b
        middle = self.sample(c)
        low, high = self.update(a, b, middle)
        again = self.secant(b, high) if high is middle else self.secant(a, low) if low is middle else None
        if again is not None and low.a < again < high.a:
            low, high = self.update(low, high, self.sample(again))
        return low, high


ARMIJO, STRONG_WOLFE = Armijo(), StrongWolfe()

QUASI_NEWTON_WOLFE = StrongWolfe(c2=0.5)
"""Tighter than 0.9: over the problems of Moré, Garbow and Hillstrom that saves more steps than it costs trials."""


def _falls_enough(ray: Ray, s: Sample, c1: float) -> bool:
    """Armijo's condition, and a true decrease: a c1 φ'(0) may be lost in rounding."""
    return s.value <= ray.value + c1 * s.a * ray.slope and s.value < ray.value


def _approximate_wolfe(ray: Ray, s: Sample, delta: float = 0.1, sigma: float = 0.9) -> bool:
    """Whether values are equal within rounding, and the slopes show that a minimum of a parabola has been neared."""
    if not abs(s.value - ray.value) <= ray.slack:
        return False
    return (2 * delta - 1) * ray.slope >= s.slope >= sigma * ray.slope


def _parabola(low: Sample, high: Sample, least: float, most: float) -> float:
    """Where the parabola through both values and low's slope has its minimum, as a fraction of the way to `high`."""
    width = high.a - low.a
    rise = high.value - low.value - low.slope * width
    if not (math.isfinite(rise) and rise > 0):
        return least if not math.isfinite(high.value) else most
    return min(max(-0.5 * low.slope * width / rise, least), most)


def _cubic(low: Sample, high: Sample, least: float, most: float) -> float:
    """The same for the cubic through both values and slopes, where high's slope is known.

    Reference: Nocedal and Wright (2006), equation 3.59.
    """
    if not high.slope_known or not math.isfinite(high.slope):
        return _parabola(low, high, least, most)
    width = high.a - low.a
    d1 = low.slope + high.slope - 3 * (high.value - low.value) / width
    square = d1 * d1 - low.slope * high.slope
    if square < 0:
        return most
    d2 = math.copysign(math.sqrt(square), width)
    bottom = high.slope - low.slope + 2 * d2
    t = 1 - (high.slope + d2 - d1) / bottom if bottom else math.inf
    return min(max(t, least), most) if math.isfinite(t) and t > 0 else most

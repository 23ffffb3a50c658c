"""Hager and Zhang's approximate Wolfe conditions."""

import math
from dataclasses import dataclass

from gdnet.optimizers.line_search.ray import Ray, Sample
from gdnet.optimizers.options import COUNT, INSIDE, NOT_NEGATIVE, check_options, option, real


@dataclass(frozen=True)
class HagerZhang:
    """Approximate Wolfe conditions by bisection and double secant steps.

    Accepts where φ(a) - φ(0) <= δ a φ'(0) and φ'(a) >= σ φ'(0), or φ(a) <= φ(0) + ε |φ(0)| and
    (2δ - 1) φ'(0) >= φ'(a) >= σ φ'(0); the second form stays meaningful to the last digit.
    Reference: Hager and Zhang, ACM Transactions on Mathematical Software 32(1), 2006 (algorithm 851).

    >>> HagerZhang().sigma
    0.9
    """

    delta: float = option(0.1, real(lambda v: 0.0 < v < 0.5, "in (0, 0.5)"))
    sigma: float = option(0.9, real(lambda v: 0.5 <= v < 1.0, "in [0.5, 1)"))
    epsilon: float = option(1e-6, NOT_NEGATIVE)
    theta: float = option(0.5, INSIDE)
    gamma: float = option(0.66, INSIDE)
    rho: float = option(5.0, real(lambda v: 1.0 < v < math.inf, "a finite number above 1"))
    max_evals: int = option(50, COUNT)

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

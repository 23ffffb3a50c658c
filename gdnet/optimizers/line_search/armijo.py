"""Backtracking by Armijo's condition."""

from dataclasses import dataclass

from gdnet.optimizers.line_search.ray import Ray, Sample, approximate_wolfe, falls_enough, parabola
from gdnet.optimizers.options import COUNT, INSIDE, check_options, option


@dataclass(frozen=True)
class Armijo:
    """Backtracking: the first of a, a', a'', ... with φ(a) <= φ(0) + c1 a φ'(0).

    The next trial minimises the parabola through φ(0), φ'(0), φ(a), kept within [0.1, 0.5] a.
    Reference: Nocedal and Wright, Numerical Optimization (2006), section 3.1.

    >>> Armijo(c1=1e-4)
    Armijo(c1=0.0001, max_evals=40)
    """

    c1: float = option(1e-4, INSIDE)
    max_evals: int = option(40, COUNT)

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, ray: Ray, first: float) -> Sample | None:
        a = first
        for _ in range(self.max_evals):
            s = ray(a)
            if falls_enough(ray, s, self.c1) or approximate_wolfe(ray, s):
                return s
            a *= parabola(ray.origin, s, 0.1, 0.5)
        return None


ARMIJO = Armijo()

"""BFGS: a dense approximation of the inverse Hessian from differences of gradients."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gdnet.backend import Array
from gdnet.optimizers.gradient_descent import first_step
from gdnet.optimizers.line_search import QUASI_NEWTON_WOLFE, LineSearch, Ray
from gdnet.optimizers.solver import Move, Point, Solver


class BFGSMemory(NamedTuple):
    """The inverse Hessian's approximation, (P, P), or None before the first step."""

    H: Array | None = None


@dataclass(frozen=True)
class BFGS(Solver):
    """d = -H g, H⁺ = (I - ρ s yᵀ) H (I - ρ y sᵀ) + ρ s sᵀ, ρ = 1 / sᵀy.

    s is the step and y the difference of gradients; before the first update H = (sᵀs / sᵀy) I. It stores P² numbers:
    for more than some thousand parameters take `LBFGS`. A pair without positive curvature is not used.
    Reference: Nocedal and Wright, Numerical Optimization (2006), algorithm 6.1.

    >>> import numpy as np
    >>> from gdnet.optimizers.function import FunctionObjective
    >>> f = FunctionObjective(lambda x: float((x[0] - 1) ** 2 + 10 * x[1] ** 4))
    >>> BFGS().run(f, np.array([3.0, 4.0])).stop_reason
    'min_grad'
    """

    line_search: LineSearch = QUASI_NEWTON_WOLFE

    def start(self, theta: Array) -> BFGSMemory:
        return BFGSMemory()

    def advance(self, at: Point, memory: BFGSMemory, trial: Callable[[Array], Point]) -> Move:
        xp, H, g = at.backend.xp, memory.H, at.gradient
        direction = -g if H is None else -(H @ g)
        (slope,) = at.dots((g, direction))
        if not slope < 0 and H is not None:  # rounding has spoilt H: begin again
            return self.advance(at, BFGSMemory(), trial)
        found = self.line_search(Ray(at, direction, slope, trial), first_step(at) if H is None else 1.0)
        if found is None:
            return Move(None, memory, "precision") if H is None else self.advance(at, BFGSMemory(), trial)
        s, y = found.a * direction, found.point.gradient - g
        sy, yy, ss = found.point.dots((s, y), (y, y), (s, s))
        tiny = math.sqrt(float(xp.finfo(y.dtype).smallest_normal))  # below, ρ² would overflow
        if not sy > max(float(xp.finfo(y.dtype).eps) * math.sqrt(ss * yy), tiny):
            return Move(found.point, memory)
        if H is None:
            H = (ss / sy) * xp.eye(y.shape[0], dtype=y.dtype, device=at.backend.device)
        return Move(found.point, BFGSMemory(_update(H, s, y, 1.0 / sy)))


def _update(H: Array, s: Array, y: Array, rho: float) -> Array:
    """The rank-two update multiplied out, symmetric to the last bit."""
    Hy = H @ y
    u = 0.5 * (rho + rho * rho * (y @ Hy)) * s - rho * Hy
    cross = s[:, None] * u[None, :]
    return H + (cross + cross.T)

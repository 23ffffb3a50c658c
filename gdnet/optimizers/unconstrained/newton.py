"""Newton's method with the dense Hessian."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gdnet.backend import Array, Backend
from gdnet.maps.solve import absolute_solve, modified_cholesky
from gdnet.optimizers.line_search.ray import LINE_SEARCH, LineSearch, Ray
from gdnet.optimizers.line_search.strong_wolfe import STRONG_WOLFE
from gdnet.optimizers.options import one_of, option
from gdnet.optimizers.point import Point, read
from gdnet.optimizers.solver import Move, Solver


def shifted_solve(backend: Backend, H: Array, b: Array) -> Array:
    """(H + τ I)⁻¹ b, with the first τ for which the matrix is positive definite."""
    return backend.xp.linalg.solve(modified_cholesky(backend, H)[0], b[:, None])[:, 0]


MODIFICATIONS: dict[str, Callable[[Backend, Array, Array], Array]] = {
    "cholesky": shifted_solve,
    "saddle_free": absolute_solve,
}
"""How a Hessian that is not positive definite is made so: from its matrix and b to B⁻¹ b."""


@dataclass(frozen=True, repr=False)
class Newton(Solver):
    """θ⁺ = θ - a B⁻¹ g, B the Hessian made positive definite; the first trial is a = 1.

    Near a minimum with a regular Hessian the number of right digits doubles in every step. A point where the gradient
    vanishes but the Hessian has a negative eigenvalue is a saddle: it is left along that eigenvector. The Hessian is
    formed, P² numbers: for more than some thousand parameters take `NewtonCG`. All of this is done with S H S, whose
    diagonal is 1 or -1: a unit of its own for each parameter changes nothing.

    Parameters
    ----------
    modification : "cholesky" or "saddle_free"
        B = S H S + τ I with the first τ that Cholesky's factorisation accepts (Nocedal and Wright, algorithm 3.3), or
        B = |S H S|, the absolute eigenvalues (Dauphin et al. 2014): dearer, and quicker past saddles.
    line_search : LineSearch

    >>> import numpy as np
    >>> from gdnet.optimizers.scipy_api.function import FunctionObjective
    >>> f = FunctionObjective(lambda x: float(x[0] ** 4 + x[1] ** 2), lambda x: np.array([4 * x[0] ** 3, 2 * x[1]]))
    >>> Newton().run(f, np.array([1.0, 1.0])).success
    True
    """

    modification: str = option("cholesky", one_of(*MODIFICATIONS))
    line_search: LineSearch = option(STRONG_WOLFE, LINE_SEARCH)

    def advance(self, at: Point, memory: Any, trial: Callable[[Array], Point]) -> Move:
        backend, g = at.backend, at.gradient
        xp, H = backend.xp, at.evaluation.hessian.dense()
        if not math.isfinite(backend.read(xp.sum(H))):
            return Move(None, memory, "hessian_not_finite")
        H, s = equilibrated(xp, H)
        direction = -s * MODIFICATIONS[self.modification](backend, H, s * g)
        (slope,) = at.dots((g, direction))
        if not slope < 0:  # rounding has spoilt the solution
            direction = -g
            (slope,) = at.dots((g, direction))
        found = self.line_search(Ray(at, direction, slope, trial), 1.0)
        return Move(None, memory, "precision") if found is None else Move(found.point, memory)

    def confirmed(self, at: Point) -> bool:
        """Whether a stationary point may be a minimum: no eigenvalue of the Hessian is clearly negative."""
        xp = at.backend.xp
        H, _ = equilibrated(xp, at.evaluation.hessian.dense())
        total = at.backend.read(xp.sum(H))
        if not math.isfinite(total):
            return True
        values = at.backend.to_numpy(xp.linalg.eigvalsh(H))
        return bool(values[0] >= -math.sqrt(float(xp.finfo(H.dtype).eps)) * max(abs(values[0]), abs(values[-1])))

    def leave(self, at: Point, memory: Any, trial: Callable[[Array], Point]) -> Move:
        """Along the eigenvector of the least eigenvalue λ of S H S, in the units of S, to where J falls by λ a² / 8."""
        backend = at.backend
        xp = backend.xp
        H, s = equilibrated(xp, at.evaluation.hessian.dense())
        values, Q = xp.linalg.eigh(H)
        v = s * Q[:, 0]
        least, down, size = read(backend, values[0], xp.sum(v * at.gradient), xp.max(xp.abs(at.theta) / s))
        v = -v if down > 0 else v
        a = size or 1.0
        for _ in range(60):
            for step in (a, -a):
                new = trial(at.theta + step * v)
                if new.value <= at.value + 0.125 * least * a * a:
                    return Move(new, memory)
            a *= 0.25
        return Move(None, memory, "saddle")


def equilibrated(xp: Any, H: Array) -> tuple[Array, Array]:
    """(S H S, s) with S = diag(s), s_i = |H_ii|^-1/2; for a zero on the diagonal, the largest entry of its row."""
    size = xp.abs(xp.linalg.diagonal(H))
    size = xp.where(size > 0.0, size, xp.max(xp.abs(H), axis=1))
    s = 1.0 / xp.sqrt(xp.where(size > 0.0, size, xp.ones_like(size)))
    return s[:, None] * H * s[None, :], s

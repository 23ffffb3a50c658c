"""Newton's method with conjugate gradients on products: a trust region, or Hessian-free damping."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gdnet.backend import Array
from gdnet.maps import Map
from gdnet.optimizers.options import COUNT, CURVATURE, INSIDE, POSITIVE, option, real
from gdnet.optimizers.point import Point
from gdnet.optimizers.progress import first_step
from gdnet.optimizers.solver import Move, Solver

GROWTH = 1.3
"""Hessian-free CG keeps iterates whose numbers grow by this factor, to go back to (Martens 2010)."""


class NewtonCGMemory(NamedTuple):
    """The trust region's radius, 0 before the first iteration, and the largest ||g||² met."""

    radius: float = 0.0
    largest: float = 0.0


@dataclass(frozen=True, repr=False)
class NewtonCG(Solver):
    """min gᵀz + ½ zᵀH z for ||z|| <= radius, by conjugate gradients, step after step.

    CG ends at the boundary, at negative curvature (which is followed to the boundary), or when the residual is below
    min(forcing, √(||g|| / largest ||g||)) ||g||. The radius follows the ratio of the true decrease to the model's.
    After a refused step the same CG path is cut shorter: no product is computed twice.
    Reference: Steihaug, SIAM J. Numer. Anal. 20 (1983) 626-637; Nocedal and Wright (2006), algorithms 4.1 and 7.2.

    Parameters
    ----------
    curvature : "hessian" or "gauss_newton"
        Which product of the evaluation is used.
    radius : float, optional
        At the start; by default ten times the length of the first steepest-descent step.
    forcing : float
        How far CG reduces the residual; ½ where products are dear, less where evaluations are.
    eta : float
        The least ratio at which a step is accepted.
    max_products : int, optional
        In one iteration; by default 2 P.

    >>> import numpy as np
    >>> from gdnet.optimizers.scipy_api.function import FunctionObjective
    >>> f = FunctionObjective(lambda x: float(x[0] ** 4 + x[1] ** 2), lambda x: np.array([4 * x[0] ** 3, 2 * x[1]]))
    >>> NewtonCG().run(f, np.array([1.0, 1.0])).success
    True
    """

    curvature: str = option("hessian", CURVATURE)
    radius: float | None = option(None, POSITIVE)
    forcing: float = option(0.1, INSIDE)
    eta: float = option(1e-4, real(lambda v: 0.0 <= v < 0.25, "in [0, 0.25)"))
    max_products: int | None = option(None, COUNT)

    def start(self, theta: Array) -> NewtonCGMemory:
        return NewtonCGMemory(self.radius or 0.0)

    def advance(self, at: Point, memory: NewtonCGMemory, trial: Callable[[Array], Point]) -> Move:
        (gg,) = at.dots((at.gradient, at.gradient))
        most = max(gg, memory.largest)
        limit = min(self.forcing, (gg / most) ** 0.25) * math.sqrt(gg)
        path = SteihaugPath(at, getattr(at.evaluation, self.curvature), gg, limit, self.max_products)
        radius = memory.radius or path.natural_radius()
        noise = 10.0 * float(at.backend.xp.finfo(at.theta.dtype).eps) * max(abs(at.value), 1e-300)
        while True:
            step, length, decrease = path.to(radius)
            if not decrease > 0 or not math.isfinite(decrease):
                return Move(None, NewtonCGMemory(0.0, most), "precision")
            new = trial(at.theta + step)
            # Conn, Gould and Toint (2000), section 17.4.2: differences within rounding count as agreement.
            ratio = (at.value - new.value + noise) / (decrease + noise) if new.value < math.inf else -math.inf
            if math.isnan(ratio):
                ratio = -math.inf
            if ratio < 0.25:
                radius = 0.25 * length
            elif ratio > 0.75 and length >= 0.999 * radius:
                radius = 2.0 * radius
            if ratio > self.eta and not (decrease <= noise and new.norm > at.norm):
                return Move(new, NewtonCGMemory(radius, most))
            if decrease <= noise or radius <= 1e-300:
                return Move(None, NewtonCGMemory(radius, most), "precision")


class SteihaugPath:
    """The iterates of CG on the model, computed as far as they are asked for and kept."""

    def __init__(self, at: Point, H: Map, gg: float, limit: float, most: int | None) -> None:
        self.at, self.H, self.limit = at, H, limit
        self.most = 2 * at.theta.shape[0] if most is None else most
        xp = at.backend.xp
        self.z, self.r, self.p = xp.zeros_like(at.theta), at.gradient, -at.gradient
        self.rr, self.zz, self.zp, self.pp = gg, 0.0, 0.0, gg
        self.decrease, self.done = 0.0, False
        self.pieces: list[tuple[Array, Array, float, float, float, float, float, float]] = []

    def natural_radius(self) -> float:
        """Ten times the step to the minimum along the gradient, or ten first steps of steepest descent without one."""
        self._extend()
        _, _, _, _, pp, curvature, rr, _ = self.pieces[0]
        return 10.0 * math.sqrt(pp) * (rr / curvature if curvature > 0 else first_step(self.at))

    def _extend(self) -> None:
        """One more product: the piece from z along p."""
        read, xp = self.at.backend.read, self.at.backend.xp
        Hp = self.H(self.p)
        curvature = read(xp.sum(self.p * Hp))
        self.pieces.append((self.z, self.p, self.zz, self.zp, self.pp, curvature, self.rr, self.decrease))
        if not curvature > 0 or not math.isfinite(curvature):
            self.done = True
            return
        a = self.rr / curvature
        self.z, self.r = self.z + a * self.p, self.r + a * Hp
        self.zz += 2 * a * self.zp + a * a * self.pp
        self.decrease += 0.5 * a * self.rr
        rr = read(xp.sum(self.r * self.r))
        self.done = math.sqrt(rr) <= self.limit or len(self.pieces) >= self.most
        beta = rr / self.rr
        # zᵀp of the next direction: the residual is orthogonal to all earlier directions, so it takes no part.
        self.zp = beta * (self.zp + a * self.pp)
        self.pp, self.rr = rr + beta * beta * self.pp, rr
        self.p = beta * self.p - self.r

    def to(self, radius: float) -> tuple[Array, float, float]:
        """(step, its length, the model's decrease) where the path ends or leaves the ball."""
        k = 0
        while True:
            if k == len(self.pieces):
                if self.done:
                    return self.z, math.sqrt(self.zz), self.decrease
                self._extend()
            z, p, zz, zp, pp, curvature, rr, decrease = self.pieces[k]
            a = rr / curvature if curvature > 0 else math.inf
            if not math.isfinite(curvature):
                return z, math.sqrt(zz), decrease
            if a == math.inf or zz + 2 * a * zp + a * a * pp >= radius * radius:
                root = math.sqrt(max(zp * zp + pp * (radius * radius - zz), 0.0))
                t = (radius * radius - zz) / (zp + root) if zp > 0 else (root - zp) / pp
                return z + t * p, radius, decrease + t * rr - 0.5 * t * t * curvature
            k += 1


class HessianFreeMemory(NamedTuple):
    """The damping λ (0 before the first iteration), and the last solution of CG (None before)."""

    damping: float
    solution: Array | None = None


@dataclass(frozen=True, repr=False)
class HessianFree(Solver):
    """(G + λ I) z = -g by truncated conjugate gradients, λ by the ratio of true and predicted decrease.

    CG starts from `decay` times the last solution, stops when the model's relative progress over the last
    k = max(10, i/10) of i products is below `progress` k, and goes back along its iterates to the lowest value. Ratios
    below ¼ multiply λ by 3/2, above ¾ by 2/3. A step that does not lower J is halved, and then refused.
    Reference: Martens, Deep learning via Hessian-free optimization, ICML 2010.

    >>> import numpy as np
    >>> from gdnet.optimizers.scipy_api.function import FunctionObjective
    >>> f = FunctionObjective(residual=lambda x: np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]]))
    >>> HessianFree(damping=1.0).run(f, np.array([-1.2, 1.0])).success
    True
    """

    damping: float = option(45.0, POSITIVE)
    curvature: str = option("gauss_newton", CURVATURE)
    decay: float = option(0.95, real(lambda v: 0.0 <= v <= 1.0, "in [0, 1]"))
    progress: float = option(5e-4, POSITIVE)
    max_products: int = option(250, COUNT)

    def start(self, theta: Array) -> HessianFreeMemory:
        return HessianFreeMemory(0.0)

    def advance(self, at: Point, memory: HessianFreeMemory, trial: Callable[[Array], Point]) -> Move:
        xp, read = at.backend.xp, at.backend.read
        G, damping, start = getattr(at.evaluation, self.curvature), memory.damping, memory.solution
        if not damping:
            gg, gGg = at.dots((at.gradient, at.gradient), (at.gradient, G(at.gradient)))
            damping = self.damping * (abs(gGg) / gg or 1.0 / first_step(at))
        for _ in range(60):
            iterates = self._solve(at, G, damping, start)
            new, step = trial(at.theta + iterates[-1]), iterates[-1]
            for z in reversed(iterates[:-1]):
                earlier = trial(at.theta + z)
                if not earlier.value < new.value and math.isfinite(new.value):
                    break
                new, step = earlier, z
            (along,) = at.dots((at.gradient, step))
            model = along + 0.5 * read(xp.sum(step * G(step)))
            ratio = (new.value - at.value) / model if model < 0 and new.value < math.inf else -math.inf
            if not ratio >= 0.25:
                damping *= 1.5
            elif ratio > 0.75:
                damping /= 1.5
            a = 1.0
            while not new.value < at.value and a > 1e-4:
                a *= 0.5
                new = trial(at.theta + a * step)
            if new.value < at.value:
                return Move(new, HessianFreeMemory(damping, iterates[-1]))
            start, damping = None, 4.0 * damping
        return Move(None, HessianFreeMemory(damping), "precision")

    def _solve(self, at: Point, G: Map, damping: float, start: Array | None) -> list[Array]:
        xp, backend = at.backend.xp, at.backend
        g = at.gradient
        z = xp.zeros_like(g) if start is None else self.decay * start
        r = g if start is None else g + G(z) + damping * z
        p, kept, mark, models = -r, [], 1.0, [0.0]
        rr = backend.read(xp.sum(r * r))
        for i in range(1, self.max_products + 1):
            Gp = G(p) + damping * p
            curvature = backend.read(xp.sum(p * Gp))
            if not curvature > 0 or rr == 0.0:
                break
            a = rr / curvature
            z, r = z + a * p, r + a * Gp
            new, model = backend.to_numpy(xp.stack([xp.sum(r * r), 0.5 * xp.sum(z * (g + r))])).tolist()
            models.append(model)
            if i >= mark:
                kept.append(z)
                mark = max(mark * GROWTH, i + 1)
            k = max(10, i // 10)
            if i > k and model < 0 and (model - models[i - k]) / model < self.progress * k:
                break
            p = (new / rr) * p - r
            rr = new
        if not kept or kept[-1] is not z:
            kept.append(z)
        return kept

"""L-BFGS: the last m pairs of steps and gradient differences stand for the inverse Hessian."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gdnet.backend import Array, Backend
from gdnet.backend.base import float_name
from gdnet.optimizers.line_search.ray import LINE_SEARCH, LineSearch, Ray
from gdnet.optimizers.line_search.strong_wolfe import QUASI_NEWTON_WOLFE
from gdnet.optimizers.options import COUNT, option
from gdnet.optimizers.point import Point
from gdnet.optimizers.progress import first_step
from gdnet.optimizers.solver import Move, Solver

Table = tuple[tuple[float, ...], ...]


class LBFGSMemory(NamedTuple):
    """A ring buffer [S; Y], (2 m, P), on the device; the products SYᵀ and YYᵀ, (m, m), as numbers on the host.

    The buffer is written in place where the library allows it: a state serves one step only.
    `order` lists the rows of S in use, oldest first. `Sg` and `Yg` are S g and Y g at the present gradient.
    """

    order: tuple[int, ...] = ()
    ring: Array | None = None
    SY: Table = ()
    YY: Table = ()
    Sg: tuple[float, ...] = ()
    Yg: tuple[float, ...] = ()


@dataclass(frozen=True, repr=False)
class LBFGS(Solver):
    """d = -H g with H from the last `history` pairs (s, y), in compact form.

    H = γ I + [Sᵀ, γ Yᵀ] [[R⁻ᵀ (D + γ YYᵀ) R⁻¹, -R⁻ᵀ], [-R⁻¹, 0]] [S; γ Y], with R the upper triangle of SYᵀ, D its
    diagonal and γ = sᵀy / yᵀy of the newest pair. A direction costs three products with the (2 m, P) buffer, m x m
    algebra on the host, and one read. A pair without positive curvature is not used, and the oldest pair is gone.
    Reference: Byrd, Nocedal and Schnabel, Mathematical Programming 63 (1994), theorem 2.2.

    Parameters
    ----------
    history : int
        How many pairs are kept.

    >>> import numpy as np
    >>> from gdnet.optimizers.scipy_api.function import FunctionObjective
    >>> f = FunctionObjective(lambda x: float(((x - 1) ** 4).sum()), lambda x: 4 * (x - 1) ** 3)
    >>> LBFGS().run(f, np.zeros(1000)).success
    True
    """

    history: int = option(10, COUNT)
    line_search: LineSearch = option(QUASI_NEWTON_WOLFE, LINE_SEARCH)

    def start(self, theta: Array) -> LBFGSMemory:
        return LBFGSMemory()

    def advance(self, at: Point, memory: LBFGSMemory, trial: Callable[[Array], Point]) -> Move:
        g = at.gradient
        direction = _direction(at.backend, memory, g) if memory.order else -g
        (slope,) = at.dots((g, direction))
        if not slope < 0 and memory.order:
            return self.advance(at, LBFGSMemory(), trial)
        found = self.line_search(Ray(at, direction, slope, trial), 1.0 if memory.order else first_step(at))
        if found is None:
            return self.advance(at, LBFGSMemory(), trial) if memory.order else Move(None, memory, "precision")
        h = found.point.gradient
        return Move(found.point, _remember(at.backend, memory, self.history, found.a * direction, h - g, h))


def _remember(backend: Backend, memory: LBFGSMemory, m: int, s: Array, y: Array, g: Array) -> LBFGSMemory:
    """The pair in the oldest row, and every inner product that the next direction needs: one read."""
    xp, order = backend.xp, memory.order
    row = next((r for r in range(m) if r not in order), order[0] if order else 0)
    ring = _written(backend, memory.ring, m, row, s, y)
    found = backend.to_numpy(xp.concat([ring @ g, ring @ y, xp.reshape(xp.sum(s * s), (1,))]))
    Sg, Yg, Sy, Yy = found[:-1].astype(np.float64).reshape(4, m)
    kept = tuple(r for r in order if r != row)
    tiny = float(xp.finfo(s.dtype).smallest_normal) * 1e8  # below, products have lost their digits
    if Sy[row] > max(float(xp.finfo(s.dtype).eps) * math.sqrt(found[-1] * Yy[row]), tiny):
        kept = (*kept, row)
    zero = np.zeros((m, m))
    SY, YY = (np.array(table) if table else zero.copy() for table in (memory.SY, memory.YY))
    # Of SY only s_i . y_j with i no newer than j is used: the newest column.
    SY[:, row], YY[:, row], YY[row, :] = Sy, Yy, Yy
    return LBFGSMemory(kept, ring, _table(SY), _table(YY), tuple(Sg.tolist()), tuple(Yg.tolist()))


def _written(backend: Backend, ring: Array | None, m: int, row: int, s: Array, y: Array) -> Array:
    """The ring with the pair in this row. It is the solver's own, so it is written in place where that is allowed."""
    xp = backend.xp
    if ring is None:
        ring = xp.zeros((2 * m, s.shape[0]), dtype=s.dtype, device=backend.device)
    if backend.mutable:
        ring[row, :] = s
        ring[m + row, :] = y
        return ring
    number = xp.reshape(xp.arange(2 * m, device=backend.device), (2 * m, 1))
    return xp.where(number == row, s[None, :], xp.where(number == m + row, y[None, :], ring))


def _table(matrix: np.ndarray) -> Table:
    return tuple(tuple(row) for row in matrix.tolist())


def _direction(backend: Backend, memory: LBFGSMemory, g: Array) -> Array:
    """-H g: small triangular systems on the host, two products on the device."""
    order = list(memory.order)
    SY, YY = (np.array(table)[np.ix_(order, order)] for table in (memory.SY, memory.YY))
    p, q = np.array(memory.Sg)[order], np.array(memory.Yg)[order]
    R, D, gamma = np.triu(SY), np.diag(SY), SY[-1, -1] / YY[-1, -1]
    w = np.linalg.solve(R, p)
    u = np.linalg.solve(R.T, D * w + gamma * (YY @ w) - gamma * q)
    m = len(memory.SY)
    weights = np.zeros(2 * m)
    weights[order], weights[[m + r for r in order]] = -u, gamma * w
    return backend.asarray(weights, float_name(g.dtype)) @ memory.ring - float(gamma) * g

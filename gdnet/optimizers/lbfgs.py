"""L-BFGS: the last m pairs of steps and gradient differences stand for the inverse Hessian."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gdnet.backend import Array, Backend
from gdnet.errors import OptionError
from gdnet.optimizers.gradient_descent import first_step
from gdnet.optimizers.line_search import QUASI_NEWTON_WOLFE, LineSearch, Ray
from gdnet.optimizers.solver import Move, Point, Solver


class LBFGSMemory(NamedTuple):
    """Ring buffers S and Y, (m, P), on the device; their products SYᵀ and YYᵀ, (m, m), on the host.

    `order` lists the rows in use, oldest first. `Sg` and `Yg` are S g and Y g at the present gradient.
    """

    S: Array
    Y: Array
    SY: np.ndarray
    YY: np.ndarray
    Sg: np.ndarray
    Yg: np.ndarray
    order: tuple[int, ...] = ()


@dataclass(frozen=True)
class LBFGS(Solver):
    """d = -H g with H from the last `history` pairs (s, y), in compact form.

    H = γ I + [Sᵀ, γ Yᵀ] [[R⁻ᵀ (D + γ YYᵀ) R⁻¹, -R⁻ᵀ], [-R⁻¹, 0]] [S; γ Y], with R the upper triangle of SYᵀ, D its
    diagonal and γ = sᵀy / yᵀy of the newest pair. A direction costs two products with the (m, P) buffers, m x m algebra
    on the host, and one read. A pair without positive curvature is not stored.
    Reference: Byrd, Nocedal and Schnabel, Mathematical Programming 63 (1994), theorem 2.2.

    Parameters
    ----------
    history : int
        How many pairs are kept.

    >>> import numpy as np
    >>> from gdnet.optimizers.function import FunctionObjective
    >>> f = FunctionObjective(lambda x: float(((x - 1) ** 4).sum()), lambda x: 4 * (x - 1) ** 3)
    >>> LBFGS().run(f, np.zeros(1000)).success
    True
    """

    history: int = 10
    line_search: LineSearch = QUASI_NEWTON_WOLFE

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.history >= 1:
            raise OptionError(f"LBFGS: history must be at least 1, got {self.history}")

    def start(self, theta: Array) -> LBFGSMemory | None:
        return None

    def advance(self, at: Point, memory: LBFGSMemory | None, trial: Callable[[Array], Point]) -> Move:
        backend, g = at.backend, at.gradient
        direction = -g if memory is None else _direction(backend, memory, g)
        (slope,) = at.dots((g, direction))
        if not slope < 0 and memory is not None:
            return self.advance(at, None, trial)
        found = self.line_search(Ray(at, direction, slope, trial), first_step(at) if memory is None else 1.0)
        if found is None:
            return Move(None, None, "precision") if memory is None else self.advance(at, None, trial)
        s, y = found.a * direction, found.point.gradient - g
        return Move(found.point, _remember(backend, memory, self.history, s, y, found.point.gradient))


def _remember(backend: Backend, memory: LBFGSMemory | None, m: int, s: Array, y: Array, g: Array) -> LBFGSMemory | None:
    """The pair in the oldest row, and every inner product that the next direction needs: one read."""
    xp = backend.xp
    if memory is None:
        empty: Any = xp.zeros((m, s.shape[0]), dtype=s.dtype, device=backend.device)
        zero = np.zeros((m, m))
        memory = LBFGSMemory(empty, empty, zero, zero, zero[0], zero[0])
    order = memory.order
    row = len(order) if len(order) < m else order[0]
    here = xp.reshape(xp.arange(m, device=backend.device) == row, (m, 1))
    S, Y = xp.where(here, s, memory.S), xp.where(here, y, memory.Y)
    right = xp.stack([g, y], axis=1)
    found = backend.to_numpy(
        xp.concat([S @ right, Y @ right, xp.reshape(xp.sum(s * s), (1, 1)) * xp.ones_like(S[:1, :2])])
    )
    found = found.astype(np.float64)
    (Sg, Sy), (Yg, Yy), ss = found[:m].T, found[m : 2 * m].T, found[2 * m, 0]
    eps = float(xp.finfo(s.dtype).eps)
    if not Sy[row] > eps * math.sqrt(ss * Yy[row]):
        if not order:
            return None
        old = backend.to_numpy(xp.concat([memory.S @ g, memory.Y @ g])).astype(np.float64)
        return memory._replace(Sg=old[:m], Yg=old[m:])
    SY, YY = memory.SY.copy(), memory.YY.copy()
    # Rows of SY below the newest column are never used: only s_i . y_j with i no newer than j.
    SY[:, row], YY[:, row], YY[row, :] = Sy, Yy, Yy
    kept = tuple(r for r in order if r != row)
    return LBFGSMemory(S, Y, SY, YY, Sg, Yg, (*kept, row))


def _direction(backend: Backend, memory: LBFGSMemory, g: Array) -> Array:
    """-H g: small triangular systems on the host, two products on the device."""
    order = list(memory.order)
    SY, YY = memory.SY[np.ix_(order, order)], memory.YY[np.ix_(order, order)]
    R, newest = np.triu(SY), order[-1]
    gamma = memory.SY[newest, newest] / memory.YY[newest, newest]
    p, q = memory.Sg[order], memory.Yg[order]
    w = np.linalg.solve(R, p)
    u = np.linalg.solve(R.T, np.diag(SY) * w + gamma * (YY @ w) - gamma * q)
    left = np.zeros((2, memory.SY.shape[0]))
    left[0, order], left[1, order] = u, -gamma * w
    both = backend.asarray(left.astype(str(g.dtype).rpartition(".")[2]))
    return -(gamma * g + both[0, :] @ memory.S + both[1, :] @ memory.Y)

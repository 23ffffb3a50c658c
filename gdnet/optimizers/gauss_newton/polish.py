"""The last digits of a least-squares fit: undamped Gauss-Newton steps by QR, accelerated where they converge slowly."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gdnet.backend import Array
from gdnet.backend.base import itemsize
from gdnet.backend.linalg import solve_triangular
from gdnet.optimizers.point import Point, read

DOUBT = 1e-6
"""The part of the value that the undamped model may still promise at a minimum."""
CHORDS = 3
NEWTON = 3
"""Steps of Newton's method at most."""
MEMORY = 5
"""Steps remembered by Anderson's acceleration."""


class Undamped:
    """A at one point with unit columns, by QR: A = Q R diag(s)."""

    def __init__(self, point: Point, A: Any, max_memory: int, index: np.ndarray | None = None) -> None:
        backend = point.backend
        xp = backend.xp
        matrix = A.dense(max_memory)
        if index is not None:  # the parameters that no bound holds
            matrix = xp.take(matrix, backend.asarray(index), axis=1)
        size = xp.sqrt(xp.sum(matrix * matrix, axis=0))
        self.scale = xp.where(size > 0.0, size, xp.ones_like(size))
        Q, R = xp.linalg.qr(matrix / self.scale)
        pivots = xp.abs(xp.linalg.diagonal(R))
        q = A.residual @ Q
        cosines = xp.abs(A.residual @ matrix) / self.scale
        least, worst, explained, total = read(
            backend, xp.min(pivots), xp.max(cosines), xp.sum(q * q), xp.sum(A.residual * A.residual)
        )
        self.measure = worst / math.sqrt(total) if total > 0.0 else 0.0
        """max_j |A_jᵀ r| / (|A_j| |r|): the largest cosine between the residual and a column."""
        self.promise = explained / total if total > 0.0 else 0.0
        """The part of the value that an undamped step would remove, were r linear."""
        self.regular = least > 50.0 * float(xp.finfo(matrix.dtype).eps) and math.isfinite(self.measure)
        self.accuracy = A.accuracy
        self.backend, self.Q, self.R, self.q = backend, Q, R, q

    def step(self, residual: Array | None = None) -> Array:
        """The Gauss-Newton step, for this point's residual or for another's."""
        q = self.q if residual is None else residual @ self.Q
        return -solve_triangular(self.backend, self.R, q, lower=False) / self.scale


def polish(
    start: Point,
    trial: Callable[[Array], Point],
    root_of: Callable[[Point], Any],
    steps: int,
    max_memory: int,
    doubtful: bool = False,
    box: Any = None,
) -> Point | None:
    """The best point found, or None if `doubtful` and the undamped model promises far more than a minimum would.

    Best is the least `measure`, among points whose value is not higher beyond rounding. Gauss-Newton steps converge
    slowly where residuals are large; Anderson's acceleration combines the last ones, for no further evaluation.
    Where there is no such system (fewer residuals than parameters, a singular matrix, a loss that is no sum of
    squares) the start comes back.
    """
    _refine(start)
    A = root_of(start)
    index = _free(start, A, box)
    if not polishable(A, max_memory) or (index is not None and index.size == 0):
        return start
    backend = start.backend
    eps = float(backend.xp.finfo(A.dtype).eps)
    at, model = start, Undamped(start, A, max_memory, index)
    if doubtful and model.promise > DOUBT:
        return None
    best, measure, last, stale = start, model.measure, math.inf, 0
    past: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(steps):
        if not model.regular or at.value == 0.0:
            break
        whole, step = backend.to_numpy(at.theta), backend.to_numpy(model.step())
        theta = whole if index is None else whole[index]
        mixed = _anderson(theta, step, past, backend.to_numpy(model.scale))
        past = [(theta, step), *past][:MEMORY]
        new = trial(_moved(at, mixed, index, box))
        if not new.value <= at.value * (1.0 + 1e-3):
            break
        size = float(np.max(np.abs(mixed) / np.where(theta != 0.0, np.abs(theta), 1.0)))
        rate = size / last if math.isfinite(last) else 1.0
        floor = max(5.0 * eps, model.accuracy)
        if size <= floor or (rate < 0.5 and size * rate / (1.0 - rate) <= max(500.0 * eps, 0.1 * floor)):
            # The error left is below what another matrix would show: no need to form it.
            if new.value <= best.value * (1.0 + 1e-9):
                best = new
                _adopt(new, at)
            break
        _refine(new)
        at, last = new, size
        model = Undamped(at, root_of(at), max_memory, index)
        if model.measure < measure:
            stale = 0 if model.measure < 0.7 * measure else stale + 1
            best, measure = at, model.measure
        else:
            stale += 1
        if stale >= 3:
            break
    return best


def settle(
    old: Point,
    new: Point,
    trial: Callable[[Array], Point],
    root_of: Callable[[Point], Any],
    max_memory: int,
    box: Any = None,
) -> Point:
    """Where residuals vanish: undamped steps with the matrix of the point before, which cost no derivatives."""
    A = root_of(old)
    index = _free(old, A, box)
    if not polishable(A, max_memory) or (index is not None and index.size == 0):
        return new
    model = Undamped(old, A, max_memory, index)
    for _ in range(CHORDS if model.regular else 0):
        step = old.backend.to_numpy(model.step(_residual(new, root_of)))
        better = trial(_moved(new, step, index, box))
        if not better.value < new.value:
            break
        new = better
    _adopt(new, old)
    return new


def _residual(point: Point, root_of: Callable[[Point], Any]) -> Array:
    """The residual in the order of the matrix's rows, without asking for derivatives where that is possible."""
    found = getattr(point.evaluation, "root_residual", None)
    return root_of(point).residual if found is None else found


def _free(point: Point, A: Any, box: Any) -> np.ndarray | None:
    """Indices of the parameters that no bound holds; None where there are no bounds."""
    return None if box is None else np.nonzero(point.backend.to_numpy(box.free(point.theta, A.gradient)))[0]


def _moved(point: Point, step: np.ndarray, index: np.ndarray | None, box: Any) -> Array:
    if index is not None:
        whole = np.zeros(point.theta.shape[0], dtype=step.dtype)
        whole[index] = step
        step = whole
    theta = point.theta + point.backend.asarray(step, step.dtype.name)
    return theta if box is None else box.project(theta, point.theta)


def undamped_step(point: Point, A: Any, box: Any = None) -> Array | None:
    """The Gauss-Newton step of the parameters that no bound holds, or None where it is not defined."""
    index = _free(point, A, box)
    if not polishable(A, 1 << 62) or (index is not None and index.size == 0):
        return None
    model = Undamped(point, A, 1 << 62, index)
    if not model.regular:
        return None
    return _moved(point, point.backend.to_numpy(model.step()), index, None) - point.theta


def polishable(A: Any, max_memory: int) -> bool:
    """Whether there are residuals, no fewer than parameters, whose matrix fits."""
    m, p = A.shape
    return A.residual is not None and m >= p and 4 * m * p * itemsize(A.dtype) <= max_memory


def _adopt(new: Point, old: Point) -> None:
    """Reuse the neighbour's difference Jacobian: they are closer than it is accurate, and a new one no better."""
    adopt = getattr(new.evaluation, "adopt", None)
    if adopt is not None:
        adopt(old.evaluation)


def _refine(point: Point) -> None:
    """Ask the evaluation for derivatives as accurate as it can give; differences become central ones."""
    refine = getattr(point.evaluation, "refine", None)
    if refine is not None:
        refine()


def _anderson(
    theta: np.ndarray, step: np.ndarray, past: list[tuple[np.ndarray, np.ndarray]], scale: np.ndarray
) -> np.ndarray:
    """The combination of this and earlier steps for which the step itself would be least (Anderson 1965)."""
    past = past[: theta.shape[0]]
    if not past:
        return step
    moved = np.stack([theta - old for old, _ in past], axis=1)
    changed = np.stack([step - old for _, old in past], axis=1)
    weights = np.linalg.lstsq(changed * scale[:, None], step * scale, rcond=1e-10)[0]
    return step - (moved + changed) @ weights


def newton_finish(
    point: Point, trial: Callable[[Array], Point], sizes: np.ndarray, tol: float, box: Any = None
) -> tuple[Point, bool]:
    """Newton steps with the whole Hessian, and whether they confirm a minimum to the part `tol` of the value.

    Where the residuals stay and J vanishes, as for r = x² + 5 at 0, JᵀJ tells nothing of the curvature. The Hessian's
    columns are central differences of Jᵀr, with steps relative to `sizes`, among the parameters that no bound holds.
    """
    backend, eps = point.backend, float(point.backend.xp.finfo(point.theta.dtype).eps)
    for step in range(NEWTON):
        A = point.evaluation.root_jacobian
        index = _free(point, A, box)
        index = np.arange(sizes.size) if index is None else index
        h = eps ** (1 / 3) * sizes
        columns = []
        for j in index:
            move = np.where(np.arange(sizes.size) == j, h, 0.0)
            up, down = (trial(_moved(point, sign * move, None, box)) for sign in (1.0, -1.0))
            width = backend.to_numpy(up.theta)[j] - backend.to_numpy(down.theta)[j]
            bent = backend.to_numpy(up.evaluation.gradient - down.evaluation.gradient) / width
            columns.append(bent[index] * sizes[index] * sizes[j])
        H, g = np.array(columns), (backend.to_numpy(A.gradient) * sizes)[index]
        try:
            np.linalg.cholesky(0.5 * (H + H.T))
        except np.linalg.LinAlgError:
            return point, False
        move = -np.linalg.solve(0.5 * (H + H.T), g)
        confirmed = bool(-0.5 * float(g @ move) <= tol * point.value)
        whole = np.zeros(sizes.size)
        whole[index] = move * sizes[index]
        new = trial(_moved(point, whole, None, box))
        if step == NEWTON - 1 or not new.value <= point.value * (1.0 + 4.0 * eps):
            break
        point = new
    return point, confirmed

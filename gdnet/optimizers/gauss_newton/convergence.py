"""Measures of convergence of a least-squares fit that do not depend on the units of residuals or of parameters."""

import math
from typing import Any, NamedTuple

from gdnet.backend import Array
from gdnet.optimizers.point import Point, read

VANISHED = 1e-11
"""Residuals count as zero where ||r|| is at most this part of max_j |A_j| |θ_j|, the size of the terms whose
differences they are."""
FALLEN = 1e-6
SLOW = 0.05
"""Where the matrix is singular at a minimum, convergence is linear only and would not end. So residuals count as zero
there already at `FALLEN` times those terms, if ||r|| is also at most `VANISHED` times its value at the start, and the
square of a step is still more than `SLOW` times that of the step before."""


CONSTANT = 0.9
"""A fit whose error is above this part of the targets' variance has found nothing."""


class Measures(NamedTuple):
    """What a point and diag(AᵀA) tell of convergence.

    `cosine` is max_j |g_j| / (|A_j| ||r||): for g = Aᵀr the largest cosine between the residual and a column of A, 0 at
    every minimum. `size` is ||r||, and `scale` is max_j |A_j| |θ_j|, what the parameters contribute to the residuals.
    """

    cosine: float
    size: float
    scale: float


def measure(point: Point, gradient: Array, curvature: Array, box: Any = None) -> Measures:
    """The measures at a point, by one read. `curvature` is diag(AᵀA), or one number where only its mean is known.

    Parameters that a bound holds do not count. For a loss that is no sum of squares ||r|| is √(2 |V|).
    """
    xp, size = point.backend.xp, length(point)
    g = xp.abs(gradient) if box is None else xp.abs(gradient) * box.free(point.theta, gradient)
    column = xp.sqrt(curvature) * xp.ones_like(g)
    known = column > 0.0
    # A slope without curvature, as in Huber's tails, leads on without end: such a point has not converged.
    endless = xp.where(g > 0.0, math.inf * xp.ones_like(g), xp.zeros_like(g))
    steep = xp.where(known, g / xp.where(known, column, xp.ones_like(g)), endless)
    worst, scale = read(point.backend, xp.max(steep), xp.max(column * xp.abs(point.theta)))
    return Measures(worst / size if size > 0.0 else 0.0, size, scale)


def length(point: Point) -> float:
    """||r||, from the value ½ ||r||²; √(2 |V|) for a loss that is no sum of squares."""
    return math.sqrt(2.0 * abs(point.value))


def vanished(size: float, scale: float, eps: float) -> bool:
    """Whether the residuals are rounding beside what they are made of."""
    return size <= max(VANISHED, 20.0 * eps) * scale


def fallen(size: float, scale: float, eps: float, first: float) -> bool:
    """Whether the residuals of a slow approach are small enough; `first` is the value at the start."""
    return size <= max(VANISHED, 20.0 * eps) * math.sqrt(2.0 * abs(first)) and size <= FALLEN * scale


def alike(old: Point, new: Point) -> bool:
    """Whether every parameter has kept its size, to a factor of two."""
    xp = old.backend.xp
    return read(old.backend, xp.max(xp.abs(new.theta - old.theta) - 0.5 * xp.abs(new.theta)))[0] <= 0.0


def rounding(point: Point) -> float:
    """The spacing of numbers at 1 in the point's dtype; in that of a function's results, where it is coarser."""
    objective = getattr(point.evaluation, "objective", None)
    own = getattr(objective, "rounding", None)
    if own is not None:
        return float(own(point.theta))
    return float(point.backend.xp.finfo(point.theta.dtype).eps)


def spread_of(at: Point) -> float | None:
    """||r||² of the best constant prediction of a network; None for a plain function, whose targets are not known."""
    prediction = getattr(at.evaluation, "prediction", None)
    if prediction is None:
        return None
    objective, xp = at.evaluation.objective, at.backend.xp
    t, w = objective.t, objective.sample_weight
    share = xp.ones_like(t) if w is None else xp.reshape(w, (-1, *[1] * (t.ndim - 1))) * xp.ones_like(t)
    share = share / xp.sum(share, axis=0)
    away = t - xp.sum(share * t, axis=0)
    return 2.0 * read(at.backend, xp.sum(share * away * away))[0]

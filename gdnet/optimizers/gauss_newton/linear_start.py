"""The first step of a network's fit: it solves for the parameters in which the residuals are linear.

Those are the last layer's, where nothing nonlinear follows. Initial weights are made for targets of about 1. Once these
weights are solved for, what is left of the targets' size stands in them: from there on a fit of targets of 1e-6 or of
1e4 takes the same course as one of targets of 1. Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973) 413-432, solve for
such parameters in every step; here it is done once, for the start.
"""

from collections.abc import Callable
from typing import Any

from gdnet.backend import Array
from gdnet.optimizers.point import Point, read

RIDGE = 1e-3
"""Penalty on the solution, as a part of each column's square: columns that are nearly the same share their weight."""
PRODUCTS = 200
STRAIGHT = 1e3
"""A direction counts as linear if its second derivative is below this many roundings."""


def linear_start(
    point: Point, trial: Callable[[Array], Point], root_of: Callable[[Point], Any], max_memory: int
) -> Point | None:
    """The point where the linear parameters are solved for, or None: there are none, or it is no better."""
    A = root_of(point)
    layout = getattr(getattr(A, "objective", None), "layout", None)
    mask = None if layout is None or A.residual is None else _linear_part(point, A, layout)
    if mask is None:
        return None
    bare = point.theta - mask * point.theta
    # The residual without them is evaluated, not extrapolated: it may be far smaller than the first predictions.
    r = root_of(trial(bare)).residual
    new = trial(bare + _solution(A, r, mask, max_memory))
    return new if new.value < point.value and new.finite else None


def _linear_part(point: Point, A: Any, layout: Any) -> Array | None:
    """1 for the last windows of the vector in which, jointly, r is linear, else 0; None for no window, or for all."""
    xp, backend = point.backend.xp, point.backend
    eps, dtype = float(xp.finfo(A.dtype).eps), "float64" if "64" in str(A.dtype) else "float32"
    wave = xp.sin(12.9898 * xp.arange(point.theta.shape[0], dtype=A.dtype, device=backend.device) + 1.0)
    names, found = list(layout), None
    for k in range(1, len(names) + 1):
        last = set(names[-k:])
        mask = backend.asarray(layout.mask(lambda name, last=last: name in last).astype(dtype))
        slope, bend = A.matvec(mask * wave), A.bend(mask * wave, 1.0)
        bent, size = read(backend, xp.max(xp.abs(bend)), xp.max(xp.abs(slope)) + xp.max(xp.abs(A.residual)))
        if not bent <= STRAIGHT * eps * size:
            return found
        found = mask
    return None


def _solution(A: Any, r: Array, mask: Array, max_memory: int) -> Array:
    """The masked u that minimises ½ ||r + A u||² + ½ RIDGE ||D u||², D² = diag(AᵀA), by conjugate gradients."""
    xp, curvature = A.xp, A.diagonal(max_memory)
    d = xp.sqrt(xp.where(curvature > 0.0, curvature, xp.ones_like(curvature)))
    left = -mask * A.rmatvec(r) / d
    w, p, rr, first = xp.zeros_like(left), left, xp.sum(left * left), 0.0
    for _ in range(PRODUCTS):
        Bp = mask * A.rmatvec(A.matvec(p / d)) / d + RIDGE * p
        bent, size = read(A.backend, xp.sum(p * Bp), rr)
        first = first or size
        if not bent > 0.0 or size <= 1e-20 * first:
            break
        w, left = w + (size / bent) * p, left - (size / bent) * Bp
        rr = xp.sum(left * left)
        p = left + (rr / size) * p
    return w / d

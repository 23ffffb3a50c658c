"""The parameters of a network that have the targets' unit: the last layer's, measured and started in their spread.

Initial weights are made for targets of about 1. A network whose last layer is linear predicts targets of 1e-6 or of 1e4
as well once that layer is multiplied by their spread; where its parameters are measured in that spread too, a fit takes
the same course in every unit. To solve for the last layer instead would be no good start: where hidden features are
odd functions and the targets even, the best weights are zero, a saddle point that holds the fit for ever.
"""

from collections.abc import Callable
from typing import Any

from gdnet.backend import Array
from gdnet.backend.base import float_name
from gdnet.optimizers.point import Point, read

STRAIGHT = 1e3
"""A direction counts as linear if its second derivative is below this many roundings."""
FITTED = 0.5
"""A start that leaves less than this part of the targets' variance is a fit to go on with, not initial weights."""


def layout_of(A: Any) -> Any:
    """The layout of the network whose root this is; None for a plain function."""
    return getattr(getattr(A, "objective", None), "layout", None)


def in_target_unit(point: Point, trial: Callable[[Array], Point], A: Any) -> tuple[Point, Array | None]:
    """The start for targets of this spread, and a typical size of each parameter, (P,), or None where all are alike.

    The spread s is the root of the mean variance of the outputs. The last layer is multiplied by s, or by less where
    its predictions would else be larger than the targets.
    """
    layout, prediction = layout_of(A), getattr(point.evaluation, "prediction", None)
    if layout is None or prediction is None or A.residual is None or A.objective.t.shape != prediction.shape:
        return point, None
    mask = _linear_part(point, A, layout)
    if mask is None:
        return point, None
    xp = point.backend.xp
    mean = _mean_over_examples(A.objective, xp)
    away = A.objective.t - mean(A.objective.t)
    bare = point.theta - mask * point.theta
    linear = prediction - trial(bare).evaluation.prediction
    variance, left, size = read(
        point.backend, *(xp.mean(mean(v * v)) for v in (away, A.objective.t - prediction, linear))
    )  # fmt: skip
    if not 0.0 < variance < float("inf"):
        return point, None
    spread = variance**0.5
    unit = (1.0 - mask) + spread * mask
    if left > FITTED * variance and size > 0.0:
        new = trial(bare + min(spread, (variance / size) ** 0.5) * mask * point.theta)
        point = new if new.finite else point
    return point, unit


def _mean_over_examples(objective: Any, xp: Any) -> Callable[[Array], Array]:
    """The function v -> Σₙ wₙ vₙ / Σₙ wₙ over axis 0."""
    w = objective.sample_weight
    if w is None:
        return lambda v: xp.mean(v, axis=0)
    return lambda v: xp.sum(xp.reshape(w, (-1, *[1] * (v.ndim - 1))) * v, axis=0) / xp.sum(w)


def _linear_part(point: Point, A: Any, layout: Any) -> Array | None:
    """1 for the last windows of the vector in which, jointly, r is linear, else 0; None for no window, or for all."""
    xp, backend = point.backend.xp, point.backend
    eps, dtype = float(xp.finfo(A.dtype).eps), float_name(A.dtype)
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

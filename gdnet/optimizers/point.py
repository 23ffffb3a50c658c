"""A vector with its evaluation, as solvers hold it: what is read on the host is read once, and openly."""

import math
import numbers
from functools import cached_property
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend


def read(backend: Backend, *scalars: Any) -> tuple[float, ...]:
    """Numbers and device scalars on the host, all device scalars in one transfer."""
    here = [s for s in scalars if not isinstance(s, numbers.Real)]
    if len(here) == 1:
        found = iter([backend.read(here[0])])
    else:
        found = iter(backend.to_numpy(backend.xp.stack(here)).tolist() if here else [])
    return tuple(float(s) if isinstance(s, numbers.Real) else next(found) for s in scalars)


def half_square(xp: Any, r: Array) -> Any:
    """½ ||r||²; infinite, without a warning, where squares are too large for the dtype."""
    with np.errstate(over="ignore"):
        return 0.5 * xp.sum(r * r)


class Point:
    """A vector, its evaluation, and what of it has been read on the host.

    >>> import numpy as np
    >>> from gdnet.backend import get_backend
    >>> from gdnet.optimizers import FunctionObjective, Point
    >>> x, J = np.asarray([3.0, -4.0]), FunctionObjective(lambda x: float(x @ x), lambda x: 2.0 * x)
    >>> at = Point(get_backend("cpu"), J(x), x)
    >>> at.value, at.norm, at.dots((at.gradient, x))
    (25.0, 8.0, (50.0,))
    """

    def __init__(self, backend: Backend, evaluation: Any, theta: Array) -> None:
        self.backend, self.evaluation, self.theta = backend, evaluation, theta

    @cached_property
    def value(self) -> float:
        """The objective on the host; one read."""
        return read(self.backend, self.evaluation.value)[0]

    @property
    def gradient(self) -> Array:
        return self.evaluation.gradient

    @cached_property
    def norm(self) -> float:
        """max_i |∂J/∂θ_i|, unscaled; one read."""
        xp = self.backend.xp
        return read(self.backend, xp.max(xp.abs(self.gradient)))[0]

    def dots(self, *pairs: tuple[Array, Array]) -> tuple[float, ...]:
        """The inner products of these pairs, and the gradient's norm kept in passing; one read."""
        xp = self.backend.xp
        *found, norm = read(self.backend, *(xp.sum(a * b) for a, b in pairs), xp.max(xp.abs(self.gradient)))
        self.__dict__["norm"] = norm
        return tuple(found)

    @property
    def finite(self) -> bool:
        return math.isfinite(self.value) and math.isfinite(self.norm)


def refined(at: Point) -> Point | None:
    """The same point with more accurate derivatives, where the objective has some in reserve."""
    finer = getattr(at.evaluation, "refined", lambda: None)()
    return None if finer is None else Point(at.backend, finer, at.theta)


def too_coarse(old: Point, new: Point) -> bool:
    """Whether a gradient by differences is near its own errors, or the value's changes are."""
    error = getattr(new.evaluation, "gradient_error", None)
    if error is None or not new.finite:
        return False
    near = new.norm <= 10.0 * read(new.backend, new.backend.xp.max(error))[0]
    return near or old.value - new.value <= 1e-7 * abs(old.value)


def exhausted(old: Point, new: Point) -> bool:
    """Whether a step by a gradient of differences has lowered the value by rounding at most: no other would do more."""
    eps = float(new.backend.xp.finfo(new.theta.dtype).eps)
    by_differences = getattr(new.evaluation, "gradient_error", None) is not None
    return by_differences and old.value - new.value <= 2.0 * eps * abs(old.value)


def stands_still(old: Point, new: Point) -> bool:
    """Whether a step has lowered neither the value, but for rounding, nor the gradient."""
    eps = float(new.backend.xp.finfo(new.theta.dtype).eps)
    return old.value - new.value <= 2.0 * eps * abs(old.value) and not new.norm < old.norm

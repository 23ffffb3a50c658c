"""The gradient of a plain function by differences: cheap quotients first, accurate ones when they are needed.

    forward   (f(x + h) - f(x)) / h               n evaluations, h = ε^(1/2) of the parameter's size
    central   (f(x + h) - f(x - h)) / (2 h)       2 n evaluations, h = ε^(1/3) of the parameter's size

ε is the rounding of f's own precision, which may be coarser than that of x. A parameter's size is the largest |x_i|
seen so far, since a step that is right for metres is not right for nanometres.
Reference: Gill, Murray and Wright, Practical Optimization (1981), section 8.6.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, backend_of
from gdnet.optimizers.point import read

LARGER = 1e3
"""A step that does not change f becomes longer by this factor, as long as its parameter is smaller than the others."""
DIGITS = 100.0
"""Changes of f below this many units of rounding count as no change."""


class Differences:
    """Quotients of one function along a run; it learns the sizes of the parameters and remembers the stage.

    Parameters
    ----------
    formula : "staged", "forward" or "central"
        "staged" begins with forward quotients and goes over to central ones when told to, by `refine`.
    """

    def __init__(self, formula: str) -> None:
        self.staged, self.formula = formula == "staged", "forward" if formula == "staged" else formula
        self.size: np.ndarray | None = None

    def refine(self) -> bool:
        """Go over to central quotients; False where they are in use already, or were not asked for."""
        if not self.staged or self.formula == "central":
            return False
        self.formula = "central"
        return True

    def __call__(self, f: Callable[[Array], Any], value: Any, x: Array) -> tuple[Array, Array]:
        """(gradient, its error by rounding), both of x's shape; NaN where f is not finite on either side of x."""
        backend = backend_of(x, names=("x",))
        point, f0 = np.asarray(backend.to_numpy(x), dtype=np.float64), read(backend, value)[0]
        eps = precision(backend, value, x)
        self.size = np.abs(point) if self.size is None else np.maximum(self.size, np.abs(point))
        # A parameter that has always been 0 is taken to be as large as the others are.
        usual = float(np.sqrt(np.mean(self.size**2))) or 1.0
        self.size = np.where(self.size > 0.0, self.size, usual)
        relative = eps ** (1 / 2 if self.formula == "forward" else 1 / 3)
        slopes, errors = np.empty_like(point), np.empty_like(point)
        for i in range(point.size):
            while True:
                h = relative * float(self.size[i])
                slopes[i], change, errors[i] = _quotient(backend, f, f0, x, i, h, self.formula, eps)
                blind = abs(change) <= DIGITS * eps * abs(f0) and self.size[i] < usual
                if not blind:
                    break
                self.size[i] = min(LARGER * self.size[i], usual)
        return (backend.asarray(v, str(x.dtype).rpartition(".")[2]) for v in (slopes, errors))  # type: ignore[return-value]


def precision(backend: Backend, value: Any, x: Array) -> float:
    """The rounding of f's values: that of their dtype, but not finer than that of x."""
    own = float(backend.xp.finfo(x.dtype).eps)
    dtype = str(getattr(value, "dtype", ""))
    return max(own, float(np.finfo(np.float32).eps)) if dtype.endswith("float32") else own


def _quotient(
    backend: Backend, f: Callable[[Array], Any], f0: float, x: Array, i: int, h: float, formula: str, eps: float
) -> tuple[float, float, float]:
    """(quotient, change of f, error by rounding) along entry i, one-sided where one side is not finite."""
    xp = backend.xp
    entry = xp.astype(xp.arange(x.shape[0], device=backend.device) == i, x.dtype)

    def at(step: float) -> tuple[float, float]:
        moved = x + step * entry
        found, distance = read(backend, f(moved), xp.sum(moved - x))
        return found, distance

    def one_sided(step: float) -> tuple[float, float, float]:
        ahead, distance = at(step)
        return ahead - f0, distance, ahead

    change, distance, ahead = one_sided(h)
    if not math.isfinite(ahead):
        change, distance, ahead = one_sided(-h)
    elif formula == "central":
        behind, back = at(-h)
        if math.isfinite(behind):
            change, distance = ahead - behind, distance - back
    if not distance:
        return math.nan, math.nan, math.nan
    return change / distance, change, 2.0 * eps * max(abs(f0), abs(ahead)) / abs(distance)

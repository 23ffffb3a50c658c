"""How far to move: step sizes that balance truncation against rounding.

A difference quotient is wrong by its truncation, C hᵏ, and by rounding, about ε |f| / h. Their sum is smallest near
h = ε^(1/(k+1)): ε^(1/2) one-sided (k = 1), ε^(1/3) central (k = 2); for second derivatives, whose rounding is
ε |f| / h², near ε^(1/3) and ε^(1/4). Source: Gill, Murray, Wright, "Practical Optimization" (1981), 8.6.
"""

import math
from typing import Any, NamedTuple

from gdnet.backend import Array
from gdnet.derivatives.evaluate import Around
from gdnet.errors import OptionError


class Method(NamedTuple):
    """(f(x + up h) - f(x + down h)) / ((up - down) h): wrong by a multiple of h to the power `order`."""

    up: int
    down: int
    order: int


METHODS = {"forward": Method(1, 0, 1), "backward": Method(0, -1, 1), "central": Method(1, -1, 2)}


def difference(name: str, *others: str) -> Method:
    """The difference formula of this name; `others` are further names to list where it is unknown."""
    if name not in METHODS:
        known = ", ".join(f'"{key}"' for key in (*METHODS, *others))
        raise OptionError(f"method must be one of {known}, got {name!r}")
    return METHODS[name]


def steps(around: Around, h: float | None, power: float) -> Array:
    """A step for every entry of x, exactly the distance between two representable numbers: (P,).

    Raises
    ------
    OptionError
        If h is not positive, or so small that x + h = x.
    """
    xp, x = around.xp, around.flat
    if h is None:
        wanted = around.eps**power * typical(xp, x)
    else:
        if isinstance(h, bool) or not isinstance(h, (int, float)) or not math.isfinite(h) or h <= 0:
            raise OptionError(f"h must be a positive number or None, got {h!r}")
        wanted = xp.full_like(x, float(h))
    exact = (x + wanted) - x
    if bool(xp.any(exact == 0.0)) or bool(xp.any(x - exact == x)):
        largest = around.backend.read(xp.max(xp.abs(x)))
        raise OptionError(
            f"h = {h} is too small for {around.dtype}: x + h is x again where |x| is {largest:.3g}; take at least "
            f"{around.eps ** (1 / 2) * (largest or 1.0):.1g}, or h=None"
        )
    return exact


def typical(xp: Any, x: Array) -> Array:
    """The size of each entry, for steps: max(|xᵢ|, the root mean square of x), and 1 where x is zero throughout.

    The entries of one vector mostly have one unit, and a step must be small in that unit, whichever it is.
    """
    largest = xp.max(xp.abs(x)) if x.shape[0] else xp.ones((), dtype=x.dtype)
    unit = xp.where(largest > 0.0, largest, xp.ones_like(largest))
    mean = unit * xp.sqrt(xp.mean((x / unit) ** 2)) if x.shape[0] else unit
    return xp.maximum(xp.abs(x), xp.where(largest > 0.0, mean, unit))


def noise(around: Around, points: int = 8) -> Array:
    """The size of f's rounding errors near x, not less than ε |f|: an array of f's shape.

    f is evaluated on a line of points so close together that its true change is a straight line; the rest, seen in the
    differences of order three and four, is noise. Source: Moré, Wild, "Estimating computational noise", SIAM J. Sci.
    Comput. 33 (2011) 1292-1314.
    """
    xp, x = around.xp, around.flat
    least = around.eps * xp.abs(around.value)
    spacing = 64.0 * around.eps * xp.maximum(xp.abs(x), 1e-3 * typical(xp, x))
    k = xp.arange(points, dtype=around.dtype, device=around.backend.device)
    line = x[None, :] + k[:, None] * spacing[None, :]
    table, found = around.at(line), least
    for order in range(1, 5):
        table = table[1:, ...] - table[:-1, ...]
        if order >= 3:  # lower orders still hold f's slope and curvature
            scale = math.factorial(order) ** 2 / math.factorial(2 * order)
            sigma = xp.sqrt(scale * xp.mean(table * table, axis=0))
            found = xp.where(sigma > found, sigma, found)  # never NaN, should the line leave f's domain
    return found

"""Difference quotients of functions with bounds on x: no point outside the bounds is ever asked for.

    forward     (f(x + h) - f(x)) / h, or backward at an upper bound           wrong by a multiple of h
    central     (f(x + h) - f(x - h)) / (2 h); near a bound the one-sided
                (4 f(x + h) - f(x + 2h) - 3 f(x)) / (2 h)                      wrong by a multiple of h²
    second      (f(x + hᵢ + hⱼ) - f(x + hᵢ) - f(x + hⱼ) + f(x)) / (hᵢ hⱼ)      wrong by multiples of h

Steps are relative to a size of each variable, which the caller knows; `gdnet.derivatives` has the quotients without
bounds.
"""

from collections.abc import Callable

import numpy as np

FORWARD, CENTRAL, SECOND = 1 / 2, 1 / 3, 1 / 4
"""Powers of the rounding unit: relative steps that balance truncation against rounding."""
Function = Callable[[np.ndarray], np.ndarray]


def moved(x: np.ndarray, *steps: tuple[int, float]) -> np.ndarray:
    """A copy of x with some entries changed."""
    x = x.copy()
    for i, step in steps:
        x[i] += step
    return x


def at(f: Function, x: np.ndarray) -> np.ndarray:
    """f as a vector, with NaN for infinities, whose differences would warn."""
    found = np.atleast_1d(np.asarray(f(x), dtype=np.float64))
    return np.where(np.isfinite(found), found, np.nan)


def one_sided(x: np.ndarray, lower: np.ndarray, upper: np.ndarray, h: np.ndarray, reach: float) -> np.ndarray:
    """Signed steps of size h, or shorter, such that x + reach times the step is within the bounds; 0 where fixed."""
    below, above = x - lower, upper - x
    sign = np.where((above >= reach * h) | (above >= below), 1.0, -1.0)
    return sign * np.minimum(h, np.maximum(below, above) / reach)


def difference(
    f: Function, x: np.ndarray, lower: np.ndarray, upper: np.ndarray, h: np.ndarray, value: np.ndarray | None = None
) -> np.ndarray:
    """The Jacobian (m, n) of f by central differences with steps h (n,); one-sided, of second order, near a bound.

    Columns of variables that their bounds fix are zero. `value` is f(x), where it is known.
    """
    columns, short = [], one_sided(x, lower, upper, h, 2.0)
    for i in range(x.size):
        if x[i] - h[i] >= lower[i] and x[i] + h[i] <= upper[i]:
            high, low = moved(x, (i, h[i])), moved(x, (i, -h[i]))
            columns.append((at(f, high) - at(f, low)) / (high[i] - low[i]))
            continue
        value = at(f, x) if value is None else value
        if short[i] == 0.0:
            columns.append(np.zeros_like(value))
            continue
        one, two = at(f, moved(x, (i, short[i]))), at(f, moved(x, (i, 2.0 * short[i])))
        columns.append((4.0 * one - two - 3.0 * value) / (2.0 * short[i]))
    return np.stack(columns, axis=1) if columns else np.zeros((at(f, x).size, 0))


def forward(
    f: Function, x: np.ndarray, lower: np.ndarray, upper: np.ndarray, h: np.ndarray, value: np.ndarray
) -> np.ndarray:
    """The Jacobian (m, n) by one evaluation for each variable; zero for variables that their bounds fix."""
    columns, steps = [], one_sided(x, lower, upper, h, 1.0)
    for i in range(x.size):
        there = moved(x, (i, steps[i]))
        columns.append((at(f, there) - value) / (there[i] - x[i]) if there[i] != x[i] else np.zeros_like(value))
    return np.stack(columns, axis=1) if columns else np.zeros((value.size, 0))


def second(
    f: Function, x: np.ndarray, lower: np.ndarray, upper: np.ndarray, h: np.ndarray, value: np.ndarray
) -> np.ndarray:
    """All second derivatives (m, n, n) by n (n + 3) / 2 evaluations; zero for variables that their bounds fix."""
    n, steps = x.size, one_sided(x, lower, upper, h, 2.0)
    found = np.zeros((value.size, n, n))
    free = [i for i in range(n) if x[i] + steps[i] != x[i]]
    points = {i: moved(x, (i, steps[i])) for i in free}
    singles = {i: at(f, points[i]) for i in free}
    for a, i in enumerate(free):
        for j in free[a:]:
            both = at(f, moved(points[i], (j, steps[j])))
            change = both - singles[i] - singles[j] + value
            found[:, i, j] = found[:, j, i] = change / ((points[i][i] - x[i]) * (points[j][j] - x[j]))
    return found

"""Bounds by number, vector or parameter name; and numbers of lower precision that still respect them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gdnet.backend import backend_of
from gdnet.errors import OptionError, ShapeError


def bound_vector(given: Any, n: int, absent: float, layout: Any, name: str) -> np.ndarray:
    """A bound of every variable as a host vector; `absent` (an infinity) where there is none.

    >>> from gdnet.vector import Layout
    >>> bound_vector({"W": 0.0}, 3, -np.inf, Layout({"0.W": (1, 2), "0.b": (1,)}), "lower").tolist()
    [0.0, 0.0, -inf]
    """
    if given is None:
        return np.full(n, absent)
    if isinstance(given, Mapping):
        if layout is None:
            raise OptionError(f"{name} by parameter name needs the parameters' layout: use bind(layout), or a vector")
        return named_bounds(given, absent, layout, name)
    vector = host(given)
    if vector.ndim == 0:
        return np.full(n, float(vector))
    if vector.shape != (n,):
        raise ShapeError(f"{name} must be a number or a vector of shape ({n},), got shape {vector.shape}")
    return vector.copy()


def named_bounds(given: Mapping[str, Any], absent: float, layout: Any, name: str) -> np.ndarray:
    """Every window whose name is the key, or ends in "." + key; of two keys for one window the longer one counts."""
    found = np.full(layout.size, absent)
    for key in sorted(given, key=len):
        windows = [w for w in layout if w == key or w.endswith("." + key)]
        if not windows:
            raise OptionError(f"{name}: no parameter is called {key!r}; the names are {', '.join(layout)}")
        for window in windows:
            value, shape = absent if given[key] is None else host(given[key]), layout.shapes[window]
            try:
                found[layout.slices[window]] = np.broadcast_to(value, shape).reshape(-1)
            except ValueError:
                raise ShapeError(f"{name}[{key!r}]: {window} has shape {shape}, got {np.shape(value)}") from None
    return found


def free_variables(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Which variables can move. An interval of a few units in the last place has no inside: it fixes its variable.

    >>> free_variables(np.array([0.0, 0.3, 1.0]), np.array([1e-12, np.nextafter(0.3, 1.0), np.inf])).tolist()
    [True, False, True]
    """
    ends = np.where(np.isfinite(lower) & np.isfinite(upper), np.maximum(np.abs(lower), np.abs(upper)), 0.0)
    return upper - lower > 1e-13 * ends


def host(value: Any) -> np.ndarray:
    """Numbers or an array of any library, as float64 on the host; None inside a list is not a number."""
    if isinstance(value, (int, float, list, tuple, np.ndarray, np.generic)):
        return np.asarray(value, dtype=np.float64)
    return np.asarray(backend_of(value).to_numpy(value), dtype=np.float64)


def cast_inside(x: np.ndarray, lower: np.ndarray, upper: np.ndarray, dtype: str) -> np.ndarray:
    """x in this precision, with every entry still within the bounds.

    >>> float(cast_inside(np.array([0.1]), np.array([0.1]), np.array([1.0]), "float32")[0]) >= 0.1
    True
    """
    if dtype == "float64":
        return np.clip(x, lower, upper)
    low = x.astype(dtype)
    low = np.where(low.astype(np.float64) < lower, np.nextafter(low, np.asarray(np.inf, dtype=dtype)), low)
    return np.where(low.astype(np.float64) > upper, np.nextafter(low, np.asarray(-np.inf, dtype=dtype)), low)


def check_bounds(lower: np.ndarray, upper: np.ndarray) -> None:
    """Bounds that no x can meet are an error of the call, not of the method."""
    if np.any(np.isnan(lower)) or np.any(np.isnan(upper)):
        raise OptionError("bounds must not be NaN; use None or ±inf where there is no bound")
    bad = np.flatnonzero((lower > upper) | (lower == np.inf) | (upper == -np.inf))
    if bad.size:
        i = int(bad[0])
        raise OptionError(f"no x satisfies the bounds: lower[{i}] = {lower[i]} and upper[{i}] = {upper[i]}")

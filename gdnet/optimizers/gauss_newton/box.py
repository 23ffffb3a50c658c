"""Bounds on the parameters of a least-squares problem: which are held, and damped steps that stay inside."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend
from gdnet.backend.base import float_name
from gdnet.errors import DataError, OptionError
from gdnet.optimizers.gauss_newton.damped_systems import ParameterSpace

ROUNDINGS = 4.0
"""A point that misses a bound by so many roundings is on it."""


class Box:
    """lower <= x <= upper, elementwise."""

    def __init__(self, backend: Backend, lower: Array, upper: Array) -> None:
        self.backend, self.xp, self.lower, self.upper = backend, backend.xp, lower, upper

    def project(self, x: Array, old: Array) -> Array:
        """x within the bounds, and on one where the step from `old` misses it by rounding."""
        xp = self.xp
        near = ROUNDINGS * float(xp.finfo(x.dtype).eps)
        for bound in (self.lower, self.upper):
            size = xp.maximum(xp.abs(x), xp.abs(old))
            x = xp.where(xp.abs(x - bound) <= near * size, bound, x)
        return xp.minimum(xp.maximum(x, self.lower), self.upper)

    def free(self, x: Array, gradient: Array) -> Array:
        """1 where x_j may move downhill, 0 where a bound holds it."""
        held = ((x <= self.lower) & (gradient >= 0.0)) | ((x >= self.upper) & (gradient <= 0.0))
        return self.xp.astype(~held, x.dtype)

    def active(self, x: Array) -> Array:
        """-1 at the lower bound, 1 at the upper one, else 0, as in SciPy."""
        xp = self.xp
        return xp.astype(x >= self.upper, xp.int64) - xp.astype(x <= self.lower, xp.int64)


class BoxedSpace(ParameterSpace):
    """The damped system with x + v inside the box, solved exactly by an active-set method on the host.

    min ½ wᵀBw + bᵀw, lower <= w <= upper, in scaled variables w = D v with B = D⁻¹AᵀAD⁻¹ + μI. Each round solves for
    the free variables, goes as far as the first bound met, or else releases the held variable that gains most; the
    model falls in every round, so no set comes twice (Lawson and Hanson 1974, chapter 23; Stark and Parker 1995).
    """

    def __init__(
        self, backend: Backend, A: Any, scale: Callable[[Array], Any], max_memory: int, box: Box, x: Array
    ) -> None:
        super().__init__(backend, A, scale, max_memory)
        host = [self.H, A.gradient, box.lower - x, box.upper - x, box.free(x, A.gradient)]
        H, g, lower, upper, free = (backend.to_numpy(a).astype(np.float64) for a in host)
        self.d_host = backend.to_numpy(self.d * self.xp.ones_like(x)).astype(np.float64)
        self.H_host, self.b = H, g / self.d_host
        self.lower, self.upper = lower * self.d_host, upper * self.d_host
        self.free = self.start = free > 0
        self.dtype_name = float_name(A.dtype)
        self.B = H

    def factor(self, mu: float) -> bool:
        self.B, self.free = self.H_host + mu * np.eye(self.b.size), self.start
        try:
            np.linalg.cholesky(self.B)
        except np.linalg.LinAlgError:
            return False
        return True

    def _device(self, w: np.ndarray) -> Array:
        return self.backend.asarray(w / self.d_host, self.dtype_name)

    def step(self) -> Array:
        n, free = self.b.size, self.start.copy()
        w = np.zeros(n)
        for _ in range(10 * n + 10):
            target = w.copy()
            fixed = ~free
            if free.any():
                right = -self.b[free] - self.B[np.ix_(free, fixed)] @ w[fixed]
                target[free] = solved(self.B[np.ix_(free, free)], right)
            move = target - w
            with np.errstate(divide="ignore", invalid="ignore"):
                room = np.where(move > 0, (self.upper - w) / move, np.where(move < 0, (self.lower - w) / move, np.inf))
            room = np.where(free, room, np.inf)
            part = min(1.0, float(np.min(room)))
            w = np.clip(w + part * move, self.lower, self.upper)
            if part < 1.0:
                met = room <= part
                w = np.where(met, np.where(move > 0, self.upper, self.lower), w)
                free &= ~met
                continue
            slope = self.b + self.B @ w
            gain = np.where(w <= self.lower, -slope, 0.0) + np.where(w >= self.upper, slope, 0.0)
            gain = np.where(free | (self.lower == self.upper), 0.0, gain)
            best = int(np.argmax(gain))
            if not gain[best] > 1e-12 * float(np.max(np.abs(self.b))):
                break
            free[best] = True
        self.free = free
        return self._device(w)

    def pull(self, u: Array) -> Array:
        g, free = self.backend.to_numpy(self.A.rmatvec(u)).astype(np.float64) / self.d_host, self.free
        w = np.zeros(g.size)
        if free.any():
            w[free] = -solved(self.B[np.ix_(free, free)], g[free])
        return self._device(w)

    def promise(self, v: Array, size: float, slope: float, mu: float) -> float:
        w = self.backend.to_numpy(v).astype(np.float64) * self.d_host
        return -(float(self.b @ w) + 0.5 * float(w @ self.H_host @ w))


def solved(B: np.ndarray, right: np.ndarray) -> np.ndarray:
    """B⁻¹ right; the shortest solution where B is singular to the last bit (damping can be lost in rounding).

    >>> solved(np.ones((2, 2)), np.ones(2)).round(12).tolist()
    [0.5, 0.5]
    """
    try:
        found: np.ndarray = np.linalg.solve(B, right)
    except np.linalg.LinAlgError:
        found = np.linalg.lstsq(B, right, rcond=None)[0]
    return found


def make_box(backend: Backend, bounds: Any, x: Array) -> Box | None:
    """The box of (lower, upper), or None where nothing binds; errors for bounds that cross or exclude the start."""
    try:
        low, high = (bounds.lb, bounds.ub) if hasattr(bounds, "lb") else (-np.inf, np.inf) if bounds is None else bounds
        pair = (-np.inf if low is None else low, np.inf if high is None else high)
        lower, upper = (np.broadcast_to(_host(backend, b), tuple(x.shape)) for b in pair)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"bounds must be (lower, upper), numbers or arrays of shape {tuple(x.shape)}, got {bounds!r}"
        ) from error
    if np.any(np.isnan(lower) | np.isnan(upper)):
        raise OptionError("bounds must not be NaN; where there is none, give -inf and inf, or None for the whole side")
    if np.any(lower > upper):
        j = int(np.nonzero(lower > upper)[0][0])
        raise OptionError(f"bounds: lower[{j}] = {lower[j]} is above upper[{j}] = {upper[j]}")
    if np.all(np.isneginf(lower)) and np.all(np.isposinf(upper)):
        return None
    start = backend.to_numpy(x)
    dtype = start.dtype.name
    box = Box(backend, backend.asarray(np.array(lower), dtype), backend.asarray(np.array(upper), dtype))
    outside = np.nonzero((start < lower) | (start > upper))[0]
    if outside.size:
        j = int(outside[0])
        raise DataError(f"x0[{j}] = {start[j]} lies outside its bounds [{lower[j]}, {upper[j]}]")
    return box


def _host(backend: Backend, bound: Any) -> np.ndarray:
    if isinstance(bound, (list, tuple, int, float, np.ndarray, np.generic)):
        return np.asarray(bound, dtype=np.float64)
    return np.asarray(backend.to_numpy(bound), dtype=np.float64)

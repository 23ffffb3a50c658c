"""The form in which `kkt` and the filter see a problem: min f(w) s.t. c(x) + S v = 0, with bounds on w = (x, v).

The problem itself (`problem`) and its restoration (`restoration`) have this form.
"""

from functools import cached_property
from typing import Any

import numpy as np

EPS = float(np.finfo(np.float64).eps)


class Point:
    """Values at one w; derivatives when asked for."""

    def __init__(self, problem: Any, w: np.ndarray) -> None:
        self.problem, self.w = problem, w
        self.f, self.c = problem.evaluate(w)
        self.theta = float(np.sum(np.abs(self.c)))
        self.finite = bool(np.isfinite(self.f) and np.isfinite(self.theta))

    @cached_property
    def gradient(self) -> np.ndarray:
        """∇f by w."""
        return self.problem.gradient(self.w)

    @cached_property
    def J(self) -> np.ndarray:
        """(m, n): the Jacobian of c by x."""
        return self.problem.jacobian(self.w)

    def pull(self, y: np.ndarray) -> np.ndarray:
        """Aᵀ y by w."""
        p = self.problem
        return np.concatenate([self.J.T @ y, p.sign * y[p.row]])


class Form:
    """min f(w) s.t. c(x) + S v = 0 with bounds on w = (x, v); see `kkt`. Base of the problem and its restoration."""

    n: int
    m: int
    row: np.ndarray
    sign: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    eps: float = EPS
    """The rounding unit in which the functions are computed."""

    def finish(self) -> None:
        """What follows from the bounds."""
        self.has_lower, self.has_upper = np.flatnonzero(self.lower > -np.inf), np.flatnonzero(self.upper < np.inf)
        lone_l, lone_u = self.upper[self.has_lower] == np.inf, self.lower[self.has_upper] == -np.inf
        self.lone_lower, self.lone_upper = lone_l.astype(float), lone_u.astype(float)
        self._points: dict[bytes, Point] = {}

    def at(self, w: np.ndarray) -> Point:
        """The point w; the last few are kept."""
        key = w.tobytes()
        if key not in self._points:
            while len(self._points) >= 4:
                self._points.pop(next(iter(self._points)))
            self._points[key] = Point(self, w)
        return self._points[key]

    def distances(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far w is from its lower and its upper bounds."""
        return w[self.has_lower] - self.lower[self.has_lower], self.upper[self.has_upper] - w[self.has_upper]

    def spread(self, at_lower: np.ndarray, at_upper: np.ndarray) -> np.ndarray:
        """A vector by w with these entries added where there are bounds."""
        found = np.zeros(self.lower.size)
        found[self.has_lower] += at_lower
        found[self.has_upper] += at_upper
        return found

    def inside(self, w: np.ndarray, push: float) -> np.ndarray:
        """w moved strictly inside: at least `push` from each bound, or that share of the interval."""
        l, u = self.lower, self.upper
        gap = np.where(np.isfinite(l) & np.isfinite(u), u - l, np.inf)
        pl = np.minimum(push * np.maximum(1.0, np.abs(np.where(np.isfinite(l), l, 0.0))), push * gap)
        pu = np.minimum(push * np.maximum(1.0, np.abs(np.where(np.isfinite(u), u, 0.0))), push * gap)
        w = np.where(np.isfinite(l), np.maximum(w, l + pl), w)
        return np.where(np.isfinite(u), np.minimum(w, u - pu), w)

    def keep_inside(self, w: np.ndarray) -> np.ndarray:
        """Undo rounding that has put w onto a bound."""
        w = np.where(w <= self.lower, np.nextafter(self.lower, np.inf), w)
        return np.where(w >= self.upper, np.nextafter(self.upper, -np.inf), w)

    def barrier_changed(self, mu: float) -> None:
        """Told when μ changes."""

    def convex_hessian(self, w: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        """A Gauss-Newton matrix to use with damping where the Hessian is not convex, if there is one."""
        return None

    def hessian(self, w: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The Hessian of the Lagrangian: the block of x, and the diagonal of v."""
        raise NotImplementedError

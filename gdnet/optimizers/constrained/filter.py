"""The filter line search of the interior point method, with second-order correction.

A trial point is accepted if it improves either the violation θ = ||c||₁ or the barrier function φ enough, against the
present point and against every pair in the filter; near feasibility, and where the linear model promises descent, φ
must fall by Armijo's rule instead. Wächter & Biegler, "On the implementation of an interior-point filter line-search
algorithm", Math. Program. 106 (2006), algorithm A; the constants are theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

GAMMA_THETA, GAMMA_PHI, ETA, DELTA, S_THETA, S_PHI, GAMMA_ALPHA = 1e-5, 1e-8, 1e-8, 1.0, 1.1, 2.3, 0.05
MAX_SOC, KAPPA_SOC = 4, 0.99
EPS = float(np.finfo(np.float64).eps)


def below(a: float, b: float, size: float, eps: float) -> bool:
    """a <= b, up to rounding of numbers as large as `size`; False for NaN."""
    return a - b <= 10.0 * eps * abs(size)


@dataclass(frozen=True)
class Filter:
    """Pairs (θ, φ) that later points must beat in one of the two."""

    theta_min: float
    theta_max: float
    pairs: tuple[tuple[float, float], ...] = ()
    eps: float = EPS
    """The rounding unit of the functions."""

    @classmethod
    def around(cls, theta0: float, eps: float = EPS) -> "Filter":
        return cls(1e-4 * max(1.0, theta0), 1e4 * max(1.0, theta0), eps=eps)

    def accepts(self, theta: float, phi: float) -> bool:
        """Whether (θ, φ) lies outside everything that the filter forbids."""
        if not (np.isfinite(theta) and np.isfinite(phi)) or theta > self.theta_max:
            return False
        return all(below(theta, t, t, self.eps) or below(phi, p, p, self.eps) for t, p in self.pairs)

    def plus(self, theta: float, phi: float) -> "Filter":
        """The filter with the neighbourhood of (θ, φ) forbidden too."""
        t, p = (1.0 - GAMMA_THETA) * theta, phi - GAMMA_PHI * theta
        kept = tuple(q for q in self.pairs if q[0] < t or q[1] < p)
        return replace(self, pairs=(*kept, (t, p)))

    def emptied(self) -> "Filter":
        return replace(self, pairs=())


class Accepted(NamedTuple):
    """A point that the filter has accepted."""

    w: np.ndarray
    dy: np.ndarray
    alpha: float
    filter: Filter


def search(
    phi_of: Callable[[np.ndarray], tuple[float, float, np.ndarray]],
    w: np.ndarray,
    direction: tuple[np.ndarray, np.ndarray],
    slope: float,
    longest: Callable[[np.ndarray], float],
    corrected: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    filt: Filter,
) -> Accepted | None:
    """Backtrack along the direction until the filter accepts; None when the step would get too short.

    Parameters
    ----------
    phi_of : w -> (θ, φ, c)
        Not finite where the functions are not defined: the step is then halved.
    direction : (dw, dy)
    slope : float
        ∇φᵀ dw.
    longest : dw -> the longest step to the boundary
    corrected : c -> (dw, dy)
        The direction for other constraint residuals, with the same matrix.
    """
    dw, dy = direction
    theta, phi, c = phi_of(w)

    def switching(alpha: float) -> bool:
        return slope < 0 and alpha * (-slope) ** S_PHI > DELTA * theta**S_THETA

    def judge(t: float, p: float, alpha: float) -> Filter | None:
        """The filter to go on with if (t, p) is acceptable."""
        if not filt.accepts(t, p):
            return None
        if theta <= filt.theta_min and switching(alpha):
            return filt if below(p - phi, ETA * alpha * slope, phi, filt.eps) else None
        less = below(t, (1.0 - GAMMA_THETA) * theta, theta, filt.eps)
        return filt.plus(theta, phi) if less or below(p - phi, -GAMMA_PHI * theta, phi, filt.eps) else None

    shortest = GAMMA_THETA
    if slope < 0:
        shortest = min(shortest, GAMMA_PHI * theta / -slope)
        if theta <= filt.theta_min:
            shortest = min(shortest, DELTA * theta**S_THETA / (-slope) ** S_PHI)
    shortest = max(GAMMA_ALPHA * shortest, EPS)

    alpha = first = longest(dw)
    while alpha >= shortest:
        trial = w + alpha * dw
        t, p, ct = phi_of(trial)
        found = judge(t, p, alpha)
        if found is not None:
            return Accepted(trial, dy, alpha, found)
        if alpha == first and np.isfinite(t) and t >= theta:
            better = second_order(phi_of, w, alpha, c, ct, longest, corrected, judge)
            if better is not None:
                return better
        alpha *= 0.5
    return None


def second_order(
    phi_of: Any, w: np.ndarray, alpha: float, c: np.ndarray, ct: np.ndarray, longest: Any, corrected: Any, judge: Any
) -> Accepted | None:
    """Correct the step for the constraints' curvature, against the Maratos effect: at most four times."""
    residual, previous = alpha * c + ct, float(np.sum(np.abs(ct)))
    for _ in range(MAX_SOC):
        dw, dy = corrected(residual)
        step = longest(dw)
        trial = w + step * dw
        t, p, ct = phi_of(trial)
        if not np.isfinite(t):
            return None
        found = judge(t, p, alpha)
        if found is not None:
            return Accepted(trial, dy, step, found)
        if t > KAPPA_SOC * previous:
            return None
        residual, previous = step * residual + ct, t
    return None

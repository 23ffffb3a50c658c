"""A Hessian from differences of gradients, for problems that give none and have too many variables for more."""

import numpy as np

EPS = float(np.finfo(np.float64).eps)


class Secant:
    """Damped BFGS approximation of the Hessian of the Lagrangian (Powell 1978): always positive definite.

    Bs is replaced by y + (1 - t) (Bs - y), with t so that the curvature along s is at least a fifth of that of B.
    """

    def __init__(self, n: int) -> None:
        self.B: np.ndarray = np.eye(n)
        self.last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self.fresh = True

    def update(self, x: np.ndarray, sigma: float, y: np.ndarray, gradient: np.ndarray, J: np.ndarray) -> np.ndarray:
        if self.last is not None and not np.array_equal(x, self.last[0]):
            s = x - self.last[0]
            d = sigma * (gradient - self.last[1]) + (J - self.last[2]).T @ y
            if np.all(np.isfinite(d)):
                self._pair(s, d)
        self.last = (x.copy(), gradient, J)
        return self.B

    def _pair(self, s: np.ndarray, d: np.ndarray) -> None:
        if self.fresh and (sd := float(s @ d)) > 0:
            self.B = min(max(float(d @ d) / sd, 1e-8), 1e8) * np.eye(s.size)
        self.fresh = False
        Bs = self.B @ s
        curvature = float(s @ Bs)
        if curvature <= EPS * float(s @ s):
            return
        sd = float(s @ d)
        t = 1.0 if sd >= 0.2 * curvature else 0.8 * curvature / (curvature - sd)
        d = t * d + (1.0 - t) * Bs
        self.B = self.B - np.outer(Bs, Bs) / curvature + np.outer(d, d) / float(s @ d)

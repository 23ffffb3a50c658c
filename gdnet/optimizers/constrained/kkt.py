"""Linear algebra of the interior point method: the barrier KKT system, its inertia and its solution.

The variables are w = (x, v). Only x enters the constraints nonlinearly; every v belongs to one constraint row, with a
sign, and has a diagonal Hessian (slacks; the elastic variables of the restoration phase). The system is

    [ W + Σ + δw I   Aᵀ   ] [dw]   [r_w]          A = [J  S],  S one signed unit column for each v
    [ A            -δc I  ] [dy] = [r_c]

The v are eliminated, which turns the row i of -δc I into -e_i, e_i = δc + Σ 1/(Σ_v + δw), and rows with a moderate
1/e_i are then folded into the upper block, W + Jᵀ e⁻¹ J. Strongly active rows stay rows: folding them in would drown W.
By Haynsworth's additivity the inertia of the whole is right if and only if that of the small matrix is (n, rows, 0).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Inverse = Callable[[np.ndarray], np.ndarray]
"""K⁻¹ as a function."""
SMALL = 200
"""Up to this order one symmetric eigendecomposition gives inertia and solution; above it Cholesky and a solve do."""


@dataclass
class Kkt:
    """One barrier KKT matrix, without its perturbations δw and δc."""

    W: np.ndarray
    """(n, n), the Hessian of the Lagrangian by x."""
    J: np.ndarray
    """(m, n), the Jacobian of the constraints by x."""
    diag_x: np.ndarray
    """(n,), Σ for x."""
    diag_v: np.ndarray
    """(k,), Σ and Hessian for v."""
    row: np.ndarray
    """(k,), the constraint to which each v belongs."""
    sign: np.ndarray
    """(k,), +1 or -1."""

    def factor(self, dw: float, dc: float) -> "Factor | str":
        """A factorisation, or "singular" or "inertia": the matrix is not one of a minimum's barrier problem."""
        n, m = self.W.shape[0], self.J.shape[0]
        tau = self.diag_v + dw
        e = dc + np.bincount(self.row, weights=1.0 / tau, minlength=m)[:m]
        H = self.W + np.diag(self.diag_x + dw)
        if n + m <= SMALL:
            kept = np.ones(m, dtype=bool)
        else:
            size = max(1.0, float(np.max(np.abs(self.W), initial=0.0)))
            kept = np.sum(self.J * self.J, axis=1) > 1e3 * size * e
        Jk, Jf = self.J[kept], self.J[~kept]
        H = H + Jf.T @ (Jf / e[~kept][:, None])
        K = np.block([[H, Jk.T], [Jk, -np.diag(e[kept])]])
        if not np.all(np.isfinite(K)):
            return "singular"
        scale = equilibrate(K)
        K = scale[:, None] * K * scale
        solve = eigen_solver(K, n) if n + int(kept.sum()) <= SMALL else cholesky_solver(K, n)
        return solve if isinstance(solve, str) else Factor(self, dw, dc, tau, e, kept, scale, solve)

    def product(self, w: np.ndarray, y: np.ndarray, dw: float, dc: float) -> tuple[np.ndarray, np.ndarray]:
        """The perturbed matrix times (w, y)."""
        n, m = self.W.shape[0], self.J.shape[0]
        x, v = w[:n], w[n:]
        top = self.W @ x + (self.diag_x + dw) * x + self.J.T @ y
        low = (self.diag_v + dw) * v + self.sign * y[self.row]
        rows = self.J @ x + np.bincount(self.row, weights=self.sign * v, minlength=m)[:m] - dc * y
        return np.concatenate([top, low]), rows


@dataclass
class Factor:
    """A factorised KKT matrix with right inertia."""

    kkt: Kkt
    dw: float
    dc: float
    tau: np.ndarray
    e: np.ndarray
    kept: np.ndarray
    scale: np.ndarray
    small: Inverse

    def solve(self, rw: np.ndarray, rc: np.ndarray, refinements: int = 4) -> tuple[np.ndarray, np.ndarray, float]:
        """(dw, dy, relative residual), with iterative refinement against the whole system."""
        size = max(float(np.max(np.abs(rw), initial=0.0)), float(np.max(np.abs(rc), initial=0.0)))
        w, y = self._once(rw, rc)
        best, error = (w, y), np.inf
        for _ in range(refinements):
            aw, ay = self.kkt.product(w, y, self.dw, self.dc)
            ew, ey = rw - aw, rc - ay
            now = max(float(np.max(np.abs(ew), initial=0.0)), float(np.max(np.abs(ey), initial=0.0)))
            if not now < error:
                break
            best, error = (w, y), now
            if error <= 1e-15 * size:
                break
            cw, cy = self._once(ew, ey)
            w, y = w + cw, y + cy
        return best[0], best[1], error / size if size > 0 else 0.0

    def _once(self, rw: np.ndarray, rc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k = self.kkt
        n, m = k.W.shape[0], k.J.shape[0]
        rv = rw[n:]
        b = rc - np.bincount(k.row, weights=k.sign * rv / self.tau, minlength=m)[:m]
        folded = ~self.kept
        Jf, ef = k.J[folded], self.e[folded]
        rhs = np.concatenate([rw[:n] + Jf.T @ (b[folded] / ef), b[self.kept]])
        found = self.scale * self.small(self.scale * rhs)
        x, y = found[:n], np.empty(m)
        y[self.kept] = found[n:]
        y[folded] = (Jf @ x - b[folded]) / ef
        v = (rv - k.sign * y[k.row]) / self.tau
        return np.concatenate([x, v]), y


def equilibrate(K: np.ndarray, rounds: int = 4) -> np.ndarray:
    """A diagonal s with rows of s K s near one. A congruence: it keeps the inertia and makes it computable."""
    scale = np.ones(K.shape[0])
    K = np.abs(K)
    for _ in range(rounds):
        largest = np.max(K, axis=1, initial=0.0)
        s = 1.0 / np.sqrt(np.where(largest > 0, largest, 1.0))
        K = s[:, None] * K * s
        scale = scale * s
    return scale


def eigen_solver(K: np.ndarray, n: int) -> Inverse | str:
    """Inertia and solution by K = Q Λ Qᵀ."""
    try:
        values, Q = np.linalg.eigh(K)
    except np.linalg.LinAlgError:  # entries too far apart even after scaling
        return "singular"
    if K.size and np.min(np.abs(values)) < 1e-14 * K.shape[0]:
        return "singular"
    return (lambda b: Q @ ((Q.T @ b) / values)) if int(np.sum(values > 0)) == n else "inertia"


def cholesky_solver(K: np.ndarray, n: int) -> Inverse | str:
    """By the Schur complement where H is positive definite; else H + ρ JᵀJ so is enough for the inertia (n, m)."""
    H, J, e = K[:n, :n], K[n:, :n], -np.diagonal(K)[n:]
    try:
        L = Triangular(np.linalg.cholesky(H))
        Y = L.solve(J.T)
        S = Triangular(np.linalg.cholesky(np.diag(e) + Y.T @ Y))
    except np.linalg.LinAlgError:
        weight = 1.0 / np.maximum(e, 1e-8)
        try:
            np.linalg.cholesky(H + J.T @ (J * weight[:, None]))
            inverse = np.linalg.inv(K)
        except np.linalg.LinAlgError:
            return "inertia"
        return lambda b: inverse @ b

    def solve(b: np.ndarray) -> np.ndarray:
        half = L.solve(b[:n])
        y = S.solve_transposed(S.solve(Y.T @ half - b[n:]))
        return np.concatenate([L.solve_transposed(half - Y @ y), y])

    return solve


class Triangular:
    """Solutions with a lower triangular matrix by blocks; NumPy alone has none, and a general solve costs n³ again."""

    block = 64

    def __init__(self, L: np.ndarray) -> None:
        self.L = L
        self.parts = [slice(i, min(i + self.block, L.shape[0])) for i in range(0, L.shape[0], self.block)]
        self.inverses = [np.linalg.inv(L[p, p]) for p in self.parts]

    def solve(self, b: np.ndarray) -> np.ndarray:
        """L⁻¹ b."""
        x = np.array(b, dtype=np.float64)
        for p, inverse in zip(self.parts, self.inverses):
            x[p] = inverse @ (x[p] - self.L[p, : p.start] @ x[: p.start])
        return x

    def solve_transposed(self, b: np.ndarray) -> np.ndarray:
        """L⁻ᵀ b."""
        x = np.array(b, dtype=np.float64)
        for p, inverse in zip(reversed(self.parts), reversed(self.inverses)):
            x[p] = inverse.T @ (x[p] - self.L[p.stop :, p].T @ x[p.stop :])
        return x


class Inertia:
    """The search for the smallest perturbation with the right inertia (Wächter & Biegler 2006, algorithm IC)."""

    first, grow_first, grow, shrink, least, most = 1e-4, 100.0, 8.0, 1.0 / 3.0, 1e-20, 1e30

    @classmethod
    def correct(cls, kkt: Kkt, mu: float, last: float, least: float = 0.0) -> tuple[Factor | None, float]:
        """(factor, δw). `last` is the last δw that was needed, 0 at first; no factor if none helps."""
        dc, dw = 0.0, least
        found = kkt.factor(dw, dc)
        if found == "singular":
            dc = 1e-8 * mu**0.25
            found = kkt.factor(dw, dc)
        if isinstance(found, Factor):
            return found, dw
        grow = cls.grow if last > 0 else cls.grow_first
        dw = max(least, cls.first if last == 0 else max(cls.least, cls.shrink * last))
        while dw <= cls.most:
            found = kkt.factor(dw, dc)
            if isinstance(found, Factor):
                return found, dw
            if found == "singular" and dc == 0.0:
                dc = 1e-8 * mu**0.25
            else:
                dw *= grow
        return None, dw

"""Why a convex program has no solution: proofs by two linear programs that always have one."""

import numpy as np

from gdnet.optimizers.constrained.mehrotra import ROUNDING, Program, solve

TOL, FAR, FALL = 1e-10, 1e6, 1e-6
"""The linear programs' tolerance; beyond how many times its size no x is looked for; the least slope that falls."""


def diagnose(d: Program, max_iter: int) -> str | None:
    """ "infeasible", "unbounded", or None where neither is proved. `d` is scaled."""
    if distance_to_feasible(d, max_iter) > 0.0:
        return "infeasible"
    return "unbounded" if falls_for_ever(d, max_iter) else None


def distance_to_feasible(d: Program, max_iter: int) -> float:
    """What the constraints must be relaxed by, in all, for a point to exist: a lower bound; 0 where nothing is proved.

    The program is min Σt with G x - t <= h, |A x - b| <= t. Its multipliers λ of the rows, 0 <= λ <= 1 for G and
    |λ| <= 1 for A, prove Σt >= min λᵀ(rows x - right) over the bounds, whatever their accuracy (weak duality).
    Where a variable has no bound, |x| <= 10⁶ max(1, the largest x found) is supposed.
    """
    n, k, m = d.q.size, d.b.size, d.h.size
    I, O, count = np.eye, np.zeros, d.q.size + d.h.size + d.b.size
    G = np.block([[d.G, -I(m), O((m, k))], [d.A, O((k, m)), -I(k)], [-d.A, O((k, m)), -I(k)]])
    elastic = Program(
        O((count, count)), np.concatenate([O(n), np.ones(m + k)]), G, np.concatenate([d.h, d.b, -d.b]),
        O((0, count)), O(0), np.concatenate([d.lower, O(m + k)]), np.concatenate([d.upper, np.full(m + k, np.inf)]),
    )  # fmt: skip
    p, _, _ = solve(elastic, TOL, max_iter)
    weights = np.concatenate([np.clip(p.z[m : m + k] - p.z[m + k :], -1.0, 1.0), np.clip(p.z[:m], 0.0, 1.0)])
    slope = weights @ d.rows
    far = FAR * max(1.0, float(np.max(np.abs(p.x[:n]), initial=0.0)))
    least = np.where(slope > 0, np.maximum(d.lower, -far), np.minimum(d.upper, far))
    doubt = ROUNDING * float(np.abs(weights) @ (np.abs(d.right) + np.abs(d.rows) @ np.minimum(np.abs(least), 1.0)))
    proved = float(slope @ least - weights @ d.right) - doubt
    return max(0.0, proved) if np.isfinite(proved) else 0.0


def falls_for_ever(d: Program, max_iter: int) -> bool:
    """Whether qᵀv < 0 for a v with P v = 0, G v <= 0, A v = 0, |v| <= 1 and v = 0 or inwards where x has bounds."""
    n, k, m = d.q.size, d.b.size, d.h.size
    largest = float(np.max(np.abs(d.q), initial=0.0))
    if largest == 0.0:
        return False
    cone = Program(
        np.zeros((n, n)), d.q / largest, d.G, np.zeros(m), np.concatenate([d.A, d.P]), np.zeros(k + n),
        np.where(np.isfinite(d.lower), 0.0, -1.0), np.where(np.isfinite(d.upper), 0.0, 1.0),
    )  # fmt: skip
    cone = cone.restrict(np.flatnonzero(cone.lower < cone.upper), np.zeros(n))
    p, _, stop = solve(cone, 1e2 * TOL, max_iter)
    return stop == "converged" and float(cone.q @ p.x) < -FALL

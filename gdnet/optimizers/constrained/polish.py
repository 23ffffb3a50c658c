"""The last digits: from a point close to the boundary onto it.

An interior point method ends at a distance of μ / z from a bound with multiplier z, and of about √μ from one that is
active with multiplier zero. Which bounds and inequalities are active is clear by then. With these as equations, one
Newton step on the optimality conditions

    W d + Jᵀy - z = -∇f,   J d = -c of equations and active rows,   d = (bound - x) of active variables

lands on them; a few such steps let wrong guesses be corrected (a primal-dual active set method: M. Hintermüller,
K. Ito, K. Kunisch, SIAM J. Optim. 13 (2002) 865-888). The new point is taken only if the conditions hold better there.
"""

import numpy as np

from gdnet.optimizers.constrained.barrier import State
from gdnet.optimizers.constrained.problem import SlackProblem

ROUNDS, GUESSES = 3, 8


def polished(problem: SlackProblem, s: State) -> State:
    """The state on the boundary, or as it was."""
    if s.zl.size + s.zu.size == 0:
        return s
    for _ in range(ROUNDS):
        better = _step(problem, s)
        if better is None:
            break
        s = better
    return s


def _step(problem: SlackProblem, s: State) -> State | None:
    """One Newton step with the active set that confirms itself; None where it does not improve the point."""
    p, n, k = problem.at(s.w), problem.n, problem.functions.equalities
    W, _ = problem.hessian(s.w, s.y)
    if not np.all(np.isfinite(W)):
        return None
    x, lower, upper = s.w[:n], problem.lower[:n], problem.upper[:n]
    z_lower, z_upper = problem.spread(s.zl, 0.0 * s.zu), problem.spread(0.0 * s.zl, s.zu)
    c = p.c.copy()
    c[problem.row] -= s.w[n:]  # g itself
    at_lower, at_upper = z_lower[:n] > x - lower, z_upper[:n] > upper - x
    rows = np.concatenate([np.ones(k, dtype=bool), z_lower[n:] > s.w[n:]])
    for _ in range(GUESSES):
        d, y, z = _newton(
            W, p.gradient[:n], p.J, c, rows, np.where(at_lower, lower - x, upper - x), at_lower | at_upper
        )
        new = x + d
        low = np.where(at_lower, z > 0, new < lower)
        high = np.where(at_upper, z < 0, new > upper) & ~low
        active = rows.copy()
        active[k:] = np.where(rows[k:], y[k:] > 0, (c + p.J @ d)[k:] > 0)
        if np.array_equal(low, at_lower) and np.array_equal(high, at_upper) and np.array_equal(active, rows):
            break
        at_lower, at_upper, rows = low, high, active
    new = np.where(at_lower, lower, np.where(at_upper, upper, np.clip(x + d, lower, upper)))
    if not np.all(np.isfinite(new)):
        return None
    w = np.concatenate([new, np.zeros(s.w.size - n)])
    g = problem.at(w).c[problem.row]
    w[n:] = np.where(rows[k:], 0.0, np.maximum(-g, 0.0)) if np.all(np.isfinite(g)) else np.nan
    multipliers = np.where(rows, y, 0.0)
    multipliers[k:] = np.maximum(multipliers[k:], 0.0)
    z = np.concatenate([z, multipliers[k:]])
    low = np.concatenate([at_lower, rows[k:]])
    zl = np.where(low, np.maximum(z, 0.0), 0.0)[problem.has_lower]
    zu = np.where(np.append(at_upper, np.zeros(s.w.size - n, dtype=bool)), np.maximum(-z, 0.0), 0.0)[problem.has_upper]
    return _better(problem, s, s._replace(w=w, y=multipliers, zl=zl, zu=zu))


def _newton(
    W: np.ndarray, g: np.ndarray, J: np.ndarray, c: np.ndarray, rows: np.ndarray, fixed: np.ndarray, active: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(d, y, z): the step, multipliers of all rows, and W d + g + Jᵀy, which is zero for variables that are free."""
    d = np.where(active, fixed, 0.0)
    A, free = J[rows], np.flatnonzero(~active)
    m = A.shape[0]
    K = np.block([[W[np.ix_(free, free)], A[:, free].T], [A[:, free], np.zeros((m, m))]])
    right = np.concatenate([-(g + W @ d)[free], -(c[rows] + A @ d)])
    found = np.linalg.lstsq(K, right, rcond=1e-13)[0] if K.size else right
    d[free] = found[: free.size]
    y = np.zeros(rows.size)
    y[rows] = found[free.size :]
    return d, y, W @ d + g + J.T @ y


def _better(problem: SlackProblem, s: State, new: State) -> State | None:
    """`new` if the conditions hold better there, with a value that is not higher than rounding makes it."""
    p, q = problem.at(s.w), problem.at(new.w)
    if not (q.finite and np.all(np.isfinite(q.gradient)) and np.all(np.isfinite(q.J))):
        return None
    before = problem.residuals(s.w, s.y, s.zl, s.zu)
    after = problem.residuals(new.w, new.y, new.zl, new.zu)
    if not max(after.relative) < max(before.relative):
        return None
    room = max(before.relative) * before.scale + 10.0 * problem.eps * abs(p.f)
    return new if q.f <= p.f + (s.w.size + 1) * room else None

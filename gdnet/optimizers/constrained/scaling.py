"""Units for variables, constraint rows and objective, such that a problem's numbers are of the size of one.

The same problem may come in metres or in nanometres, its cost in euros or in millions. Everything that a method
compares with a constant is therefore compared in units that the problem itself gives:

    P_jk c_j c_k / f,   q_j c_j / f,   G_ij c_j / r_i,   h_i / r_i,   (bounds and start)_j / c_j

The logarithms of f, c and r are those for which the sum of squares of the logarithms of all these numbers is least. If
a row, a variable or the objective is multiplied by any factor, its unit follows, and the numbers stay as they are.
The bounds of a quadratic program count little: they decide only where nothing else does, for 1e8 often means "none".

A. R. Curtis, J. K. Reid, "On the automatic scaling of matrices for Gaussian elimination", IMA J. Appl. Math. 10 (1972)
118-124.
"""

from typing import NamedTuple

import numpy as np

LIGHT = 1e-3
"""The weight of a number that only says how large a variable may be."""
FAR = np.log(1e8)
"""Numbers that are this far from the others, as a logarithm, are rounding errors or stand for infinity: left out."""


class Units(NamedTuple):
    """What to divide the objective and the rows by, and to multiply the scaled variables with."""

    objective: float
    rows: np.ndarray
    variables: np.ndarray


def units(
    P: np.ndarray,
    q: np.ndarray,
    G: np.ndarray,
    h: np.ndarray,
    sizes: list[np.ndarray],
    weight: float = LIGHT,
    rounds: int = 2,
) -> Units:
    """Units for min ½ xᵀP x + qᵀx with rows G x = h or <= h.

    Parameters
    ----------
    P : (n, n)
    q : (n,)
    G, h : (m, n), (m,)
    sizes : list of (n,)
        Numbers in the units of the variables, such as bounds. Zeros and numbers that are not finite tell nothing.
    weight : float
        What each of `sizes` counts, where the other numbers count 1.
    rounds : int
        How often to solve: after the first time without the numbers that are far from all others.

    >>> found = units(np.array([[2e-12]]), np.array([-2e-6]), np.zeros((0, 1)), np.zeros(0), [])
    >>> bool(abs(found.variables[0] - 1e6) < 1.0)       # the minimum is at 1e6
    True
    """
    n, m = q.size, h.size
    terms = _terms(P, q, G, h, sizes, weight)
    logs, columns, signs, weights = (np.concatenate(part) for part in zip(*terms))
    found = np.zeros(1 + n + m)
    used = np.ones(logs.size, dtype=bool)
    for _ in range(rounds):
        found = _least_squares(logs[used], columns[used], signs[used], weights[used], 1 + n + m)
        used = np.abs(logs + np.sum(found[columns] * signs, axis=1)) <= FAR
    found = np.exp(np.clip(found, -600.0, 600.0))
    return Units(float(found[0]), found[1 + n :], found[1 : 1 + n])


def _terms(
    P: np.ndarray, q: np.ndarray, G: np.ndarray, h: np.ndarray, sizes: list[np.ndarray], light: float
) -> list[tuple[np.ndarray, ...]]:
    """(logarithms, (k, 3) indices of unknowns, (k, 3) signs, weights). The unknowns are f, the variables, the rows."""
    n, m = q.size, h.size

    def term(values: np.ndarray, *unknowns: tuple[np.ndarray, float], weight: float = 1.0) -> tuple[np.ndarray, ...]:
        known = np.isfinite(values) & (values != 0)
        index, sign = np.zeros((values.size, 3), dtype=np.int64), np.zeros((values.size, 3))
        for k, (which, s) in enumerate(unknowns):
            index[:, k], sign[:, k] = which, s
        return np.log(np.abs(values[known])), index[known], sign[known], np.full(int(known.sum()), weight)

    variables, rows, objective = 1 + np.arange(n), 1 + n + np.arange(m), np.zeros(1, dtype=np.int64)
    diagonal = np.diagonal(P)
    j, k = np.nonzero(np.triu(P, 1) * ((diagonal[:, None] == 0) | (diagonal[None, :] == 0)))
    i, v = np.divmod(np.arange(m * n), max(1, n))
    return [
        term(diagonal, (variables, 2.0), (objective, -1.0)),
        term(P[j, k], (1 + j, 1.0), (1 + k, 1.0), (objective, -1.0)),
        term(q, (variables, 1.0), (objective, -1.0)),
        term(G.reshape(-1), (1 + v, 1.0), (1 + n + i, -1.0)),
        term(h, (rows, -1.0)),
        *[term(np.asarray(s, dtype=np.float64), (variables, -1.0), weight=light) for s in sizes],
    ]


def _least_squares(
    logs: np.ndarray, columns: np.ndarray, signs: np.ndarray, weights: np.ndarray, count: int
) -> np.ndarray:
    """argmin of Σ weight (log + signs · unknowns)², the smallest where there are many."""
    N, right = np.zeros((count, count)), np.zeros(count)
    for a in range(columns.shape[1]):
        np.add.at(right, columns[:, a], -weights * logs * signs[:, a])
        for b in range(columns.shape[1]):
            np.add.at(N, (columns[:, a], columns[:, b]), weights * signs[:, a] * signs[:, b])
    return np.linalg.solve(N + 1e-10 * np.eye(count), right)

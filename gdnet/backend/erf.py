"""Functions that the array API standard lacks, in terms of what it has."""

import math
from typing import Any

# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969) 631-637,
# coefficients as published in CALERF (netlib, specfun): relative error below 1e-16 on each of the three ranges.
_P1 = (3.16112374387056560e00, 1.13864154151050156e02, 3.77485237685302021e02, 3.20937758913846947e03)
_P1_LEAD = 1.85777706184603153e-1
_Q1 = (2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03, 2.84423683343917062e03)
_P2 = (
    5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e01, 2.98635138197400131e02,
    8.81952221241769090e02, 1.71204761263407058e03, 2.05107837782607147e03, 1.23033935479799725e03,
)  # fmt: skip
_P2_LEAD = 2.15311535474403846e-8
_Q2 = (
    1.57449261107098347e01, 1.17693950891312499e02, 5.37181101862009858e02, 1.62138957456669019e03,
    3.29079923573345963e03, 4.36261909014324716e03, 3.43936767414372164e03, 1.23033935480374942e03,
)  # fmt: skip
_P3 = (3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1, 1.60837851487422766e-2,
       6.58749161529837803e-4)  # fmt: skip
_P3_LEAD = 1.63153871373020978e-2
_Q3 = (2.56852019228982242e00, 1.87295284992346725e00, 5.27905102951428412e-1, 6.05183413124413191e-2,
       2.33520497626869185e-3)  # fmt: skip


def _ratio(s: Any, lead: float, p: tuple[float, ...], q: tuple[float, ...]) -> Any:
    """(lead sᵏ + p₀ sᵏ⁻¹ + ...) / (sᵏ + q₀ sᵏ⁻¹ + ...) by Horner's rule."""
    top, bottom = lead * s + p[0], s + q[0]
    for a, b in zip(p[1:], q[1:], strict=True):
        top, bottom = top * s + a, bottom * s + b
    return top / bottom


def erf(xp: Any, x: Any) -> Any:
    """The error function, elementwise, with the standard's operations alone.

    Source: W. J. Cody, Math. Comp. 23 (1969) 631-637.

    >>> import numpy as np
    >>> float(np.round(erf(np, np.asarray(0.5)), 12))
    0.520499877813
    """
    a = xp.abs(x)
    small = x * _ratio(xp.minimum(a, 0.46875 + 0 * a) ** 2, _P1_LEAD, _P1, _Q1)
    # Each formula is evaluated everywhere and must not overflow outside its own range, hence the clamps.
    mid = xp.minimum(xp.maximum(a, 0.46875 + 0 * a), 4.0 + 0 * a)
    middle = 1.0 - xp.exp(-mid * mid) * _ratio(mid, _P2_LEAD, _P2, _Q2)
    far = xp.minimum(xp.maximum(a, 4.0 + 0 * a), 6.0 + 0 * a)
    s = 1.0 / (far * far)
    tail = 1.0 - xp.exp(-far * far) / far * (1.0 / math.sqrt(math.pi) - s * _ratio(s, _P3_LEAD, _P3, _Q3))
    return xp.where(a <= 0.46875, small, xp.sign(x) * xp.where(a <= 4.0, middle, tail))

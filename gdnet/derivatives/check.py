"""The check of a claimed gradient against difference quotients, with a tolerance that the quotients set themselves.

No fixed tolerance is right: one that forgives rounding at |f| = 1e8 forgives everything at 1e-8. Here each quotient
comes with an estimate of its own error, truncation seen from steps h and 2h plus the measured noise of f over h, and a
claim may be off by ten times that. Where this is too coarse to see an error of the size asked for, the check refuses.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gdnet.backend import Array, backend_of
from gdnet.derivatives.evaluate import MAX_MEMORY, Around
from gdnet.derivatives.lines import Directions, Entries, Lines
from gdnet.derivatives.report import Entry, GradientMismatch, GradientReport
from gdnet.errors import ArrayError, DataError, OptionError, ShapeError
from gdnet.vector import Layout

FULL = 2000
"""Vectors up to this size are checked entry by entry, longer ones along random directions."""
MARGIN = 10.0
"""How many times its estimated error a quotient may be off."""
SMOOTH = 1e-5
"""Where steps h and 2h disagree by more than this share of the slopes, the entry is looked at with smaller steps."""


def gradcheck(
    f: Callable,
    x: Array,
    gradient: Callable | Array | None = None,
    *,
    h: float | None = None,
    layout: Layout | None = None,
    rtol: float | None = None,
    full: bool | None = None,
    directions: int = 8,
    seed: int = 0,
    vectorized: bool = False,
    max_memory: int = MAX_MEMORY,
    raise_exception: bool = False,
) -> GradientReport:
    """Whether a claimed gradient is the derivative of f at x, judged by central quotients.

    An entry passes if |claimed - numerical| <= 10 (truncation + rounding), with truncation |D(2h) - D(h)| / 3 and
    rounding (noise of f) / h. Up to 2000 entries all are checked. Of longer vectors the derivatives u·g along random
    directions u of ±1/√P are: an error anywhere shows in each of them, though not where it is.

    Parameters
    ----------
    f : callable
        Array of x's shape to one number; or to an object with `value` and `gradient`, such as an `Objective`.
    x : array of real numbers
    gradient : callable or array, optional
        The claim: x to an array of x's shape, or that array. By default `f(x).gradient`.
    h : float, optional
        The step, by default ε^(1/3) max(|xᵢ|, rms of x). Entries near a kink are looked at with smaller ones as well.
    layout : Layout, optional
        Names for the entries of a flat x, as in "2.W (3, 7)". By default `f.layout`, if f has one.
    rtol : float, optional
        The relative error that must not be missed in a large entry: 1e-3 in float64, 0.1 in float32.
    full : bool, optional
        Whether to check every entry whatever their number, or random directions.
    directions, seed : int
        How many random directions, and which.
    vectorized, max_memory
        As in `numerical_gradient`.
    raise_exception : bool
        Whether a wrong claim raises `GradientMismatch` instead of being reported.

    Raises
    ------
    OptionError
        If rounding at this step hides errors of `rtol`, as in float32 at h = 1e-4: rounding ε |f| / h is then 1e-3 |f|.
    ShapeError, ArrayError, DataError
        If the claim has another shape than x, is of another library or not finite; for the rest see
        `numerical_gradient`.

    >>> import numpy as np
    >>> x = np.asarray([1.0, 2.0, 3.0])
    >>> bool(gradcheck(lambda x: np.sum(x**3), x, lambda x: 3 * x**2))
    True
    >>> report = gradcheck(lambda x: np.sum(x**3), x, 3 * x**2 * np.asarray([1.0, 1.001, 1.0]))
    >>> bool(report), report.worst.index
    (False, 1)
    """
    layout = getattr(f, "layout", None) if layout is None else layout

    def value(v: Array) -> Any:
        answer = f(v)
        return getattr(answer, "value", answer)

    around = Around(value, x, vectorized=vectorized, max_memory=max_memory, scalar=True)
    claim = _claimed(around, f, x, gradient)
    if layout is not None and layout.size != around.size:
        raise ShapeError(f"the layout names {layout.size} entries, x has {around.size}")
    if isinstance(h, float) and 0.0 < h < 1e4 * around.eps:
        raise OptionError(
            f"{around.dtype} at h = {h:g} cannot judge a gradient: the rounding error of a quotient, ε |f| / h, is "
            f"{around.eps / h:.1g} |f| and dwarfs the derivative. Use float64, or h near {around.eps ** (1 / 3):.0e}"
        )
    rtol = (1e-3 if around.eps < 1e-10 else 0.1) if rtol is None else rtol
    lines: Lines
    if (around.size <= FULL) if full is None else full:
        lines = Entries(around, claim, h, layout)
    else:
        lines = Directions(around, claim, h, directions, seed)
    report = _judge(lines, rtol, h)
    if raise_exception and not report:
        raise GradientMismatch(report)
    return report


def _claimed(around: Around, f: Callable, x: Array, gradient: Any) -> np.ndarray:
    """The claim on the host, (P,) of float64, after a check of what came."""
    claim = gradient if gradient is not None else getattr(f(x), "gradient", None)
    if claim is None:
        raise OptionError("give the gradient to check: f's result has no attribute `gradient`")
    claim = claim(x) if callable(claim) else claim
    if around.backend is not backend_of(claim, names=("gradient",)):
        raise ArrayError(f"gradient must be a {around.backend.name} array on {around.backend.device}, as x is")
    if tuple(claim.shape) != around.shape:
        raise ShapeError(f"gradient must have x's shape {around.shape}, got {tuple(claim.shape)}")
    host = np.asarray(around.backend.to_numpy(claim), dtype=np.float64).reshape(-1)
    if not np.all(np.isfinite(host)):
        raise DataError(f"gradient is NaN or infinite at entry {int(np.argmin(np.isfinite(host)))}")
    return host


class Slopes:
    """Central quotients along some lines at one step, what is known of their errors, and whether f looks smooth.

    Where f is smooth, the gap between the forward and the backward quotient, h f'', doubles with h, and D(2h) is D(h)
    up to a multiple of h². A kink within 2h of x, where the slope changes by s, makes `bend` a good part of s however
    small h is.
    """

    def __init__(self, lines: Lines, which: np.ndarray, factor: float) -> None:
        near, near_gap, width = self._at(lines, which, factor)
        far, far_gap, _ = self._at(lines, which, 2.0 * factor)
        self.numerical, self.truncation = near, np.abs(far - near) / 3.0
        self.rounding = 2.0 * lines.noise / width
        self.bend = np.abs(2.0 * near_gap - far_gap) + np.abs(far - near)
        self.suspicious = (self.bend > SMOOTH * (np.abs(near) + np.abs(near_gap))) & (self.bend > 15.0 * self.rounding)

    @staticmethod
    def _at(lines: Lines, which: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ahead, behind, right, left = lines.both(which, factor)
        gap = (ahead - lines.value) / right - (lines.value - behind) / left
        return (ahead - behind) / (right + left), gap, right + left


def _judge(lines: Lines, rtol: float, h: float | None) -> GradientReport:
    claimed, every = lines.claimed, np.arange(len(lines.claimed))
    slopes = Slopes(lines, every, 1.0)
    _refuse_if_blind(lines, slopes, rtol, h)
    numerical, error = slopes.numerical.copy(), slopes.truncation + slopes.rounding
    # Lines that look bent are judged at smaller steps, unless they look as bent there: then a kink is at x itself.
    bent, first, last = every[slopes.suspicious], slopes.bend, slopes.bend[slopes.suspicious]
    for factor in (1 / 8, 1 / 64):
        if not len(bent):
            break
        slopes = Slopes(lines, bent, factor)
        numerical[bent], error[bent] = slopes.numerical, slopes.truncation + slopes.rounding
        bent, last = bent[slopes.suspicious], slopes.bend[slopes.suspicious]
    at_kink = np.zeros(len(every), dtype=bool)
    at_kink[bent[last > first[bent] / 16.0]] = True

    tolerance = MARGIN * error
    excess = np.abs(claimed - numerical) / np.maximum(tolerance, np.finfo(np.float64).tiny)
    wrong = (excess > 1.0) & ~at_kink
    undecided = (tolerance > rtol * np.maximum(np.abs(claimed), np.abs(numerical))) & (claimed != 0.0) & ~at_kink
    judged = every[~at_kink]
    by_excess = judged[np.argsort(-excess[judged], kind="stable")].tolist()

    def entry(k: int) -> Entry:
        return Entry(int(k), lines.name(int(k)), float(claimed[k]), float(numerical[k]), float(tolerance[k]))

    return GradientReport(
        ok=bool(len(judged) and not np.any(wrong)),
        worst=entry(by_excess[0]) if by_excess else None,
        wrong=[entry(k) for k in by_excess if wrong[k]],
        kinks=[entry(k) for k in every[at_kink]],
        judged=len(judged),
        undecided=int(np.sum(undecided)),
        directions=lines.directions,
    )


def _refuse_if_blind(lines: Lines, slopes: Slopes, rtol: float, h: float | None) -> None:
    """An error if rounding alone could hide an error of `rtol` in the largest entry; a zero gradient hides nothing."""
    size = np.maximum(np.abs(lines.claimed), np.abs(slopes.numerical))
    k = int(np.argmax(size))
    blur = MARGIN * slopes.rounding[k]
    stationary = size[k] <= blur and np.abs(lines.claimed[k]) <= MARGIN * lines.noise
    if blur > rtol * size[k] and not stationary:
        raise OptionError(
            f"{lines.around.dtype} at {'the default step' if h is None else f'h = {h:g}'}: rounding makes a quotient "
            f"wrong by {slopes.rounding[k]:.1g}, too much to see an error of rtol = {rtol:g} in a gradient no larger "
            f"than {size[k]:.1g}. Use float64, a larger h, or an f without its large constant part"
        )

"""Derivatives of any function by differences: the independent witness of every rule.

    forward    (f(x + h) - f(x)) / h              wrong by h f'' / 2
    backward   (f(x) - f(x - h)) / h              wrong by h f'' / 2
    central    (f(x + h) - f(x - h)) / (2 h)      wrong by h² f''' / 6
    complex    Im f(x + i h) / h                  wrong by h² f''' / 6, without rounding: h may be 1e-20

The library of x is the library of the result. x is never written to. Perturbed copies of x are made in batches under
a memory budget, and handed to f one at a time or, where f declares that it can take them, a batch at a time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gdnet.backend import Array
from gdnet.backend.base import float_name
from gdnet.derivatives.evaluate import MAX_MEMORY, Around, real_array
from gdnet.derivatives.steps import Method, difference, noise, steps
from gdnet.errors import ArrayError, OptionError, ShapeError

COMPLEX_STEP = 1e-20
"""No difference is taken, so nothing cancels and the step may be as small as one likes."""


def numerical_derivative(
    f: Callable, x: Array | float, method: str = "central", h: float | None = None, *, error: bool = False
) -> Any:
    """f'(x) of an elementwise function: every entry of f(x) depends on the same entry of x alone.

    Parameters
    ----------
    f : callable
        Array to array of the same shape.
    x : float or array
    method : str
        `"central"`, `"forward"`, `"backward"` or `"complex"` (for f that takes complex arrays).
    h : float, optional
        The step; by default the one that balances truncation and rounding in x's precision, times `steps.typical`.
    error : bool
        Whether to return (derivative, estimate of its absolute error).

    Raises
    ------
    ShapeError, OptionError, ArrayError, DataError
        If f's result has another shape; for an unknown method or an unusable h; if x holds integers; if f is not
        finite.

    >>> import numpy as np
    >>> numerical_derivative(np.exp, np.asarray([0.0, 1.0])).round(8)
    array([1.        , 2.71828183])
    """
    x = real_array(x)
    around = Around(f, x)
    xp, shape = around.xp, around.shape
    if tuple(around.value.shape) != shape:
        raise ShapeError(f"f must be elementwise: x has shape {shape}, f(x) {tuple(around.value.shape)}")

    def at(points: Array) -> Array:  # all entries move at once, for they do not meet
        return xp.reshape(around.finite(around.at(points[None, :]), np.zeros(1, np.int64)), (around.size,))

    if method == "complex":
        h = complex_step(h)
        found = xp.imag(needs_complex(xp, at(complex_points(around, xp.full_like(around.flat, h))))) / h
        wrong = xp.abs(found) * (4.0 * around.eps)
    else:
        rule = difference(method, "complex")
        step = steps(around, h, 1.0 / (rule.order + 1))

        def quotient(step: Array) -> Array:
            high, low = around.flat + float(rule.up) * step, around.flat + float(rule.down) * step
            return (at(high) - at(low)) / (high - low)

        found = quotient(step)
        wrong = found
        if error:
            truncation = xp.abs(quotient(2.0 * step) - found) / (2.0**rule.order - 1.0)
            wrong = truncation + 2.0 * xp.reshape(noise(around), (-1,)) / (float(rule.up - rule.down) * step)
    found, wrong = xp.reshape(xp.astype(found, around.dtype), shape), xp.reshape(wrong, shape)
    return (found, wrong) if error else found


def numerical_gradient(
    f: Callable,
    x: Array,
    method: str = "central",
    h: float | None = None,
    *,
    error: bool = False,
    vectorized: bool = False,
    max_memory: int = MAX_MEMORY,
) -> Any:
    """∂f/∂xᵢ of a scalar function, one perturbation an entry: P + 1 evaluations, or 2P + 1 central ones.

    Parameters
    ----------
    f : callable
        Array of x's shape to one number. With `vectorized=True`: (b, *x.shape) to (b,), many points at once.
    x : array of real numbers, of any library and shape
    method : str
        `"central"`, `"forward"`, `"backward"` or `"complex"` (for f that takes complex arrays).
    h : float, optional
        The step, the same for every entry. By default ε^(1/3) (central) or ε^(1/2) (one-sided) times the larger of |xᵢ|
        and the root mean square of x (1 where x = 0): the right size if f changes over lengths like those of x itself.
        Give h where it does not, and `error=True` to see it.
    error : bool
        Whether to return (gradient, estimate of its absolute error), both of x's shape. The estimate adds truncation,
        from the results at h and 2h, to rounding, from the noise of f over h; it costs as many evaluations again.
    vectorized : bool
        Whether f takes a batch of points. Without it f is called once a perturbation: slower, no less right.
    max_memory : int
        Bytes that a batch of perturbed points may take.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ShapeError, OptionError, ArrayError, DataError
        If f does not return one number; for an unknown method, h <= 0 or x + h = x; if x holds integers; if f is NaN.

    >>> import numpy as np
    >>> numerical_gradient(lambda x: np.sum(x**2), np.asarray([3.0, 4.0])).round(8)
    array([6., 8.])
    """
    around = Around(f, x, vectorized=vectorized, max_memory=max_memory, scalar=True)
    slopes, wrong = _estimate(around, method, h, error)
    shaped = around.xp.reshape(slopes, around.shape)
    return (shaped, around.xp.reshape(wrong, around.shape)) if error else shaped


def numerical_jacobian(
    f: Callable,
    x: Array,
    method: str = "central",
    h: float | None = None,
    *,
    error: bool = False,
    vectorized: bool = False,
    max_memory: int = MAX_MEMORY,
) -> Any:
    """∂fₖ/∂xᵢ of a function from arrays to arrays, of shape (*f(x).shape, *x.shape).

    Options and errors are those of `numerical_gradient`; f may return an array of any shape.

    >>> import numpy as np
    >>> numerical_jacobian(lambda x: np.asarray([x[0] * x[1], x[1]]), np.asarray([3.0, 4.0])).round(8)
    array([[4., 3.],
           [0., 1.]])
    """
    around = Around(f, x, vectorized=vectorized, max_memory=max_memory)
    xp, shape = around.xp, (*around.value.shape, *around.shape)
    slopes, wrong = _estimate(around, method, h, error)
    shaped = xp.reshape(xp.moveaxis(slopes, 0, -1), shape)
    return (shaped, xp.reshape(xp.moveaxis(wrong, 0, -1), shape)) if error else shaped


def numerical_hessian(
    f: Callable,
    x: Array,
    method: str = "central",
    h: float | None = None,
    *,
    error: bool = False,
    vectorized: bool = False,
    max_memory: int = MAX_MEMORY,
) -> Any:
    """∂²f/∂xᵢ∂xⱼ of a scalar function, of shape (*x.shape, *x.shape); symmetric by construction.

        central    (f(+i +j) - f(+i -j) - f(-i +j) + f(-i -j)) / (4 hᵢ hⱼ), on the diagonal (f(+i) - 2f + f(-i)) / hᵢ²
        forward    (f(+i +j) - f(+i) - f(+j) + f) / (hᵢ hⱼ); backward the same with -h

    Wrong by multiples of h² and h. Options and errors are those of `numerical_gradient`, without `"complex"`; the
    default step is ε^(1/4) (central) or ε^(1/3), times the larger of |xᵢ| and the mean size of x. It takes
    2 P² evaluations: where a gradient is at hand, `numerical_jacobian(gradient, x)` takes 2 P and is more accurate.

    >>> import numpy as np
    >>> numerical_hessian(lambda x: x[0] ** 2 * x[1], np.asarray([3.0, 4.0])).round(5)
    array([[8., 6.],
           [6., 0.]])
    """
    rule = difference(method)
    around = Around(f, x, vectorized=vectorized, max_memory=max_memory, scalar=True)
    xp = around.xp
    step = steps(around, h, 1 / 4 if rule.order == 2 else 1 / 3)
    found = xp.reshape(_second_differences(around, rule, step), (around.size, around.size))
    shaped = xp.reshape(found, around.shape * 2)
    if not error:
        return shaped
    coarse = xp.reshape(_second_differences(around, rule, 2.0 * step), found.shape)
    truncation = xp.abs(coarse - found) / (2.0**rule.order - 1.0)
    rounding = 4.0 * noise(around) / (step[:, None] * step[None, :]) / rule.order**2
    return shaped, xp.reshape(truncation + rounding, around.shape * 2)


# -- the quotients ---------------------------------------------------------------------------------------------------


def _estimate(around: Around, method: str, h: float | None, error: bool) -> tuple[Array, Array | None]:
    """Derivatives by every entry, (P, ...), and, where asked for, estimates of their errors."""
    xp = around.xp
    if method == "complex":
        slopes = _complex_quotients(around, h)
        return slopes, xp.abs(slopes) * (4.0 * around.eps) if error else None
    rule = difference(method, "complex")
    step = steps(around, h, 1.0 / (rule.order + 1))
    slopes = quotients(around, rule, step)
    return slopes, errors(around, rule, step, slopes) if error else None


def quotients(around: Around, rule: Method, step: Array) -> Array:
    """(f(x + up h) - f(x + down h)) / distance for every entry of x: (P, ...)."""
    xp, x = around.xp, around.flat
    high, low = x + float(rule.up) * step, x + float(rule.down) * step
    parts = []
    for entries in around.blocks():
        top = around.replaced(entries, high) if rule.up else around.value[None, ...]
        bottom = around.replaced(entries, low) if rule.down else around.value[None, ...]
        change = top - bottom
        part = slice(int(entries[0]), int(entries[-1]) + 1)
        parts.append(change / per_row(xp, (high - low)[part], change))
    found = xp.concat(parts, axis=0) if parts else xp.zeros((0, *around.value.shape), dtype=around.dtype)
    return xp.astype(found, around.dtype)


def errors(around: Around, rule: Method, step: Array, slopes: Array) -> Array:
    """An estimate of |slopes - derivative|: truncation, from a second look at 2h, and rounding."""
    xp = around.xp
    truncation = xp.abs(quotients(around, rule, 2.0 * step) - slopes) / (2.0**rule.order - 1.0)
    return truncation + rounding(around, rule, step, slopes)


def rounding(around: Around, rule: Method, step: Array, like: Array) -> Array:
    """Two evaluations, each wrong by the noise of f, over the distance between them."""
    xp = around.xp
    level = xp.astype(noise(around), around.dtype)
    return 2.0 * level[None, ...] / per_row(xp, float(rule.up - rule.down) * step, like)


def per_row(xp: Any, v: Array, like: Array) -> Array:
    """(b,) as (b, 1, ..., 1) to go with (b, ...), in the same precision."""
    return xp.astype(xp.reshape(v, (v.shape[0], *([1] * (like.ndim - 1)))), like.dtype)


def _complex_quotients(around: Around, h: float | None) -> Array:
    """Im f(x + i h) / h for every entry of x: (P, ...)."""
    xp, h = around.xp, complex_step(h)
    parts = []
    for entries in around.blocks():
        values = around.at(complex_points(around, h * xp.astype(around.one_hot(entries), around.dtype)))
        parts.append(around.finite(xp.imag(needs_complex(xp, values)) / h, entries))
    return xp.astype(xp.concat(parts, axis=0), around.dtype)


def complex_step(h: float | None) -> float:
    h = COMPLEX_STEP if h is None else h
    if not isinstance(h, (int, float)) or not h > 0.0:
        raise OptionError(f"h must be a positive number or None, got {h!r}")
    return float(h)


def complex_points(around: Around, shift: Array) -> Array:
    """x + i shift, in the complex type of x's precision."""
    xp = around.xp
    dtype = xp.complex128 if float_name(around.dtype) == "float64" else xp.complex64
    return xp.astype(around.flat + 0.0 * shift, dtype) + 1j * xp.astype(shift, dtype)


def needs_complex(xp: Any, values: Array) -> Array:
    if not xp.isdtype(values.dtype, "complex floating"):
        raise ArrayError(
            f'method="complex" needs an f that computes with complex numbers; this one returned {values.dtype}. '
            f'Take method="central"'
        )
    return values


def _second_differences(around: Around, rule: Method, step: Array) -> Array:
    """All second derivatives, (P²,), from the pairs i <= j."""
    xp, x, f0, size = around.xp, around.flat, around.value, around.size
    rows, columns = np.triu_indices(size)
    one_sided = float(rule.up + rule.down)

    def moved(a: float, b: float, i: np.ndarray, j: np.ndarray) -> Array:
        points = x[None, :] + a * towards[0] + b * towards[1]
        return around.finite(around.at(points), i)

    parts = []
    for pairs in around.blocks(len(rows)):
        i, j = rows[pairs], columns[pairs]
        towards = [xp.where(around.one_hot(k), step[None, :], xp.zeros_like(step)[None, :]) for k in (i, j)]
        area = xp.sum(towards[0], axis=1) * xp.sum(towards[1], axis=1)
        if one_sided:
            s = one_sided
            second = moved(s, s, i, j) - moved(s, 0.0, i, j) - moved(0.0, s, i, j) + f0
        else:
            cross = moved(1.0, 1.0, i, j) - moved(1.0, -1.0, i, j) - moved(-1.0, 1.0, i, j) + moved(-1.0, -1.0, i, j)
            own = moved(1.0, 0.0, i, j) - 2.0 * f0 + moved(-1.0, 0.0, i, j)
            second = xp.where(around.backend.asarray(i == j), own, 0.25 * cross)
        parts.append(xp.astype(second, around.dtype) / area)
    # The pair (i, j) stands at position[i, j] of the list.
    position = np.zeros((size, size), dtype=np.int64)
    position[rows, columns] = position[columns, rows] = np.arange(len(rows))
    return xp.take(xp.concat(parts), around.backend.asarray(position.reshape(-1)), axis=0)

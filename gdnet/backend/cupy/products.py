"""Products in a step that is captured, whoever writes them: gdnet's layers, or `x @ W` in a layer of a user's own.

CuPy refuses its cuBLAS calls while a stream is captured. So in the thread that captures, and until its capture ends,
CuPy's operator and functions for products lead to gdnet's own cuBLAS call (`Gemm`). Other threads keep CuPy's.

A copy from the host is refused there: a graph would repeat it at every launch, from memory that by then holds
something else.
"""

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import cupy as cp
import numpy as np

from gdnet.backend.base import FLOATS, Array
from gdnet.backend.cupy.cublas import Gemm
from gdnet.errors import ShapeError


class Current(threading.local):
    """The `Gemm` of this thread, if it has one."""

    gemm: Gemm | None = None


current = Current()
"""What multiplies while this thread captures a step."""


class HostCopyError(RuntimeError):
    """A step that is being captured copies an array from the host."""


# -- NumPy's products of arrays with any number of axes, by products of matrices --------------------------------------


def matmul(gemm: Gemm, a: Array, b: Array, out: Array | None = None) -> Array:
    """`a @ b`: matrices are the last two axes; a vector is a row on the left and a column on the right."""
    a, b = _of_one_dtype(a, b)
    row, column = a.ndim == 1, b.ndim == 1
    c = _matrices(gemm, a[None, :] if row else a, b[:, None] if column else b)
    c = c[..., 0, :] if row else c
    return _into(out, c[..., 0] if column else c)


def _matrices(gemm: Gemm, a: Array, b: Array) -> Array:
    (*left, m, k), (*right, _, n) = a.shape, b.shape
    if not right:  # one large product rather than many
        return cp.reshape(gemm(cp.reshape(a, (prod(left) * m, k)), b), (*left, m, n))
    lead = np.broadcast_shapes(tuple(left), tuple(right))
    return cp.reshape(gemm.stack(_stacked(a, lead), _stacked(b, lead)), (*lead, m, n))


def _stacked(a: Array, lead: Sequence[int]) -> Array:
    """(matrices, rows, columns); one matrix that serves all stays one."""
    shape = a.shape[-2:]
    if prod(a.shape[:-2]) == 1:
        return cp.reshape(a, (1, *shape))
    return cp.reshape(cp.broadcast_to(a, (*lead, *shape)), (prod(lead), *shape))


def dot(gemm: Gemm, a: Array, b: Array, out: Array | None = None) -> Array:
    """`a.dot(b)`: the last axis of a with the last but one of b."""
    return _into(out, tensordot(gemm, a, b, (-1, max(b.ndim - 2, 0))))


def inner(gemm: Gemm, a: Array, b: Array) -> Array:
    """The last axis of a with the last one of b."""
    return tensordot(gemm, a, b, (-1, -1))


def tensordot(gemm: Gemm, a: Array, b: Array, axes: Any = 2) -> Array:
    """Sums of products over pairs of axes: the last `axes` of a with the first of b, or two lists of axes."""
    a, b = _of_one_dtype(a, b)
    if isinstance(axes, int):
        axes = range(a.ndim - axes, a.ndim), range(axes)
    over_a, over_b = ([i % x.ndim for i in np.atleast_1d(pair)] for x, pair in zip((a, b), axes, strict=True))
    if [a.shape[i] for i in over_a] != [b.shape[i] for i in over_b]:
        raise ShapeError(f"tensordot: axes {over_a} of {a.shape} and {over_b} of {b.shape} differ in size")
    free_a, free_b = ([i for i in range(x.ndim) if i not in over] for x, over in ((a, over_a), (b, over_b)))
    left, right = [a.shape[i] for i in free_a], [b.shape[i] for i in free_b]
    k = prod(a.shape[i] for i in over_a)
    rows = cp.reshape(a.transpose(*free_a, *over_a), (prod(left), k))
    columns = cp.reshape(b.transpose(*over_b, *free_b), (k, prod(right)))
    return cp.reshape(gemm(rows, columns), (*left, *right))


def _of_one_dtype(a: Array, b: Array) -> tuple[Array, Array]:
    dtype = np.result_type(a.dtype, b.dtype)
    return a.astype(dtype, copy=False), b.astype(dtype, copy=False)


def _into(out: Array | None, found: Array) -> Array:
    """`found`, or `out` with it: copied when it is whole, since `out` may share memory with a factor."""
    if out is None:
        return found
    out[...] = found
    return out


# -- the capture -------------------------------------------------------------------------------------------------------


def _by_gemm(own: Callable, cupys: Callable) -> Callable:
    """CuPy's function, and `own` instead of it where this thread captures and the products are of real numbers."""

    @functools.wraps(cupys)
    def call(a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
        gemm = current.gemm
        if gemm is None or not (_is_factor(a) and _is_factor(b)) or set(kwargs) - {"out", "axes"}:
            return cupys(a, b, *args, **kwargs)
        if str(np.result_type(a.dtype, b.dtype)) not in FLOATS:
            return cupys(a, b, *args, **kwargs)  # integers have a kernel of CuPy's own; complex numbers are refused
        return own(gemm, a, b, *args, **kwargs)

    return call


def _is_factor(a: Any) -> bool:
    return isinstance(a, cp.ndarray) and a.ndim > 0


def _from_device(cupys: Callable) -> Callable:
    """CuPy's function, which in a thread that captures takes what is on the device alone."""

    @functools.wraps(cupys)
    def call(obj: Any, *args: Any, **kwargs: Any) -> Any:
        if current.gemm is not None and not hasattr(type(obj), "__cuda_array_interface__"):
            raise HostCopyError(f"a {type(obj).__name__} of the host is copied to the device inside the step")
        return cupys(obj, *args, **kwargs)

    return call


_REPLACED: tuple[tuple[Any, str, Callable], ...] = (
    (cp.ndarray, "__matmul__", functools.partial(_by_gemm, matmul)),
    (cp.ndarray, "dot", functools.partial(_by_gemm, dot)),  # and `cupy.dot`, which calls it
    (cp, "matmul", functools.partial(_by_gemm, matmul)),  # and `einsum` and `vecdot`, which call it
    (cp, "tensordot", functools.partial(_by_gemm, tensordot)),
    (cp, "inner", functools.partial(_by_gemm, inner)),
    (cp, "array", _from_device),
    (cp, "asarray", _from_device),
)
_lock = threading.Lock()
_captures = [0]
_restore: list[tuple[Any, str, Any, bool]] = []


@contextmanager
def captured_by(gemm: Gemm) -> Iterator[None]:
    """Let `gemm` make this thread's products."""
    with _lock:
        if _captures[0] == 0:
            for owner, name, replace in _REPLACED:
                found = getattr(owner, name)
                _restore.append((owner, name, found, name in vars(owner)))
                setattr(owner, name, replace(found))
        _captures[0] += 1
    before, current.gemm = current.gemm, gemm
    try:
        yield
    finally:
        current.gemm = before
        with _lock:
            _captures[0] -= 1
            while _captures[0] == 0 and _restore:
                owner, name, found, own = _restore.pop()
                if own:
                    setattr(owner, name, found)
                else:
                    delattr(owner, name)  # it is inherited

"""NumPy on the CPU: the default."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gdnet.backend.base import Array, Backend
from gdnet.backend.erf import erf
from gdnet.backend.numpy.compiler.step import CompiledStep
from gdnet.backend.numpy.compiler.trace import opaque
from gdnet.backend.numpy.kernels import KERNELS


def _namespace() -> Any:
    """NumPy's own namespace where it has all that is used here, else array-api-compat's, which is slow to import."""
    own: Any = np
    try:
        own.astype(own.float32(0), own.float32)  # NumPy 2.0 refuses scalars
    except (TypeError, AttributeError):
        import array_api_compat.numpy

        return array_api_compat.numpy
    return own


xp = _namespace()


class NumpyBackend(Backend):
    """NumPy arrays. Matrix products may be written straight into a given window."""

    name = "numpy"
    mutable = True
    kernels = KERNELS

    def __init__(self) -> None:
        super().__init__(xp, "cpu")

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        return np.ascontiguousarray(host, dtype=dtype) if np.ndim(host) else np.asarray(host, dtype=dtype)

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.array(array)

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        return np.matmul(a, b, out=out)

    def sum_rows(self, a: Array, out: Array) -> None:
        np.dot(_ones(a.shape[0], a.dtype), a, out=out)  # BLAS adds rows faster than NumPy's reduction

    def erf(self, x: Array) -> Array:
        return _erf(self, x)

    def compile(self, step: Callable, donate: Sequence[int] = (), strict: bool = False) -> Callable:
        return CompiledStep(step, donate, strict)


@functools.lru_cache(maxsize=64)
def _ones(n: int, dtype: Any) -> np.ndarray:
    ones = np.ones(n, dtype)
    ones.flags.writeable = False
    return ones


@opaque
def _erf(backend: Backend, x: Array) -> Array:
    """In blocks, so that the forty passes of the agnostic body stay in the cache; tiny arrays by the C library."""
    if x.size <= 1024:
        return np.fromiter(map(math.erf, x.ravel().tolist()), x.dtype, x.size).reshape(x.shape)
    y, flat = np.empty_like(x, order="C"), x.ravel()
    out = y.reshape(-1)
    for i in range(0, flat.size, 8192):
        out[i : i + 8192] = erf(np, flat[i : i + 8192])
    return y

"""The CUDA kernels of `cuda_sources` as CuPy objects, each an override of an agnostic body by name."""

import functools
from collections.abc import Callable
from typing import Any

import cupy as cp

from gdnet.backend.base import Array, Backend
from gdnet.backend.cuda_sources import (
    ACTIVATIONS,
    DROPOUT_PREAMBLE,
    SOFTMAX_CROSS_ENTROPY,
    UNIFORM,
    UPDATES,
    Kernel,
)

WARPS_PER_BLOCK = 4


@functools.cache
def elementwise(name: str) -> Any:
    """The compiled-on-demand kernel of this name, from any of the tables."""
    kernel: Kernel = UNIFORM if name == "uniform" else {**ACTIVATIONS, **UPDATES}[name]
    preamble = DROPOUT_PREAMBLE if name == "uniform" else ""
    return cp.ElementwiseKernel(*kernel, f"gdnet_{name}", preamble=preamble)


def _activation(name: str) -> Callable:
    def value_and_derivative(backend: Backend, x: Array, **config: float) -> tuple[Array, Array]:
        return elementwise(name)(x, *config.values())

    return value_and_derivative


def _update(name: str) -> Callable:
    def update(backend: Backend, *args: Any) -> tuple[Array, ...]:
        return elementwise(name)(*args)

    return update


@functools.cache
def _rows(dtype: str) -> Any:
    ctype = {"float32": "float", "float64": "double"}[dtype]
    name = f"softmax_cross_entropy<{ctype}>"
    module = cp.RawModule(code=SOFTMAX_CROSS_ENTROPY, options=("-std=c++17",), name_expressions=(name,))
    return module.get_function(name)


def softmax_cross_entropy(backend: Backend, z: Array, t: Array) -> tuple[Array, Array, Array]:
    """(softmax, its cross-entropy's gradient by z, cross-entropy) of each row, one warp a row."""
    z, t = cp.ascontiguousarray(z), cp.ascontiguousarray(t, dtype=z.dtype)
    rows, columns = z.shape
    p, dz, entropy = cp.empty_like(z), cp.empty_like(z), cp.empty(rows, z.dtype)
    blocks = -(-rows // WARPS_PER_BLOCK)
    sizes = (cp.int32(rows), cp.int32(columns))
    _rows(str(z.dtype))((blocks,), (32 * WARPS_PER_BLOCK,), (z, t, p, dz, entropy, *sizes))
    return p, dz, entropy


def uniform(backend: Backend, n: int, key: tuple[int, int], step: Array | int) -> Array:
    """n float32 numbers on [0, 1), the bits of `gdnet.backend.random`."""
    u = cp.empty(n, cp.float32)
    words = [cp.uint32(word & 0xFFFFFFFF) for word in key]
    return elementwise("uniform")(step, *words, cp.int32((n + 1) // 2), u)


KERNELS: dict[str, Callable] = {
    **{name: _activation(name) for name in ACTIVATIONS},
    **{name: _update(name) for name in UPDATES},
    "softmax_cross_entropy": softmax_cross_entropy,
    "uniform_numbers": uniform,
}

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


def softmax_cross_entropy(backend: Backend, z: Array, t: Array, total: Any) -> tuple[Array, Array, Array]:
    """One warp a row; the sum of the targets is formed on the way."""
    z, t = cp.ascontiguousarray(z), cp.ascontiguousarray(t)
    columns = z.shape[-1]
    rows = z.size // columns
    p, dz, entropy = cp.empty_like(z), cp.empty_like(z), cp.empty((*z.shape[:-1], 1), z.dtype)
    blocks = -(-rows // WARPS_PER_BLOCK)
    sizes = (cp.int32(rows), cp.int32(columns))
    _rows(str(z.dtype))((blocks,), (32 * WARPS_PER_BLOCK,), (z, t, p, dz, entropy, *sizes))
    return p, dz, entropy


def uniform_numbers(backend: Backend, n: int, words: tuple[int, int], step: Array | int, device: Any) -> Array:
    u = cp.empty(n, cp.float32)
    keys = [cp.uint32(word & 0xFFFFFFFF) for word in words]
    return elementwise("uniform")(step, *keys, cp.int32((n + 1) // 2), u)


KERNELS: dict[str, Callable] = {
    **{name: _activation(name) for name in ACTIVATIONS},
    **{name: _update(name) for name in UPDATES},
    "softmax_cross_entropy": softmax_cross_entropy,
    "uniform_numbers": uniform_numbers,
}

"""The CUDA kernels of `sources` as CuPy objects, each an override of an agnostic body by name."""

import functools
from collections.abc import Callable
from typing import Any

import cupy as cp

from gdnet.backend.base import Array, Backend
from gdnet.backend.cupy.graph import destination
from gdnet.backend.cupy.sources import (
    ACTIVATIONS,
    BIASED,
    LOSSES,
    SIGN,
    SOFTMAX_CROSS_ENTROPY,
    THREEFRY,
    UNIFORM,
    UPDATES,
    Kernel,
)

WARPS_PER_BLOCK = 4
ELEMENTWISE: dict[str, Kernel] = {**ACTIVATIONS, **BIASED, **LOSSES, **UPDATES, "uniform": UNIFORM, "sign": SIGN}


@functools.cache
def elementwise(name: str) -> Any:
    """The compiled-on-demand kernel of this name, from any of the tables."""
    preamble = THREEFRY if name == "uniform" else ""
    return cp.ElementwiseKernel(*ELEMENTWISE[name], f"gdnet_{name}", preamble=preamble)


def _triangular_solution(backend: Backend, T: Array, b: Array, lower: bool) -> Array:
    from cupyx.scipy.linalg import solve_triangular

    return solve_triangular(T, b, lower=lower)


def _value_and_slope(name: str) -> Callable:
    """An activation's value and derivative of x (or z and b), or a loss's share l and share l' of y, t and share."""

    def both(backend: Backend, *arrays: Any, **config: float) -> tuple[Array, Array]:
        return elementwise(name)(*arrays, *config.values())

    return both


def _update(name: str) -> Callable:
    """An optimizer's update. Its results differ in size, so CuPy does not make them itself: see `UPDATES`."""
    given, made = (
        [part.rpartition(" ")[2] for part in text.split(", ")] for text in (UPDATES[name].inputs, UPDATES[name].outputs)
    )
    models = [given.index(result.removesuffix("1")) for result in made]

    def update(backend: Backend, *args: Any) -> tuple[Array, ...]:
        return elementwise(name)(*args, *[destination(args[i], cp.empty_like) for i in models])

    return update


C_TYPES = {"float32": "float", "float64": "double", "int32": "int", "int64": "long long"}


@functools.cache
def _softmax_kernel(dtype: str, targets: str, device: int) -> Any:
    """The kernel for scores and targets of these dtypes. A loaded function belongs to one device."""
    name = f"softmax_cross_entropy<{C_TYPES[dtype]}, {C_TYPES[targets]}>"
    module = cp.RawModule(code=SOFTMAX_CROSS_ENTROPY, options=("-std=c++17",), name_expressions=(name,))
    return module.get_function(name)


def softmax_cross_entropy(
    backend: Backend, z: Array, t: Array, smoothing: float, share: Any, device: Any
) -> tuple[Array, Array, Array, Any]:
    """One warp a row, from labels or rows of targets."""
    labels = t.ndim < z.ndim
    if not labels or str(t.dtype) not in ("int32", "int64"):
        t = t.astype(cp.int32 if labels else z.dtype, copy=False)
    z, t = cp.ascontiguousarray(z), cp.ascontiguousarray(t)
    columns, number = z.shape[-1], z.dtype.type
    rows = z.size // columns
    p, dz = cp.empty_like(z), cp.empty_like(z)
    entropy, total = (cp.empty((*z.shape[:-1], 1), z.dtype) for _ in range(2))
    shares, even = (cp.uintp(0), number(share)) if isinstance(share, float) else (share, number(0))
    sizes = cp.int32(rows), cp.int32(columns), cp.int32(rows // z.shape[0])
    kernel = _softmax_kernel(str(z.dtype), str(t.dtype), z.device.id)
    grid, block = (-(-rows // WARPS_PER_BLOCK),), (32 * WARPS_PER_BLOCK,)
    kernel(grid, block, (z, t, shares, p, dz, entropy, total, even, number(smoothing), *sizes))
    return p, dz, entropy, 1.0 if labels else total


def uniform_numbers(backend: Backend, n: int, words: tuple[int, int], step: Array | int, device: Any) -> Array:
    """n float32 in [0, 1), the bits of `random.uniform_numbers`; threefry gives two a call."""
    u = cp.empty(n, cp.float32)
    keys = [cp.uint32(word & 0xFFFFFFFF) for word in words]
    return elementwise("uniform")(step, *keys, cp.int32((n + 1) // 2), u)


KERNELS: dict[str, Callable] = {
    "triangular_solution": _triangular_solution,
    **{name: _value_and_slope(name) for name in (*ACTIVATIONS, *BIASED, *LOSSES)},
    **{name: _update(name) for name in UPDATES},
    "softmax_cross_entropy": softmax_cross_entropy,
    "uniform_numbers": uniform_numbers,
}

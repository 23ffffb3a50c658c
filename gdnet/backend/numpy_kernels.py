"""Bodies that NumPy runs faster in another form, by the name of the body that they replace; the same bit for bit."""

import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gdnet.backend.base import Array, Backend
from gdnet.backend.numpy_trace import opaque

BLOCK = 1 << 16
"""Elements of one block of an update: few enough that its arrays stay in the cache from the first pass to the last,
so many that the interpreter's share, ten calls a block, is small."""
PARALLEL = 1 << 20
"""Elements from which on an update is shared by the cores; below, handing work over costs more than it saves."""


@functools.cache
def _workers() -> tuple[Any, int]:
    """The threads that help, and into how many parts work is cut; `OMP_NUM_THREADS` bounds them as it does BLAS."""
    from concurrent.futures import ThreadPoolExecutor

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = max(1, min(cores, int(os.environ.get("OMP_NUM_THREADS") or cores)))
    return (ThreadPoolExecutor(parts - 1, "gdnet") if parts > 1 else None), parts


def on_all_cores(work: Callable[[int, int], None], size: int) -> None:
    """`work(start, stop)` for parts that make up 0..size, each of whole blocks, at the same time where it pays."""
    pool, parts = _workers() if size >= PARALLEL else (None, 1)
    if pool is None:
        return work(0, size)
    step = -(-size // (parts * BLOCK)) * BLOCK
    handed = [pool.submit(work, start, min(start + step, size)) for start in range(step, size, step)]
    work(0, min(step, size))
    for part in handed:
        part.result()
    return None


@opaque(3, 1, 2)
def adam_update(
    backend: Backend, gradient: Array, m: Array, v: Array, theta: Array, lr: Any, step: Any,
    beta1: float, beta2: float, eps: float, out: Any = None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The passes of Adam over one block after the other, without an array for any of their results."""
    theta1, m1, v1 = (np.empty_like(theta), np.empty_like(m), np.empty_like(v)) if out is None else out
    t = theta.dtype.type(step)
    s = np.sqrt((1.0 - beta2) / _unbias(beta2, t))
    rate = lr * (1.0 - beta1) / (_unbias(beta1, t) * s)
    numbers = [np.asarray(rate), np.asarray(eps / s), *_constants(beta1, beta2, theta.dtype)]
    arrays = gradient, m, v, theta, m1, v1, theta1

    def update(start: int, stop: int) -> None:
        spare = np.empty(min(BLOCK, stop - start), theta.dtype)
        if stop - start == theta.size <= BLOCK:
            return _adam_block(arrays, spare, numbers)
        for low in range(start, stop, BLOCK):
            part = slice(low, min(low + BLOCK, stop))
            _adam_block([x[part] for x in arrays], spare[: part.stop - low], numbers)
        return None

    on_all_cores(update, theta.size)
    return theta1, m1, v1


@functools.lru_cache(maxsize=64)
def _constants(beta1: float, beta2: float, dtype: np.dtype) -> list[np.ndarray]:
    """As arrays without axes, which NumPy need not convert in every pass."""
    return [np.asarray(beta1, dtype), np.asarray(beta2, dtype)]


def _adam_block(arrays: Sequence[Array], x: Array, numbers: Sequence[Array]) -> None:
    """Operation by operation what the agnostic body does; x is room for one result."""
    g, m, v, theta, m1, v1, theta1 = arrays
    rate, small, keep1, keep2 = numbers
    np.multiply(m, keep1, m1)
    np.add(m1, g, m1)
    np.multiply(v, keep2, v1)
    np.multiply(g, g, x)
    np.add(v1, x, v1)
    np.sqrt(v1, x)
    np.add(x, small, x)
    np.divide(m1, x, x)
    np.multiply(x, rate, x)
    np.subtract(theta, x, theta1)


def _unbias(beta: float, t: Any) -> Any:
    return -np.expm1(t * (math.log(beta) if beta > 0.0 else -math.inf))  # Python floats: they do not widen float32


BUFFER = 1 << 17
"""Bytes of one buffer. Two stay in the second-level cache, and are small enough for the C library to keep."""


def rank_one_cross_entropy(backend: Backend, z: Array, w: Array, d: Array, t: Array, total: Array | float) -> Array:
    """The inner loop of the structured numerical gradient, block by block in two small buffers.

    The agnostic body makes a new array at every operation; the C library then fetches fresh pages from the system for
    each, which costs more than the arithmetic.
    """
    outputs, n = z.shape
    rows = max(1, min(len(d), BUFFER // (outputs * n * z.itemsize)))
    logits, product = np.empty((2, outputs, rows, n), dtype=z.dtype)
    losses = np.empty_like(d)
    for start in range(0, len(d), rows):
        part = slice(start, min(start + rows, len(d)))
        y, ty = logits[:, : part.stop - start], product[:, : part.stop - start]
        np.multiply(w[part].T[:, :, None], d[part], out=y)
        y += z[:, None, :]
        np.multiply(t[:, None, :], y, out=ty)
        largest, loss = y.max(axis=0), losses[part]
        y -= largest
        np.log(np.exp(y, out=y).sum(axis=0), out=loss)
        loss += largest
        loss *= total
        loss -= ty.sum(axis=0)
    return losses


KERNELS: dict[str, Callable] = {"adam_update": adam_update, "rank_one_cross_entropy": rank_one_cross_entropy}

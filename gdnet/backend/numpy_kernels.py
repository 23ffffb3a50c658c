"""Bodies that NumPy runs faster in another form, by the name of the body that they replace; the same bit for bit."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gdnet.backend.base import Array, Backend
from gdnet.backend.numpy_trace import opaque

BLOCK = 16384
"""Elements of one block of an update: five arrays of them stay in a core's cache from the first pass to the last."""


@opaque(3, 1, 2)
def adam_update(
    backend: Backend, gradient: Array, m: Array, v: Array, theta: Array, lr: Any, step: Any,
    beta1: float, beta2: float, eps: float, out: Any = None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The passes of Adam over one block after the other, without an array for any of their results."""
    theta1, m1, v1 = out if out is not None else (np.empty_like(theta), np.empty_like(m), np.empty_like(v))
    t = np.asarray(step).astype(theta.dtype)
    rate = lr / _unbias(beta1, t)
    root = np.sqrt(_unbias(beta2, t))
    spare = np.empty(min(BLOCK, theta.size), theta.dtype)
    for start in range(0, theta.size, BLOCK):
        part = slice(start, min(start + BLOCK, theta.size))
        g, a, b, x = gradient[part], m1[part], v1[part], spare[: part.stop - start]
        np.multiply(m[part], beta1, out=a)
        np.multiply(g, 1.0 - beta1, out=x)
        np.add(a, x, out=a)
        np.multiply(v[part], beta2, out=b)
        np.multiply(g, g, out=x)
        np.multiply(x, 1.0 - beta2, out=x)
        np.add(b, x, out=b)
        np.sqrt(b, out=x)
        np.divide(x, root, out=x)
        np.add(x, eps, out=x)
        np.divide(a, x, out=x)
        np.multiply(x, rate, out=x)
        np.subtract(theta[part], x, out=theta1[part])
    return theta1, m1, v1


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

"""Softmax and its logarithm over the last axis. Each has its own Jacobian, whatever loss may follow."""

from typing import Any

from gdnet.backend import Array
from gdnet.errors import ShapeError
from gdnet.layers.base import Context, Layer
from gdnet.layers.jacobian import Jacobian, Params, Pull, Shape


class _LastAxis(Layer):
    """A layer that normalises over the last axis of an example."""

    keeps_shape = True

    def out_shape(self, in_shape: Shape) -> Shape:
        if not in_shape:
            raise ShapeError(f"{self!r} takes (n, ..., features), got examples without an axis")
        return in_shape


class Softmax(_LastAxis, name="Softmax"):
    """yᵢ = exp(xᵢ) / Σⱼ exp(xⱼ) over the last axis; dy = y (dx - Σⱼ yⱼ dxⱼ).

    >>> import numpy as np
    >>> Softmax()({}, np.asarray([[0.0, 0.0], [1e4, 0.0]]))[0]
    array([[0.5, 0.5],
           [1. , 0. ]])
    """

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        xp = context.xp
        e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        y = e / xp.sum(e, axis=-1, keepdims=True)
        return y, SoftmaxJacobian(xp, y)


class SoftmaxJacobian(Jacobian):
    """diag y - y yᵀ for each example: its own transpose."""

    def __init__(self, xp: Any, y: Array) -> None:
        self.xp, self.y = xp, y

    def _dot(self, a: Array, b: Array) -> Array:
        return self.xp.sum(a * b, axis=-1, keepdims=True)

    def vjp_x(self, dy: Array) -> Array:
        return self.y * (dy - self._dot(self.y, dy))

    def jvp(self, dparams: Params, dx: Array) -> Array:
        return self.vjp_x(dx)

    def vjp(self, dy: Array) -> Pull:
        return {}, self.vjp_x(dy)

    def curve(self, dparams: Params, dx: Array, gy: Array) -> Pull:
        # y (gy - y·gy), with y moving by dy
        y, dy = self.y, self.vjp_x(dx)
        return {}, dy * (gy - self._dot(y, gy)) - y * self._dot(dy, gy)


class LogSoftmax(_LastAxis, name="LogSoftmax"):
    """yᵢ = xᵢ - log Σⱼ exp(xⱼ) over the last axis; dy = dx - Σⱼ pⱼ dxⱼ with p = exp(y).

    >>> import numpy as np
    >>> LogSoftmax()({}, np.asarray([[0.0, 0.0], [1e4, 0.0]]))[0].round(6)
    array([[-6.93147e-01, -6.93147e-01],
           [ 0.00000e+00, -1.00000e+04]])
    """

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        xp = context.xp
        shifted = x - xp.max(x, axis=-1, keepdims=True)
        e = xp.exp(shifted)
        norm = xp.sum(e, axis=-1, keepdims=True)
        return shifted - xp.log(norm), LogSoftmaxJacobian(xp, e / norm)


class LogSoftmaxJacobian(Jacobian):
    """1 - 1 pᵀ for each example; transposed 1 - p 1ᵀ."""

    def __init__(self, xp: Any, p: Array) -> None:
        self.xp, self.p = xp, p

    def _sum(self, a: Array) -> Array:
        return self.xp.sum(a, axis=-1, keepdims=True)

    def jvp(self, dparams: Params, dx: Array) -> Array:
        return dx - self._sum(self.p * dx)

    def vjp_x(self, dy: Array) -> Array:
        return dy - self.p * self._sum(dy)

    def vjp(self, dy: Array) -> Pull:
        return {}, self.vjp_x(dy)

    def curve(self, dparams: Params, dx: Array, gy: Array) -> Pull:
        # only p moves, by p (dx - p·dx)
        return {}, -self.p * self.jvp(dparams, dx) * self._sum(gy)

"""Layers that move no number: only the shape of an example changes."""

import math
from typing import Any, Self

from gdnet.backend import Array
from gdnet.checks import is_whole
from gdnet.errors import OptionError, ShapeError
from gdnet.layers.base import Context, Layer
from gdnet.layers.jacobian import Jacobian, Params, Pull, Shape


class Reshape(Layer, name="Reshape"):
    """Examples of another shape, with the same numbers in the same order.

    Parameters
    ----------
    *shape : int
        The shape of an example; one size may be -1: what is left.

    >>> import numpy as np
    >>> Reshape(2, -1)({}, np.zeros((5, 6)))[0].shape
    (5, 2, 3)
    """

    def __init__(self, *shape: int) -> None:
        sizes = [k for k in shape if is_whole(k) and (k > 0 or k == -1)]
        if not shape or len(sizes) != len(shape) or sizes.count(-1) > 1:
            raise OptionError(f"Reshape takes positive integers, of which one may be -1, got {shape}")
        self.shape = tuple(int(k) for k in shape)

    def out_shape(self, in_shape: Shape) -> Shape:
        size, known = math.prod(in_shape), math.prod(k for k in self.shape if k != -1)
        if size % known or (size != known and -1 not in self.shape):
            raise ShapeError(f"{self!r} cannot take examples of shape {in_shape}: they hold {size} numbers")
        return tuple(size // known if k == -1 else k for k in self.shape)

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        in_shape = tuple(x.shape[1:])
        J = ReshapeJacobian(context.xp, in_shape, self.out_shape(in_shape))
        return J.jvp(params, x), J

    def config(self) -> dict[str, Any]:
        return {"shape": list(self.shape)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(*config["shape"])

    def __repr__(self) -> str:
        return f"Reshape({', '.join(map(str, self.shape))})"


class Flatten(Layer, name="Flatten"):
    """Examples as vectors: (n, ...) -> (n, features).

    >>> import numpy as np
    >>> Flatten()({}, np.zeros((5, 2, 3)))[0].shape
    (5, 6)
    """

    def out_shape(self, in_shape: Shape) -> Shape:
        return (math.prod(in_shape),)

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        in_shape = tuple(x.shape[1:])
        J = ReshapeJacobian(context.xp, in_shape, self.out_shape(in_shape))
        return J.jvp(params, x), J


class ReshapeJacobian(Jacobian):
    """The same change of shape for tangents, and back for cotangents."""

    def __init__(self, xp: Any, in_shape: Shape, out_shape: Shape) -> None:
        self.xp, self.in_shape, self.out_shape = xp, in_shape, out_shape

    def jvp(self, dparams: Params, dx: Array) -> Array:
        return self.xp.reshape(dx, (*dx.shape[: dx.ndim - len(self.in_shape)], *self.out_shape))

    def vjp_x(self, dy: Array) -> Array:
        return self.xp.reshape(dy, (*dy.shape[: dy.ndim - len(self.out_shape)], *self.in_shape))

    def vjp(self, dy: Array) -> Pull:
        return {}, self.vjp_x(dy)

    def curve(self, dparams: Params, dx: Array, gy: Array) -> Pull:
        return {}, None

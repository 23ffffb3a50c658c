"""A chain of layers with a path around it."""

from typing import Any

from gdnet.backend import Array
from gdnet.errors import ShapeError
from gdnet.layers import Context, Jacobian, Layer, Params, Shape
from gdnet.layers.jacobian import Pull, plus
from gdnet.network.composite import Composite
from gdnet.network.sequential import Sequential


class Residual(Composite, name="Residual"):
    """y = x + fₖ(... f₁(x)) (He et al. 2016).

    Parameters
    ----------
    *layers : Layer
        Their output must have the shape of their input.

    Raises
    ------
    ShapeError
        If it has not.

    >>> import numpy as np
    >>> from gdnet.layers import Tanh
    >>> Residual(Tanh())({}, np.zeros((1, 2)))[1].vjp(np.ones((1, 2)))[1]
    array([[2., 2.]])
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__(*layers)
        self.keeps_shape = True
        self.inner = Sequential(*layers)

    def merged(self, in_shape: Shape, outputs: list[Shape]) -> Shape:
        if outputs[-1] != in_shape:
            raise ShapeError(f"{self!r} adds its input to its output, but {in_shape} becomes {outputs[-1]}")
        return in_shape

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        y, J = self.inner.forward(params, x, context)
        return x + y, ResidualJacobian(J)


class ResidualJacobian(Jacobian):
    """1 + J: to whatever J does for x, the path around it adds the same unchanged."""

    def __init__(self, J: Jacobian) -> None:
        self.J, self.needs_dx = J, J.needs_dx

    def _around(self, dx: Array | None, dy: Array | None) -> Any:
        return plus(dx, dy) if self.needs_dx else None

    def jvp(self, dparams: Params, dx: Array | None) -> Array:
        return plus(self.J.jvp(dparams, dx), dx)

    def vjp(self, dy: Array) -> Pull:
        dparams, dx = self.J.vjp(dy)
        return dparams, self._around(dx, dy)

    def vjp_x(self, dy: Array) -> Array:
        return self.J.vjp_x(dy) + dy

    def vjp_into(self, dy: Array, windows: dict[str, Array]) -> Array:
        return self._around(self.J.vjp_into(dy, windows), dy)

    def curve(self, dparams: Params, dx: Array, gy: Array) -> Pull:
        return self.J.curve(dparams, dx, gy)

    def dvjp(self, dparams: Params, dx: Array, gy: Array, dgy: Array | None) -> Pull:
        cparams, cx = self.J.dvjp(dparams, dx, gy, dgy)
        return cparams, self._around(cx, dgy)

    def rows(self, dy: Array) -> dict[str, Array]:
        return self.J.rows(dy)

    def squares(self, dy: Array) -> dict[str, Array]:
        return self.J.squares(dy)

    def gram(self, dy: Array) -> Array:
        return self.J.gram(dy)

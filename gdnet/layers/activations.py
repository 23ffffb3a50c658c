"""Activations: each is a row f, f', f'' in terms of the input x and the output y."""

from typing import Any

from gdnet.backend import Array
from gdnet.layers.base import Context, Jacobian, Layer, Params


class ElementwiseJacobian(Jacobian):
    """The diagonal Jacobian of y = f(x), one element at a time: dy = f'(x) dx, its own transpose."""

    def __init__(self, rule: "Elementwise", xp: Any, x: Array, y: Array) -> None:
        self.rule, self.xp, self.x, self.y = rule, xp, x, y
        self._d: Array | None = None

    @property
    def d(self) -> Array:
        """f'(x), computed when first asked for."""
        if self._d is None:
            self._d = self.rule.df(self.xp, self.x, self.y)
        return self._d

    def jvp(self, dparams: Params, dx: Array) -> Array:
        return dx * self.d

    def vjp(self, dy: Array) -> tuple[dict[str, Array], Array]:
        return {}, dy * self.d

    def vjp_x(self, dy: Array) -> Array:
        return dy * self.d

    def vjp_into(self, dy: Array, windows: dict[str, Array]) -> Array:
        return dy * self.d

    def curve(self, dparams: Params, dx: Array, gy: Array) -> tuple[dict[str, Array], Array]:
        return {}, gy * dx * self.rule.d2f(self.xp, self.x, self.y)

    def rows(self, dy: Array) -> dict[str, Array]:
        return {}


class Elementwise(Layer):
    """A layer y = f(x) on each element. Subclasses give the row f, f', f''."""

    keeps_shape = True

    def f(self, xp: Any, x: Array) -> Array:
        raise NotImplementedError

    def df(self, xp: Any, x: Array, y: Array) -> Array:
        raise NotImplementedError

    def d2f(self, xp: Any, x: Array, y: Array) -> Array:
        raise NotImplementedError

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        y = self.f(context.xp, x)
        return y, ElementwiseJacobian(self, context.xp, x, y)


class Identity(Elementwise):
    """y = x."""

    def f(self, xp: Any, x: Array) -> Array:
        return x

    def df(self, xp: Any, x: Array, y: Array) -> Array:
        return xp.ones_like(x)

    def d2f(self, xp: Any, x: Array, y: Array) -> Array:
        return xp.zeros_like(x)


class Sigmoid(Elementwise):
    """y = 1 / (1 + exp(-x)), y' = y (1 - y)."""

    def f(self, xp: Any, x: Array) -> Array:
        e = xp.exp(-xp.abs(x))  # never overflows
        return xp.where(x >= 0, 1.0 / (1.0 + e), e / (1.0 + e))

    def df(self, xp: Any, x: Array, y: Array) -> Array:
        return y * (1.0 - y)

    def d2f(self, xp: Any, x: Array, y: Array) -> Array:
        return y * (1.0 - y) * (1.0 - 2.0 * y)


class Tanh(Elementwise):
    """y = tanh(x), y' = 1 - y²."""

    def f(self, xp: Any, x: Array) -> Array:
        return xp.tanh(x)

    def df(self, xp: Any, x: Array, y: Array) -> Array:
        return 1.0 - y * y

    def d2f(self, xp: Any, x: Array, y: Array) -> Array:
        return -2.0 * y * (1.0 - y * y)


class ReLU(Elementwise):
    """y = max(x, 0), y' = 1 for x > 0, else 0 (at the kink 0, as in torch)."""

    def f(self, xp: Any, x: Array) -> Array:
        return xp.maximum(x, 0.0)

    def df(self, xp: Any, x: Array, y: Array) -> Array:
        return xp.astype(y > 0, y.dtype)

    def d2f(self, xp: Any, x: Array, y: Array) -> Array:
        return xp.zeros_like(x)

"""A dense layer and the activation after it in one step, y = f(x W + b), where a backend's kernel adds the bias.

This is for speed alone: both rules stay as they are, and the Jacobian is the product of the two.
"""

from typing import Any

from gdnet.backend import Array
from gdnet.layers import Context, Dense, Elementwise, Jacobian, Layer, Params, Shape
from gdnet.layers.dense import DenseJacobian
from gdnet.layers.elementwise import ElementwiseJacobian
from gdnet.layers.jacobian import Pull, plus


def kernel_of(layer: Layer, after: Layer) -> str:
    """The name of the kernel that would join these two, "" where none can."""
    pair = type(layer) is Dense and layer.bias and isinstance(after, Elementwise)
    return f"bias_{after.kernel}" if pair and after.kernel else ""  # type: ignore[attr-defined]


class Joined(Layer):
    """The two layers as one, inside a `Sequential`; it stands in no file and no list of layers."""

    def __init__(self, dense: Any, activation: Any) -> None:
        self.dense, self.activation = dense, activation
        self.kernel = kernel_of(dense, activation)

    def shapes(self, in_shape: Shape) -> dict[str, Shape]:
        return self.dense.shapes(in_shape)

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.dense.out_shape(in_shape)

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        backend, rule = context.backend, self.activation
        z, b = backend.matmul(x, params["W"]), params["b"]
        y, d = backend.kernels[self.kernel](backend, z, b, **rule.config())
        dense = DenseJacobian(context, x, params["W"], True)
        return y, JoinedJacobian(dense, ElementwiseJacobian(rule, backend, z, y, d, b))


class JoinedJacobian(Jacobian):
    """dy = f'(z) (dx W + x dW + db)."""

    def __init__(self, dense: DenseJacobian, slope: ElementwiseJacobian) -> None:
        self.dense, self.slope, self.needs_dx = dense, slope, dense.needs_dx
        self._moved: tuple[Any, ...] = ()

    def _tangent(self, dparams: Params, dx: Array | None) -> Array:
        """dz; kept, since a Hessian product asks for it going up and again going down."""
        asked = dparams.get("W"), dparams.get("b"), dx
        if not self._moved or any(a is not b for a, b in zip(asked, self._moved)):
            self._moved = *asked, self.dense.jvp(dparams, dx)
        return self._moved[-1]

    def jvp(self, dparams: Params, dx: Array | None) -> Array:
        return self.slope.jvp({}, self._tangent(dparams, dx))

    def vjp(self, dy: Array) -> Pull:
        return self.dense.vjp(self.slope.vjp_x(dy))

    def vjp_x(self, dy: Array) -> Array:
        return self.dense.vjp_x(self.slope.vjp_x(dy))

    def vjp_into(self, dy: Array, windows: dict[str, Array]) -> Array:
        return self.dense.vjp_into(self.slope.vjp_x(dy), windows)

    def curve(self, dparams: Params, dx: Array | None, gy: Array) -> Pull:
        return self.dvjp(dparams, dx, gy, None)

    def dvjp(self, dparams: Params, dx: Array | None, gy: Array, dgy: Array | None) -> Pull:
        bent = self.slope.curve({}, self._tangent(dparams, dx), gy)[1]
        dgz = plus(None if dgy is None else self.slope.vjp_x(dgy), bent)
        return self.dense.dvjp(dparams, dx, self.slope.vjp_x(gy), dgz)

    def rows(self, dy: Array) -> dict[str, Array]:
        return self.dense.rows(self.slope.vjp_x(dy))

    def squares(self, dy: Array) -> dict[str, Array]:
        return self.dense.squares(self.slope.vjp_x(dy))

    def gram(self, dy: Array) -> Array:
        return self.dense.gram(self.slope.vjp_x(dy))

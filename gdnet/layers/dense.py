"""The dense layer: y = x W + b."""

from typing import Any

import numpy as np

from gdnet.backend import Array
from gdnet.errors import OptionError, ShapeError
from gdnet.layers.base import Context, Jacobian, Layer, Params, Shape
from gdnet.layers.initializers import Initializer, from_config, glorot_uniform


class Dense(Layer):
    """Weighted sums of the inputs plus a bias: y = x W + b.

    Parameters
    ----------
    *features : int
        `Dense(n_out)` or `Dense(n_in, n_out)`. With one number the input size is inferred.
    bias : bool
        Whether there is a b.
    init : Initializer
        Initial W, by default `glorot_uniform()`; b starts at 0.

    Notes
    -----
    Parameters: `W` (in, out), as in the textbooks (torch stores the transpose), and `b` (out,).
    Shapes: x (n, in), y (n, out).
    Derivatives: dy = dx W + x dW + db; transposed: dW = xᵀ dy, db = Σₙ dyₙ, dx = dy Wᵀ.

    >>> import numpy as np
    >>> y, J = Dense(2, 1)({"W": np.asarray([[1.0], [2.0]]), "b": np.zeros(1)}, np.asarray([[3.0, 4.0]]))
    >>> y, J.vjp(np.ones((1, 1)))[0]["W"].tolist()
    (array([[11.]]), [[3.0], [4.0]])
    """

    def __init__(self, *features: int, bias: bool = True, init: Initializer | dict | None = None) -> None:
        if len(features) not in (1, 2):
            raise OptionError(f"Dense takes (n_out) or (n_in, n_out), got {features}")
        if not all(isinstance(k, (int, np.integer)) and not isinstance(k, bool) and k > 0 for k in features):
            raise OptionError(f"Dense: sizes must be positive integers, got {features}")
        self.n_in = int(features[0]) if len(features) == 2 else None
        self.n_out = int(features[-1])
        self.bias = bool(bias)
        self.initial = from_config(init) if isinstance(init, dict) else init or glorot_uniform()
        self.in_shape = None if self.n_in is None else (self.n_in,)

    def shapes(self, in_shape: Shape) -> dict[str, Shape]:
        W: dict[str, Shape] = {"W": (in_shape[0], self.n_out)}
        return W | {"b": (self.n_out,)} if self.bias else W

    def out_shape(self, in_shape: Shape) -> Shape:
        if len(in_shape) != 1:
            raise ShapeError(f"{self!r} takes (n, features), got examples of shape {in_shape}: put Flatten() before it")
        if self.n_in not in (None, in_shape[0]):
            raise ShapeError(f"{self!r} expects {self.n_in} features, got {in_shape[0]}")
        return (self.n_out,)

    def init(self, in_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        start = super().init(in_shape, rng)
        return start | {"W": np.asarray(self.initial(rng, (in_shape[0], self.n_out)), dtype=np.float64)}

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        W = params["W"]
        y = context.backend.matmul(x, W)
        if self.bias:
            y += params["b"]
        return y, DenseJacobian(context, x, W, self.bias)

    def config(self) -> dict[str, Any]:
        features = [self.n_out] if self.n_in is None else [self.n_in, self.n_out]
        named = isinstance(self.initial, Initializer)  # a function of the user's own is not written to files
        init = {"name": self.initial.name, "options": self.initial.options} if named else None
        return {"features": features, "bias": self.bias, "init": init}

    def __repr__(self) -> str:
        sizes = f"{self.n_out}" if self.n_in is None else f"{self.n_in}, {self.n_out}"
        return f"Dense({sizes}{'' if self.bias else ', bias=False'})"


class DenseJacobian(Jacobian):
    """dy = dx W + x dW + db."""

    def __init__(self, context: Context, x: Array, W: Array, bias: bool) -> None:
        self.backend, self.xp, self.needs_dx = context.backend, context.xp, context.need_dx
        self.x, self.W, self.bias = x, W, bias

    def jvp(self, dparams: Params, dx: Array | None) -> Array:
        dy = self.x @ dparams["W"] if dparams else None
        if dx is not None:
            dy = dx @ self.W if dy is None else dy + dx @ self.W
        if dparams and self.bias:
            dy = dy + self.xp.expand_dims(dparams["b"], axis=-2)
        return dy

    def vjp(self, dy: Array) -> tuple[dict[str, Array], Array]:
        dparams = {"W": self.x.T @ dy}
        if self.bias:
            dparams["b"] = self.xp.sum(dy, axis=-2)
        return dparams, self.vjp_x(dy) if self.needs_dx else None

    def vjp_x(self, dy: Array) -> Array:
        return dy @ self.W.T

    def vjp_into(self, dy: Array, windows: dict[str, Array]) -> Array:
        self.backend.matmul(self.x.T, dy, out=windows["W"])
        if self.bias:
            windows["b"][...] = self.xp.sum(dy, axis=0)
        return self.backend.matmul(dy, self.W.T) if self.needs_dx else None

    def curve(self, dparams: Params, dx: Array | None, gy: Array) -> tuple[dict[str, Array], Array]:
        # vjp(gy) = (xᵀ gy, Σ gy, gy Wᵀ): only the first moves with x and only the last with W.
        xp = self.xp
        moved = xp.zeros_like(self.x) if dx is None else dx
        cparams = {"W": xp.matrix_transpose(moved) @ gy}
        if self.bias:
            cparams["b"] = xp.zeros_like(cparams["W"][..., 0, :])
        if not self.needs_dx:
            return cparams, None
        return cparams, gy @ xp.matrix_transpose(dparams["W"]) if dparams else xp.zeros_like(moved)

    def rows(self, dy: Array) -> dict[str, Array]:
        rows = {"W": self.x[:, :, None] * dy[..., None, :]}
        return rows | {"b": dy} if self.bias else rows

    def gram(self, dy: Array) -> Array:
        # Rows of example n are xₙ ⊗ dyₙ, so their products are (x xᵀ + 1) ∘ (dy dyᵀ): no row is ever formed.
        xp, (v, n, o) = self.xp, dy.shape
        inputs = self.x @ self.x.T + (1.0 if self.bias else 0.0)
        flat = xp.reshape(dy, (v * n, o))
        return xp.reshape(flat @ flat.T, (v, n, v, n)) * inputs[None, :, None, :]

"""The dense layer: y = x W + b."""

from typing import Any, Self

import numpy as np

from gdnet.backend import Array
from gdnet.checks import check_switch, is_whole
from gdnet.errors import OptionError, ShapeError
from gdnet.layers.base import Context, Layer
from gdnet.layers.initializers import Initializer, Rule, initializer
from gdnet.layers.jacobian import Jacobian, Params, Pull, Shape, accumulate


class Dense(Layer, name="Dense"):
    """Weighted sums of the inputs plus a bias: y = x W + b.

    Parameters
    ----------
    *features : int
        `Dense(n_out)` or `Dense(n_in, n_out)`. With one number the input size is inferred.
    bias : bool
        Whether there is a b.
    init : Initializer or callable
        Initial W, by default `glorot_uniform()`, or a function `(rng, shape) -> array`; b starts at 0.

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

    def __init__(self, *features: int, bias: bool = True, init: Rule | None = None) -> None:
        if len(features) not in (1, 2):
            raise OptionError(f"Dense takes (n_out) or (n_in, n_out), got {features}")
        if not all(is_whole(k) and k > 0 for k in features):
            raise OptionError(f"Dense: sizes must be positive integers, got {features}")
        self.n_in = int(features[0]) if len(features) == 2 else None
        self.n_out = int(features[-1])
        self.bias = check_switch("Dense: bias", bias)
        self.initial = initializer(init, "Dense")
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
        shape = (in_shape[0], self.n_out)
        W = np.asarray(self.initial(rng, shape))
        if W.shape != shape:
            raise ShapeError(f"{self!r}: init must give an array of shape {shape}, got {W.shape}")
        if W.dtype.kind not in "fiu" or not np.isfinite(W).all():
            raise OptionError(f"{self!r}: init must give finite numbers, got NaN, infinity or {W.dtype}")
        W = W.astype(np.float64)
        return super().init(in_shape, rng) | {"W": W}

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        W = params["W"]
        y = context.backend.matmul(x, W)
        if self.bias:
            y += params["b"]
        return y, DenseJacobian(context, x, W, self.bias)

    def config(self) -> dict[str, Any]:
        features = [self.n_out] if self.n_in is None else [self.n_in, self.n_out]
        init = None  # a function of the user's own is not written to files
        if isinstance(self.initial, Initializer):
            init = self.initial.config()
        return {"features": features, "bias": self.bias, "init": init}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(*config["features"], bias=config.get("bias", True), init=config.get("init"))

    def __repr__(self) -> str:
        sizes = f"{self.n_out}" if self.n_in is None else f"{self.n_in}, {self.n_out}"
        return f"Dense({sizes}{'' if self.bias else ', bias=False'})"


class DenseJacobian(Jacobian):
    """dy = dx W + x dW + db."""

    def __init__(self, context: Context, x: Array, W: Array, bias: bool) -> None:
        self.backend, self.xp, self.needs_dx = context.backend, context.xp, context.need_dx
        self.x, self.W, self.bias = x, W, bias

    def jvp(self, dparams: Params, dx: Array | None) -> Array:
        matmul = self.backend.matmul
        dy: Any = matmul(self.x, dparams["W"]) if dparams else None
        if dx is not None:
            dy = matmul(dx, self.W) if dy is None else accumulate(dy, matmul(dx, self.W))
        if dparams and self.bias:
            b = self.xp.expand_dims(dparams["b"], axis=-2)
            if b.ndim > dy.ndim:
                return dy + b
            dy += b
        return dy

    def vjp(self, dy: Array) -> Pull:
        dparams = {"W": self.backend.matmul(self.x.T, dy)}
        if self.bias:
            dparams["b"] = self.xp.sum(dy, axis=-2)
        return dparams, self.vjp_x(dy) if self.needs_dx else None

    def vjp_x(self, dy: Array) -> Array:
        return self.backend.matmul(dy, self.W.T)

    def vjp_into(self, dy: Array, windows: dict[str, Array]) -> Array:
        self.backend.matmul(self.x.T, dy, out=windows["W"])
        if self.bias:
            self.backend.sum_rows(dy, windows["b"])
        return self.backend.matmul(dy, self.W.T) if self.needs_dx else None

    def curve(self, dparams: Params, dx: Array | None, gy: Array) -> Pull:
        # vjp(gy) = (xᵀ gy, Σ gy, gy Wᵀ): only the first moves with x and only the last with W.
        xp, matmul = self.xp, self.backend.matmul
        if dx is not None:
            W = matmul(xp.matrix_transpose(dx), gy)
        else:  # zero, with the batch axes that tangents and gy have together
            lead = np.broadcast_shapes(tuple(dparams["W"].shape[:-2]), tuple(gy.shape[:-2]))
            W = xp.zeros((*lead, *self.W.shape), dtype=gy.dtype, device=self.backend.device)
        cparams = {"W": W} | ({"b": xp.zeros_like(W[..., 0, :])} if self.bias else {})
        return cparams, matmul(gy, xp.matrix_transpose(dparams["W"])) if dparams and self.needs_dx else None

    def dvjp(self, dparams: Params, dx: Array | None, gy: Array, dgy: Array | None) -> Pull:
        # d(xᵀ gy) = xᵀ dgy + dxᵀ gy and d(gy Wᵀ) = dgy Wᵀ + gy dWᵀ
        if dgy is None:
            return self.curve(dparams, dx, gy)
        xp, matmul = self.xp, self.backend.matmul
        moved, dgx = self.vjp(dgy)
        if dx is not None:
            moved["W"] = accumulate(moved["W"], matmul(xp.matrix_transpose(dx), gy))
        if dparams and self.needs_dx:
            dgx = accumulate(dgx, matmul(gy, xp.matrix_transpose(dparams["W"])))
        return moved, dgx

    def rows(self, dy: Array) -> dict[str, Array]:
        rows = {"W": self.x[:, :, None] * dy[..., None, :]}
        return rows | {"b": dy} if self.bias else rows

    def squares(self, dy: Array) -> dict[str, Array]:
        # Σ (xₙᵢ dyₙₒ)² = Σ xₙᵢ² dyₙₒ²: a product of squares.
        each = self.xp.sum(dy * dy, axis=0)
        squares = {"W": self.backend.matmul((self.x * self.x).T, each)}
        return squares | {"b": self.xp.sum(each, axis=0)} if self.bias else squares

    def gram(self, dy: Array) -> Array:
        # Rows of example n are xₙ ⊗ dyₙ, so their products are (x xᵀ + 1) ∘ (dy dyᵀ): no row is ever formed.
        xp, matmul, (v, n, o) = self.xp, self.backend.matmul, dy.shape
        inputs = matmul(self.x, self.x.T) + (1.0 if self.bias else 0.0)
        flat = xp.reshape(dy, (v * n, o))
        return xp.reshape(matmul(flat, flat.T), (v, n, v, n)) * inputs[None, :, None, :]

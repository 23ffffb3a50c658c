"""The contract of a layer: y = f(params, x) comes back together with its Jacobian.

    y, J = layer(params, x)
    dy = J.jvp(dparams, dx)             the change of y for a change of the parameters and of the input
    dparams, dx = J.vjp(dy)             the transposed map: local derivative times the derivative that arrives

Letters: n examples (axis 0 of x and y), v cotangents (any axes before n), i/o features in/out, p parameters.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, Key, backend_of
from gdnet.errors import ShapeError

Shape = tuple[int, ...]
Params = Mapping[str, Array]


class Context:
    """What a layer may know of the call it serves, beside its parameters and its input.

    Attributes
    ----------
    backend, xp
        The array library, looked up once for the whole call.
    training : bool
        Whether layers such as `Dropout` are active.
    key : Key or None
        The stream of random numbers of this layer in this step.
    need_dx : bool
        False where x is data, so that no one will ask for its derivative: `vjp` may then return None for `dx`.
    """

    __slots__ = ("backend", "key", "need_dx", "training", "xp")

    def __init__(self, backend: Backend, training: bool = False, key: Key | None = None, need_dx: bool = True) -> None:
        self.backend, self.xp = backend, backend.xp
        self.training, self.key, self.need_dx = training, key, need_dx

    def child(self, i: int, need_dx: bool) -> "Context":
        """The context of the i-th layer inside a composite."""
        key = None if self.key is None else self.key.child(i)
        return Context(self.backend, self.training, key, need_dx)


class Jacobian:
    """The derivative of y = f(params, x) at one point, as a linear map.

    Either subclass it or hand it the two products: `Jacobian(jvp, vjp)`. The other methods are faster forms of what
    the two can do already; a layer overrides those for which it knows a better way.

    Attributes
    ----------
    needs_dx : bool
        False if `jvp` accepts `dx=None` for an input that does not change, and `vjp` may return None for `dx`.
    """

    needs_dx = True

    def __init__(
        self,
        jvp: Callable[[Params, Array], Array] | None = None,
        vjp: Callable[[Array], tuple[dict[str, Array], Array]] | None = None,
        curve: Callable[[Params, Array, Array], tuple[dict[str, Array], Array]] | None = None,
    ) -> None:
        if jvp is not None:
            self.jvp = jvp  # type: ignore[method-assign, assignment]
        if vjp is not None:
            self.vjp = vjp  # type: ignore[method-assign, assignment]
        if curve is not None:
            self.curve = curve  # type: ignore[method-assign, assignment]

    def jvp(self, dparams: Params, dx: Array) -> Array:
        """dy = ∂f/∂params · dparams + ∂f/∂x · dx. Leading axes are batch axes."""
        raise NotImplementedError(f"{type(self).__name__} has no jvp")

    def vjp(self, dy: Array) -> tuple[dict[str, Array], Array]:
        """(∂f/∂paramsᵀ · dy, ∂f/∂xᵀ · dy). `dy` may carry any number of axes before n, and so do the results."""
        raise NotImplementedError(f"{type(self).__name__} has no vjp")

    def curve(self, dparams: Params, dx: Array, gy: Array) -> tuple[dict[str, Array], Array]:
        """The second-derivative term: how `vjp(gy)` changes when params and x move by (dparams, dx)."""
        raise NotImplementedError(f"{type(self).__name__} has no second-derivative term")

    # -- faster forms, each with a default derived from the two products ---------------------------------------------

    def vjp_x(self, dy: Array) -> Array:
        """The second half of `vjp` alone."""
        return self.vjp(dy)[1]

    def vjp_into(self, dy: Array, windows: dict[str, Array]) -> Array:
        """`vjp` with the parameter derivatives written into `windows` (of a gradient vector just created)."""
        dparams, dx = self.vjp(dy)
        for name, value in dparams.items():
            windows[name][...] = value
        return dx

    def rows(self, dy: Array) -> dict[str, Array]:
        """Per-example parameter derivatives: `dy` (v, n, ...) gives (v, n, *shape) by name."""
        backend, n = backend_of(dy), dy.shape[1]
        xp = backend.xp
        # alone[m, v, n] keeps example m of the n and silences the others, so that its derivative comes out alone.
        only = xp.reshape(xp.eye(n, dtype=dy.dtype, device=backend.device), (n, 1, n, *([1] * (dy.ndim - 2))))
        dparams, _ = self.vjp(xp.expand_dims(dy, axis=0) * only)
        return {name: xp.moveaxis(value, 0, 1) for name, value in dparams.items()}

    def gram(self, dy: Array) -> Array:
        """This layer's share of J Jᵀ: (v, n, v, n) for `dy` (v, n, ...), by default through `rows`."""
        xp, (v, n) = backend_of(dy).xp, dy.shape[:2]
        total: Any = 0.0
        for row in self.rows(dy).values():
            flat = xp.reshape(row, (v * n, -1))
            total = total + flat @ xp.matrix_transpose(flat)
        return xp.reshape(total, (v, n, v, n))


class Layer:
    """Base class of all layers, composites included.

    A layer says what parameters it has (`shapes`), what comes out (`out_shape`), what they are at first (`init`), and
    computes `forward(params, x, context) -> (y, Jacobian)`. Shapes exclude the axis of examples.
    """

    in_shape: Shape | None = None
    """The input shape where the layer fixes it, else None."""
    keeps_shape = False
    """Whether the output has the input's shape, whatever that is."""
    stochastic = False
    """Whether two calls in training with different keys differ."""

    def shapes(self, in_shape: Shape) -> dict[str, Shape]:
        """Names and shapes of the parameters, for inputs of this shape."""
        return {}

    def out_shape(self, in_shape: Shape) -> Shape:
        """The output's shape, for inputs of this shape; a `ShapeError` if the layer cannot take them."""
        return in_shape

    def init(self, in_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial parameters, drawn on the host so that they are the same for every backend."""
        return {name: np.zeros(shape) for name, shape in self.shapes(in_shape).items()}

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        """(y, J) for x of shape (n, *in_shape)."""
        raise NotImplementedError(f"{type(self).__name__} has no forward rule")

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, of JSON types; a model file is rebuilt from it."""
        return {}

    def __call__(
        self, params: Params, x: Array, *, training: bool = False, key: Key | None = None
    ) -> tuple[Array, Jacobian]:
        """(y, J) for x of shape (n, *in_shape), after a check of what came.

        Raises
        ------
        ShapeError
            If x or a parameter has another shape than the layer expects.
        ArrayError
            If x and the parameters live in different libraries or on different devices.
        """
        backend = backend_of(x, *params.values(), names=("x", *params))
        in_shape = tuple(x.shape[1:])
        self.out_shape(in_shape)
        for name, shape in self.shapes(in_shape).items():
            if name not in params:
                raise ShapeError(f"{self!r} needs the parameter {name!r} of shape {shape}, got {sorted(params)}")
            if tuple(params[name].shape) != shape:
                raise ShapeError(f"{self!r}: {name!r} must have shape {shape}, got {tuple(params[name].shape)}")
        return self.forward(params, x, Context(backend, training, key))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config().items())})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.config() == other.config()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(repr(self))


def n_features(shape: Shape) -> int:
    """The number of features in an example of this shape."""
    return math.prod(shape)

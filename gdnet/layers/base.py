"""The contract of a layer: y = f(params, x) comes back together with its Jacobian.

    y, J = layer(params, x)
    dy = J.jvp(dparams, dx)             the change of y for a change of the parameters and of the input
    dparams, dx = J.vjp(dy)             the transposed map: local derivative times the derivative that arrives

Letters: n examples (axis 0 of x and y), v cotangents (any axes before n), i/o features in/out, p parameters.
"""

from typing import ClassVar

import numpy as np

from gdnet.backend import Array, Backend, Key, backend_of
from gdnet.errors import ArrayError, ShapeError
from gdnet.layers.configured import Configured
from gdnet.layers.jacobian import Jacobian, Params, Shape
from gdnet.maps import Map


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

    >>> from gdnet.backend import get_backend
    >>> inner = Context(get_backend("cpu"), training=True, key=Key(0)).child(1, need_dx=False)
    >>> inner.training, inner.key.path, inner.need_dx
    (True, (1,), False)
    """

    __slots__ = ("backend", "key", "need_dx", "training", "xp")

    def __init__(self, backend: Backend, training: bool = False, key: Key | None = None, need_dx: bool = True) -> None:
        self.backend, self.xp = backend, backend.xp
        self.training, self.key, self.need_dx = training, key, need_dx

    def child(self, i: int, need_dx: bool) -> "Context":
        """The context of the i-th layer inside a composite."""
        key = None if self.key is None else self.key.child(i)
        return Context(self.backend, self.training, key, need_dx)


class Layer(Configured):
    """Base class of all layers, composites included.

    A layer says what parameters it has (`shapes`), what comes out (`out_shape`), what they are at first (`init`), and
    computes `forward(params, x, context) -> (y, Jacobian)`. Shapes exclude the axis of examples.

    A file holds `spec()`, which is of JSON types; `Layer.from_spec` makes the layer again. The arguments of the
    constructor are noted for that, and layers of one class with equal arguments are equal. Where an argument has no
    JSON form, such as a function, write `config` and `from_config`.

    Raises
    ------
    ShapeError, ArrayError
        When it is called from outside with parameters or an x that do not fit; inside a network nothing is checked.

    >>> import numpy as np
    >>> from gdnet.layers import Dense
    >>> layer = Dense(2)
    >>> layer.shapes((3,)), layer.out_shape((3,))
    ({'W': (3, 2), 'b': (2,)}, (2,))
    >>> y, J = layer(layer.init((3,), np.random.default_rng(0)), np.ones((5, 3)))
    >>> y.shape, J.vjp_x(y).shape
    ((5, 2), (5, 3))
    >>> Layer.from_spec({"type": "Dense", "config": {"features": [3, 2]}})
    Dense(3, 2)
    """

    in_shape: Shape | None = None
    """The input shape where the layer fixes it, else None."""
    keeps_shape = False
    """Whether the output has the input's shape, whatever that is."""
    stochastic = False
    """Whether two calls in training with different keys differ."""
    mixes_examples = False
    """Whether one example's output depends on other examples of the batch, as with statistics of the batch. Then no
    part of a Jacobian belongs to one example alone, and derivatives of single examples are found in a slower way."""
    kinks: tuple[float, ...] = ()
    """Inputs at which the rule has no derivative; numerical checks keep away from them."""

    known: ClassVar[dict[str, type["Layer"]]] = {}
    """Every layer class by the name that stands for it in a file."""
    family = "layer"

    def shapes(self, in_shape: Shape) -> dict[str, Shape]:
        """Names and shapes of the parameters, for inputs of this shape."""
        return {}

    def out_shape(self, in_shape: Shape) -> Shape:
        """The output's shape, for inputs of this shape; a `ShapeError` if the layer cannot take them."""
        return in_shape

    def owners(self, in_shape: Shape) -> dict[str, tuple["Layer", str]]:
        """The layer object that each parameter belongs to, and its name there; a composite names its layers'."""
        return {name: (self, name) for name in self.shapes(in_shape)}

    def init(self, in_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial parameters, drawn on the host so that they are the same for every backend."""
        return {name: np.zeros(shape) for name, shape in self.shapes(in_shape).items()}

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        """(y, J) for x of shape (n, *in_shape)."""
        raise NotImplementedError(f"{type(self).__name__} has no forward rule")

    # -- calling it from outside ---------------------------------------------------------------------------------------

    def __call__(
        self, params: Params, x: Array, *, training: bool = False, key: Key | None = None
    ) -> tuple[Array, Jacobian]:
        """(y, J) for x of shape (n, *in_shape), after a check of what came.

        Raises
        ------
        ShapeError
            If x or a parameter has another shape than the layer expects.
        ArrayError
            If x and the parameters live in different libraries or on different devices, or x is not of a float type.
        """
        backend = backend_of(x, *params.values(), names=("x", *params))
        if not backend.xp.isdtype(x.dtype, "real floating"):
            raise ArrayError(f"{self!r}: x must be of a float type, got {x.dtype}: convert it, as in xp.astype(x, ...)")
        if x.ndim == 0:
            raise ShapeError(f"{self!r}: x must have an axis of examples, got a scalar")
        in_shape = tuple(x.shape[1:])
        self.out_shape(in_shape)
        for name, shape in self.shapes(in_shape).items():
            if name not in params:
                raise ShapeError(f"{self!r} needs the parameter {name!r} of shape {shape}, got {sorted(params)}")
            if tuple(params[name].shape) != shape:
                raise ShapeError(f"{self!r}: {name!r} must have shape {shape}, got {tuple(params[name].shape)}")
        return self.forward(params, x, Context(backend, training, key))

    def jacobian(self, params: Params, x: Array, *, training: bool = False, key: Key | None = None) -> dict[str, Map]:
        """The derivatives of y by x (named `"x"`) and by each parameter, as maps; `.dense()` gives a matrix.

        >>> from gdnet.layers import Tanh
        >>> Tanh().jacobian({}, np.zeros((1, 2)))["x"].dense()
        array([[1., 0.],
               [0., 1.]])
        """
        y, J = self(params, x, training=training, key=key)
        backend, xp = backend_of(x), backend_of(x).xp
        out, dtype, still = tuple(y.shape), y.dtype, xp.zeros_like(x)

        def by(name: str) -> Map:
            others = {other: xp.zeros_like(value) for other, value in params.items()}
            return Map(
                backend, tuple(params[name].shape), out, dtype,
                lambda v: J.jvp(others | {name: v}, still), lambda u: J.vjp(u)[0][name],
            )  # fmt: skip

        found = {"x": Map(backend, tuple(x.shape), out, dtype, lambda v: J.jvp({}, v), J.vjp_x)}
        return found | {name: by(name) for name in params}


__all__ = ["Context", "Jacobian", "Layer", "Params", "Shape"]

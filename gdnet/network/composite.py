"""What every composite has: its layers, their parameters by name, its layout and its initial vector."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from gdnet.backend import Array, backend_of, host_generator
from gdnet.backend.base import check_float, float_name
from gdnet.errors import NotBuilt, OptionError, ShapeError
from gdnet.layers import Layer, Shape
from gdnet.vector import Layout


class Network(Layer):
    """A composite layer, with its parameters as one flat vector `theta`."""

    def resolve(self, in_shape: Shape | None = None) -> Shape:
        """The input shape: the given one if it fits, else the one that the layers fix."""
        if in_shape is None and self.in_shape is None:
            raise NotBuilt(
                f"the input's size is not known: give it to the first layer, as in Dense(784, 50), or pass in_shape "
                f"to {self!r}"
            )
        if in_shape is not None and self.in_shape not in (None, tuple(in_shape)):
            raise ShapeError(f"the network takes examples of shape {self.in_shape}, got {tuple(in_shape)}")
        return tuple(in_shape) if in_shape is not None else self.in_shape  # type: ignore[return-value]

    def layout(self, in_shape: Shape | None = None) -> Layout:
        """Names and shapes of all parameters, in construction order."""
        return Layout(self.shapes(self.resolve(in_shape)))

    def initial(self, seed: int = 0, in_shape: Shape | None = None) -> np.ndarray:
        """Initial parameters as a float64 vector on the host; the same for every backend.

        >>> from gdnet.layers import Dense
        >>> from gdnet.network import Sequential
        >>> Sequential(Dense(3, 2)).initial(seed=0).shape
        (8,)
        """
        in_shape = self.resolve(in_shape)
        layout = self.layout(in_shape)
        return layout.join_host(self.init(in_shape, host_generator(seed, "init")))

    def parameters(self, like: Array, seed: int = 0, dtype: str | None = None) -> Array:
        """Initial `theta` in the library, on the device and (unless given) of the dtype of the data `like`."""
        backend = backend_of(like)
        name = dtype or float_name(like.dtype)
        return backend.asarray(self.initial(seed, tuple(like.shape[1:])), check_float(name))


class Plan(NamedTuple):
    """What a composite makes of one input shape, worked out once."""

    out_shape: Shape
    inputs: list[Shape]
    """Each layer's input."""
    outputs: list[Shape]
    """Each layer's output."""
    shapes: dict[str, Shape]
    names: list[dict[str, str]]
    """For each layer: its own parameter names -> their names in the composite."""
    first: int
    """The first layer that has parameters."""
    owners: dict[str, tuple[Layer, str]]
    """For each parameter: the layer that it belongs to, and its name there."""
    tied: bool
    """Whether a parameter has two names or more: a layer that comes twice has one window, and its derivatives add."""


class Composite(Network):
    """A layer made of layers. Parameters are named by position: `"0.W"`, `"2.b"`, `"1.0.W"`.

    One layer object that comes twice shares its parameters, which are named by the first position: the derivatives of
    both places add. A composite of your own writes `forward` and gives a `CompositeJacobian`.

    >>> from gdnet.layers import Dense, Tanh
    >>> from gdnet.network import Sequential
    >>> shared = Dense(3, 3)
    >>> list(Sequential(shared, Tanh(), shared).layout())
    ['0.W', '0.b']
    """

    chained: ClassVar[bool] = True
    """Whether a layer's input is the output of the one before it, or the input of the whole."""
    argument: ClassVar[str] = "layers"
    """What the constructor calls the layers."""

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise OptionError(f"{type(self).__name__} needs at least one layer")
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise OptionError(
                    f"{type(self).__name__}: layer {i} is a {type(layer).__name__}, not a Layer "
                    "(write ReLU(), not ReLU)"
                )
        self.layers = layers
        self._plans: dict[Shape, Plan] = {}
        self.stochastic = any(layer.stochastic for layer in layers)
        self.mixes_examples = any(layer.mixes_examples for layer in layers)
        self.keeps_shape = all(layer.keeps_shape for layer in layers)
        for layer in layers:  # in a chain, only layers that keep the shape may precede the one that fixes it
            if layer.in_shape is not None or (self.chained and not layer.keeps_shape):
                self.in_shape = layer.in_shape
                break

    def merged(self, in_shape: Shape, outputs: list[Shape]) -> Shape:
        """The output's shape, from the layers' outputs."""
        return outputs[-1]

    def plan(self, in_shape: Shape) -> Plan:
        """What follows from the input's shape."""
        if in_shape not in self._plans:
            self._plans[in_shape] = self._make_plan(in_shape)
        return self._plans[in_shape]

    def _make_plan(self, in_shape: Shape) -> Plan:
        inputs: list[Shape] = []
        outputs: list[Shape] = []
        shapes: dict[str, Shape] = {}
        names: list[dict[str, str]] = []
        known: dict[tuple[int, str], str] = {}  # the name of a parameter, by the object that it belongs to
        owners: dict[str, tuple[Layer, str]] = {}
        for i, layer in enumerate(self.layers):
            shape = outputs[-1] if self.chained and outputs else in_shape
            try:
                out, own, owned = layer.out_shape(shape), layer.shapes(shape), layer.owners(shape)
            except ShapeError as error:
                raise ShapeError(f"layer {i}: {error}") from None
            inputs.append(shape)
            outputs.append(tuple(out))
            names.append({})
            for name, size in own.items():
                owner, inside = owned[name]
                full = names[i][name] = known.setdefault((id(owner), inside), f"{i}.{name}")
                if shapes.setdefault(full, size) != size:
                    raise ShapeError(
                        f"layer {i}: {owner!r} stands here again and would need {inside!r} of shape {size}, but it "
                        f"shares {full!r} of shape {shapes[full]}: use another layer, with parameters of its own"
                    )
                owners.setdefault(full, (owner, inside))
        first = next((i for i, own in enumerate(names) if own), len(names))
        tied = len(shapes) < sum(len(layer.shapes(shape)) for layer, shape in zip(self.layers, inputs))
        tied = tied or any(isinstance(layer, Composite) and layer.plan(s).tied for layer, s in zip(self.layers, inputs))
        return Plan(self.merged(in_shape, outputs), inputs, outputs, shapes, names, first, owners, tied)

    def owners(self, in_shape: Shape) -> dict[str, tuple[Layer, str]]:
        return self.plan(tuple(in_shape)).owners

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.plan(tuple(in_shape)).out_shape

    def shapes(self, in_shape: Shape) -> dict[str, Shape]:
        return self.plan(tuple(in_shape)).shapes

    def init(self, in_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        plan = self.plan(tuple(in_shape))
        found: dict[str, np.ndarray] = {}
        for layer, shape, names in zip(self.layers, plan.inputs, plan.names):
            for name, value in layer.init(shape, rng).items():
                found.setdefault(names[name], value)  # a layer that stands here again keeps what it has
        return found

    def config(self) -> dict[str, Any]:
        with _numbered() as numbers:
            return {self.argument: [_spec(layer, numbers) for layer in self.layers]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        options = {name: value for name, value in config.items() if name != cls.argument}
        with _numbered() as made:
            return cls(*[_layer(spec, made) for spec in config[cls.argument]], **options)

    def __repr__(self) -> str:
        options = [f"{name}={value!r}" for name, value in self.config().items() if name != self.argument]
        return f"{type(self).__name__}({', '.join([*map(repr, self.layers), *options])})"


# -- shared layers in files: {"shared": k} stands for the k-th layer of the whole, counted as they are complete --------

_NUMBERS: ContextVar[list[Layer] | None] = ContextVar("numbers", default=None)


@contextlib.contextmanager
def _numbered() -> Iterator[list[Layer]]:
    """The layers that have been written or made so far, in the outermost composite and all within."""
    outer = _NUMBERS.get()
    if outer is not None:
        yield outer
        return
    token = _NUMBERS.set([])
    try:
        yield _NUMBERS.get()  # type: ignore[misc]
    finally:
        _NUMBERS.reset(token)


def _spec(layer: Layer, numbers: list[Layer]) -> dict[str, Any]:
    may_share = type(layer).shapes is not Layer.shapes
    known = next((k for k, other in enumerate(numbers) if other is layer), None)
    if may_share and known is not None:
        return {"shared": known}
    spec = layer.spec()
    numbers.append(layer)
    return spec


def _layer(spec: dict[str, Any], made: list[Layer]) -> Layer:
    if isinstance(spec, dict) and spec.keys() == {"shared"}:
        k = spec["shared"]
        if not isinstance(k, int) or not 0 <= k < len(made):
            raise OptionError(f"a shared layer must be one of the {len(made)} before it, got number {k!r}")
        return made[k]
    layer = Layer.from_spec(spec)
    made.append(layer)
    return layer

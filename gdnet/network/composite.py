"""What every composite has: its layers, their parameters by name, its layout and its initial vector."""

from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from gdnet.backend import Array, backend_of, host_generator
from gdnet.backend.base import check_float
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
        name = dtype or ("float64" if "64" in str(like.dtype) else "float32")
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


class Composite(Network):
    """A layer made of layers. Parameters are named by position: `"0.W"`, `"2.b"`, `"1.0.W"`."""

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
        for i, layer in enumerate(self.layers):
            shape = outputs[-1] if self.chained and outputs else in_shape
            try:
                out, own = layer.out_shape(shape), layer.shapes(shape)
            except ShapeError as error:
                raise ShapeError(f"layer {i}: {error}") from None
            inputs.append(shape)
            outputs.append(tuple(out))
            names.append({name: f"{i}.{name}" for name in own})
            shapes.update({f"{i}.{name}": size for name, size in own.items()})
        first = next((i for i, own in enumerate(names) if own), len(names))
        return Plan(self.merged(in_shape, outputs), inputs, outputs, shapes, names, first)

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.plan(tuple(in_shape)).out_shape

    def shapes(self, in_shape: Shape) -> dict[str, Shape]:
        return self.plan(tuple(in_shape)).shapes

    def init(self, in_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        inputs = self.plan(tuple(in_shape)).inputs
        return {
            f"{i}.{name}": value
            for i, layer in enumerate(self.layers)
            for name, value in layer.init(inputs[i], rng).items()
        }

    def config(self) -> dict[str, Any]:
        return {self.argument: [layer.spec() for layer in self.layers]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        options = {name: value for name, value in config.items() if name != cls.argument}
        return cls(*map(Layer.from_spec, config[cls.argument]), **options)

    def __repr__(self) -> str:
        options = [f"{name}={value!r}" for name, value in self.config().items() if name != self.argument]
        return f"{type(self).__name__}({', '.join([*map(repr, self.layers), *options])})"

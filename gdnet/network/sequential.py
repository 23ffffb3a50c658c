"""Layers one after another; the chain rule is a loop and a reversed loop."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gdnet.backend import Array
from gdnet.errors import OptionError, ShapeError
from gdnet.layers import Context, Jacobian, Layer, Params, Shape
from gdnet.network.build import Network


class Plan(NamedTuple):
    """What a chain of layers makes of one input shape."""

    out_shape: Shape
    shapes: dict[str, Shape]
    names: list[dict[str, str]]
    """For each layer: its own parameter names -> their names in the chain."""
    first: int
    """The first layer that has parameters."""


class Sequential(Network):
    """y = fₖ(... f₂(f₁(x))).

    Parameters
    ----------
    *layers : Layer
        Composites nest. Parameters are named by position: `"0.W"`, `"2.b"`, `"1.0.W"`.

    >>> import numpy as np
    >>> from gdnet.layers import Dense, ReLU
    >>> net = Sequential(Dense(3, 4), ReLU(), Dense(1))
    >>> list(net.layout())
    ['0.W', '0.b', '2.W', '2.b']
    """

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise OptionError("Sequential needs at least one layer")
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise OptionError(
                    f"Sequential: layer {i} is a {type(layer).__name__}, not a Layer (write ReLU(), not ReLU)"
                )
        self.layers = layers
        self._plans: dict[Shape, Plan] = {}
        self.stochastic = any(layer.stochastic for layer in layers)
        for layer in layers:  # the input's size is the first one fixed, if only layers that keep the shape precede it
            if layer.in_shape is not None or not layer.keeps_shape:
                self.in_shape = layer.in_shape
                break

    def out_shape(self, in_shape: Shape) -> Shape:
        return self._plan(tuple(in_shape)).out_shape

    def shapes(self, in_shape: Shape) -> dict[str, Shape]:
        return self._plan(tuple(in_shape)).shapes

    def _plan(self, in_shape: Shape) -> Plan:
        """What follows from the input's shape, worked out once."""
        if in_shape not in self._plans:
            self._plans[in_shape] = self._make_plan(in_shape)
        return self._plans[in_shape]

    def _make_plan(self, in_shape: Shape) -> Plan:
        shape, shapes, names, first = in_shape, {}, [], len(self.layers)
        for i, layer in enumerate(self.layers):
            try:
                out = layer.out_shape(shape)
                own = layer.shapes(shape)
            except ShapeError as error:
                raise ShapeError(f"layer {i}: {error}") from None
            names.append({name: f"{i}.{name}" for name in own})
            shapes.update({f"{i}.{name}": size for name, size in own.items()})
            first = min(first, i) if own else first
            shape = out
        return Plan(shape, shapes, names, first)

    def init(self, in_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        start, shape = {}, tuple(in_shape)
        for i, layer in enumerate(self.layers):
            start.update({f"{i}.{name}": value for name, value in layer.init(shape, rng).items()})
            shape = layer.out_shape(shape)
        return start

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        _, _, names, first = self._plan(tuple(x.shape[1:]))
        jacobians, needed = [], context.need_dx
        for i, layer in enumerate(self.layers):
            own = {name: params[full] for name, full in names[i].items()}
            x, J = layer.forward(own, x, context.child(i, needed or i > first))
            jacobians.append(J)
        return x, ChainJacobian(jacobians, names, 0 if needed else first, context)

    def config(self) -> dict[str, Any]:
        return {"layers": list(self.layers)}

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


class ChainJacobian(Jacobian):
    """The product of the layers' Jacobians: forwards for a tangent, transposed and backwards for a cotangent.

    Layers before `first` have no parameters and their input is data: nobody needs what lies before them.
    """

    def __init__(self, jacobians: list[Jacobian], names: list[dict[str, str]], first: int, context: Context) -> None:
        self.jacobians, self.names, self.first = jacobians, names, first
        self.xp, self.needs_dx = context.xp, context.need_dx

    def _own(self, i: int, params: Mapping[str, Array]) -> dict[str, Array]:
        return {name: params[full] for name, full in self.names[i].items()}

    def jvp(self, dparams: Params, dx: Array | None) -> Array:
        for i, J in enumerate(self.jacobians):
            own = self._own(i, dparams) if dparams else {}
            if own or dx is not None:  # else nothing has moved so far
                dx = J.jvp(own, dx)
        return dx

    def vjp(self, dy: Array) -> tuple[dict[str, Array], Array]:
        found: list[dict[str, Array]] = []
        for i in range(len(self.jacobians) - 1, self.first - 1, -1):
            own, dy = self.jacobians[i].vjp(dy)
            found.append({self.names[i][name]: value for name, value in own.items()})
        dparams = {full: value for part in reversed(found) for full, value in part.items()}
        return dparams, dy if self.needs_dx else None

    def vjp_x(self, dy: Array) -> Array:
        for J in reversed(self.jacobians):
            dy = J.vjp_x(dy)
        return dy

    def vjp_into(self, dy: Array, windows: dict[str, Array]) -> Array:
        for i in range(len(self.jacobians) - 1, self.first - 1, -1):
            dy = self.jacobians[i].vjp_into(dy, self._own(i, windows))
        return dy

    def rows(self, dy: Array) -> dict[str, Array]:
        found = {}
        for i in range(len(self.jacobians) - 1, self.first - 1, -1):
            J = self.jacobians[i]
            if self.names[i]:
                found.update({self.names[i][name]: value for name, value in J.rows(dy).items()})
            if i > self.first:
                dy = J.vjp_x(dy)
        return {full: found[full] for names in self.names for full in names.values()}

    def gram(self, dy: Array) -> Array:
        total: Any = 0.0
        for i in range(len(self.jacobians) - 1, self.first - 1, -1):
            J = self.jacobians[i]
            if self.names[i]:
                total = total + J.gram(dy)
            if i > self.first:
                dy = J.vjp_x(dy)
        return total

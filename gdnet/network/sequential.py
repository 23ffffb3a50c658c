"""Layers one after another; the chain rule is a loop and a reversed loop."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from gdnet.backend import Array, Backend
from gdnet.layers import Context, Jacobian, Layer, Params, Shape
from gdnet.layers.jacobian import Pull
from gdnet.network.composite import Composite, Plan
from gdnet.network.composite_jacobian import Call, CompositeJacobian
from gdnet.network.joined import Joined, kernel_of


class Sequential(Composite, name="Sequential"):
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
        super().__init__(*layers)
        self._places = list(enumerate(layers))
        self._joints = {i: name for i, pair in enumerate(pairwise(layers)) if (name := kernel_of(*pair))}
        self._joined: dict[Any, tuple[list[tuple[int, Layer]], Plan]] = {}

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        layers, plan = self.steps(tuple(x.shape[1:]), context.backend)
        calls: list[Call] = []
        jacobians: list[Jacobian] = []
        needed, first, keyed = context.need_dx, plan.first, context.key is not None
        above = context if needed else context.child(0, True)  # without keys, layers may share a context
        for (place, layer), names in zip(layers, plan.names):
            need_dx = needed or len(calls) > first
            own = {name: params[full] for name, full in names.items()} if names else {}
            inner = context.child(place, need_dx) if keyed else above if need_dx else context
            calls.append((layer, own, x, inner))
            x, J = layer.forward(own, x, inner)
            jacobians.append(J)
        return x, ChainJacobian(calls, jacobians, plan, context, 0 if needed else first)

    def steps(self, in_shape: Shape, backend: Backend) -> tuple[list[tuple[int, Layer]], Plan]:
        """The layers with their places, and the plan; two layers that a kernel of the backend joins are one step."""
        plan = self.plan(in_shape)
        joined = tuple(i for i, name in self._joints.items() if name in backend.kernels)
        if not joined:
            return self._places, plan
        key = in_shape, joined
        if key not in self._joined:
            left = [(i, layer) for i, layer in self._places if i - 1 not in joined]
            steps = [(i, Joined(*self.layers[i : i + 2]) if i in joined else layer) for i, layer in left]
            names = [plan.names[i] for i, _ in left]
            self._joined[key] = steps, plan._replace(names=names)  # nothing is joined before the first with parameters
        return self._joined[key]


class ChainJacobian(CompositeJacobian):
    """The product of the layers' Jacobians: forwards for a tangent, transposed and backwards for a cotangent.

    Layers before `first` have no parameters and their input is data: nobody needs what lies before them.
    """

    def __init__(self, calls: list[Call], jacobians: list[Jacobian], plan: Plan, context: Context, first: int) -> None:
        super().__init__(calls, jacobians, plan, context)
        self.first = first
        self._last: tuple[Any, list[Array]] = (None, [])

    @property
    def _backwards(self) -> range:
        return range(len(self.jacobians) - 1, self.first - 1, -1)

    def jvp(self, dparams: Params, dx: Array | None) -> Array:
        for i in range(len(self.jacobians)):
            dx = self.push(i, dparams, dx)
        return dx

    def vjp(self, dy: Array) -> Pull:
        found = []
        for i in self._backwards:
            own, dy = self.jacobians[i].vjp(dy)
            found.append((i, own))
        return self.full(found), dy if self.needs_dx else None

    def vjp_x(self, dy: Array) -> Array:
        for J in reversed(self.jacobians):
            dy = J.vjp_x(dy)
        return dy

    def vjp_into(self, dy: Array, windows: dict[str, Array]) -> Array:
        if self.tied:  # a window that is written twice would keep the second share alone
            return super().vjp_into(dy, windows)
        for i in self._backwards:
            dy = self.jacobians[i].vjp_into(dy, self.own(i, windows) if self.names[i] else {})
        return dy if self.needs_dx else None

    def cotangents(self, gy: Array) -> list[Array]:
        """`gy` pulled back to the output of each layer from `first` on; kept, as solvers ask many times for one gy."""
        if self._last[0] is not gy:
            found = [gy]
            for i in self._backwards[:-1]:
                found.append(self.jacobians[i].vjp_x(found[-1]))
            self._last = (gy, found[::-1])
        return self._last[1]

    # -- second derivatives: vjp(gy) is a product of factors, and each may move ---------------------------------------

    def hvp(self, dparams: Params, dx: Array, gy: Array, hessian: Callable[[Array], Array]) -> Pull:
        moves, dy = self._tangents(dparams, dx)
        return self._bent(dparams, moves, gy, hessian(dy))

    def dvjp(self, dparams: Params, dx: Array, gy: Array, dgy: Array | None) -> Pull:
        return self._bent(dparams, self._tangents(dparams, dx)[0], gy, dgy)

    def _tangents(self, dparams: Params, dx: Array | None) -> tuple[list[Array | None], Array]:
        """How each layer's input moves, and the output."""
        moves: list[Array | None] = []
        for i in range(len(self.jacobians)):
            moves.append(dx)
            dx = self.push(i, dparams, dx)
        return moves, dx

    def _bent(self, dparams: Params, moves: list[Array | None], gy: Array, dgy: Array | None) -> Pull:
        found, at = [], self.cotangents(gy)
        for i in self._backwards:
            own, dgy = self.bend(i, dparams, moves[i], at[i - self.first], dgy)
            found.append((i, own))
        return self.full(found), dgy if self.needs_dx else None

    # -- per example ---------------------------------------------------------------------------------------------------

    def parametric(self, dy: Array) -> Iterator[tuple[int, Array]]:
        for i in self._backwards:
            if self.names[i]:
                yield i, dy
            if i > self.first:
                dy = self.jacobians[i].vjp_x(dy)

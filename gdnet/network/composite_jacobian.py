"""What the Jacobians of all composites share: each layer's part, by name, and second derivatives for layers without."""

import warnings
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gdnet.backend import Array
from gdnet.layers import Context, Jacobian, Layer, Params
from gdnet.layers.jacobian import Pull, added, plus
from gdnet.network.composite import Plan

Call = tuple[Layer, Params, Array, Context]
"""A layer's call inside a composite, (layer, params, x, context): all that is needed to repeat it."""


class CompositeJacobian(Jacobian):
    """The Jacobians of a composite's layers. Subclasses say how they act together, in `jvp`, `vjp` and `dvjp`."""

    def __init__(self, calls: list[Call], jacobians: list[Jacobian], plan: Plan, context: Context) -> None:
        self.calls, self.jacobians, self.names = calls, jacobians, plan.names
        self.xp, self.needs_dx, self.tied = context.xp, context.need_dx, plan.tied
        self.mixed = any(layer.mixes_examples for layer, *_ in calls)

    def own(self, i: int, params: Mapping[str, Array]) -> dict[str, Array]:
        """Layer i's share of the composite's parameters, under its own names."""
        return {name: params[full] for name, full in self.names[i].items()} if params else {}

    def full(self, found: list[tuple[int, dict[str, Array]]]) -> dict[str, Array]:
        """The layers' shares under the composite's names, in construction order; those of a shared layer add."""
        total: dict[str, Array] = {}
        for i, own in sorted(found, key=_index):
            for name, value in own.items():
                full = self.names[i][name]
                total[full] = total[full] + value if full in total else value
        return total

    def push(self, i: int, dparams: Params, dx: Array | None) -> Array | None:
        """Layer i's `jvp`; None where neither its parameters nor its input move."""
        own = self.own(i, dparams)
        if dx is None:
            if not own:
                return None
            if self.jacobians[i].needs_dx:
                dx = self._still(i, own)
        return self.jacobians[i].jvp(own, dx)

    def _still(self, i: int, own: Params) -> Array:
        """A zero tangent of layer i's input, with the batch axes of its parameters' tangents."""
        (_, params, x, context), name = self.calls[i], next(iter(own))
        lead = own[name].shape[: own[name].ndim - params[name].ndim]
        return self.xp.zeros((*lead, *x.shape), dtype=x.dtype, device=context.backend.device)

    def bend(self, i: int, dparams: Params, dx: Array | None, gy: Array, dgy: Array | None) -> Pull:
        """Layer i's `dvjp`, with None for what does not move."""
        J, own = self.jacobians[i], self.own(i, dparams)
        if dx is None and not own:
            return ({}, None) if dgy is None else J.vjp(dgy)
        if dx is None and J.needs_dx:
            dx = self._still(i, own)
        if J.has_curve:
            return J.dvjp(own, dx, gy, dgy)
        bent = numerical_curve(self.calls[i], own, dx, gy)
        return bent if dgy is None else added(J.vjp(dgy), bent)

    def curve(self, dparams: Params, dx: Array, gy: Array) -> Pull:
        return self.dvjp(dparams, dx, gy, None)

    def dvjp(self, dparams: Params, dx: Array, gy: Array, dgy: Array | None) -> Pull:
        raise NotImplementedError(f"{type(self).__name__} has no second-derivative term")

    # -- per example ---------------------------------------------------------------------------------------------------

    def parametric(self, dy: Array) -> Iterator[tuple[int, Array]]:
        """The layers that have parameters, each with the cotangent of its output."""
        raise NotImplementedError(f"{type(self).__name__} does not tell the cotangents of its layers")

    def rows(self, dy: Array) -> dict[str, Array]:
        if self.mixed:  # an example's output depends on what other examples were in the layers before
            return super().rows(dy)
        return self.full([(i, self.jacobians[i].rows(at)) for i, at in self.parametric(dy)])

    def squares(self, dy: Array) -> dict[str, Array]:
        if self.mixed or self.tied:  # the square of a sum is not the sum of squares
            return super().squares(dy)
        return self.full([(i, self.jacobians[i].squares(at)) for i, at in self.parametric(dy)])

    def gram(self, dy: Array) -> Array:
        total: Any = None
        if not (self.mixed or self.tied):
            for i, at in self.parametric(dy):
                total = plus(total, self.jacobians[i].gram(at))
        return super().gram(dy) if total is None else total


def _index(found: tuple[int, Any]) -> int:
    return found[0]


_WARNED: "weakref.WeakSet[type]" = weakref.WeakSet()


def _warn(kind: type, name: str) -> None:
    """Tell once for each class of layers, and name it: the line that asked is not the one to be changed."""
    if kind not in _WARNED:
        _WARNED.add(kind)
        warnings.warn(
            f"{name} has no `curve`: its second derivatives come from differences of vjp, slower and less exact. "
            f"Write {kind.__module__}.{kind.__qualname__}'s `curve`, and check it by gd.testing.check_layer",
            UserWarning,
            stacklevel=4,
        )


def numerical_curve(call: Call, dparams: Params, dx: Array | None, gy: Array) -> Pull:
    """A layer's second-derivative term by central differences of its exact `vjp`, with a warning.

    The step is eps^(1/3) of the size of what moves; the result has about two thirds of the digits of the dtype.
    """
    layer, params, x, context = call
    _warn(type(layer), repr(layer))
    xp, y_ndim = context.xp, 1 + len(layer.out_shape(tuple(x.shape[1:])))
    values = {**params, "": x}  # "" is x, the one name that no parameter has
    moves = {**dparams} if dx is None else {**dparams, "": dx}
    leads = [tuple(move.shape[: move.ndim - values[name].ndim]) for name, move in moves.items()]
    lead = np.broadcast_shapes(*leads)
    if lead:  # one evaluation for each tangent; without, the axes of gy go through together
        lead = np.broadcast_shapes(lead, tuple(gy.shape[: gy.ndim - y_ndim]))
        moves = {name: xp.broadcast_to(move, (*lead, *values[name].shape)) for name, move in moves.items()}
        gy = xp.broadcast_to(gy, (*lead, *gy.shape[gy.ndim - y_ndim :]))

    def slope(index: tuple[int, ...]) -> Pull:
        point = {name: move[(*index, ...)] if index else move for name, move in moves.items()}
        size, length = _largest(xp, [values[name] for name in point], 1.0), _largest(xp, [*point.values()], 0.0)
        h = float(xp.finfo(gy.dtype).eps) ** (1 / 3) * size / xp.where(length > 0, length, xp.ones_like(length))

        def vjp(step: Array) -> Pull:
            moved = values | {name: values[name] + step * move for name, move in point.items()}
            x = moved.pop("")
            return layer.forward(moved, x, context)[1].vjp(gy[(*index, ...)] if index else gy)

        (p, x), (q, z) = vjp(h), vjp(-h)
        return {name: (p[name] - q[name]) / (2.0 * h) for name in p}, None if x is None else (x - z) / (2.0 * h)

    if not lead:
        return slope(())
    found = [slope(index) for index in np.ndindex(*lead)]

    def stacked(parts: list[Array]) -> Array:
        return xp.reshape(xp.stack(parts), (*lead, *parts[0].shape))

    cparams = {name: stacked([own[name] for own, _ in found]) for name in found[0][0]}
    return cparams, None if found[0][1] is None else stacked([x for _, x in found])


def _largest(xp: Any, arrays: list[Array], least: float) -> Array:
    """The largest magnitude among all elements, at least `least`, as a scalar on the device."""
    found = [xp.max(xp.abs(a)) for a in arrays]
    largest = xp.full_like(found[0], least)
    for value in found:
        largest = xp.maximum(largest, value)
    return largest

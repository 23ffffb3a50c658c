"""Branches side by side on the same input."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gdnet.backend import Array
from gdnet.errors import OptionError, ShapeError
from gdnet.layers import Context, Jacobian, Layer, Params, Shape
from gdnet.layers.jacobian import Pull, plus
from gdnet.network.composite import Composite, Plan
from gdnet.network.composite_jacobian import Call, CompositeJacobian


class Parallel(Composite, name="Parallel"):
    """y = f₁(x) + ... + fₖ(x), or the branches' outputs joined along the last axis.

    Parameters
    ----------
    *branches : Layer
        A branch of several layers is a `Sequential`.
    combine : "sum" or "concat"

    Raises
    ------
    ShapeError
        If the outputs cannot be added (different shapes) or joined (different shapes before the last axis).

    >>> import numpy as np
    >>> from gdnet.layers import Identity, Tanh
    >>> Parallel(Identity(), Tanh(), combine="concat")({}, np.zeros((1, 2)))[0].shape
    (1, 4)
    """

    chained = False
    argument = "branches"

    def __init__(self, *branches: Layer, combine: str = "sum") -> None:
        if combine not in ("sum", "concat"):
            raise OptionError(f'Parallel: combine must be "sum" or "concat", got {combine!r}')
        super().__init__(*branches)
        self.combine = combine
        self.keeps_shape = self.keeps_shape and combine == "sum"

    def merged(self, in_shape: Shape, outputs: list[Shape]) -> Shape:
        if self.combine == "sum":
            if len(set(outputs)) > 1:
                raise ShapeError(f"{self!r} adds outputs of one shape, but the branches give {outputs}")
            return outputs[0]
        if () in outputs or len({shape[:-1] for shape in outputs}) > 1:
            raise ShapeError(f"{self!r} joins outputs along the last axis, but the branches give {outputs}")
        return (*outputs[0][:-1], sum(shape[-1] for shape in outputs))

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        plan = self.plan(tuple(x.shape[1:]))
        calls: list[Call] = []
        jacobians, ys = [], []
        for i, branch in enumerate(self.layers):
            own = {name: params[full] for name, full in plan.names[i].items()}
            inner = context.child(i, context.need_dx)
            y, J = branch.forward(own, x, inner)
            calls.append((branch, own, x, inner))
            jacobians.append(J)
            ys.append(y)
        joined = self.combine == "concat"
        y = context.xp.concat(ys, axis=-1) if joined else _sum(ys)
        widths = [shape[-1] for shape in plan.outputs] if joined else None
        return y, ParallelJacobian(calls, jacobians, plan, context, widths)

    def config(self) -> dict[str, Any]:
        return super().config() | {"combine": self.combine}


class ParallelJacobian(CompositeJacobian):
    """The branches' Jacobians one above the other, or their sum; branches that nobody needs are left out.

    `widths` are the sizes of the branches' last axes where the outputs are joined, None where they are added.
    """

    def __init__(
        self,
        calls: list[Call],
        jacobians: list[Jacobian],
        plan: Plan,
        context: Context,
        widths: list[int] | None,
    ) -> None:
        super().__init__(calls, jacobians, plan, context)
        self.widths = widths
        self.needed = [i for i in range(len(jacobians)) if self.needs_dx or plan.names[i]]

    def _parts(self, dy: Array) -> list[Array]:
        """The cotangent of each branch's output."""
        if self.widths is None:
            return [dy] * len(self.jacobians)
        parts, start = [], 0
        for width in self.widths:
            parts.append(dy[..., start : start + width])
            start += width
        return parts

    def jvp(self, dparams: Params, dx: Array | None) -> Array:
        moved = [self.push(i, dparams, dx) for i in range(len(self.jacobians))]
        some = [dy for dy in moved if dy is not None]
        if self.widths is None:
            return _sum(some)
        xp, lead = self.xp, np.broadcast_shapes(*(tuple(dy.shape[:-1]) for dy in some))
        zero = xp.zeros_like(some[0][..., :1])  # of the branches that do not move
        return xp.concat(
            [xp.broadcast_to(zero if dy is None else dy, (*lead, width)) for dy, width in zip(moved, self.widths)],
            axis=-1,
        )

    def vjp(self, dy: Array) -> Pull:
        parts, found, total = self._parts(dy), [], None
        for i in self.needed:
            own, dx = self.jacobians[i].vjp(parts[i])
            found.append((i, own))
            total = plus(total, dx)
        return self.full(found), total if self.needs_dx else None

    def vjp_x(self, dy: Array) -> Array:
        return _sum([J.vjp_x(part) for J, part in zip(self.jacobians, self._parts(dy))])

    def vjp_into(self, dy: Array, windows: dict[str, Array]) -> Array:
        if self.tied:  # a window that is written twice would keep the second share alone
            return super().vjp_into(dy, windows)
        parts, total = self._parts(dy), None
        for i in self.needed:
            total = plus(total, self.jacobians[i].vjp_into(parts[i], self.own(i, windows)))
        return total if self.needs_dx else None

    def dvjp(self, dparams: Params, dx: Array, gy: Array, dgy: Array | None) -> Pull:
        parts, found, total = self._parts(gy), [], None
        moved = [None] * len(parts) if dgy is None else self._parts(dgy)
        for i in self.needed:
            own, cx = self.bend(i, dparams, dx, parts[i], moved[i])
            found.append((i, own))
            total = plus(total, cx)
        return self.full(found), total if self.needs_dx else None

    def parametric(self, dy: Array) -> Iterator[tuple[int, Array]]:
        for i, part in enumerate(self._parts(dy)):
            if self.names[i]:
                yield i, part


def _sum(arrays: list[Array]) -> Array:
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total

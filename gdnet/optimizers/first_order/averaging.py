"""Averages of the parameters along the way: often better to predict with than the last ones."""

import functools
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

from gdnet.backend import Array, backend_of
from gdnet.errors import OptionError
from gdnet.optimizers.base import Objective, Optimizer
from gdnet.optimizers.first_order.rule import FirstOrder
from gdnet.optimizers.options import FRACTION, check_options, option, short_repr
from gdnet.vector import Layout


@functools.cache
def _state_type(inner: Any) -> Any:
    """The wrapped optimizer's state with one more field, so that `step` and `lr` stay where they are."""
    outer: Any = namedtuple(f"Averaged{inner.__name__}", (*inner._fields, "average"))  # type: ignore[attr-defined, misc]
    outer.inner = inner  # type: ignore[attr-defined]
    outer.__reduce__ = _reduced  # type: ignore[method-assign, assignment]
    return outer


def _reduced(state: Any) -> tuple:
    """How to pickle a state, whose class has no name in a module that pickle could find."""
    return _again, (state.inner, *state)


def _again(inner: Any, *fields: Any) -> Any:
    """The state that was pickled."""
    return _state_type(inner)(*fields)


@dataclass(frozen=True, repr=False)
class Averaged(Optimizer):
    """A first-order optimizer that also keeps the average of θ over its steps; `solution` returns it.

    a⁺ = a + c (θ⁺ - a) with c = 1 - decay (exponential moving average), or c = 1/t (plain average) for decay=None. The
    first step sets a = θ⁺, as torch's `AveragedModel` does.

    Parameters
    ----------
    optimizer : FirstOrder
    decay : float or None
        In [0, 1).

    Source: B. T. Polyak and A. B. Juditsky, SIAM J. Control Optim. 30 (1992) 838-855.

    >>> import numpy as np
    >>> from gdnet.optimizers import SGD
    >>> rule, theta = Averaged(SGD(lr=1.0), decay=None), np.asarray([0.0])
    >>> state = rule.init(theta)
    >>> for gradient in (-1.0, -1.0, -1.0):
    ...     theta, state = rule.apply(np.asarray([gradient]), state, theta)
    >>> theta, rule.solution(state, theta)
    (array([3.]), array([2.]))
    """

    optimizer: FirstOrder
    decay: float | None = option(0.999, FRACTION)

    def __post_init__(self) -> None:
        if not isinstance(self.optimizer, FirstOrder):
            raise OptionError(f"Averaged wraps a first-order optimizer such as Adam(), got {self.optimizer!r}")
        if self.decay is not None:
            check_options(self)

    def init(self, theta: Array) -> Any:
        state = self.optimizer.init(theta)
        return _state_type(state.__class__)(*state, theta + 0.0)

    def step(self, objective: Objective, theta: Array, state: Any) -> tuple[Array, Any, Any]:
        theta, inner, info = self.optimizer.step(objective, theta, state.inner(*state[:-1]))
        return theta, self._outer(inner, theta, state.average), info

    def apply(self, gradient: Array, state: Any, theta: Array) -> tuple[Array, Any]:
        """(theta, state) after one step along this gradient."""
        theta, inner = self.optimizer.apply(gradient, state.inner(*state[:-1]), theta)
        return theta, self._outer(inner, theta, state.average)

    def solution(self, state: Any, theta: Array) -> Array:
        return state.average

    def bind(self, layout: Layout) -> "Averaged":
        return Averaged(self.optimizer.bind(layout), self.decay)

    def lr_of(self, state: Any) -> float:
        return self.optimizer.lr_of(state)

    def with_lr(self, state: Any, lr: float) -> Any:
        return self.optimizer.with_lr(state, lr)

    def _outer(self, inner: Any, theta: Array, average: Array) -> Any:
        xp = backend_of(theta).xp
        if self.decay is None:
            c = 1.0 / xp.astype(inner.step, theta.dtype)
        else:
            c = xp.maximum(xp.astype(inner.step == 1, theta.dtype), 1.0 - self.decay)
        return _state_type(inner.__class__)(*inner, average + c * (theta - average))

    def __repr__(self) -> str:
        return short_repr(self)

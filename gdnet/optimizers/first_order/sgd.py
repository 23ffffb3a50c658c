"""Gradient descent with a fixed step: one gradient, one multiplication."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from gdnet.backend import Array, backend_of, overridable
from gdnet.optimizers.first_order.rule import FirstOrder


class SGDState(NamedTuple):
    step: Array
    lr: Array


@overridable
def sgd_update(xp: Any, gradient: Array, theta: Array, lr: Array, step: Array) -> tuple[Array, Array]:
    """(θ⁺, t): θ⁺ = θ - lr g, in step t = step + 1."""
    return theta - lr * gradient, step + 1


@dataclass(frozen=True, repr=False)
class SGD(FirstOrder):
    """θ⁺ = θ - lr g, with the gradient g = ∂J/∂θ (torch `SGD`).

    >>> import numpy as np
    >>> rule, theta = SGD(lr=0.5), np.asarray([1.0])
    >>> rule.apply(np.asarray([2.0]), rule.init(theta), theta)[0]
    array([0.])
    """

    def start(self, xp: Any, theta: Array, step: Array, lr: Array) -> SGDState:
        return SGDState(step, lr)

    def update(self, gradient: Array, state: SGDState, theta: Array) -> tuple[Array, SGDState]:
        theta, step = sgd_update(backend_of(theta), gradient, theta, state.lr, state.step)
        return theta, SGDState(step, state.lr)

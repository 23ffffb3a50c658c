"""Gradient descent with a memory of the direction."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from gdnet.backend import Array, backend_of, overridable
from gdnet.optimizers.first_order.rule import FirstOrder
from gdnet.optimizers.options import FRACTION, option


class MomentumState(NamedTuple):
    step: Array
    lr: Array
    velocity: Array


@overridable
def momentum_update(
    xp: Any, gradient: Array, velocity: Array, theta: Array, lr: Array, step: Array, momentum: float
) -> tuple[Array, Array, Array]:
    """(θ⁺, v⁺, t): v⁺ = μ v + g, θ⁺ = θ - lr v⁺."""
    velocity = momentum * velocity
    velocity += gradient
    return theta - lr * velocity, velocity, step + 1


@overridable
def nesterov_update(
    xp: Any, gradient: Array, velocity: Array, theta: Array, lr: Array, step: Array, momentum: float
) -> tuple[Array, Array, Array]:
    """(θ⁺, v⁺, t): v⁺ = μ v + g, θ⁺ = θ - lr (g + μ v⁺)."""
    velocity = momentum * velocity
    velocity += gradient
    direction = momentum * velocity
    direction += gradient
    return theta - lr * direction, velocity, step + 1


@dataclass(frozen=True, repr=False)
class Momentum(FirstOrder):
    """v⁺ = μ v + g, θ⁺ = θ - lr v⁺ (torch `SGD(momentum=...)`).

    Source: B. T. Polyak, USSR Comput. Math. Math. Phys. 4 (1964) 1-17, in the form of Sutskever et al. (2013).

    >>> import numpy as np
    >>> rule, theta = Momentum(lr=0.5), np.asarray([1.0])
    >>> rule.apply(np.asarray([2.0]), rule.init(theta), theta)[0]
    array([0.])
    """

    momentum: float = option(0.9, FRACTION)

    def start(self, xp: Any, theta: Array, step: Array, lr: Array) -> MomentumState:
        return MomentumState(step, lr, xp.zeros_like(theta))

    def update(self, gradient: Array, state: MomentumState, theta: Array) -> tuple[Array, MomentumState]:
        theta, velocity, step = momentum_update(
            backend_of(theta), gradient, state.velocity, theta, state.lr, state.step, self.momentum
        )
        return theta, MomentumState(step, state.lr, velocity)


@dataclass(frozen=True, repr=False)
class Nesterov(Momentum):
    """v⁺ = μ v + g, θ⁺ = θ - lr (g + μ v⁺): momentum that looks ahead (torch `SGD(momentum=..., nesterov=True)`).

    Source: Y. Nesterov, Soviet Math. Dokl. 27 (1983) 372-376, in the form of Sutskever et al. (2013).

    >>> import numpy as np
    >>> rule, theta = Nesterov(lr=0.5, momentum=0.5), np.asarray([1.0])
    >>> rule.apply(np.asarray([2.0]), rule.init(theta), theta)[0]
    array([-0.5])
    """

    def update(self, gradient: Array, state: MomentumState, theta: Array) -> tuple[Array, MomentumState]:
        theta, velocity, step = nesterov_update(
            backend_of(theta), gradient, state.velocity, theta, state.lr, state.step, self.momentum
        )
        return theta, MomentumState(step, state.lr, velocity)

"""Steps scaled for each parameter by the size of its past gradients."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from gdnet.backend import Array, backend_of, overridable
from gdnet.optimizers.first_order.rule import FirstOrder
from gdnet.optimizers.first_order.schedules import Schedule
from gdnet.optimizers.options import FRACTION, NOT_NEGATIVE, POSITIVE, RATE, option


class SquareState(NamedTuple):
    step: Array
    lr: Array
    square: Array


@overridable
def adagrad_update(
    xp: Any, gradient: Array, square: Array, theta: Array, lr: Array, step: Array, lr_decay: float, eps: float
) -> tuple[Array, Array, Array]:
    """(θ⁺, s⁺, t): s⁺ = s + g², θ⁺ = θ - lr / (1 + (t - 1) lr_decay) · g / (√s⁺ + ε)."""
    step = step + 1
    t = xp.astype(step, theta.dtype)
    square = square + gradient * gradient
    return theta - (lr / (1.0 + (t - 1.0) * lr_decay)) * (gradient / (xp.sqrt(square) + eps)), square, step


@overridable
def rmsprop_update(
    xp: Any, gradient: Array, square: Array, theta: Array, lr: Array, step: Array, alpha: float, eps: float
) -> tuple[Array, Array, Array]:
    """(θ⁺, s⁺, t): s⁺ = α s + (1 - α) g², θ⁺ = θ - lr g / (√s⁺ + ε)."""
    square = alpha * square
    square += (1.0 - alpha) * (gradient * gradient)
    return theta - lr * (gradient / (xp.sqrt(square) + eps)), square, step + 1


@dataclass(frozen=True, repr=False)
class AdaGrad(FirstOrder):
    """s⁺ = s + g², θ⁺ = θ - lrₜ g / (√s⁺ + ε) with lrₜ = lr / (1 + (t - 1) lr_decay) (torch `Adagrad`).

    Source: Duchi, Hazan, Singer, JMLR 12 (2011) 2121-2159.

    >>> import numpy as np
    >>> rule, theta = AdaGrad(lr=0.5), np.asarray([1.0])
    >>> rule.apply(np.asarray([2.0]), rule.init(theta), theta)[0].round(6)
    array([0.5])
    """

    lr: float | Schedule = option(1e-2, RATE)
    lr_decay: float = option(0.0, NOT_NEGATIVE)
    initial_accumulator_value: float = option(0.0, NOT_NEGATIVE)
    eps: float = option(1e-10, POSITIVE)

    def start(self, xp: Any, theta: Array, step: Array, lr: Array) -> SquareState:
        return SquareState(step, lr, xp.full_like(theta, self.initial_accumulator_value))

    def update(self, gradient: Array, state: SquareState, theta: Array) -> tuple[Array, SquareState]:
        theta, square, step = adagrad_update(
            backend_of(theta), gradient, state.square, theta, state.lr, state.step, self.lr_decay, self.eps
        )
        return theta, SquareState(step, state.lr, square)


@dataclass(frozen=True, repr=False)
class RMSProp(FirstOrder):
    """s⁺ = α s + (1 - α) g², θ⁺ = θ - lr g / (√s⁺ + ε) (torch `RMSprop`, neither centered nor with momentum).

    Source: T. Tieleman and G. Hinton, "Lecture 6.5: rmsprop", Coursera, 2012.

    >>> import numpy as np
    >>> rule, theta = RMSProp(lr=0.5, alpha=0.75), np.asarray([1.0])
    >>> rule.apply(np.asarray([2.0]), rule.init(theta), theta)[0].round(6)
    array([0.])
    """

    lr: float | Schedule = option(1e-2, RATE)
    alpha: float = option(0.99, FRACTION)
    eps: float = option(1e-8, POSITIVE)

    def start(self, xp: Any, theta: Array, step: Array, lr: Array) -> SquareState:
        return SquareState(step, lr, xp.zeros_like(theta))

    def update(self, gradient: Array, state: SquareState, theta: Array) -> tuple[Array, SquareState]:
        theta, square, step = rmsprop_update(
            backend_of(theta), gradient, state.square, theta, state.lr, state.step, self.alpha, self.eps
        )
        return theta, SquareState(step, state.lr, square)

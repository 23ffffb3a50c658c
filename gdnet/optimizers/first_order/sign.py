"""Steps that use the gradient's sign alone: Lion and Rprop."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from gdnet.backend import Array, backend_of, overridable
from gdnet.errors import OptionError
from gdnet.optimizers.first_order.rule import FirstOrder
from gdnet.optimizers.first_order.schedules import Schedule
from gdnet.optimizers.options import PAIR_BELOW_1, RATE, option, pair


class LionState(NamedTuple):
    step: Array
    lr: Array
    m: Array


@overridable
def lion_update(
    xp: Any, gradient: Array, m: Array, theta: Array, lr: Array, step: Array, beta1: float, beta2: float
) -> tuple[Array, Array, Array]:
    """(θ⁺, m⁺, t): θ⁺ = θ - lr sign(β₁ m + (1 - β₁) g), m⁺ = β₂ m + (1 - β₂) g."""
    direction = beta1 * m
    direction += (1.0 - beta1) * gradient
    m = beta2 * m
    m += (1.0 - beta2) * gradient
    return theta - lr * xp.sign(direction), m, step + 1


@dataclass(frozen=True, repr=False)
class Lion(FirstOrder):
    """θ⁺ = θ - lr sign(β₁ m + (1 - β₁) g), m⁺ = β₂ m + (1 - β₂) g; weight decay is decoupled.

    Source: X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023.

    >>> import numpy as np
    >>> rule, theta = Lion(lr=0.5), np.asarray([1.0, 1.0])
    >>> rule.apply(np.asarray([2.0, -0.1]), rule.init(theta), theta)[0]
    array([0.5, 1.5])
    """

    lr: float | Schedule = option(1e-4, RATE)
    betas: tuple[float, float] = option((0.9, 0.99), PAIR_BELOW_1)
    decoupled = True

    def start(self, xp: Any, theta: Array, step: Array, lr: Array) -> LionState:
        return LionState(step, lr, xp.zeros_like(theta))

    def update(self, gradient: Array, state: LionState, theta: Array) -> tuple[Array, LionState]:
        theta, m, step = lion_update(backend_of(theta), gradient, state.m, theta, state.lr, state.step, *self.betas)
        return theta, LionState(step, state.lr, m)


class RpropState(NamedTuple):
    step: Array
    lr: Array
    previous: Array
    sizes: Array


@overridable
def rprop_update(
    xp: Any, gradient: Array, previous: Array, sizes: Array, theta: Array, step: Array,
    shrink: float, grow: float, smallest: float, largest: float,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """(θ⁺, g⁺, Δ⁺, t): Δ grows where g keeps its sign and shrinks where it turns, and there g⁺ = 0 and θ rests."""
    turn = xp.sign(gradient) * xp.sign(previous)
    factor = xp.where(turn > 0.0, grow, xp.where(turn < 0.0, shrink, xp.ones_like(turn)))
    sizes = xp.minimum(xp.maximum(sizes * factor, smallest), largest)
    gradient = xp.where(turn < 0.0, 0.0, gradient)
    return theta - xp.sign(gradient) * sizes, gradient, sizes, step + 1


ETAS = pair(lambda a, b: 0.0 < a < 1.0 < b < math.inf, "two numbers with 0 < first < 1 < second")
STEP_SIZES = pair(lambda a, b: 0.0 < a <= b < math.inf, "two numbers with 0 < smallest <= largest")


@dataclass(frozen=True, repr=False)
class Rprop(FirstOrder):
    """Each parameter has a step size Δ of its own: θ⁺ = θ - sign(g) Δ⁺ (torch `Rprop`). For full batches.

    Δ⁺ = η⁺ Δ where g keeps its sign, η⁻ Δ where it turns (and there θ rests for one step), within `step_sizes`.

    Parameters
    ----------
    lr : float
        The first Δ of every parameter; not a schedule.
    etas : (η⁻, η⁺)
    step_sizes : (smallest, largest)

    Source: M. Riedmiller and H. Braun, IEEE Int. Conf. on Neural Networks, 1993, 586-591.

    >>> import numpy as np
    >>> rule, theta = Rprop(lr=0.5), np.asarray([1.0])
    >>> rule.apply(np.asarray([2.0]), rule.init(theta), theta)[0]
    array([0.5])
    """

    lr: float | Schedule = option(1e-2, RATE)
    etas: tuple[float, float] = option((0.5, 1.2), ETAS)
    step_sizes: tuple[float, float] = option((1e-6, 50.0), STEP_SIZES)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.lr, Schedule):
            raise OptionError("Rprop: lr is the first step size and Rprop itself adapts it: give a number, no schedule")

    def start(self, xp: Any, theta: Array, step: Array, lr: Array) -> RpropState:
        return RpropState(step, lr, xp.zeros_like(theta), xp.zeros_like(theta) + lr)

    def update(self, gradient: Array, state: RpropState, theta: Array) -> tuple[Array, RpropState]:
        theta, previous, sizes, step = rprop_update(
            backend_of(theta), gradient, state.previous, state.sizes, theta, state.step, *self.etas, *self.step_sizes
        )
        return theta, RpropState(step, state.lr, previous, sizes)

    def with_lr(self, state: Any, lr: float) -> Any:
        """Refused: after the first step nothing depends on lr."""
        raise OptionError("Rprop adapts its step sizes itself: its learning rate cannot be set from outside")

"""Adam and its relatives: running means of the gradient and of its square.

With t = 1 for the first step: m⁺ = β₁ m + (1 - β₁) g, v⁺ = β₂ v + (1 - β₂) g². Both start at 0, and the division by
1 - βᵗ takes the share of that start out again.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from gdnet.backend import Array, backend_of, overridable
from gdnet.optimizers.first_order.rule import FirstOrder
from gdnet.optimizers.first_order.schedules import Schedule
from gdnet.optimizers.options import NOT_NEGATIVE, PAIR_BELOW_1, POSITIVE, RATE, option


class AdamState(NamedTuple):
    """`Adam` keeps the sums Σ β₁ᵗ⁻ⁱ gᵢ and Σ β₂ᵗ⁻ⁱ gᵢ²; torch's means are these times 1 - β₁ and 1 - β₂."""

    step: Array
    lr: Array
    m: Array
    v: Array


def unbias(xp: Any, beta: float, t: Array) -> Array:
    """1 - βᵗ. As -expm1(t ln β), for in float32 βᵗ is so close to 1 that the difference has few digits."""
    return -xp.expm1(t * (math.log(beta) if beta > 0.0 else -math.inf))


def moments(
    gradient: Array, m: Array, v: Array, beta1: float, beta2: float
) -> tuple[Array, Array]:  # fmt: skip
    """(m⁺, v⁺): β₁ m + (1 - β₁) g and β₂ v + (1 - β₂) g²."""
    m, v = beta1 * m, beta2 * v
    m += (1.0 - beta1) * gradient
    v += (1.0 - beta2) * (gradient * gradient)
    return m, v


@overridable
def adam_update(
    xp: Any, gradient: Array, m: Array, v: Array, theta: Array, lr: Array, step: Array,
    beta1: float, beta2: float, eps: float,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """(θ⁺, m⁺, v⁺, t) for step t = step + 1, with the sums m⁺ = β₁ m + g and v⁺ = β₂ v + g².

    With m̂ = a m⁺ for a = (1 - β₁) / (1 - β₁ᵗ) and √v̂ = s √v⁺ for s² = (1 - β₂) / (1 - β₂ᵗ) the step
    lr m̂ / (√v̂ + ε) is (lr a / s) m⁺ / (√v⁺ + ε / s): numbers are scaled, vectors are not.
    """
    step = step + 1
    t = xp.astype(step, theta.dtype)
    s = xp.sqrt((1.0 - beta2) / unbias(xp, beta2, t))
    m, v = beta1 * m, beta2 * v
    m += gradient
    v += gradient * gradient
    size = xp.sqrt(v)
    size += eps / s
    return theta - (lr * (1.0 - beta1) / (unbias(xp, beta1, t) * s)) * (m / size), m, v, step


@dataclass(frozen=True, repr=False)
class Adam(FirstOrder):
    """θ⁺ = θ - lr m̂ / (√v̂ + ε) with m̂ = m⁺ / (1 - β₁ᵗ), v̂ = v⁺ / (1 - β₂ᵗ) (torch `Adam`).

    Source: D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    >>> import numpy as np
    >>> rule, theta = Adam(lr=0.5), np.asarray([1.0])
    >>> rule.apply(np.asarray([2.0]), rule.init(theta), theta)[0].round(6)
    array([0.5])
    """

    betas: tuple[float, float] = option((0.9, 0.999), PAIR_BELOW_1)
    eps: float = option(1e-8, POSITIVE)

    def start(self, xp: Any, theta: Array, step: Array, lr: Array) -> Any:
        return AdamState(step, lr, xp.zeros_like(theta), xp.zeros_like(theta))

    def update(self, gradient: Array, state: Any, theta: Array) -> tuple[Array, Any]:
        theta, m, v, step = adam_update(
            backend_of(theta), gradient, state.m, state.v, theta, state.lr, state.step, *self.betas, self.eps
        )
        return theta, AdamState(step, state.lr, m, v)


@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    """Adam with decoupled weight decay: θ is first multiplied by 1 - lr · weight_decay (torch `AdamW`).

    Source: I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019.

    >>> import numpy as np
    >>> rule, theta = AdamW(lr=0.5, weight_decay=1.0), np.asarray([1.0])
    >>> rule.apply(np.asarray([2.0]), rule.init(theta), theta)[0].round(6)
    array([0.])
    """

    weight_decay: float = option(1e-2, NOT_NEGATIVE, kw_only=True)
    decoupled = True


class NAdamState(NamedTuple):
    step: Array
    lr: Array
    m: Array
    v: Array
    product: Array
    """μ₁ μ₂ ... μₜ."""


@overridable
def nadam_update(
    xp: Any, gradient: Array, m: Array, v: Array, theta: Array, lr: Array, step: Array, product: Array,
    beta1: float, beta2: float, eps: float, momentum_decay: float,
) -> tuple[Array, Array, Array, Array, Array]:  # fmt: skip
    """(θ⁺, m⁺, v⁺, Π⁺, t) as in `NAdam`, with Π the product of all μ so far."""
    step = step + 1
    t = xp.astype(step, theta.dtype)
    mu = beta1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1.0) * momentum_decay))
    product = product * mu
    m, v = moments(gradient, m, v, beta1, beta2)
    size = xp.sqrt(v / unbias(xp, beta2, t))
    size += eps
    direction = ((1.0 - mu) / (1.0 - product)) * gradient
    direction += (mu_next / (1.0 - product * mu_next)) * m
    return theta - lr * (direction / size), m, v, product, step


@dataclass(frozen=True, repr=False)
class NAdam(Adam):
    """Adam with Nesterov's look-ahead (torch `NAdam`).

    θ⁺ = θ - lr [(1 - μₜ) g / (1 - Πₜ) + μₜ₊₁ m⁺ / (1 - Πₜ₊₁)] / (√v̂ + ε)

    with μₜ = β₁ (1 - ½ 0.96^(t ψ)), Πₜ = μ₁ μ₂ ... μₜ and ψ = momentum_decay.

    Source: T. Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.

    >>> import numpy as np
    >>> rule, theta = NAdam(lr=0.5), np.asarray([1.0])
    >>> rule.apply(np.asarray([2.0]), rule.init(theta), theta)[0].round(3)
    array([0.472])
    """

    lr: float | Schedule = option(2e-3, RATE)
    momentum_decay: float = option(4e-3, NOT_NEGATIVE)

    def start(self, xp: Any, theta: Array, step: Array, lr: Array) -> NAdamState:
        return NAdamState(step, lr, xp.zeros_like(theta), xp.zeros_like(theta), xp.ones_like(lr))

    def update(self, gradient: Array, state: NAdamState, theta: Array) -> tuple[Array, NAdamState]:
        theta, m, v, product, step = nadam_update(
            backend_of(theta), gradient, state.m, state.v, theta, state.lr, state.step, state.product,
            *self.betas, self.eps, self.momentum_decay,
        )  # fmt: skip
        return theta, NAdamState(step, state.lr, m, v, product)

"""Learning rates as functions of the number of steps taken, computed on the device inside the step.

    optimizer = Adam(lr=LinearWarmup(CosineDecay(1e-3, T_max=10_000), total_iters=500))

A step counts updates, not epochs. Where torch's `lr_scheduler` has the same schedule, so are the names and the values.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdnet.backend import Array, backend_of
from gdnet.optimizers.options import (
    COUNT,
    INSIDE,
    NOT_NEGATIVE,
    POSITIVE,
    Domain,
    check_options,
    option,
    options_of,
    short_repr,
)

START = Domain(lambda v: POSITIVE.ok(v) and v <= 1.0, "in (0, 1]")


@dataclass(frozen=True, repr=False)
class Schedule:
    """Base class: subclasses are frozen dataclasses that write `rule(xp, t)`.

    `schedule(t)` is a float for an int t, and an array of t's shape for an array. A number outside its domain, such as
    a negative lr, is an `OptionError`.

    >>> CosineDecay(0.2, T_max=10)(5)
    0.1
    >>> import numpy as np
    >>> StepDecay(0.2, step_size=2, gamma=0.5)(np.arange(5)).tolist()
    [0.2, 0.2, 0.1, 0.1, 0.05]
    """

    def __post_init__(self) -> None:
        check_options(self)

    def rule(self, xp: Any, t: Array) -> Array:
        """The learning rate after t steps; t is a real array, nothing may be read on the host."""
        raise NotImplementedError(f"{type(self).__name__} has no rule")

    def __call__(self, step: Any, xp: Any = None, dtype: Any = None) -> Any:
        """The learning rate after `step` steps: a float for an int, an array of `dtype` (float64) for an array."""
        if isinstance(step, int):
            return float(self.rule(np, np.asarray(float(step))))
        xp = backend_of(step).xp if xp is None else xp
        return self.rule(xp, xp.astype(step, xp.float64 if dtype is None else dtype))

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, of JSON types."""
        return options_of(self)

    def __repr__(self) -> str:
        return short_repr(self)


@dataclass(frozen=True, repr=False)
class ConstantRate(Schedule):
    """lr at every step.

    >>> ConstantRate(0.1)(7)
    0.1
    """

    lr: float = option(domain=POSITIVE)

    def rule(self, xp: Any, t: Array) -> Array:
        return 0.0 * t + self.lr


@dataclass(frozen=True, repr=False)
class StepDecay(Schedule):
    """lr γ^⌊t / step_size⌋ with γ = gamma (torch `StepLR`).

    >>> decay = StepDecay(0.8, step_size=2, gamma=0.5)
    >>> [decay(t) for t in range(5)]
    [0.8, 0.8, 0.4, 0.4, 0.2]
    """

    lr: float = option(domain=POSITIVE)
    step_size: int = option(domain=COUNT)
    gamma: float = option(0.1, POSITIVE)

    def rule(self, xp: Any, t: Array) -> Array:
        return self.lr * self.gamma ** xp.floor(t / self.step_size)


@dataclass(frozen=True, repr=False)
class ExponentialDecay(Schedule):
    """lr γ^t with γ = gamma (torch `ExponentialLR`).

    >>> decay = ExponentialDecay(0.8, gamma=0.5)
    >>> [decay(t) for t in range(4)]
    [0.8, 0.4, 0.2, 0.1]
    """

    lr: float = option(domain=POSITIVE)
    gamma: float = option(domain=POSITIVE)

    def rule(self, xp: Any, t: Array) -> Array:
        return self.lr * self.gamma**t


@dataclass(frozen=True, repr=False)
class CosineDecay(Schedule):
    """η + (lr - η) (1 + cos(π t / T_max)) / 2 with η = eta_min (torch `CosineAnnealingLR`); η from T_max on.

    torch's goes up again after T_max; this one does not.

    Source: I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.

    >>> decay = CosineDecay(0.2, T_max=10)
    >>> [round(decay(t), 6) for t in (0, 5, 10, 20)]
    [0.2, 0.1, 0.0, 0.0]
    """

    lr: float = option(domain=POSITIVE)
    T_max: int = option(domain=COUNT)
    eta_min: float = option(0.0, NOT_NEGATIVE)

    def rule(self, xp: Any, t: Array) -> Array:
        part = xp.minimum(t / self.T_max, 1.0)
        return self.eta_min + (self.lr - self.eta_min) * 0.5 * (1.0 + xp.cos(math.pi * part))


@dataclass(frozen=True, repr=False)
class LinearWarmup(Schedule):
    """Linear from start_factor to 1 times the schedule's first value, then the schedule from its beginning.

    With T = total_iters: (s + (1 - s) min(t, T) / T) · schedule(max(t - T, 0)). Over a constant: torch's `LinearLR`.

    >>> warm = LinearWarmup(0.4, total_iters=4, start_factor=0.5)
    >>> [round(warm(t), 6) for t in (0, 2, 4, 9)]
    [0.2, 0.3, 0.4, 0.4]
    """

    schedule: Schedule | float
    total_iters: int = option(5, COUNT)
    start_factor: float = option(1.0 / 3.0, START)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.schedule, Schedule):
            object.__setattr__(self, "schedule", ConstantRate(self.schedule))

    def rule(self, xp: Any, t: Array) -> Array:
        part = xp.minimum(t / self.total_iters, 1.0)
        factor = self.start_factor + (1.0 - self.start_factor) * part
        return factor * self.schedule.rule(xp, xp.maximum(t - self.total_iters, 0.0))  # type: ignore[union-attr]


@dataclass(frozen=True, repr=False)
class OneCycle(Schedule):
    """Up by a half cosine from max_lr / div_factor to max_lr, then down to max_lr / (div_factor final_div_factor).

    With T = total_steps it rises until pct_start · T - 1 and falls until T - 1 (torch `OneCycleLR`); then it stays.

    Source: L. N. Smith and N. Topin, "Super-convergence", arXiv:1708.07120.

    >>> cycle = OneCycle(1.0, total_steps=10, pct_start=0.5)
    >>> [round(cycle(t), 6) for t in (0, 4, 9, 20)]
    [0.04, 1.0, 4e-06, 4e-06]
    """

    max_lr: float = option(domain=POSITIVE)
    total_steps: int = option(domain=COUNT)
    pct_start: float = option(0.3, INSIDE)
    div_factor: float = option(25.0, POSITIVE)
    final_div_factor: float = option(1e4, POSITIVE)

    def rule(self, xp: Any, t: Array) -> Array:
        first = self.max_lr / self.div_factor
        last = first / self.final_div_factor
        top, end = self.pct_start * self.total_steps - 1.0, self.total_steps - 1.0
        rise = xp.maximum(xp.minimum(t / max(top, 1e-9), 1.0), 0.0)
        fall = xp.minimum((t - top) / max(end - top, 1e-9), 1.0)
        up = self.max_lr + (first - self.max_lr) * 0.5 * (1.0 + xp.cos(math.pi * rise))
        down = last + (self.max_lr - last) * 0.5 * (1.0 + xp.cos(math.pi * fall))
        return xp.where(t <= top, up, down)

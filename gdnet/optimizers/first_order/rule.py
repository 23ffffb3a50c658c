"""What first-order rules share: the learning rate, penalties and clipping, and parameters chosen by name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from gdnet.backend import Array, Backend, backend_of
from gdnet.backend.base import float_name
from gdnet.errors import OptionError, ShapeError
from gdnet.optimizers.base import Info, Objective, Optimizer
from gdnet.optimizers.first_order.schedules import Schedule
from gdnet.optimizers.options import (
    NOT_NEGATIVE,
    PARAMETERS,
    POSITIVE,
    RATE,
    check_options,
    checked,
    option,
    short_repr,
)
from gdnet.vector import Layout


@dataclass(frozen=True, repr=False)
class FirstOrder(Optimizer):
    """An optimizer that asks for the gradient alone. A rule of your own writes `start` and `update`.

    A step is: clip the gradient, add the penalties, then `update`. Inside nothing is read on the host, so the same step
    runs eagerly, under `jax.jit` and in a CUDA graph.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate. It lives in the state, on the device: another value does not need another compilation.
    weight_decay : float
        Of the parameters that `decay_on` chooses, as torch does it: added to the gradient as weight_decay · θ, or, for
        `AdamW` and `Lion`, decoupled: θ is first multiplied by 1 - lr · weight_decay.
    decay_on : str, sequence of str, or callable, optional
        The parameters that `weight_decay` and `l1` act on: the last part of their names, such as "W", or a predicate
        on the name; all by default. It needs `bind(layout)`, which `Model` and `training_step` call.
    l1 : float
        Adds l1 · sign(θ) to the gradient.
    clip_value : float, optional
        Every element of the gradient is kept within ±clip_value.
    clip_norm : float, optional
        The gradient is multiplied by min(1, clip_norm / (||gradient|| + 1e-6)), as torch's `clip_grad_norm_` does.

    Notes
    -----
    The penalties act on the step; the loss that is reported does not hold them.

    >>> from dataclasses import dataclass
    >>> from typing import NamedTuple
    >>> import numpy as np
    >>> from gdnet.backend import Array
    >>> class State(NamedTuple):
    ...     step: Array
    ...     lr: Array
    >>> @dataclass(frozen=True)
    ... class Halving(FirstOrder):
    ...     def start(self, xp, theta, step, lr):
    ...         return State(step, lr)
    ...     def update(self, gradient, state, theta):
    ...         return theta - state.lr * gradient / 2.0, State(state.step + 1, state.lr)
    >>> rule, theta = Halving(lr=1.0, clip_value=0.5), np.ones(2)
    >>> rule.apply(np.asarray([0.2, 3.0]), rule.init(theta), theta)[0]
    array([0.9 , 0.75])
    """

    lr: float | Schedule = option(1e-3, RATE)
    weight_decay: float = option(0.0, NOT_NEGATIVE, kw_only=True)
    decay_on: str | tuple[str, ...] | Callable[[str], bool] | None = option(None, PARAMETERS, kw_only=True)
    l1: float = option(0.0, NOT_NEGATIVE, kw_only=True)
    clip_value: float | None = option(None, POSITIVE, kw_only=True)
    clip_norm: float | None = option(None, POSITIVE, kw_only=True)
    _mask: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)
    _kept: dict[Any, Array] = field(default_factory=dict, init=False, repr=False, compare=False)

    decoupled: ClassVar[bool] = False
    """Whether weight decay shrinks θ itself instead of adding to the gradient."""

    def __post_init__(self) -> None:
        check_options(self)

    # -- the rule ----------------------------------------------------------------------------------------------------

    def start(self, xp: Any, theta: Array, step: Array, lr: Array) -> Any:
        """The state before the first step: a named tuple of arrays whose first fields are `step` and `lr`."""
        raise NotImplementedError(f"{type(self).__name__} has no rule: write start and update")

    def update(self, gradient: Array, state: Any, theta: Array) -> tuple[Array, Any]:
        """(theta, state) after one step along this gradient; the new state's `step` is one more."""
        raise NotImplementedError(f"{type(self).__name__} has no rule: write start and update")

    # -- what all rules share ------------------------------------------------------------------------------------------

    def init(self, theta: Array) -> Any:
        backend = backend_of(theta, names=("theta",))
        xp, device = backend.xp, backend.device
        lr = self.lr(0) if isinstance(self.lr, Schedule) else self.lr
        return self.start(
            xp, theta, xp.zeros((), dtype=xp.int32, device=device), xp.full((), lr, dtype=theta.dtype, device=device)
        )

    def step(self, objective: Objective, theta: Array, state: Any) -> tuple[Array, Any, Info]:
        at = objective(theta)
        theta, state = self.apply(at.gradient, state, theta)
        return theta, state, Info(at.value)

    def apply(self, gradient: Array, state: Any, theta: Array) -> tuple[Array, Any]:
        """(theta, state) after one step along this gradient: the options shared by all rules, then `update`."""
        if self._plain:
            return self.update(gradient, state, theta)
        backend = backend_of(theta)
        xp = backend.xp
        if isinstance(self.lr, Schedule):
            state = state._replace(lr=self.lr(state.step, xp, theta.dtype))
        if self.clip_value is not None:
            gradient = xp.minimum(xp.maximum(gradient, -self.clip_value), self.clip_value)
        if self.clip_norm is not None:
            norm = xp.sqrt(xp.sum(gradient * gradient))
            gradient = gradient * xp.minimum(self.clip_norm / (norm + 1e-6), 1.0)
        if self.l1:
            gradient = gradient + self._on(backend, theta, self.l1) * xp.sign(theta)
        if self.weight_decay:
            decay = self._on(backend, theta, self.weight_decay)
            if self.decoupled:
                theta = theta * (1.0 - state.lr * decay)
            else:
                gradient = gradient + decay * theta
        return self.update(gradient, state, theta)

    @cached_property
    def _plain(self) -> bool:
        """Whether a step is `update` and nothing else."""
        asked = isinstance(self.lr, Schedule) or self.weight_decay or self.l1 or self.clip_value or self.clip_norm
        return not asked

    def lr_of(self, state: Any) -> float:
        """The learning rate of the latest step, on the host; before the first one, of that."""
        return backend_of(state.lr).read(state.lr)

    def with_lr(self, state: Any, lr: float) -> Any:
        """The state with another learning rate; nothing is compiled again.

        Raises
        ------
        OptionError
            If lr is not positive, or a schedule sets the rate at every step.

        >>> import numpy as np
        >>> from gdnet.optimizers import SGD
        >>> rule = SGD(lr=0.5)
        >>> rule.lr_of(rule.with_lr(rule.init(np.ones(2)), 0.25))
        0.25
        """
        if isinstance(self.lr, Schedule):
            raise OptionError(
                f"{type(self).__name__}: its schedule {self.lr!r} sets the learning rate at every step; "
                "to set it from outside, give lr as a number"
            )
        lr = checked(type(self).__name__, "lr", lr, POSITIVE)
        backend = backend_of(state.lr)
        return state._replace(lr=backend.xp.full((), float(lr), dtype=state.lr.dtype, device=backend.device))

    # -- parameters by name ------------------------------------------------------------------------------------------

    def bind(self, layout: Layout) -> "FirstOrder":
        """The same optimizer with `decay_on` resolved for these parameters.

        >>> from gdnet.optimizers import SGD
        >>> SGD(weight_decay=0.1, decay_on="W").bind(Layout({"0.W": (2, 1), "0.b": (1,)}))._mask
        array([1., 1., 0.])
        """
        if self.decay_on is None:
            return self
        mask = layout.mask(self._chooses)
        if not mask.any():
            raise OptionError(
                f"{type(self).__name__}: decay_on={self.decay_on!r} chooses none of the parameters {list(layout)}"
            )
        return self.knowing(_mask=mask, _kept={})

    def _chooses(self, name: str) -> bool:
        if callable(self.decay_on):
            return bool(self.decay_on(name))
        ends = (self.decay_on,) if isinstance(self.decay_on, str) else self.decay_on
        return any(name == end or name.endswith(f".{end}") for end in ends or ())

    def _on(self, backend: Backend, theta: Array, amount: float) -> Any:
        """`amount` for the parameters that `decay_on` chooses and 0 for the others."""
        if self.decay_on is None:
            return amount
        if self._mask is None:
            raise OptionError(
                f"{type(self).__name__}: decay_on chooses parameters by name, and a vector has no names: "
                "use optimizer.bind(net.layout())"
            )
        if tuple(theta.shape) != self._mask.shape:
            raise ShapeError(
                f"{type(self).__name__} was bound to a layout of {self._mask.size} parameters, "
                f"got theta of shape {tuple(theta.shape)}"
            )
        mask = self._kept.get((backend, theta.dtype))
        if mask is None:
            name = float_name(theta.dtype)
            mask = backend.asarray(self._mask, name)
            # A library of immutable arrays may be tracing: then this array belongs to one compiled step alone.
            if backend.mutable:
                self._kept[(backend, theta.dtype)] = mask
        return amount * mask

    def __repr__(self) -> str:
        return short_repr(self)

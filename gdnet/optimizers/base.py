"""The contract of an optimizer.

    state = optimizer.init(theta)
    theta, state, info = optimizer.step(objective, theta, state)

An optimizer sees vectors, maps and evaluations only. `objective(theta)` gives an evaluation with `value`, `gradient`,
`residual`, `jacobian`, `gauss_newton` and `hessian`, computed when asked for. Hyper-parameters are frozen fields; the
state is a small named tuple of arrays on the device, the learning rate and the number of steps among them.
"""

import copy
from typing import Any, NamedTuple, Protocol, Self

from gdnet.backend import Array
from gdnet.errors import OptionError
from gdnet.optimizers.options import options_of
from gdnet.vector import Layout


class Objective(Protocol):
    """Anything that evaluates itself at a vector."""

    def __call__(self, theta: Array) -> Any: ...


class Info(NamedTuple):
    """What a step tells about itself. `value` is the objective before the step, on the device."""

    value: Array


class Optimizer:
    """Base class of all optimizers: `init(theta) -> state`, `step(objective, theta, state) -> (theta, state, info)`.

    theta is one vector (P,), `state` a small named tuple, and `info.value` the objective before the step. A method that
    asks for the gradient alone is a `FirstOrder`; one that needs the same objective at every step a `Solver`.

    >>> import numpy as np
    >>> from gdnet.optimizers import SGD, FunctionObjective
    >>> rule, theta = SGD(lr=0.25), np.asarray([1.0, -2.0])
    >>> J = FunctionObjective(lambda x: float(x @ x), lambda x: 2.0 * x)
    >>> theta, state, info = rule.step(J, theta, rule.init(theta))
    >>> theta, info.value
    (array([ 0.5, -1. ]), 5.0)
    """

    full_batch = False
    """Whether the method needs the same objective at every step (line searches, curvature)."""

    def init(self, theta: Array) -> Any:
        """The state before the first step."""
        raise NotImplementedError

    def step(self, objective: Objective, theta: Array, state: Any) -> tuple[Array, Any, Any]:
        """(theta, state, info) after one step."""
        raise NotImplementedError

    def bind(self, layout: Layout) -> "Optimizer":
        """The same optimizer, told the names of the parameters; itself where it does not ask for them.

        `Model` and `training_step` call it. A rule that needs names or shapes keeps them in the copy that it returns:

            def bind(self, layout):
                return super().bind(layout).knowing(shapes=layout.shapes)
        """
        return self

    def knowing(self, **known: Any) -> Self:
        """A copy with these attributes, which are no options: what `bind` finds out."""
        bound = copy.copy(self)
        for name, value in known.items():
            object.__setattr__(bound, name, value)
        return bound

    def solution(self, state: Any, theta: Array) -> Array:
        """The parameters to predict with, where they differ from those that the next step starts from."""
        return theta

    def lr_of(self, state: Any) -> float:
        """The learning rate, on the host."""
        raise OptionError(f"{type(self).__name__} has no learning rate")

    def with_lr(self, state: Any, lr: float) -> Any:
        """The state with another learning rate."""
        raise OptionError(f"{type(self).__name__} has no learning rate to set")

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, of JSON types (a function by its name)."""
        return options_of(self)

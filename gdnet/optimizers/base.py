"""The contract of an optimizer.

    state = optimizer.init(theta)
    theta, state, info = optimizer.step(objective, theta, state)

An optimizer sees vectors, maps and evaluations only. `objective(theta)` gives an evaluation with `value`, `gradient`,
`residual`, `jacobian`, `gauss_newton` and `hessian`, computed when asked for. Hyper-parameters are frozen fields; the
state is a small named tuple of arrays on the device, the learning rate and the number of steps among them.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from gdnet.backend import Array, backend_of
from gdnet.errors import OptionError


class Objective(Protocol):
    """Anything that evaluates itself at a vector."""

    def __call__(self, theta: Array) -> Any: ...


class Info(NamedTuple):
    """What a step tells about itself. `value` is the objective before the step, on the device."""

    value: Array


class Optimizer:
    """Base class of all optimizers."""

    full_batch = False
    """Whether the method needs the same objective at every step (line searches, curvature)."""

    def init(self, theta: Array) -> Any:
        """The state before the first step."""
        raise NotImplementedError

    def step(self, objective: Objective, theta: Array, state: Any) -> tuple[Array, Any, Any]:
        """(theta, state, info) after one step."""
        raise NotImplementedError


@dataclass(frozen=True)
class FirstOrder(Optimizer):
    """An optimizer that asks for the gradient alone. Subclasses write `start` and `update`.

    Inside `update` nothing is read on the host: the same step runs eagerly, under `jax.jit` and in a CUDA graph.
    """

    lr: float = 1e-3

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise OptionError(f"{type(self).__name__}: lr must be positive, got {self.lr}")

    def init(self, theta: Array) -> Any:
        backend = backend_of(theta)
        xp, device = backend.xp, backend.device
        step = xp.zeros((), dtype=xp.int32, device=device)
        lr = xp.full((), float(self.lr), dtype=theta.dtype, device=device)
        return self.start(xp, theta, step, lr)

    def step(self, objective: Objective, theta: Array, state: Any) -> tuple[Array, Any, Info]:
        at = objective(theta)
        theta, state = self.update(at.gradient, state, theta)
        return theta, state, Info(at.value)

    def start(self, xp: Any, theta: Array, step: Array, lr: Array) -> Any:
        """The state before the first step: a named tuple whose first fields are `step` and `lr`."""
        raise NotImplementedError

    def update(self, gradient: Array, state: Any, theta: Array) -> tuple[Array, Any]:
        """(theta, state) after one step along this gradient."""
        raise NotImplementedError

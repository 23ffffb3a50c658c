"""One training step as a pure function: mini-batch -> gradient -> update."""

from collections.abc import Callable
from typing import Any

from gdnet.backend import Array, Backend, Key, backend_of
from gdnet.losses import Loss
from gdnet.network import Network, Objective
from gdnet.optimizers import Optimizer
from gdnet.vector import Layout

Step = Callable[..., tuple[Array, Any, Array]]
"""`step(theta, state, *batch) -> (theta, state, value)`; a `reason` that is not None stops the run after the epoch."""


def training_step(net: Network, loss: Loss, optimizer: Optimizer, *, seed: int = 0) -> Any:
    """A pure function `step(theta, state, x, t, sample_weight=None) -> (theta, state, value)`.

    Nothing in it is read on the host, so it may be given to `jax.jit`. `value` is the loss before the step.

    >>> import numpy as np
    >>> import gdnet as gd
    >>> net, optimizer = gd.Sequential(gd.Dense(2, 1)), gd.SGD(lr=0.1)
    >>> step = gd.training_step(net, gd.SquaredError(), optimizer)
    >>> x, t = np.ones((4, 2)), np.ones((4, 1))
    >>> theta = net.parameters(like=x)
    >>> state = optimizer.init(theta)
    >>> for _ in range(50):
    ...     theta, state, value = step(theta, state, x, t)
    >>> bool(value < 1e-12)
    True
    """
    steps: dict[Any, Step] = {}

    def step(
        theta: Array, state: Any, x: Array, t: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Any, Array]:
        backend = backend_of(theta, x, t, names=("theta", "x", "t"))
        key = backend, tuple(x.shape[1:])
        if key not in steps:
            steps[key] = step_on(backend, net, loss, optimizer, net.layout(key[1]), seed)
        return steps[key](theta, state, x, t, sample_weight)

    return step


def step_on(backend: Backend, net: Network, loss: Loss, optimizer: Optimizer, layout: Layout, seed: int) -> Step:
    """`training_step` for a backend and a layout known beforehand."""
    bound = optimizer.bind(layout)

    def step(
        theta: Array, state: Any, x: Array, t: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Any, Array]:
        objective = Objective(
            net, loss, x, t, sample_weight, backend=backend, layout=layout, training=True,
            key=Key(seed, state.step) if net.stochastic else None,
        )  # fmt: skip
        theta, state, info = bound.step(objective, theta, state)
        return theta, state, info.value

    return step


class FullBatchStep:
    """A step of a method that needs the same objective every time; it reads the device and is not compiled.

    `reason` tells why the method itself wants to stop, or is None.
    """

    def __init__(self, objective: Objective, optimizer: Optimizer) -> None:
        self.objective, self.optimizer = objective, optimizer
        self.reason: str | None = None

    def __call__(self, theta: Array, state: Any, *batch: Array) -> tuple[Array, Any, Array]:
        theta, state, info = self.optimizer.step(self.objective, theta, state)
        self.reason = getattr(info, "stop", None)
        return theta, state, info.value

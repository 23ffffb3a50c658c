"""One training step as a pure function: mini-batch -> gradient -> update."""

from collections.abc import Callable
from typing import Any

from gdnet.backend import Array, Backend, Key, backend_of
from gdnet.data import Dataset
from gdnet.errors import ArrayError, OptionError, ShapeError
from gdnet.layers import Layer
from gdnet.losses import Loss
from gdnet.network import Network, Objective, Sequential
from gdnet.optimizers import Optimizer
from gdnet.training.advice import warn_of_last_layer
from gdnet.training.inputs import Trainable
from gdnet.vector import Layout

Step = Callable[..., tuple[Array, Any, Array]]
"""`step(theta, state, *batch) -> (theta, state, value)`; its `stop_reason`, if any, stops the run after the epoch."""


def check_optimizer(optimizer: Any) -> Optimizer:
    """`optimizer` if it is one; an `OptionError` otherwise.

    >>> import gdnet as gd
    >>> check_optimizer(gd.SGD())
    SGD(lr=0.001)
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type):
        hint = f"write gd.{optimizer.__name__}() with parentheses, not gd.{optimizer.__name__}"
    else:
        hint = "such as gd.SGD()"
    raise OptionError(f"optimizer must be an Optimizer object, {hint}; got {optimizer!r}")


def check_net(net: Any) -> Network:
    """`net` as a network, which a layer alone is too; an `OptionError` for all else.

    >>> import gdnet as gd
    >>> check_net(gd.Dense(2, 1))
    Sequential(Dense(2, 1))
    """
    if isinstance(net, type) or not isinstance(net, Layer):
        raise OptionError(f"net must be a network such as gd.Sequential(...), got {net!r}")
    return net if isinstance(net, Network) else Sequential(net)


def check_loss(loss: Any) -> Loss:
    """`loss` if it is one; an `OptionError` otherwise.

    >>> import gdnet as gd
    >>> check_loss(gd.SquaredError())
    SquaredError()
    """
    if isinstance(loss, type) or not isinstance(loss, Loss):
        raise OptionError(f"loss must be a Loss object such as gd.SquaredError(), got {loss!r}")
    return loss


def training_step(net: Layer, loss: Loss, optimizer: Optimizer, *, seed: int = 0) -> Any:
    """A pure function `step(theta, state, x, t, sample_weight=None) -> (theta, state, value)`.

    Nothing in it is read on the host, so it may be given to `jax.jit`. `value` is the loss before the step. Shapes and
    dtypes are checked when they are first seen; values, such as labels out of range, are not: `Model.fit` does that.

    For speed compile it: `step = get_backend().compile(step, donate=(0, 1))`, from `gdnet.backend`. A compiled step
    knows net, loss and optimizer as they are then: after a change of `dropout.rate`, say, compile again.

    Raises
    ------
    ShapeError, ArrayError
        If theta, x, t and sample_weight do not fit together or are of different precision.

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
    network = check_net(net)
    check_loss(loss)
    check_optimizer(optimizer)
    warn_of_last_layer(network, loss)
    steps: dict[Any, Step] = {}

    def step(
        theta: Array, state: Any, x: Array, t: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Any, Array]:
        backend = backend_of(theta, x, t, names=("theta", "x", "t"))
        key = backend, x.shape, x.dtype, theta.shape, theta.dtype, t.shape, getattr(sample_weight, "shape", None)
        if key not in steps:
            layout = network.layout(tuple(x.shape[1:]))
            _check_step(backend, network, loss, layout, theta, x, t, sample_weight)
            steps[key] = step_on(backend, network, loss, optimizer, layout, seed)
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


def _check_step(
    backend: Backend, net: Network, loss: Loss, layout: Layout, theta: Array, x: Array, t: Array, weight: Array | None
) -> None:
    """What can be told from shapes and dtypes alone."""
    layout.split(theta, backend.xp)  # refuses a vector of another size
    if x.dtype != theta.dtype or not backend.xp.isdtype(x.dtype, "real floating"):
        raise ArrayError(f"x and theta must be of one float type, got {x.dtype} and {theta.dtype}: convert x")
    if t.ndim == 0 or t.shape[0] != x.shape[0]:
        raise ShapeError(f"x has {x.shape[0]} examples and t has shape {tuple(t.shape)}: they must be equally many")
    loss.check_shape(tuple(t.shape), net.out_shape(tuple(x.shape[1:])), x.shape[0])
    if weight is not None and tuple(weight.shape) != (x.shape[0],):
        raise ShapeError(f"sample_weight must have shape ({x.shape[0]},), got {tuple(weight.shape)}")


def full_objective(model: Trainable, data: Dataset) -> Objective:
    """The loss over all of these examples as a function of theta, with everything random switched off."""
    x, t, *weight = data.slice(0, len(data))
    return Objective(
        model.net, model.loss, x, t, *weight, backend=model.backend, layout=model.layout, training=False,
        key=Key(model.seed) if model.net.stochastic else None,
    )  # fmt: skip


class FullBatchStep:
    """A step of a method that needs the same objective every time; it reads the device and is not compiled.

    `stop_reason` tells why the method itself wants to stop, or is None; `figures` holds the numbers that it tells of
    itself.
    """

    def __init__(self, objective: Objective, optimizer: Optimizer) -> None:
        self.objective, self.optimizer = objective, optimizer
        self.stop_reason: str | None = None
        self.figures: dict[str, float] = {}

    def __call__(self, theta: Array, state: Any, *batch: Array) -> tuple[Array, Any, Array]:
        theta, state, info = self.optimizer.step(self.objective, theta, state)
        self.stop_reason = getattr(info, "stop", None)
        self.figures = {name: float(getattr(info, name)) for name in getattr(self.optimizer, "figures", ())}
        return theta, state, info.value

"""What a network predicts and how good that is: the loss, and accuracy for classes or RMSE for numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend
from gdnet.backend.out_of_memory import device_memory
from gdnet.data import Dataset
from gdnet.layers import Context
from gdnet.losses import Loss
from gdnet.network import Network
from gdnet.training.feed import Feed
from gdnet.vector import Layout

CHUNK = 4096
"""How many examples are taken at a time, unless told otherwise."""

Rule = Callable[[Any, Array, Array], Array]
"""(xp, prediction, target) -> a number for each example, (n,)."""


def metric_of(loss: Loss) -> tuple[str, Rule]:
    """The name and the rule of the metric that goes with a loss."""
    for cls in type(loss).__mro__:
        if cls.__name__ in _RULES:
            return _RULES[cls.__name__]
    return "rmse", _squared


def _of_classes(xp: Any, y: Array, t: Array) -> Array:
    """The largest logit is that of the label (or of the most probable class)."""
    labels = t if t.ndim == y.ndim - 1 else xp.argmax(t, axis=-1)
    return _mean(xp, xp.argmax(y, axis=-1) == labels, y.dtype)


def _of_signs(xp: Any, y: Array, t: Array) -> Array:
    """The output is on the same side of 0 as a target of ±1."""
    return _mean(xp, (y > 0) == (t > 0), y.dtype)


def _of_logits(xp: Any, y: Array, t: Array) -> Array:
    """The output is on the same side of 0 as a probability is of ½."""
    return _mean(xp, (y > 0) == (t > 0.5), y.dtype)


def _squared(xp: Any, y: Array, t: Array) -> Array:
    d = y - xp.astype(t, y.dtype)
    return _mean(xp, d * d, y.dtype)


def _of_rates(xp: Any, y: Array, t: Array) -> Array:
    return _squared(xp, xp.exp(y), t)


def _mean(xp: Any, values: Array, dtype: Any) -> Array:
    """Over all axes but that of examples."""
    values = xp.astype(values, dtype)
    return values if values.ndim == 1 else xp.mean(xp.reshape(values, (values.shape[0], -1)), axis=1)


_RULES: dict[str, tuple[str, Rule]] = {
    "CrossEntropy": ("accuracy", _of_classes),
    "BinaryCrossEntropy": ("accuracy", _of_logits),
    "Hinge": ("accuracy", _of_signs),
    "Poisson": ("rmse", _of_rates),
}


class Scorer:
    """Predictions and scores of a network, in pieces that fit into memory, with everything random switched off."""

    def __init__(self, backend: Backend, net: Network, loss: Loss, layout: Layout) -> None:
        self.backend, self.net, self.loss, self.layout = backend, net, loss, layout
        self.metric, self.rule = metric_of(loss)
        self._predict, self._score = backend.compile(self._forward), backend.compile(self._scores)

    def predict(self, theta: Array, data: Dataset, batch_size: int = CHUNK) -> Array:
        """The network's outputs, (n, ...)."""
        size = min(batch_size, len(data))
        with device_memory(self.backend, size):
            parts = [self._predict(theta, x) for x, *_ in Feed(data, size, shuffle=False).epoch(0)]
        return parts[0] if len(parts) == 1 else self.backend.xp.concat(parts, axis=0)

    def scores(self, theta: Array, data: Dataset, batch_size: int = CHUNK) -> dict[str, float]:
        """`{"loss": ..., metric: ...}`, weighted means over the examples; read from the device at the end."""
        feed = Feed(data, min(batch_size, len(data)), shuffle=False)
        with device_memory(self.backend, feed.batch_size):
            pairs = [self._score(theta, *batch) for batch in feed.epoch(0)]
        weights, xp = feed.weights(0), self.backend.xp
        means, sums = (self.backend.to_numpy(xp.stack([pair[k] for pair in pairs])).astype(np.float64) for k in (0, 1))
        loss, metric = float(np.dot(means, weights) / np.sum(weights)), float(np.sum(sums) / np.sum(weights))
        return {"loss": loss, self.metric: metric**0.5 if self.metric == "rmse" else metric}

    def _forward(self, theta: Array, x: Array) -> Array:
        return self.net.forward(self.layout.split(theta, self.backend.xp), x, Context(self.backend, need_dx=False))[0]

    def _scores(self, theta: Array, x: Array, t: Array, weight: Array | None = None) -> tuple[Array, Array]:
        """The loss of one batch, a weighted mean, and the weighted sum of its examples' metric: counts stay exact."""
        y = self._forward(theta, x)
        each = self.rule(self.backend.xp, y, t)
        total = self.backend.xp.sum(each if weight is None else each * weight)
        return self.loss.at(self.backend, y, t, weight).value, total

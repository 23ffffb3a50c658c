"""What a network predicts and how good that is: the loss, and the metric that goes with it."""

from collections.abc import Callable, Sequence

import numpy as np

from gdnet.backend import Array, Backend
from gdnet.backend.out_of_memory import device_memory
from gdnet.data import Dataset
from gdnet.layers import Context
from gdnet.losses import Loss, Metric
from gdnet.network import Network
from gdnet.training.feed import Feed
from gdnet.vector import Layout

CHUNK = 4096
"""How many examples are taken at a time, unless told otherwise."""


def metric_of(loss: Loss) -> Metric | None:
    """The metric that goes with a loss; None where its class names none."""
    return None if loss.metric is None else Metric(*loss.metric)


class Scorer:
    """Predictions and scores of a network, in pieces that fit into memory, with everything random switched off."""

    def __init__(self, backend: Backend, net: Network, loss: Loss, layout: Layout) -> None:
        self.backend, self.net, self.loss, self.layout = backend, net, loss, layout
        self.metric = metric_of(loss)
        # Functions of their own, not methods: a step that held its Scorer would keep it alive until Python looks for
        # circles.
        forward = _forward(backend, net, layout)
        self._predict = backend.compile(forward)
        self._score = backend.compile(_scores(backend, forward, loss, self.metric))

    def predict(self, theta: Array, data: Dataset, batch_size: int = CHUNK) -> Array:
        """The network's outputs, (n, ...)."""
        size = min(batch_size, len(data))
        with device_memory(self.backend, size, lambda n: self._predict(theta, next(Feed(data, n, False).epoch(0))[0])):
            parts = [self._predict(theta, x) for x, *_ in Feed(data, size, shuffle=False).epoch(0)]
        whole = parts[0] if len(parts) == 1 else self.backend.xp.concat(parts, axis=0)
        return self.backend.xp.asarray(whole, copy=True) if self._is_given(whole, theta, data) else whole

    def _is_given(self, y: Array, theta: Array, data: Dataset) -> bool:
        """Whether y may be a window of x or theta: what the network does to x is then a change of its shape at most."""
        if isinstance(y, np.ndarray):
            return np.may_share_memory(y, theta) or (data.on_host and np.may_share_memory(y, data.x))
        return self.layout.size == 0

    def scores(self, theta: Array, data: Dataset, batch_size: int = CHUNK) -> dict[str, float]:
        """`{"loss": ..., metric: ...}`, weighted means over the examples; read from the device at the end."""
        feed = Feed(data, min(batch_size, len(data)), shuffle=False)
        with device_memory(
            self.backend, feed.batch_size, lambda n: self._score(theta, *next(Feed(data, n, False).epoch(0)))
        ):
            found = [self._score(theta, *batch) for batch in feed.epoch(0)]
        weights, (losses, *sums) = feed.weights(0), [self._on_host(part) for part in zip(*found)]
        scores = {"loss": float(np.dot(losses, weights) / np.sum(weights))}
        if self.metric is not None:
            means = np.sum(sums[0], axis=0) / np.sum(weights)
            scores[self.metric.name] = float(np.mean(np.sqrt(means) if self.metric.root else means))
        return scores

    def _on_host(self, parts: Sequence[Array]) -> np.ndarray:
        return self.backend.to_numpy(self.backend.xp.stack(list(parts))).astype(np.float64)


def _forward(backend: Backend, net: Network, layout: Layout) -> Callable[[Array, Array], Array]:
    def forward(theta: Array, x: Array) -> Array:
        return net.forward(layout.split(theta, backend.xp), x, Context(backend, need_dx=False))[0]

    return forward


def _scores(
    backend: Backend, forward: Callable[[Array, Array], Array], loss: Loss, metric: Metric | None
) -> Callable[..., tuple[Array, ...]]:
    def scores(theta: Array, x: Array, t: Array, weight: Array | None = None) -> tuple[Array, ...]:
        """The loss of one batch, a weighted mean, and the weighted sum of its examples' metric: counts stay exact."""
        y, xp = forward(theta, x), backend.xp
        value = loss.at(backend, y, t, weight).value
        if metric is None:
            return (value,)
        each = metric.rule(xp, y, t)
        if weight is not None:
            each = each * xp.reshape(weight, (-1, *([1] * (each.ndim - 1))))
        return value, xp.sum(each, axis=0)

    return scores

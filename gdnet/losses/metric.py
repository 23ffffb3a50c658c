"""The figure of merit that goes with a loss: the share of right classes, or the root of the mean squared error."""

from collections.abc import Callable
from typing import Any, NamedTuple

from gdnet.backend import Array

Rule = Callable[[Any, Array, Array], Array]
"""(xp, prediction, target) -> a number for each example, (n,), or for each of its outputs, (n, outputs)."""


class Metric(NamedTuple):
    """A name, and a rule whose weighted mean over the examples `Model.evaluate` reports under that name.

    Attributes
    ----------
    name : str
    rule : callable
        `rule(xp, prediction, target)` gives (n,) or (n, outputs); the outputs' means are averaged evenly.
    root : bool
        Whether the square root of each output's mean is taken before that, as in the root of the mean squared error.

    >>> import numpy as np
    >>> RMSE.name, RMSE.rule(np, np.asarray([[3.0, 0.0]]), np.asarray([[1.0, 1.0]])).tolist()
    ('rmse', [[4.0, 1.0]])
    """

    name: str
    rule: Rule
    root: bool = False


def by_class(xp: Any, y: Array, t: Array) -> Array:
    """1 where the largest logit is that of the label (or of the most probable class), else 0."""
    labels = t if t.ndim == y.ndim - 1 else xp.argmax(t, axis=-1)
    return mean_of_outputs(xp, xp.argmax(y, axis=-1) == labels, y.dtype)


def by_sign(xp: Any, y: Array, t: Array) -> Array:
    """1 where the output is on the same side of 0 as a target of ±1, else 0."""
    return mean_of_outputs(xp, (y > 0) == (t > 0), y.dtype)


def by_logit(xp: Any, y: Array, t: Array) -> Array:
    """1 where the output is on the same side of 0 as a probability is of ½, else 0."""
    return mean_of_outputs(xp, (y > 0) == (t > 0.5), y.dtype)


def squared(xp: Any, y: Array, t: Array) -> Array:
    """(y - t)² for each output."""
    d = y - xp.astype(t, y.dtype)
    return d * d if d.ndim == 1 else xp.reshape(d * d, (d.shape[0], -1))


def squared_of_rate(xp: Any, y: Array, t: Array) -> Array:
    """(e^y - t)² for each output."""
    return squared(xp, xp.exp(y), t)


def mean_of_outputs(xp: Any, values: Array, dtype: Any) -> Array:
    """The mean over all axes but that of examples."""
    values = xp.astype(values, dtype)
    return values if values.ndim == 1 else xp.mean(xp.reshape(values, (values.shape[0], -1)), axis=1)


ACCURACY, ACCURACY_OF_LOGITS = Metric("accuracy", by_class), Metric("accuracy", by_logit)
ACCURACY_OF_SIGNS = Metric("accuracy", by_sign)
RMSE, RMSE_OF_RATES = Metric("rmse", squared, root=True), Metric("rmse", squared_of_rate, root=True)

"""The one number beside the loss that people read: accuracy for classes, root mean square error for numbers."""

from collections.abc import Callable
from typing import Any

from gdnet.backend import Array
from gdnet.losses import Loss

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

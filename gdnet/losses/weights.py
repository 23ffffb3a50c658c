"""Weights of examples and of classes, checked and converted once on the host."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gdnet.errors import DataError, OptionError, ShapeError


def check_sample_weight(weight: np.ndarray, n: int) -> None:
    """An error unless these are n finite weights of at least 0, not all 0.

    >>> check_sample_weight(np.asarray([1.0, 2.0]), 2)
    """
    weight = np.asarray(weight)
    if weight.shape != (n,):
        raise ShapeError(f"sample_weight must hold one weight for each of the {n} examples, got shape {weight.shape}")
    if weight.dtype.kind not in "biuf":
        raise DataError(f"sample_weight must be numbers, got dtype {weight.dtype}")
    bad = ~np.isfinite(weight) | (weight < 0)
    if bad.any():
        i = int(np.argmax(bad))
        raise DataError(f"sample_weight must be finite and at least 0, got {weight[i]} at index {i}")
    if not weight.any():
        raise DataError("sample_weight is 0 for every example: at least one must count")


def class_weights_to_sample_weights(class_weight: Any, t: np.ndarray) -> np.ndarray:
    """The weight of each example: that of its class.

    Parameters
    ----------
    class_weight : dict, array or "balanced"
        A dict from label to weight (labels not in it weigh 1, as in scikit-learn), one weight a class in an array, or
        "balanced" for n / (number of classes · count of the class).
    t : numpy.ndarray
        Labels (n,) or (n, 1), or one-hot rows or probabilities (n, k), whose largest entry tells the class.

    Returns
    -------
    numpy.ndarray (n,) of float64
        To be given as `sample_weight`. With integer labels the loss is that of torch's `CrossEntropyLoss(weight=...)`.

    Raises
    ------
    OptionError
        For weights that are negative, not finite, or too few.
    DataError
        For targets that are not labels.

    >>> class_weights_to_sample_weights({1: 3.0}, np.asarray([0, 1, 1])).tolist()
    [1.0, 3.0, 3.0]
    >>> class_weights_to_sample_weights("balanced", np.asarray([0, 1, 1, 1])).tolist()
    [2.0, 0.6666666666666666, 0.6666666666666666, 0.6666666666666666]
    """
    labels = _labels(np.asarray(t))
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise OptionError(f'class_weight must be a dict, an array or "balanced", got {class_weight!r}')
        classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
        return (len(labels) / (len(classes) * counts))[index]
    if isinstance(class_weight, Mapping):
        for label in class_weight:
            if isinstance(label, bool) or not isinstance(label, (int, np.integer)):
                raise OptionError(f"class_weight: the keys are integer labels, got {label!r}")
        weights = _weights(list(class_weight.values()))
        sample = np.ones(len(labels))
        for label, weight in zip(class_weight, weights, strict=True):
            sample[labels == label] = weight
        return sample
    weights = _weights(class_weight)
    if labels.min() < 0 or labels.max() >= len(weights):
        raise OptionError(
            f"class_weight has {len(weights)} weights, for labels 0..{len(weights) - 1}, but the targets hold labels "
            f"{labels.min()}..{labels.max()}"
        )
    return weights[labels]


def _labels(t: np.ndarray) -> np.ndarray:
    if t.ndim not in (1, 2) or t.shape[0] == 0 or t.dtype.kind not in "biuf":
        raise DataError(
            f"class weights need integer labels (n,) or one row of class probabilities an example (n, k), "
            f"got targets of shape {t.shape} and dtype {t.dtype}"
        )
    if t.ndim == 2 and t.shape[1] > 1:
        return np.argmax(t, axis=1)
    t = t.reshape(-1)
    if t.dtype.kind == "f" and not np.array_equal(t, np.round(t)):  # a NaN equals nothing
        raise DataError("class weights need integer labels, got fractions: give sample_weight instead")
    return t.astype(np.int64)


def _weights(values: Any) -> np.ndarray:
    try:
        weights = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise OptionError(f"class_weight: weights must be numbers, got {values!r}") from None
    if weights.ndim != 1 or not np.all(np.isfinite(weights)) or np.any(weights < 0):
        raise OptionError(f"class_weight: weights must be finite and at least 0, one a class, got {values!r}")
    return weights

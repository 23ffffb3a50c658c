"""Data on their way into a model: checked against its network and loss, moved to its device, parted for validation."""

from typing import Any, Protocol

import numpy as np

from gdnet.backend import Array, Backend
from gdnet.data import Dataset, check_data, split
from gdnet.data.arrays import is_integer
from gdnet.data.checks import WEIGHTS
from gdnet.errors import ArrayError, OptionError, ShapeError
from gdnet.files.model_file import Describable
from gdnet.losses import Loss, class_weights_to_sample_weights
from gdnet.training.scorer import Scorer, metric_of


class Trainable(Describable, Protocol):
    """What training asks of a model: what a file tells of it, and its parameters on a device."""

    backend: Backend

    @property
    def theta(self) -> Array: ...
    @property
    def scorer(self) -> Scorer: ...
    def build(self, in_shape: tuple[int, ...]) -> None: ...


def examples(model: Trainable, x: Any) -> Dataset:
    """Inputs alone, checked and on the model's device; the first ones build the model."""
    data = check_data(x, backend=model.backend, dtype=model.dtype)
    _fit_network(model, data)
    return data.on(model.backend, model.dtype)


def labelled(
    model: Trainable, x: Any, t: Any, sample_weight: Any = None, class_weight: Any = None,
    names: tuple[str, str, str] = ("x", "t", "sample_weight"),
) -> Dataset:  # fmt: skip
    """Inputs with targets and weights, checked and on the model's device; the first ones build the model."""
    if t is None and (not isinstance(x, Dataset) or x.t is None):
        raise ArrayError(f"{names[1]} is missing: give inputs and targets")
    data = check_data(x, t, sample_weight, backend=model.backend, dtype=model.dtype, names=names)
    _fit_network(model, data)
    t, out_shape = data.t, model.net.out_shape(model.in_shape)  # type: ignore[arg-type]
    host = t if isinstance(t, np.ndarray) else data.home.to_numpy(t)
    model.loss.check_target(host, out_shape)
    weight = data.sample_weight
    if class_weight is not None:
        weight = data.home.asarray(_of_classes(class_weight, host, data), model.dtype)
    elif weight is not None and is_integer(weight):
        weight = data.home.asarray(data.home.to_numpy(weight), model.dtype)
    if host.dtype.kind in "iub" and model.loss.target_shape(out_shape, t.ndim) == out_shape and t.ndim > 1:
        t = data.home.asarray(host, model.dtype)  # numbers that happen to be whole, not labels
    return Dataset(data.x, t, weight, prepare=data.prepare).on(model.backend, model.dtype)


def held_out(model: Trainable, given: Any) -> Dataset:
    """What `validation_data=` holds."""
    if isinstance(given, Dataset):
        return labelled(model, given, None)
    if not (isinstance(given, (tuple, list)) and len(given) in (2, 3)):
        what = f"{len(given)} parts" if isinstance(given, (tuple, list)) else type(given).__name__
        raise OptionError(f"validation_data must be (x, t), (x, t, sample_weight) or a Dataset, got {what}")
    x, t, weight = (*given, None)[:3]
    return labelled(model, x, t, weight, names=("validation x", "validation t", "validation sample_weight"))


def split_off(model: Trainable, x: Any, t: Any, weight: Any, share: float) -> tuple[Any, Any, Any, tuple[Any, ...]]:
    """(x, t, sample_weight, validation data): a share of the examples, drawn by the seed, is kept for validation."""
    if isinstance(x, Dataset):
        raise OptionError("validation_split needs arrays, not a Dataset: give validation_data")
    data = check_data(x, t, weight, backend=model.backend)
    labels = None if data.t is None else _classes(model.loss, data.home.to_numpy(data.t))
    kept, held = split(*data.arrays, fractions=(1.0 - share, share), seed=model.seed, stratify=labels)
    return kept[0], kept[1] if t is not None else None, kept[2] if weight is not None else None, held


def _classes(loss: Loss, t: np.ndarray) -> np.ndarray | None:
    """The class of each example (n,), where the loss is one for classes and each example has one."""
    metric = metric_of(loss)
    if metric is None or metric.name != "accuracy" or t.ndim > 2:
        return None
    if t.ndim == 2 and t.shape[1] > 1:  # one-hot rows
        hot = np.all((t == 0) | (t == 1), axis=1) & (np.sum(t == 1, axis=1) == 1)
        return np.argmax(t, axis=1) if hot.all() else None
    flat = t.reshape(-1)
    return flat.astype(np.int64) if flat.dtype.kind in "iub" or np.array_equal(flat, np.round(flat)) else None


def _fit_network(model: Trainable, data: Dataset) -> None:
    """Whether the examples fit the network; builds it if they are the first."""
    x = data.x if data.prepare is None else data.prepare(data.x[:1])
    shape = tuple(x.shape[1:])
    if model.in_shape is None:
        model.build(model.net.resolve(shape))
    elif shape != model.in_shape:
        model.net.out_shape(shape)  # names the layer that cannot take them
        raise ShapeError(f"the model takes examples of shape {model.in_shape}, got {shape}")


def _of_classes(class_weight: Any, t: np.ndarray, data: Dataset) -> np.ndarray:
    """The weight of each example: that of its class, times its own."""
    weight = class_weights_to_sample_weights(class_weight, t)
    if data.sample_weight is not None:
        weight = weight * data.home.to_numpy(data.sample_weight)
    if not WEIGHTS[0] <= weight.max() <= WEIGHTS[1]:
        raise OptionError(
            f"class_weight: the largest weight of an example would be {weight.max():.3g}: at least one must "
            f"be positive, and only their ratios count"
        )
    return weight

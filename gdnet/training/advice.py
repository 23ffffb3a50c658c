"""Warnings of what can be trained but is seldom meant, each with its remedy."""

import warnings
from typing import TYPE_CHECKING

import numpy as np

from gdnet.backend import get_backend
from gdnet.data import Dataset
from gdnet.layers import Context, Dense, Dropout, Flatten, Identity, Layer, Reshape
from gdnet.losses import BinaryCrossEntropy, CrossEntropy, Hinge, Loss, Poisson
from gdnet.network import Network, Parallel, Sequential

if TYPE_CHECKING:
    from gdnet.training.inputs import Trainable

SAME_NUMBERS = (Identity, Dropout, Flatten, Reshape)
"""Layers that, outside of training, give the numbers that they take."""
TAKES = {
    CrossEntropy: "logits, and makes probabilities of them itself",
    BinaryCrossEntropy: "logits, and makes probabilities of them itself",
    Hinge: "scores whose sign is the class",
    Poisson: "the logarithm of the rate, and takes exp of it itself",
}
ROWS = 512
"""How many examples are looked at for the sizes of the features."""
LARGE, FAR = 1e3, 30.0
"""A feature is far from the unit scale if its largest size is above `LARGE` or below 1 / `LARGE`, or its mean is
more than `FAR` standard deviations from 0."""


def warn_of_last_layer(net: Network, loss: Loss, stacklevel: int = 3) -> None:
    """A warning if the network ends in an activation that the loss applies itself, such as a sigmoid before
    `BinaryCrossEntropy`: it would be applied twice, and the accuracy, which looks at signs, would be wrong.

    It is told by what the last layer does: its outputs never change their sign.
    """
    takes = next((text for cls, text in TAKES.items() if isinstance(loss, cls)), None)
    last = None if takes is None else next(filter(_sign, _last_layers(net)), None)
    if last is not None:
        warnings.warn(
            f"{loss!r} takes {takes}, and the network ends in {last!r}, whose outputs never change their sign: leave "
            f"that layer out. Apply it to what predict returns, if you want to see its outputs",
            stacklevel=stacklevel,
        )


def _last_layers(net: Layer) -> list[Layer]:
    """The layers that give the outputs, without those that only pass numbers on."""
    if isinstance(net, Parallel) and net.combine == "concat":
        return [last for branch in net.layers for last in _last_layers(branch)]
    if isinstance(net, Parallel):  # a sum of outputs of one sign has it too
        branches = [_last_layers(branch) for branch in net.layers]
        signs = {_sign(last) for lasts in branches for last in lasts or [net]}
        return branches[0] if len(signs) == 1 and signs != {0} else [net]
    if not isinstance(net, Sequential):
        return [net]
    last = next((layer for layer in reversed(net.layers) if not isinstance(layer, SAME_NUMBERS)), None)
    return [] if last is None else _last_layers(last)


def _sign(layer: Layer) -> int:
    """1 or -1 if a layer without parameters gives numbers of that sign alone, for inputs of both signs; else 0."""
    x = np.linspace(-6.0, 6.0, 40).reshape(10, 4) * np.where(np.arange(4) % 2, 1.0, -1.0)
    try:
        if not layer.keeps_shape or layer.shapes((4,)):
            return 0
        with np.errstate(all="ignore"):
            y = np.asarray(layer.forward({}, x, Context(get_backend("cpu")))[0])
    except Exception:  # a layer of somebody's own that needs other inputs: nothing can be told
        return 0
    if not np.ptp(y) > 0:
        return 0
    return int(np.all(y >= 0)) - int(np.all(y <= 0))


def warn_of_scales(model: "Trainable", data: Dataset) -> None:
    """A warning if a feature that meets a `Dense` layer as it is lies far from the unit scale.

    With such inputs an activation is saturated from the start, or the learning rate fits one feature and not another:
    the prediction may stay constant, and nothing else would say so.
    """
    first = next((layer for layer in _chain(model.net) if not isinstance(layer, SAME_NUMBERS)), None)
    if not isinstance(first, Dense):
        return
    index = np.unique(np.linspace(0, len(data) - 1, min(ROWS, len(data))).astype(np.int64))
    x = np.asarray(data.backend.to_numpy(data.take(index)[0]), dtype=np.float64).reshape(len(index), -1)
    size, mean, std = np.max(np.abs(x), axis=0), np.mean(x, axis=0), np.std(x, axis=0)
    moves = std > 1e-6 * size  # a constant column tells nothing, whatever its size
    far = np.abs(mean) / np.where(moves, std, np.inf)
    bad = np.flatnonzero(moves & ((size > LARGE) | (size < 1.0 / LARGE) | (far > FAR)))
    if len(bad):
        worst = bad[np.argmax(np.maximum(far[bad], np.maximum(size[bad], 1.0 / size[bad])))]
        some = f"{len(bad)} features are" if len(bad) > 1 else "1 feature is"
        warnings.warn(
            f"{some} far from the unit scale, such as feature {worst} with mean {mean[worst]:.3g} and standard "
            f"deviation {std[worst]:.3g}: networks train badly on such inputs. Standardise them, with "
            f"gd.data.Standardizer().fit(x).transform(x)",
            stacklevel=5,
        )


def _chain(net: Layer) -> list[Layer]:
    """The layers of a network one after another, those of nested `Sequential`s included."""
    return [inner for layer in net.layers for inner in _chain(layer)] if isinstance(net, Sequential) else [net]

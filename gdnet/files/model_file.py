"""What a model is in a file: a description of its network and loss in JSON, and its parameters by name."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from gdnet.backend.base import FLOATS
from gdnet.checks import is_whole
from gdnet.errors import FileError
from gdnet.files import archive, spec, whole
from gdnet.losses import Loss
from gdnet.network import Network, Sequential
from gdnet.vector import Layout

MODEL, CHECKPOINT = "model", "checkpoint"
"""The two kinds of files that hold a model."""


class Describable(Protocol):
    """What a file holds of a model beside the parameters."""

    dtype: str
    seed: int
    in_shape: tuple[int, ...] | None

    @property
    def net(self) -> Network: ...
    @property
    def loss(self) -> Loss: ...
    @property
    def layout(self) -> Layout: ...


def description(model: Describable) -> dict[str, Any]:
    """The model without its parameters, as JSON values."""
    return {
        "network": spec.network_spec(model.net),
        "loss": spec.loss_spec(model.loss),
        "layout": rows_of(model.layout),
        "in_shape": list(model.in_shape or ()),
        "dtype": model.dtype,
        "seed": model.seed,
    }


def write(path: str | Path, model: Describable, theta: np.ndarray) -> None:
    """Write the model with these parameters (P,)."""
    archive.write(whole.check_writable(path), MODEL, model.layout.split(theta), description(model), keep_previous=False)


class Saved(NamedTuple):
    """A model in a file, as it was read and found to be sound."""

    path: Path
    described: dict[str, Any]
    in_shape: tuple[int, ...]
    vector: np.ndarray
    """All parameters, (P,)."""

    def build(self, custom: Mapping[str, type]) -> tuple[Network, Loss]:
        """The network, whose parameters are those in the file, and the loss."""
        net = spec.read_network(self.described["network"], custom)
        net = net if isinstance(net, Network) else Sequential(net)
        loss = spec.read_loss(self.described["loss"], custom)
        self.theta_of(net)
        return net, loss

    def theta_of(self, net: Network, in_shape: tuple[int, ...] | None = None) -> np.ndarray:
        """The parameters of this network (P,); a `FileError` if those in the file are of another one."""
        try:
            mine = rows_of(net.layout(in_shape or self.in_shape))
        except Exception as error:  # sizes that fit nowhere, in a network that the file describes
            raise FileError(f"{str(self.path)!r}: the network does not take {self.in_shape}: {error}") from error
        if self.described["layout"] != mine:
            raise FileError(
                f"{str(self.path)!r} holds the parameters of another network: {_short(self.described['layout'])}; "
                f"this one has {_short(mine)}"
            )
        return self.vector


def read(path: str | Path) -> Saved:
    """The model in a model file or a checkpoint, after a look at everything but its network and its loss.

    Sizes are compared with the arrays that are there, so that nothing is built or drawn for parameters that are not.
    """
    tensors, content = archive.read(path, (MODEL, CHECKPOINT))
    described: Any = content.get("settings") if content["kind"] == CHECKPOINT else content
    path = Path(path)
    check(path, isinstance(described, dict), "its settings")
    if described.get("standardised"):
        raise FileError(
            f"{str(path)!r} is a checkpoint of `gdnet train`, whose network takes standardised features: it is for "
            f"--resume; load model.safetensors beside it, which takes and gives the units of the table"
        )
    for name, sound in SOUND.items():
        check(path, sound(described.get(name)), f"its {name}")
    shapes = {name: tuple(shape) for name, shape in described["layout"]}
    check(path, len(shapes) == len(described["layout"]), "its layout")
    return Saved(path, described, tuple(described["in_shape"]), _vector(path, content, tensors, shapes, described))


def _vector(
    path: Path, content: dict[str, Any], tensors: dict[str, np.ndarray], shapes: dict[str, Any], described: Any
) -> np.ndarray:
    """All parameters of a file, if they are there in the sizes and the precision that it claims, and are finite."""
    if content["kind"] == CHECKPOINT:
        size = sum(math.prod(shape) for shape in shapes.values())
        last = tensors.get("theta")
        found: dict[str, Any] = {"theta": tensors.get("result", last)}  # what the run has ended with, if it has
        shapes = {"theta": (size,)}
    else:
        found = dict(tensors)
    for name, shape in shapes.items():
        tensor: Any = found.get(name)
        check(path, tensor is not None and tensor.shape == shape, f"the size of {name}")
        check(path, tensor.dtype.name == described["dtype"], f"the precision of {name}")
        if not np.isfinite(tensor).all():
            raise FileError(f"{str(path)!r}: the parameters hold NaN or infinity ({name})")
    check(path, found.keys() == shapes.keys(), "its list of parameters")
    return np.concatenate([np.ravel(found[name]) for name in shapes]) if shapes else np.zeros(0, described["dtype"])


def check(path: str | Path, sound: Any, what: str) -> None:
    """A `FileError` where a part of a file is not as gdnet writes it, though its checksum fits."""
    if not sound:
        raise FileError(f"{str(path)!r} is malformed: {what} is not as gdnet writes it; write the file anew")


def is_sizes(value: Any) -> bool:
    """Whether this is a list of sizes, as of a shape."""
    return isinstance(value, list) and all(is_whole(k) and 0 <= k < 2**63 for k in value)


SOUND: dict[str, Callable[[Any], bool]] = {
    "network": lambda v: isinstance(v, dict),
    "loss": lambda v: isinstance(v, dict),
    "layout": lambda v: (
        isinstance(v, list)
        and all(isinstance(r, list) and len(r) == 2 and isinstance(r[0], str) and is_sizes(r[1]) for r in v)
    ),
    "in_shape": lambda v: is_sizes(v) and 0 not in v,
    "dtype": lambda v: isinstance(v, str) and v in FLOATS,
    "seed": lambda v: is_whole(v) and v >= 0,
}
"""What a sound file holds under each name."""


def rows_of(layout: Layout) -> list[Any]:
    """A layout as JSON values: a name and a shape for each parameter."""
    return [[name, list(shape)] for name, shape in layout.shapes.items()]


def _short(rows: list[Any], limit: int = 8) -> str:
    shown = ", ".join(f"{name} {tuple(shape)}" for name, shape in rows[:limit])
    return shown + (", ..." if len(rows) > limit else "")

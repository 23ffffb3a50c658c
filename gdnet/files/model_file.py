"""What a model is in a file: a description of its network and loss in JSON, and its parameters by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from gdnet.errors import FileError
from gdnet.files import archive, spec
from gdnet.layers import Layer
from gdnet.losses import Loss
from gdnet.network import Network
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
    archive.write(
        archive.check_writable(path), MODEL, model.layout.split(theta), description(model), keep_previous=False
    )


class Saved(NamedTuple):
    """A model in a file, as it was read."""

    path: Path
    described: dict[str, Any]
    tensors: dict[str, np.ndarray]

    def build(self, custom: Mapping[str, type]) -> tuple[Layer, Loss]:
        """The network and the loss."""
        return spec.read_network(self.described["network"], custom), spec.read_loss(self.described["loss"], custom)

    def theta(self, layout: Layout) -> np.ndarray:
        """The parameters (P,) of a network with this layout; a `FileError` if they are of another one."""
        mine = rows_of(layout)
        if self.described["layout"] != mine:
            raise FileError(
                f"{str(self.path)!r} holds the parameters of another network: {_short(self.described['layout'])}; "
                f"this one has {_short(mine)}"
            )
        return self.tensors["theta"] if "theta" in self.tensors else layout.join_host(self.tensors)


def read(path: str | Path) -> Saved:
    """The model in a model file or a checkpoint."""
    tensors, content = archive.read(path, (MODEL, CHECKPOINT))
    if content.get("settings", {}).get("standardised"):
        raise FileError(
            f"{str(path)!r} is a checkpoint of `gdnet train`, whose network takes standardised features: it is for "
            f"--resume; load model.safetensors beside it, which takes and gives the units of the table"
        )
    return Saved(Path(path), content.get("settings", content), tensors)


def rows_of(layout: Layout) -> list[Any]:
    """A layout as JSON values: a name and a shape for each parameter."""
    return [[name, list(shape)] for name, shape in layout.shapes.items()]


def _short(rows: list[Any], limit: int = 8) -> str:
    shown = ", ".join(f"{name} {tuple(shape)}" for name, shape in rows[:limit])
    return shown + (", ..." if len(rows) > limit else "")

"""Networks, losses and optimizers as JSON values, and back: class names and constructor arguments, never code."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from gdnet.errors import FileError, GdnetError, OptionError
from gdnet.layers import Elementwise, Layer
from gdnet.losses import ElementwiseLoss, Loss


def network_spec(net: Layer) -> dict[str, Any]:
    """The network as JSON values; a `FileError` if one of its layers cannot be written."""
    try:
        return json.loads(json.dumps(net.spec(), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise FileError(
            f"the network cannot be written to a file: config() of every layer must give JSON: {error}"
        ) from error


def loss_spec(loss: Loss) -> dict[str, Any]:
    """The loss as JSON values; a `FileError` if it cannot be written."""
    spec = loss.spec()
    try:
        return json.loads(json.dumps(spec))
    except (TypeError, ValueError) as error:
        raise FileError(
            f"{loss!r} cannot be written to a file: config() of a loss must give JSON: {error}. Write config and "
            f"from_config for it"
        ) from error


def optimizer_spec(value: Any) -> Any:
    """All settings of an optimizer as JSON values, to tell two of them apart; a function is known by its name only.

    >>> from gdnet.optimizers import SGD
    >>> optimizer_spec(SGD(lr=0.5))["lr"]
    0.5
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(k): optimizer_spec(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [optimizer_spec(v) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: optimizer_spec(getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr}
        return {"type": type(value).__name__} | fields
    if hasattr(value, "tolist"):
        return value.tolist()
    return getattr(value, "__qualname__", type(value).__qualname__)


def read_network(spec: Any, custom: Mapping[str, type]) -> Layer:
    """The network of this spec. Classes that are not gdnet's are refused, unless the caller hands them over."""
    return _read(Layer, spec, custom)


def read_loss(spec: Any, custom: Mapping[str, type]) -> Loss:
    """The loss of this spec, by the same rule."""
    return _read(Loss, spec, custom)


class Allowed(dict):
    """The classes that a file may name: gdnet's own, by their names, and those that the caller has handed over."""

    def __init__(self, family: type[Layer] | type[Loss], custom: Mapping[str, type]) -> None:
        super().__init__(custom)
        self.family = family

    def __bool__(self) -> bool:
        return True  # also with no class handed over, others are refused

    def get(self, name: str, default: Any = None) -> type:
        own = self.family.known.get(name)
        if own is not None and own.__module__.startswith("gdnet."):
            if _has_no_rule(own):
                raise FileError(f"the file names {name!r}, which is a base class without a rule")
            return own
        cls = super().get(name) or super().get(name.rpartition(".")[2])
        if cls is None or not issubclass(cls, self.family):
            short = name.rpartition(".")[2]
            raise FileError(
                f"the file names {name!r}, which is not gdnet's: gd.load(path, custom={{{short!r}: {short}}})"
            )
        return cls


def _has_no_rule(cls: Any) -> bool:
    if issubclass(cls, Layer):
        return cls.forward is Layer.forward or (issubclass(cls, Elementwise) and cls.f is Elementwise.f)
    return cls.at is Loss.at or (issubclass(cls, ElementwiseLoss) and cls.l is ElementwiseLoss.l)


def _read(family: type[Layer] | type[Loss], spec: Any, custom: Mapping[str, type]) -> Any:
    try:
        return family.from_spec(spec, Allowed(family, custom))
    except FileError:
        raise
    except (GdnetError, RecursionError) as error:
        raise FileError(f"the {family.family} in the file cannot be built: {error}") from error


def check_custom(custom: Mapping[str, type] | None) -> dict[str, type]:
    """`custom` if it maps names to classes of layers and losses."""
    if custom is not None and not isinstance(custom, Mapping):
        raise OptionError(f"custom must be a dict of names and classes, got {type(custom).__name__}")
    for name, cls in (custom or {}).items():
        if not (isinstance(cls, type) and issubclass(cls, (Layer, Loss))):
            raise OptionError(f"custom: {name!r} must be a subclass of Layer or Loss, got {cls!r}")
    return dict(custom or {})

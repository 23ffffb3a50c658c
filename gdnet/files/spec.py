"""Networks, losses and optimizers as JSON values, and back: class names and constructor arguments, never code."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from gdnet.errors import FileError, GdnetError, OptionError
from gdnet.layers import Layer
from gdnet.losses import Loss


def network_spec(net: Layer) -> dict[str, Any]:
    """The network as JSON values; a `FileError` if one of its layers cannot be written."""
    try:
        return json.loads(json.dumps(net.spec(), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise FileError(
            f"the network cannot be written to a file: config() of every layer must give JSON: {error}"
        ) from error


def loss_spec(loss: Loss) -> dict[str, Any]:
    """The loss as JSON values."""
    return loss.spec()


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


def read_network(spec: dict[str, Any], custom: Mapping[str, type]) -> Layer:
    """The network of this spec. Classes that are not gdnet's are refused, unless the caller hands them over."""
    return _read(Layer, spec, set(_types(spec)), custom)


def read_loss(spec: dict[str, Any], custom: Mapping[str, type]) -> Loss:
    """The loss of this spec, by the same rule."""
    return _read(Loss, spec, {str(spec.get("type"))}, custom)


def _read(family: type[Layer] | type[Loss], spec: dict[str, Any], names: set[str], custom: Mapping[str, type]) -> Any:
    given = {}
    for name in names:
        cls = custom.get(name) or custom.get(name.rpartition(".")[2])
        if cls is not None and issubclass(cls, family):
            given[name] = cls
        elif name not in family.known or not family.known[name].__module__.startswith("gdnet."):
            raise _unknown(name)
    try:
        return family.from_spec(spec, given)
    except FileError:
        raise
    except GdnetError as error:
        raise FileError(f"the {family.family} in the file cannot be built: {error}") from error


def check_custom(custom: Mapping[str, type] | None) -> dict[str, type]:
    """`custom` if it maps names to classes of layers and losses."""
    if custom is not None and not isinstance(custom, Mapping):
        raise OptionError(f"custom must be a dict of names and classes, got {type(custom).__name__}")
    for name, cls in (custom or {}).items():
        if not (isinstance(cls, type) and issubclass(cls, (Layer, Loss))):
            raise OptionError(f"custom: {name!r} must be a subclass of Layer or Loss, got {cls!r}")
    return dict(custom or {})


def _types(spec: Any) -> Iterator[str]:
    """Every layer type named in a spec, nested ones included."""
    if isinstance(spec, list):
        for item in spec:
            yield from _types(item)
    elif isinstance(spec, dict):
        if spec.keys() == {"type", "config"}:
            yield str(spec["type"])
        for item in spec.values():
            yield from _types(item)


def _unknown(name: str) -> FileError:
    short = name.rpartition(".")[2]
    return FileError(f"the file names {name!r}, which is not gdnet's: gd.load(path, custom={{{short!r}: {short}}})")

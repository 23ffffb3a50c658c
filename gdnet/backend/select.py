"""From an array, a device name or a library name to its `Backend`."""

import functools
import re
from typing import Any

from array_api_compat import array_namespace, is_array_api_obj
from array_api_compat import device as device_of

from gdnet.backend.base import Backend
from gdnet.backend.room import Room, room_for, rooms
from gdnet.errors import ArrayError, DeviceError, OptionError

MATMUL_PRECISIONS = ("highest", "tf32")


def get_backend(device: str = "cpu", backend: Any = None, matmul_precision: str = "highest") -> Backend:
    """The backend for a device name and, optionally, a library.

    Parameters
    ----------
    device : str
        `"cpu"`, `"cuda"` or `"cuda:1"`. Alone, `"cpu"` is the host's own arrays and `"cuda"` those of the first GPU.
    backend : str or module, optional
        The name of an array library that has a room beside this file (`gdnet info` lists them), or any array API
        namespace (then `device` may be one of its own device objects).
    matmul_precision : "highest" or "tf32"
        How products of float32 matrices are computed. "tf32" lets a GPU use TF32 tensor cores: faster, with factors
        rounded to 11 bits (about three digits). It holds for this backend object alone.

    Raises
    ------
    DeviceError
        For a device or library that is unknown or cannot be used here; the message tells the remedy.
    OptionError
        For another precision, or "tf32" where there is none.

    >>> get_backend("cpu").place
    'cpu'
    """
    if matmul_precision not in MATMUL_PRECISIONS:
        raise OptionError(f'matmul_precision must be "highest" or "tf32", got {matmul_precision!r}')
    found = _get_backend(device, backend)
    return found if matmul_precision == "highest" else found.in_tf32()


Backend.reopen = staticmethod(get_backend)


def _get_backend(device: Any, backend: Any) -> Backend:
    if isinstance(backend, Backend):
        return backend
    if backend is not None and not isinstance(backend, str):
        return _of_namespace(device, backend)
    if not isinstance(device, str) or not (match := re.fullmatch(r"(cpu|cuda)(?::(\d+))?", device)):
        raise DeviceError("unknown-device", f'device must be "cpu", "cuda" or "cuda:N", got {device!r}')
    kind, index = match[1], int(match[2] or 0)
    if kind == "cpu" and match[2] is not None:
        raise DeviceError("unknown-device", f'there is one device "cpu"; "cuda:N" counts, got {device!r}')
    if backend is None:
        return room_for(kind).open(kind, index)
    if backend not in rooms():
        names = ", ".join(repr(name) for name in rooms())
        raise DeviceError(
            "unknown-backend", f"backend must be one of {names}, or an array API namespace, got {backend!r}"
        )
    return rooms()[backend].open(kind, index)


def _of_namespace(device: Any, namespace: Any) -> Backend:
    """The backend of a namespace: that of its library's room where it has one, else what the standard gives."""
    if not hasattr(namespace, "asarray"):
        names = ", ".join(repr(name) for name in rooms())
        raise DeviceError(
            "unknown-backend", f"backend must be one of {names}, or an array API namespace, got {namespace!r}"
        )
    library = _name_of(namespace).partition(".")[0]
    if library in rooms() and isinstance(device, str):
        return _get_backend(device, library)
    return _standard(namespace, None if device == "cpu" else device)


def _name_of(namespace: Any) -> str:
    return getattr(namespace, "__name__", "standard").removeprefix("array_api_compat.")


@functools.cache
def _standard(xp: Any, device: Any) -> Backend:
    backend = Backend(xp, device)
    backend.name = _name_of(xp)
    return backend


def backend_of(*arrays: Any, names: tuple[str, ...] = ()) -> Backend:
    """The backend on which these arrays live; an `ArrayError` if they live on different ones.

    >>> import numpy as np
    >>> backend_of(np.zeros(3), np.ones(2)).place
    'cpu'
    """
    found = [_backend_of(a, names[i] if i < len(names) else f"argument {i + 1}") for i, a in enumerate(arrays)]
    for i, other in enumerate(found):
        if other is not found[0]:
            labels = [names[j] if j < len(names) else f"argument {j + 1}" for j in (0, i)]
            raise ArrayError(
                f"{labels[0]} is a {found[0].name} array on {found[0].device}, {labels[1]} a {other.name} array on "
                f"{other.device}: arrays must share one library and device; gdnet never copies between them by itself"
            )
    return found[0]


_ROOM_OF: dict[type, Room] = {}
"""The room that owns the arrays of a type, once that is known."""


def _backend_of(array: Any, label: str) -> Backend:
    kind = type(array)
    room = _ROOM_OF.get(kind)
    if room is None:
        room = next((room for room in rooms().values() if room.owns(array)), None)
        if room is None:
            if not is_array_api_obj(array):
                raise ArrayError(f"{label} must be an array, got {kind.__name__}: {_as_array(array)}")
            return _standard(array_namespace(array), device_of(array))
        _ROOM_OF[kind] = room
    return room.of(array)


def _as_array(thing: Any) -> str:
    """How to make an array of what is none."""
    if hasattr(thing, "to_numpy"):  # a table, or a column of one
        return (
            'give its numbers, as in x.to_numpy(dtype="float64"), or let gd.data.read_table(frame, target=...) make '
            "arrays of columns with text, dates or gaps"
        )
    return "wrap it, as in numpy.asarray(...)"

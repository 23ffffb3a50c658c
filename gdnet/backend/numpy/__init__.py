"""NumPy on the CPU, the default: its kernels, and the compiler that turns a training step into straight-line code."""

import functools
import os
import platform
from typing import Any

import numpy as np

from gdnet.backend.base import Backend
from gdnet.backend.room import Room
from gdnet.errors import DeviceError


class NumpyRoom(Room):
    """NumPy arrays; there is one backend."""

    library = "numpy"
    wheel = "numpy"
    default_for = "cpu"

    def owns(self, thing: Any) -> bool:
        return isinstance(thing, (np.ndarray, np.generic))

    def of(self, array: Any) -> Backend:
        return host_backend()

    def open(self, kind: str, index: int) -> Backend:
        if kind != "cpu":
            raise DeviceError("wrong-device", f'NumPy arrays live on device "cpu", not "{kind}:{index}"')
        return host_backend()

    def devices(self) -> list[tuple[str, bool, str]]:
        from gdnet.backend.numpy.compiler import chain

        loops = "no compiled loops: install a C compiler, then gdnet" if chain.compiled is None else "compiled loops"
        return [("cpu", True, f"{platform.machine()}, {os.cpu_count()} cores, {loops}")]


@functools.cache
def host_backend() -> Backend:
    """The one backend of the host."""
    from gdnet.backend.numpy.backend import NumpyBackend

    return NumpyBackend()


ROOM = NumpyRoom()

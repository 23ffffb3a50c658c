"""Array libraries and devices. Only the room of a library, a subfolder here, names it."""

from gdnet.backend.base import Array, Backend, check_float, overridable
from gdnet.backend.info import devices
from gdnet.backend.random import Key, host_generator
from gdnet.backend.select import backend_of, get_backend

__all__ = [
    "Array",
    "Backend",
    "Key",
    "backend_of",
    "check_float",
    "devices",
    "get_backend",
    "host_generator",
    "overridable",
]

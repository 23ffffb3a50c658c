"""Array libraries and devices: the only folder that may name a library."""

from gdnet.backend.base import Array, Backend, check_float, overridable
from gdnet.backend.cupy.detect import require_cuda
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
    "require_cuda",
]

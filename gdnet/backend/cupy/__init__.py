"""CuPy on NVIDIA GPUs: kernels, products, captured steps, and the reasons why CUDA cannot be used."""

import functools
from typing import Any

from array_api_compat import is_cupy_array

from gdnet.backend.base import Backend
from gdnet.backend.cupy.detect import require_cuda
from gdnet.backend.room import Room
from gdnet.errors import DeviceError


class CupyRoom(Room):
    """CuPy arrays; a backend for each device, and another one where products may use TF32."""

    library = "cupy"
    wheel = "cupy-cuda13x[ctk]"  # a name of its own for each CUDA
    default_for = "cuda"

    def owns(self, thing: Any) -> bool:
        return is_cupy_array(thing)

    def of(self, array: Any) -> Backend:
        return backend_on(array.device.id)

    def open(self, kind: str, index: int) -> Backend:
        if kind != "cuda":
            raise DeviceError("wrong-device", 'CuPy arrays live on a CUDA device: give device="cuda"')
        require_cuda(index)
        found = backend_on(index)
        found.make_current()
        return found

    def devices(self) -> list[tuple[str, bool, str]]:
        try:
            cp = require_cuda(0)
        except DeviceError as error:
            return [("cuda", False, f"not available ({error.code}): {error}")]
        rows = []
        for i in range(cp.cuda.runtime.getDeviceCount()):
            found = cp.cuda.runtime.getDeviceProperties(i)
            rows.append((f"cuda:{i}", True, f"{found['name'].decode()}, {found['totalGlobalMem'] / 2**30:.0f} GiB"))
        return rows


@functools.cache
def backend_on(index: int, tf32: bool = False) -> Any:
    """The one backend of a device and a precision. Arrays lead to that without TF32."""
    from gdnet.backend.cupy.backend import CupyBackend

    return CupyBackend(index, tf32)


ROOM = CupyRoom()

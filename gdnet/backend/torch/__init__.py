"""PyTorch tensors, without its autograd."""

import functools
import importlib
import importlib.util
from typing import Any

from array_api_compat import is_torch_array

from gdnet.backend.base import Backend
from gdnet.backend.room import Room
from gdnet.errors import DeviceError


class TorchRoom(Room):
    """PyTorch tensors; a backend for each device."""

    library = "torch"
    wheel = "torch"

    def owns(self, thing: Any) -> bool:
        return is_torch_array(thing)

    def of(self, array: Any) -> Backend:
        return _backend(array.device)

    def open(self, kind: str, index: int) -> Backend:
        if importlib.util.find_spec("torch") is None:
            raise DeviceError("no-torch", "backend 'torch' is not installed: pip install torch")
        torch = importlib.import_module("torch")
        if kind == "cpu":
            return _backend(torch.device("cpu"))
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if index >= count:
            raise DeviceError("no-device", f"torch finds {count} CUDA device(s), so 'cuda:{index}' does not exist")
        return _backend(torch.device("cuda", index))


@functools.cache
def _backend(device: Any) -> Backend:
    from gdnet.backend.torch.backend import TorchBackend

    return TorchBackend(device)


ROOM = TorchRoom()

"""PyTorch tensors, without its autograd: gdnet brings every derivative itself."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar

import array_api_compat.torch as xp
import numpy as np
import torch

from gdnet.backend.base import Array, Backend
from gdnet.backend.out_of_memory import bytes_in


class TorchBackend(Backend):
    """PyTorch tensors on one device."""

    name = "torch"
    mutable = True
    instead_of_tf32 = ': for torch, call torch.set_float32_matmul_precision("high") yourself'
    kernels: ClassVar[dict[str, Callable]] = {
        "triangular_solution": lambda backend, T, b, lower: torch.linalg.solve_triangular(T, b, upper=not lower)
    }

    def __init__(self, device: Any = "cpu") -> None:
        super().__init__(xp, torch.device(device))

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        host = np.ascontiguousarray(host, dtype=dtype) if np.ndim(host) else np.asarray(host, dtype=dtype)
        return torch.tensor(host, device=self.device)  # a copy: torch refuses to share read-only memory

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.array(array.detach().cpu().numpy())

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        return torch.matmul(a, b) if out is None else torch.matmul(a, b, out=out)

    def erf(self, x: Array) -> Array:
        return torch.special.erf(x)

    def bytes_refused(self, error: BaseException) -> int | None:
        return bytes_in(str(error)) if isinstance(error, torch.cuda.OutOfMemoryError) else None

    def memory(self) -> tuple[int, int]:
        if self.device.type != "cuda":
            return 0, 0
        used, (free, _) = torch.cuda.memory_allocated(self.device), torch.cuda.mem_get_info(self.device)
        return used, free + torch.cuda.memory_reserved(self.device) - used

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def compile(self, step: Callable, donate: Sequence[int] = (), strict: bool = False) -> Callable:
        @wraps(step)
        def without_tape(*args: Any) -> Any:
            with torch.no_grad():
                return step(*args)

        without_tape.reason = "PyTorch carries out one operation after the other: a step is not compiled"  # type: ignore
        return without_tape

"""CuPy on an NVIDIA GPU."""

from typing import Any

import array_api_compat.cupy as xp
import cupy as cp
import numpy as np

from gdnet.backend.base import Array, Backend


class CupyBackend(Backend):
    """CuPy arrays on one CUDA device. Construct it through `get_backend("cuda")`, which checks the machine first."""

    name = "cupy"
    mutable = True

    def __init__(self, index: int = 0) -> None:
        super().__init__(xp, cp.cuda.Device(index))

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        with self.device:
            return cp.asarray(np.asarray(host, dtype=dtype))

    def to_numpy(self, array: Array) -> np.ndarray:
        return cp.asnumpy(array)

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        return cp.matmul(a, b, out=out)

    def erf(self, x: Array) -> Array:
        from cupyx.scipy.special import erf

        return erf(x)

    def synchronize(self) -> None:
        self.device.synchronize()

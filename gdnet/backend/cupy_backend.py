"""CuPy on an NVIDIA GPU."""

from collections.abc import Callable, Sequence
from typing import Any

import array_api_compat.cupy as xp
import cupy as cp
import numpy as np

from gdnet.backend.base import Array, Backend
from gdnet.backend.cublas import Gemm
from gdnet.backend.cuda_graph import CapturedStep, CudaRecorder
from gdnet.backend.cuda_kernels import KERNELS


class CupyBackend(Backend):
    """CuPy arrays on one CUDA device. Construct it through `get_backend("cuda")`, which checks the machine first."""

    name = "cupy"
    mutable = True
    kernels = KERNELS
    tf32 = False
    """Whether float32 products may use TF32 tensor cores: faster, with about three digits fewer. Off by default."""
    gemm: Gemm | None = None
    """The product to use while a step is captured."""

    def __init__(self, index: int = 0) -> None:
        super().__init__(xp, cp.cuda.Device(index))

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        with self.device:
            return cp.asarray(np.asarray(host, dtype=dtype))

    def to_numpy(self, array: Array) -> np.ndarray:
        return cp.asnumpy(array)

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        if self.gemm is not None and a.ndim == b.ndim == 2:
            return self.gemm(a, b, out)
        return cp.matmul(a, b, out=out)

    def erf(self, x: Array) -> Array:
        from cupyx.scipy.special import erf

        return erf(x)

    def synchronize(self) -> None:
        self.device.synchronize()

    def compile(self, step: Callable, donate: Sequence[int] = ()) -> Callable:
        return CapturedStep(CudaRecorder(self), step, donate)

"""CuPy on an NVIDIA GPU."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import cupy as cp
import numpy as np

from gdnet.backend.base import Array, Backend
from gdnet.backend.cupy import backend_on
from gdnet.backend.cupy.cublas import Gemm
from gdnet.backend.cupy.detect import require_tensor_cores
from gdnet.backend.cupy.feed import CudaCopier, ahead
from gdnet.backend.cupy.graph import CapturedStep, CudaRecorder
from gdnet.backend.cupy.kernels import KERNELS
from gdnet.backend.cupy.namespace import namespace
from gdnet.backend.cupy.products import Current, current

xp = namespace()


class CupyBackend(Backend):
    """CuPy arrays on one CUDA device. Construct it through `get_backend("cuda")`, which checks the machine first.

    CuPy computes on the device that is current in a thread, wherever its arrays lie. `get_backend("cuda:1")` makes
    device 1 the current one; compiled steps run on their own device whichever is current.
    """

    name = "cupy"
    mutable = True
    kernels = KERNELS

    def __init__(self, index: int = 0, tf32: bool = False) -> None:
        super().__init__(xp, cp.cuda.Device(index))
        self.tf32 = tf32
        """Whether products of float32 matrices may use TF32 tensor cores: faster, with about three digits."""
        self.eager = Current()

    def __reduce__(self) -> tuple:
        function, names = super().__reduce__()
        return function, (*names, "tf32" if self.tf32 else "highest")

    @property
    def place(self) -> str:
        return f"cuda:{self.device.id}"

    def whole(self, array: Array) -> Array:
        with self.device:
            return array.copy()  # a captured step writes its results to the same place every time

    def in_tf32(self) -> Backend:
        require_tensor_cores(self.device)
        return self if self.tf32 else backend_on(self.device.id, True)

    def make_current(self) -> None:
        """Let this thread's CuPy calls run on this device."""
        self.device.use()

    # -- moving data ------------------------------------------------------------------------------------------------

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        with self.device:
            return cp.asarray(np.asarray(host, dtype=dtype))

    def to_numpy(self, array: Array) -> np.ndarray:
        return cp.asnumpy(array)

    def synchronize(self) -> None:
        self.device.synchronize()

    def prefetch(self, batches: Iterable[Sequence[np.ndarray]]) -> Iterator[tuple[Array, ...]]:
        return ahead(CudaCopier(self.device), batches)

    def bytes_refused(self, error: BaseException) -> int | None:
        if isinstance(error, cp.cuda.memory.OutOfMemoryError):
            return int(getattr(error, "_size", 0))
        return None

    def memory(self) -> tuple[int, int]:
        with self.device:
            pool, (free, _) = cp.get_default_memory_pool(), cp.cuda.runtime.memGetInfo()
            used, limit = pool.used_bytes(), pool.get_limit()
            left = free + pool.free_bytes()
        return used, min(left, limit - used) if limit else left

    # -- what the standard lacks -------------------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        if b.ndim == 2 < a.ndim and out is None:  # one large product: CuPy would copy, and batch many small ones
            return self.matmul(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[-1])
        if a.ndim == b.ndim == 2 and a.dtype == b.dtype and a.dtype.char in "fd":
            gemm = current.gemm or self._eager_gemm()
            if gemm is not None:
                return gemm(a, b, out)
        return cp.matmul(a, b, out=out)

    def _eager_gemm(self) -> Gemm | None:
        """With TF32, of which CuPy's own products know only as a setting of the whole process."""
        if self.tf32 and self.eager.gemm is None:
            with self.device:
                self.eager.gemm = Gemm(tf32=True)
        return self.eager.gemm

    def sum_rows(self, a: Array, out: Array) -> None:
        """By a product with a row of ones, which cuBLAS does faster where a launch costs the host next to nothing.

        One column has no product to be faster with, and TF32 would round what full precision is promised for.
        """
        gemm, (rows, columns) = current.gemm, a.shape
        if gemm is None or gemm.tf32 or columns == 1 or a.dtype != out.dtype or a.dtype.char not in "fd":
            cp.sum(a, axis=0, out=out)
        else:
            gemm(gemm.ones(rows, a.dtype), a, out[None, :])

    def erf(self, x: Array) -> Array:
        from cupyx.scipy.special import erf

        return erf(x)

    # -- compiling ---------------------------------------------------------------------------------------------------

    def compile(self, step: Callable, donate: Sequence[int] = (), strict: bool = False) -> Callable:
        return CapturedStep(lambda: CudaRecorder(self.tf32), step, donate, self.device, strict)

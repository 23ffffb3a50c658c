"""Matrix products by a cuBLAS call of gdnet's own.

CuPy refuses its cuBLAS calls while a stream is captured, though cuBLAS itself can be captured when it has a workspace
of its own. So a captured step multiplies through this handle.
"""

import ctypes
from typing import Any

import cupy as cp

WORKSPACE_BYTES = 32 << 20  # NVIDIA's advice for Hopper; without one of its own a captured call would allocate
_FLOAT32, _FLOAT64 = 0, 1  # cudaDataType_t
_COMPUTE = {("float32", False): 68, ("float32", True): 77, ("float64", False): 70, ("float64", True): 70}
_DEFAULT_ALGORITHM = -1


class CublasError(RuntimeError):
    """cuBLAS answered with a status other than success."""


def _check(status: int, what: str) -> None:
    if status != 0:
        raise CublasError(f"{what} failed with cuBLAS status {status}")


class Gemm:
    """C = A B for row-major matrices. `tf32` allows tensor cores for float32.

    On the given stream with a workspace of its own, as a capture needs it, or on the stream that is current at a call.
    """

    def __init__(self, stream: Any = None, tf32: bool = False) -> None:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        self.library = ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)
        self.stream, self.tf32, self.handle = stream, tf32, ctypes.c_void_p()
        _check(self.library.cublasCreate_v2(ctypes.byref(self.handle)), "cublasCreate")
        if stream is None:
            return
        self._go_to(stream)
        self.workspace = cp.empty(WORKSPACE_BYTES, cp.uint8)  # after SetStream, which resets it
        _check(
            self.library.cublasSetWorkspace_v2(
                self.handle, ctypes.c_void_p(self.workspace.data.ptr), ctypes.c_size_t(WORKSPACE_BYTES)
            ),
            "cublasSetWorkspace",
        )

    def _go_to(self, stream: Any) -> None:
        _check(self.library.cublasSetStream_v2(self.handle, ctypes.c_void_p(stream.ptr)), "cublasSetStream")

    def __call__(self, a: Any, b: Any, out: Any | None = None) -> Any:
        """a @ b for two matrices of one float dtype; transposed views are free."""
        if self.stream is None:
            self._go_to(cp.cuda.get_current_stream())
        (m, k), (_, n) = a.shape, b.shape
        c = cp.empty((m, n), a.dtype) if out is None else out
        (a, a_transposed, lda), (b, b_transposed, ldb) = _operand(a), _operand(b)
        if not c.flags.c_contiguous:
            raise CublasError("the product's target must be contiguous")
        number = ctypes.c_float if a.dtype == cp.float32 else ctypes.c_double
        kind = _FLOAT32 if a.dtype == cp.float32 else _FLOAT64
        one, zero = number(1.0), number(0.0)
        # Row-major C = A B is column-major Cᵀ = Bᵀ Aᵀ: the operands change places.
        status = self.library.cublasGemmEx(
            self.handle, int(b_transposed), int(a_transposed), n, m, k, ctypes.byref(one),
            ctypes.c_void_p(b.data.ptr), kind, ldb, ctypes.c_void_p(a.data.ptr), kind, lda, ctypes.byref(zero),
            ctypes.c_void_p(c.data.ptr), kind, n, _COMPUTE[str(a.dtype), self.tf32], _DEFAULT_ALGORITHM,
        )  # fmt: skip
        _check(status, "cublasGemmEx")
        return c


def _operand(a: Any) -> tuple[Any, bool, int]:
    """(matrix, whether it is stored transposed, its leading dimension); a copy only where neither order fits."""
    rows, columns = a.shape
    if a.flags.c_contiguous:
        return a, False, max(columns, 1)
    if a.flags.f_contiguous:
        return a, True, max(rows, 1)
    return cp.ascontiguousarray(a), False, max(columns, 1)

"""Matrix products by a cuBLAS call of gdnet's own.

CuPy refuses its cuBLAS calls while a stream is captured, though cuBLAS itself can be captured when it has a workspace
of its own. So a captured step multiplies through this handle.
"""

import ctypes
from typing import Any, NamedTuple

import cupy as cp

from gdnet.errors import ArrayError, ShapeError

WORKSPACE_BYTES = 32 << 20  # NVIDIA's advice for Hopper; without one of its own a captured call would allocate
_FLOAT32, _FLOAT64 = 0, 1  # cudaDataType_t
_COMPUTE = {("float32", False): 68, ("float32", True): 77, ("float64", False): 70, ("float64", True): 70}
_DEFAULT_ALGORITHM = -1
MAX_STACK = 65535  # matrices a call: cuBLAS maps them to an axis of the grid, which has no more


class CublasError(RuntimeError):
    """cuBLAS answered with a status other than success."""


def _check(status: int, what: str) -> None:
    if status != 0:
        raise CublasError(f"{what} failed with cuBLAS status {status}")


class Gemm:
    """C = A B for row-major matrices and stacks of them. `tf32` allows tensor cores for float32.

    On the given stream with a workspace of its own, as a capture needs it, or on the stream that is current at a call.
    """

    def __init__(self, stream: Any = None, tf32: bool = False) -> None:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        self.library = ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)
        self.stream, self.tf32, self.handle = stream, tf32, ctypes.c_void_p()
        self.rows_of_ones: dict[tuple[int, str], Any] = {}
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
        """a @ b for two matrices of one float dtype, written into `out` where that is given and contiguous.

        Transposed views and windows of larger matrices are read where they stand; other views are copied first.
        """
        c = self._target(a, b, a.shape[:-1] + b.shape[-1:], out)
        if not (a.size and b.size):
            c.fill(0)
            return c
        (n, m, k), (left, right, target, one, zero, kind, compute) = self._arguments(a, b, c)
        _check(
            self.library.cublasGemmEx(
                self.handle, right.transposed, left.transposed, n, m, k, one, right.pointer, kind, right.leading,
                left.pointer, kind, left.leading, zero, target, kind, n, compute, _DEFAULT_ALGORITHM,
            ),
            "cublasGemmEx",
        )  # fmt: skip
        return c

    def ones(self, size: int, dtype: Any) -> Any:
        """A row of ones, (1, size), kept as long as this object: made while a step warms up, it is in no graph."""
        name = size, str(dtype)
        if name not in self.rows_of_ones:
            self.rows_of_ones[name] = cp.ones((1, size), dtype)
        return self.rows_of_ones[name]

    def stack(self, a: Any, b: Any) -> Any:
        """a[i] @ b[i] for (s, m, k) and (s, k, n); a single matrix serves all of the other stack."""
        count = max(a.shape[0], b.shape[0]) if a.shape[0] and b.shape[0] else 0
        c = self._target(a, b, (count, a.shape[1], b.shape[2]), None)
        if not (a.size and b.size):
            c.fill(0)
            return c
        for start in range(0, count, MAX_STACK):
            part = slice(start, start + MAX_STACK)
            left, right = (x if x.shape[0] == 1 else x[part] for x in (a, b))
            self._part(left, right, c[part])
        return c

    def _part(self, a: Any, b: Any, c: Any) -> None:
        (n, m, k), (left, right, target, one, zero, kind, compute) = self._arguments(a, b, c)
        _check(
            self.library.cublasGemmStridedBatchedEx(
                self.handle, right.transposed, left.transposed, n, m, k, one,
                right.pointer, kind, right.leading, ctypes.c_longlong(right.apart),
                left.pointer, kind, left.leading, ctypes.c_longlong(left.apart), zero,
                target, kind, n, ctypes.c_longlong(m * n), c.shape[0], compute, _DEFAULT_ALGORITHM,
            ),
            "cublasGemmStridedBatchedEx",
        )  # fmt: skip

    def _target(self, a: Any, b: Any, shape: tuple[int, ...], out: Any | None) -> Any:
        """Where the product goes, after a look at what cuBLAS would not notice: it knows addresses alone."""
        if a.shape[-1] != b.shape[-2]:
            raise ShapeError(f"product of {tuple(a.shape)} and {tuple(b.shape)}: {a.shape[-1]} is not {b.shape[-2]}")
        dtypes = {str(x.dtype) for x in (a, b, out) if x is not None}
        if dtypes not in ({"float32"}, {"float64"}):
            raise ArrayError(
                f"factors and target of a product must all be float32 or all float64, got {sorted(dtypes)}"
            )
        if out is None:
            return cp.empty(shape, a.dtype)
        if not out.flags.c_contiguous or out.shape != shape:
            raise ArrayError(f"the product's target must be contiguous and of shape {shape}, got {out.shape}")
        return out

    def _arguments(self, a: Any, b: Any, c: Any) -> tuple[tuple[int, int, int], tuple[Any, ...]]:
        """(n, m, k) and what both calls need. Row-major C = A B is column-major Cᵀ = Bᵀ Aᵀ: factors change places."""
        if self.stream is None:
            self._go_to(cp.cuda.get_current_stream())
        name = str(a.dtype)
        number, kind = (ctypes.c_float, _FLOAT32) if name == "float32" else (ctypes.c_double, _FLOAT64)
        one, zero = ctypes.byref(number(1.0)), ctypes.byref(number(0.0))
        target, compute = ctypes.c_void_p(c.data.ptr), _COMPUTE[name, self.tf32]
        return (b.shape[-1], a.shape[-2], a.shape[-1]), (_operand(a), _operand(b), target, one, zero, kind, compute)


class _Operand(NamedTuple):
    """A factor as cuBLAS takes it: leading dimension, and elements from one matrix of a stack to the next."""

    array: Any
    transposed: int
    leading: int
    apart: int

    @property
    def pointer(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.array.data.ptr)


def _operand(a: Any) -> _Operand:
    """A matrix or a stack of them, read where it stands if its rows or its columns are whole; else a copy of it."""
    rows, columns = a.shape[-2:]
    steps = [step // a.itemsize for step in a.strides]
    exact = all(step % a.itemsize == 0 and step >= 0 for step in a.strides)
    apart = steps[0] if a.ndim > 2 and a.shape[0] > 1 else 0
    if exact and (columns == 1 or steps[-1] == 1) and (rows == 1 or steps[-2] >= columns):
        return _Operand(a, 0, max(steps[-2] if rows > 1 else columns, 1), apart)
    if exact and (rows == 1 or steps[-2] == 1) and (columns == 1 or steps[-1] >= rows):
        return _Operand(a, 1, max(steps[-1] if columns > 1 else rows, 1), apart)
    return _operand(cp.ascontiguousarray(a))

"""Parts of the CuPy backend that need CuPy, but no GPU: arrays over host memory, and a stand-in for cuBLAS."""

import contextlib
import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

from gdnet.errors import OptionError


@pytest.fixture(scope="module")
def cupy(request):
    if importlib.util.find_spec("cupy") is None:
        require = request.config.getoption("--require-all")
        (pytest.fail if require else pytest.skip)('needs the extra kernel-check: pip install -e ".[kernel-check]"')
    import cupy

    return cupy


def over(cupy, host):
    """A CuPy array whose memory is that of a NumPy array."""
    memory = cupy.cuda.UnownedMemory(host.ctypes.data, host.nbytes, host, 0)
    return cupy.ndarray(host.shape, host.dtype, cupy.cuda.MemoryPointer(memory, 0), strides=host.strides)


class HostBlas:
    """cublasGemmEx for pointers to host memory: C = op(A) op(B), all matrices column by column."""

    def cublasGemmEx(self, handle, ta, tb, m, n, k, alpha, a, a_kind, lda, b, b_kind, ldb, beta, c, c_kind, ldc,
                     compute, algorithm):  # fmt: skip
        assert a_kind == b_kind == c_kind
        dtype = {0: np.float32, 1: np.float64}[a_kind]
        self.compute = compute

        def matrix(pointer, rows, columns, leading):
            assert leading >= max(rows, 1)
            kind = np.ctypeslib.as_ctypes_type(dtype)
            flat = np.ctypeslib.as_array((kind * (leading * columns)).from_address(pointer.value))
            return flat.reshape(columns, leading).T[:rows]

        left = matrix(a, k, m, lda).T if ta else matrix(a, m, k, lda)
        right = matrix(b, n, k, ldb).T if tb else matrix(b, k, n, ldb)
        target = matrix(c, m, n, ldc)
        target[...] = alpha._obj.value * (left @ right) + (beta._obj.value * target if beta._obj.value else 0.0)
        return 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(4, 3, 5), (1, 3, 5), (4, 1, 5), (4, 3, 1), (1, 1, 1)])
def test_products_of_plain_and_transposed_matrices(cupy, shape, dtype):
    from gdnet.backend.cublas import Gemm

    gemm = Gemm.__new__(Gemm)
    gemm.library, gemm.handle, gemm.tf32 = HostBlas(), None, False
    rng = np.random.default_rng(0)
    m, k, n = shape
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    for left in (a, np.asfortranarray(a)):
        for right in (b, np.asfortranarray(b)):
            c = np.full((m, n), np.nan, dtype)
            gemm(over(cupy, left), over(cupy, right), over(cupy, c))
            np.testing.assert_allclose(c, a @ b, rtol=1e-5)
    assert gemm.library.compute == {"float32": 68, "float64": 70}[dtype]
    gemm.tf32 = True
    gemm(over(cupy, a), over(cupy, b), over(cupy, c))
    assert gemm.library.compute == {"float32": 77, "float64": 70}[dtype], "TF32 is for float32 alone"


@pytest.fixture
def backend(cupy):
    from gdnet.backend.cupy_backend import CupyBackend

    made = CupyBackend.__new__(CupyBackend)
    made.device, made._tf32 = contextlib.nullcontext(), False
    return made


def test_tf32_is_a_choice(cupy, backend, monkeypatch):
    from cupy._core import _routines_linalg as products

    chosen = []
    monkeypatch.setattr(products, "set_compute_type", lambda dtype, kind: chosen.append((str(dtype), kind)))
    assert backend.tf32 is False
    backend.tf32 = True
    assert backend.tf32 is True
    backend.tf32 = False
    assert chosen == [("float32", products.COMPUTE_TYPE_TF32), ("float32", products.COMPUTE_TYPE_DEFAULT)]
    monkeypatch.delattr(products, "set_compute_type")
    with pytest.raises(OptionError, match="CUPY_TF32=1"):
        backend.tf32 = True
    assert backend.tf32 is False


def test_memory_is_what_pool_and_driver_have(cupy, backend, monkeypatch):
    pool = SimpleNamespace(used_bytes=lambda: 100, free_bytes=lambda: 30, get_limit=lambda: 0)
    monkeypatch.setattr(cupy, "get_default_memory_pool", lambda: pool)
    monkeypatch.setattr(cupy.cuda.runtime, "memGetInfo", lambda: (500, 1000))
    assert backend.memory() == (100, 530)
    pool.get_limit = lambda: 300
    assert backend.memory() == (100, 200)
    assert backend.bytes_refused(cupy.cuda.memory.OutOfMemoryError(1000, 2000, 0)) == 1000
    assert backend.bytes_refused(ValueError()) is None


def test_overlap_is_told_by_addresses(cupy):
    from gdnet.backend.cuda_graph import CudaRecorder

    recorder = CudaRecorder.__new__(CudaRecorder)
    recorder.cp = cupy
    a = over(cupy, np.zeros(8))
    assert recorder.overlap(a[2:5], a[4:])
    assert not recorder.overlap(a[:4], a[4:])

"""Parts of the CuPy backend that need CuPy, but no GPU: arrays over host memory, and a stand-in for cuBLAS."""

import contextlib
import importlib.util
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from gdnet.backend.cupy.sources import UPDATES


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
    from gdnet.backend.cupy.cublas import Gemm

    gemm = Gemm.__new__(Gemm)
    gemm.library, gemm.handle, gemm.tf32, gemm.stream = HostBlas(), None, False, "own"
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
    return made()


def made(tf32=False):
    from gdnet.backend.cupy.backend import CupyBackend, Products

    made = CupyBackend.__new__(CupyBackend)
    made.device, made.tf32, made.products = contextlib.nullcontext(), tf32, Products()
    return made


def test_tf32_products_are_gdnets_own(cupy, monkeypatch):
    """And all others CuPy's: its setting, which is the whole process's, is left alone."""
    from gdnet.backend.cupy import backend as cupy_backend

    asked = []
    monkeypatch.setattr(cupy_backend, "Gemm", lambda tf32: asked.append(tf32) or (lambda a, b, out: "own"))
    monkeypatch.setattr(cupy, "matmul", lambda a, b, out=None: "CuPy's")
    a, v = over(cupy, np.ones((2, 2), "float32")), over(cupy, np.ones(2, "float32"))
    plain, fast = made(), made(tf32=True)
    assert [b.matmul(a, a) for b in (plain, fast, plain, fast)] == ["CuPy's", "own", "CuPy's", "own"]
    assert asked == [True], "one handle"
    assert fast.matmul(a, v) == "CuPy's", "a vector"


def test_an_eager_product_goes_to_the_stream_that_is_current(cupy, monkeypatch):
    from gdnet.backend.cupy.cublas import Gemm

    streams = []
    gemm = Gemm.__new__(Gemm)
    gemm.library, gemm.handle, gemm.tf32, gemm.stream = HostBlas(), None, True, None
    gemm.library.cublasSetStream_v2 = lambda handle, stream: streams.append(stream.value) or 0
    a, c = np.ones((2, 3), "float32"), np.zeros((2, 2), "float32")
    for pointer in (7, 9):
        monkeypatch.setattr(cupy.cuda, "get_current_stream", lambda pointer=pointer: SimpleNamespace(ptr=pointer))
        gemm(over(cupy, a), over(cupy, np.ascontiguousarray(a.T)), over(cupy, c))
    assert streams == [7, 9]
    assert gemm.library.compute == 77
    np.testing.assert_array_equal(c, 3.0)


def test_while_one_thread_captures_the_others_multiply_as_before(cupy, backend):
    from gdnet.backend.cupy.graph import CudaRecorder

    stream = SimpleNamespace(synchronize=lambda: None)
    recorder = CudaRecorder.__new__(CudaRecorder)
    recorder.backend, recorder.gemm, recorder.capturing = backend, "capturing", False
    recorder.stream, recorder.pool = contextlib.nullcontext(), SimpleNamespace(malloc=None)
    recorder.cp = SimpleNamespace(
        cuda=SimpleNamespace(get_current_stream=lambda: stream, using_allocator=lambda malloc: contextlib.nullcontext())
    )
    seen = []
    with recorder.recording():
        other = threading.Thread(target=lambda: seen.append(backend.products.gemm))
        other.start()
        other.join()
        seen.append(backend.products.gemm)
    assert [*seen, backend.products.gemm] == [None, "capturing", None]


@pytest.mark.parametrize("name", UPDATES)
def test_results_of_an_update_are_as_large_as_what_they_replace(cupy, name, monkeypatch):
    from gdnet.backend.cupy import kernels as cuda_kernels

    monkeypatch.setattr(cuda_kernels, "elementwise", lambda name: lambda *args: args)
    monkeypatch.setattr(cupy, "empty_like", lambda a: f"{a}1")
    given, made = ([part.split()[-1] for part in text.split(", ")] for text in UPDATES[name][:2])
    assert list(cuda_kernels.KERNELS[name](None, *given)) == [*given, *made]
    assert "step1" in made


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
    from gdnet.backend.cupy.graph import CudaRecorder

    recorder = CudaRecorder.__new__(CudaRecorder)
    recorder.cp = cupy
    a = over(cupy, np.zeros(8))
    assert recorder.overlap(a[2:5], a[4:])
    assert not recorder.overlap(a[:4], a[4:])

"""Parts of the CuPy backend that need CuPy, but no GPU: arrays over host memory, and a stand-in for cuBLAS."""

import contextlib
import ctypes
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
        self.calls = getattr(self, "calls", 0) + 1

        def matrix(pointer, rows, columns, leading):
            assert leading >= max(rows, 1)
            kind = np.ctypeslib.as_ctypes_type(dtype)
            flat = np.ctypeslib.as_array((kind * (leading * (columns - 1) + rows)).from_address(pointer.value))
            return np.lib.stride_tricks.as_strided(flat, (rows, columns), (flat.itemsize, leading * flat.itemsize))

        left = matrix(a, k, m, lda).T if ta else matrix(a, m, k, lda)
        right = matrix(b, n, k, ldb).T if tb else matrix(b, k, n, ldb)
        target = matrix(c, m, n, ldc)
        target[...] = alpha._obj.value * (left @ right) + (beta._obj.value * target if beta._obj.value else 0.0)
        return 0

    def cublasGemmStridedBatchedEx(self, handle, ta, tb, m, n, k, alpha, a, a_kind, lda, a_apart, b, b_kind, ldb,
                                   b_apart, beta, c, c_kind, ldc, c_apart, count, compute, algorithm):  # fmt: skip
        size = {0: 4, 1: 8}[a_kind]
        for i in range(count):
            a_i, b_i, c_i = (
                ctypes.c_void_p(p.value + i * apart.value * size)
                for p, apart in ((a, a_apart), (b, b_apart), (c, c_apart))
            )
            self.cublasGemmEx(handle, ta, tb, m, n, k, alpha, a_i, a_kind, lda, b_i, b_kind, ldb, beta, c_i, c_kind,
                              ldc, compute, algorithm)  # fmt: skip
        self.stacks = [*getattr(self, "stacks", []), count]
        return 0


def host_gemm(cupy):
    """A `Gemm` over host memory."""
    from gdnet.backend.cupy.cublas import Gemm

    gemm = Gemm.__new__(Gemm)
    gemm.library, gemm.handle, gemm.tf32, gemm.stream, gemm.rows_of_ones = HostBlas(), None, False, "own", {}
    return gemm


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(4, 3, 5), (1, 3, 5), (4, 1, 5), (4, 3, 1), (1, 1, 1)])
def test_products_of_plain_and_transposed_matrices(cupy, shape, dtype):
    gemm = host_gemm(cupy)
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
    from gdnet.backend.cupy.backend import CupyBackend, Current

    made = CupyBackend.__new__(CupyBackend)
    made.device, made.tf32, made.eager = contextlib.nullcontext(), tf32, Current()
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


def host_arrays(cupy, monkeypatch):
    """Let CuPy make its arrays in host memory, and do there what `products` asks it beside products."""

    def empty(shape, dtype):
        return over(cupy, np.full(shape, np.nan, dtype))

    monkeypatch.setattr(cupy, "empty", empty)
    monkeypatch.setattr(cupy, "reshape", lambda a, shape: over(cupy, np.array(np.reshape(under(a), shape))))
    monkeypatch.setattr(cupy, "ascontiguousarray", lambda a: over(cupy, np.ascontiguousarray(under(a))))
    return empty


def under(array):
    """The NumPy array over the host memory of a CuPy array."""
    low = array.data.ptr
    kind = np.ctypeslib.as_ctypes_type(array.dtype)
    reach = sum((n - 1) * s for n, s in zip(array.shape, array.strides)) // array.itemsize + 1
    flat = np.ctypeslib.as_array((kind * reach).from_address(low))
    return np.lib.stride_tricks.as_strided(flat, array.shape, array.strides)


SHAPES = [((4, 3), (3, 5)), ((3,), (3, 5)), ((4, 3), (3,)), ((3,), (3,)), ((2, 4, 3), (3, 5)), ((2, 4, 3), (2, 3, 5)),
          ((4, 3), (2, 3, 5)), ((2, 1, 4, 3), (1, 3, 5)), ((2, 1, 4, 3), (6, 3, 5)), ((6, 1, 4, 3), (6, 1, 3, 5)),
          ((3,), (2, 3, 5)),
          ((2, 4, 3), (3,)), ((7, 1, 3), (7, 3, 1))]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_a_users_product_is_gdnets_while_a_step_is_captured(cupy, monkeypatch, left, right, dtype):
    """The operator, `matmul` of CuPy and of the standard, and einsum's way; also of transposed views and windows."""
    from gdnet.backend.cupy.products import captured_by

    host_arrays(cupy, monkeypatch)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(left).astype(dtype), rng.standard_normal(right).astype(dtype)
    expected = a @ b
    tall = [np.repeat(x, 2, axis=-2)[..., ::2, :] if x.ndim > 1 else x for x in (a, b)]
    turned = [np.swapaxes(np.swapaxes(x, -1, -2).copy(), -1, -2) if x.ndim > 1 else x for x in (a, b)]
    with captured_by(host_gemm(cupy)):
        for x, y in ((a, b), tall, turned, (a, turned[1]), (turned[0], tall[1])):
            p, q = over(cupy, x), over(cupy, y)
            for found in (p @ q, cupy.matmul(p, q), np.matmul(p, q)):
                assert found.dtype == dtype
                assert found.shape == expected.shape
                np.testing.assert_allclose(under(found), expected, rtol=1e-5, atol=1e-5)


def test_tensordot_dot_inner_and_vecdot_are_captured(cupy, monkeypatch):
    import array_api_compat.cupy as compat

    from gdnet.backend.cupy.products import captured_by

    host_arrays(cupy, monkeypatch)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 4, 3)), rng.standard_normal((3, 4, 5))
    v, w = rng.standard_normal(12), rng.standard_normal((5, 4, 3))
    p, q, r, u = (over(cupy, x) for x in (a, b, v, w))
    gemm = host_gemm(cupy)
    with captured_by(gemm):
        cases = [
            (compat.tensordot(p, q, axes=((2, 1), (0, 1))), np.tensordot(a, b, ((2, 1), (0, 1)))),
            (cupy.tensordot(p, q, axes=(-1, 0)), np.tensordot(a, b, (-1, 0))),
            (cupy.tensordot(p, u, axes=0), np.tensordot(a, w, 0)),
            (cupy.dot(p, over(cupy, b.transpose(1, 0, 2).copy())), np.dot(a, b.transpose(1, 0, 2))),
            (r.dot(r), np.dot(v, v)),
            (cupy.inner(p, u), np.inner(a, w)),
            (compat.linalg.matmul(p, q[0, :3]), a @ b[0, :3]),
        ]
        made = gemm.library.calls
    assert made == len(cases)
    for found, expected in cases:
        assert found.shape == expected.shape
        np.testing.assert_allclose(under(found), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_captured_step_sums_rows_by_a_product_with_ones(cupy, monkeypatch, dtype):
    """Into a window at an odd place. One column, TF32 and eager steps keep CuPy's sum."""
    from gdnet.backend.cupy.products import captured_by

    host_arrays(cupy, monkeypatch)
    made_ones, summed = [], []

    def ones(shape, dtype):
        made_ones.append(shape)
        return over(cupy, np.ones(shape, dtype))

    monkeypatch.setattr(cupy, "ones", ones)
    monkeypatch.setattr(cupy, "sum", lambda a, axis, out: summed.append(a.shape))
    a, whole = np.random.default_rng(0).standard_normal((7, 3)).astype(dtype), np.full(5, np.nan, dtype)
    backend, p, window = made(), over(cupy, a), over(cupy, whole)[1:4]
    gemm = host_gemm(cupy)
    with captured_by(gemm):
        for _ in range(3):
            backend.sum_rows(p, window)
        backend.sum_rows(p[:, :1], window[:1])
    np.testing.assert_allclose(whole[1:4], a.sum(axis=0), rtol=1e-5)
    assert np.isnan(whole[[0, 4]]).all()
    assert (made_ones, summed) == ([(1, 7)], [(7, 1)])
    gemm.tf32 = True
    with captured_by(gemm):
        backend.sum_rows(p, window)
    backend.sum_rows(p, window)
    assert summed[1:] == [(7, 3), (7, 3)]


def test_large_stacks_go_in_pieces(cupy, monkeypatch):
    from gdnet.backend.cupy import cublas

    host_arrays(cupy, monkeypatch)
    monkeypatch.setattr(cublas, "MAX_STACK", 3)
    a, b = np.arange(16.0).reshape(8, 1, 2), np.arange(4.0).reshape(1, 2, 2)
    gemm = host_gemm(cupy)
    np.testing.assert_array_equal(under(gemm.stack(over(cupy, a), over(cupy, b))), a @ b)
    assert gemm.library.stacks == [3, 3, 2]


def test_what_cublas_would_not_notice_is_refused(cupy, monkeypatch):
    """It reads from addresses: other sizes or dtypes would be read from somewhere, as something."""
    from gdnet.errors import ArrayError, ShapeError

    host_arrays(cupy, monkeypatch)
    gemm = host_gemm(cupy)
    a, b = over(cupy, np.ones((4, 3))), over(cupy, np.ones((3, 5)))
    for wrong in (over(cupy, np.ones((2, 5))), over(cupy, np.ones((4, 5)))):
        with pytest.raises(ShapeError, match=r"\(4, 3\) and"):
            gemm(a, wrong)
    with pytest.raises(ArrayError, match=r"float32.*float64"):
        gemm(a, over(cupy, np.ones((3, 5), "float32")))
    with pytest.raises(ArrayError, match="int64"):
        gemm(over(cupy, np.ones((4, 3), "int64")), over(cupy, np.ones((3, 5), "int64")))
    for out in (np.ones((4, 4)), np.ones((5, 4)).T):
        with pytest.raises(ArrayError, match="contiguous and of shape"):
            gemm(a, b, over(cupy, out))
    assert not hasattr(gemm.library, "calls")


def test_while_one_thread_captures_the_others_multiply_as_before(cupy, backend, monkeypatch):
    from gdnet.backend.cupy import products

    host_arrays(cupy, monkeypatch)
    a = over(cupy, np.ones((2, 2)))
    own = {name: vars(owner).get(name) for owner, name, _ in products._REPLACED}
    monkeypatch.setattr(cupy, "matmul", lambda a, b, out=None: "CuPy's")
    seen = []
    with products.captured_by(host_gemm(cupy)):
        other = threading.Thread(target=lambda: seen.append((backend.matmul(a, a), products.current.gemm)))
        other.start()
        other.join()
        with products.captured_by(host_gemm(cupy)):
            pass
        assert under(backend.matmul(a, a)).tolist() == under(a @ a).tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert seen == [("CuPy's", None)]
    assert backend.matmul(a, a) == "CuPy's"
    monkeypatch.undo()
    assert own == {name: vars(owner).get(name) for owner, name, _ in products._REPLACED}, "nothing of CuPy's is changed"


def test_a_copy_from_the_host_is_refused_while_a_step_is_captured(cupy, monkeypatch):
    """The graph would copy again at every launch, from pinned memory that is somebody else's by then."""
    import array_api_compat.cupy as compat

    from gdnet.backend.cupy.products import HostCopyError, captured_by

    monkeypatch.setattr(cupy, "array", lambda obj, *args, **kwargs: obj)
    monkeypatch.setattr(cupy, "asarray", lambda obj, *args, **kwargs: obj)
    monkeypatch.setattr(cupy.cuda, "Device", lambda index=None: contextlib.nullcontext())
    there = over(cupy, np.ones(3))
    with captured_by(host_gemm(cupy)):
        assert compat.asarray(there) is cupy.asarray(there) is there
        for host in (3.0, [1.0, 2.0], np.ones(3)):
            for call in (cupy.array, cupy.asarray, compat.asarray):
                with pytest.raises(HostCopyError, match=type(host).__name__):
                    call(host)
    assert cupy.asarray(3.0) == 3.0


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

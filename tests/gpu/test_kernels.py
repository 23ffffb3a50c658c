"""Every kernel on the GPU against the agnostic body that it stands for, twice, on memory full of NaN."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import Key, get_backend
from gdnet.backend.cupy.sources import ACTIVATIONS
from gdnet.errors import OptionError
from gdnet.testing.backends import backend_under_test
from gdnet.testing.cases_losses import LOSSES
from gdnet.testing.cases_optimizers import FIRST_ORDER

pytestmark = pytest.mark.gpu

DTYPES = ("float32", "float64")
NEAR = {"float32": 3e-6, "float64": 1e-13}


@pytest.fixture(scope="module")
def cuda():
    return backend_under_test("cuda")


@pytest.fixture(autouse=True)
def poisoned(cuda):
    """Fresh memory comes from freed blocks: fill some with NaN, so that what a kernel does not write is seen."""
    import cupy

    for size in (1 << 8, 1 << 12, 1 << 16, 1 << 20):
        held = [cupy.full(size, cupy.nan, "float64") for _ in range(4)]
        del held


def close(found, expected, dtype, times=1.0):
    expected = np.asarray(expected, dtype="float64")
    scale = np.maximum(np.abs(expected), 1.0)
    assert np.max(np.abs(found - expected) / scale) < NEAR[dtype] * times


def twice(call, cuda):
    """The results on the host; a second run must give the same bits, or threads race."""
    first, second = ([cuda.get(a) for a in call()] for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    return first


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(cuda, name, dtype):
    layer, host = getattr(gd, name)(), get_backend("cpu")
    x = np.concatenate([np.linspace(-30, 30, 4001), [1e4, -1e4, 0.0]]).astype(dtype)
    y, d = twice(lambda: cuda.backend.kernels[name](cuda.backend, cuda.put(x), **layer.config()), cuda)
    exact = layer.f(host, x.astype("float64"))
    close(y, exact, dtype, 3)
    close(d, layer.df(host, x.astype("float64"), exact), dtype, 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_a_sum_with_a_bias(cuda, name, dtype):
    """One kernel for both layers: against the two kernels apart, bit for bit, and the agnostic rules on the CPU."""
    layer, host, rng = getattr(gd, name)(), get_backend("cpu"), np.random.default_rng(4)
    z, window = cuda.put(10 * rng.standard_normal((65, 33)), dtype), cuda.put(rng.standard_normal(40), dtype)[3:36]
    kernels = cuda.backend.kernels
    y, d = twice(lambda: kernels[f"bias_{name}"](cuda.backend, z, window, **layer.config()), cuda)
    for found, apart in zip((y, d), kernels[name](cuda.backend, z + window, **layer.config()), strict=True):
        np.testing.assert_array_equal(found, cuda.get(apart))
    x = (cuda.get(z) + cuda.get(window)).astype("float64")
    exact = layer.f(host, x)
    close(y, exact, dtype, 3)
    close(d, layer.df(host, x, exact), dtype, 3)


def test_a_chain_joins_bias_and_activation(cuda, monkeypatch):
    """Values, gradients and Hessian products with the joined kernel and with the layers apart."""
    net = gd.Sequential(gd.Dense(5, 4), gd.GELU(), gd.Residual(gd.Dense(4), gd.Tanh()), gd.Dense(3))
    rng = np.random.default_rng(5)
    x, t, theta, v = (cuda.put(rng.standard_normal(s)) for s in ((7, 5), (7, 3), net.layout().size, net.layout().size))

    def results():
        at = gd.Objective(net, gd.SquaredError(), x, t, backend=cuda.backend, layout=net.layout())(theta)
        return [cuda.get(a) for a in (at.value, at.gradient, at.hessian @ v)]

    called, kernels = [], dict(cuda.backend.kernels)
    for name in ("bias_GELU", "bias_Tanh"):
        own = kernels[name]
        kernels[name] = lambda *args, own=own, name=name: (called.append(name), own(*args))[1]
    monkeypatch.setattr(cuda.backend, "kernels", kernels)
    joined = results()
    assert set(called) == {"bias_GELU", "bias_Tanh"}
    monkeypatch.setattr(cuda.backend, "kernels", {k: f for k, f in kernels.items() if not k.startswith("bias_")})
    for found, apart in zip(joined, results(), strict=True):
        close(found, apart, "float64", 10)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", LOSSES, ids=lambda case: case.name)
def test_losses(cuda, case, dtype, weighted):
    """Value and gradient: elementwise ones in one kernel, the softmax's a warp a row."""
    y, t = case.draw(37)
    weight = np.random.default_rng(2).random(37) if weighted else None
    t = t if t.dtype.kind in "iu" else t.astype(dtype)

    def call():
        arrays = [cuda.put(y, dtype), cuda.put(t)] + ([cuda.put(weight, dtype)] if weighted else [])
        at = case.loss(*arrays)
        return at.value, at.gradient

    exact = case.loss(y.astype(dtype).astype("float64"), t, weight)
    value, gradient = twice(call, cuda)
    close(value, exact.value, dtype, 10)
    close(gradient, exact.gradient, dtype, 3)


@pytest.mark.parametrize("columns", [2, 31, 32, 33, 1000])
def test_softmax_rows_of_any_width(cuda, columns):
    rng = np.random.default_rng(columns)
    y, t = 50 * rng.standard_normal((65, columns)), rng.integers(0, columns, 65)
    exact = gd.CrossEntropy(label_smoothing=0.1)(y, t)

    def call():
        at = gd.CrossEntropy(label_smoothing=0.1)(cuda.put(y), cuda.put(t, "int32"))
        return at.value, at.gradient, at.p

    value, gradient, p = twice(call, cuda)
    close(value, exact.value, "float64", 10)
    close(gradient, exact.gradient, "float64", 10)
    close(p, exact.p, "float64", 10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", FIRST_ORDER, ids=lambda case: case.name)
def test_updates(cuda, case, dtype):
    rng = np.random.default_rng(0)
    theta, gradients = rng.standard_normal(1003), rng.standard_normal((10, 1003))

    def trajectory(put, kind):
        point = put(theta, kind)
        state = case.optimizer.init(point)
        for g in gradients:
            point, state = case.optimizer.apply(put(g, kind), state, point)
        return [point]

    (exact,) = trajectory(get_backend("cpu").asarray, "float64")
    (found,) = twice(lambda: trajectory(cuda.put, dtype), cuda)
    assert found.dtype == dtype
    close(found, exact, dtype, 10)


@pytest.mark.parametrize("n", [1, 2, 1001])
def test_random_bits_are_those_of_numpy(cuda, n):
    key = Key(3, 5).child(1)
    (found,) = twice(lambda: [key.uniform(cuda.backend, (n,))], cuda)
    np.testing.assert_array_equal(found, key.uniform(get_backend("cpu"), (n,)))
    on_device = Key(3, cuda.put(5, "int32"), (1,)).uniform(cuda.backend, (n,))
    np.testing.assert_array_equal(cuda.get(on_device), found)


def test_sign_and_clip_do_as_the_standard_says(cuda):
    x = cuda.put([-2.0, -0.0, 0.0, 3.0, np.nan])
    np.testing.assert_array_equal(cuda.get(cuda.xp.sign(x)), np.sign([-2.0, 0, 0, 3, np.nan]))
    np.testing.assert_array_equal(cuda.get(cuda.xp.clip(x, -1.0, 1.0)), np.clip([-2.0, 0, 0, 3, np.nan], -1, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", [((5, 7), (7, 3)), ((1, 7), (7, 1)), ((64, 64), (64, 64))])
def test_own_products_equal_cupys(cuda, shapes, dtype):
    """Plain and transposed operands, fresh results and windows at odd places."""
    import cupy

    from gdnet.backend.cupy.cublas import Gemm

    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape) for shape in shapes)
    gemm = Gemm(cupy.cuda.get_current_stream())
    for left in (cuda.put(a, dtype), cuda.put(a.T.copy(), dtype).T, cuda.put(np.repeat(a, 2, axis=1), dtype)[:, ::2]):
        for right in (cuda.put(b, dtype), cuda.put(b.T.copy(), dtype).T):
            rows, columns = shapes[0][0], shapes[1][1]
            window = cupy.full(rows * columns + 1, cupy.nan, dtype)[1:].reshape(rows, columns)
            for found in (gemm(left, right), gemm(left, right, window)):
                close(cuda.get(found), a.astype(dtype) @ b.astype(dtype), dtype, 20)


def test_tf32_is_off_until_it_is_asked_for(cuda):
    """And then on for the backend that was asked for alone, in products of CuPy arrays and in a model's steps."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((1024, 1024)), rng.standard_normal((1024, 1024))
    if int(cuda.backend.device.compute_capability) < 80:
        with pytest.raises(OptionError, match="compute capability"):
            get_backend("cuda", None, "tf32")
        return
    fast = get_backend("cuda", None, "tf32")

    def error(backend, dtype="float32"):
        found = cuda.get(backend.matmul(cuda.put(a, dtype), cuda.put(b, dtype)))
        return np.linalg.norm(found - a @ b) / np.linalg.norm(a @ b)

    assert error(cuda.backend) < 1e-6
    assert 1e-5 < error(fast) < 2e-3
    assert error(fast, "float64") < 1e-13
    assert error(cuda.backend) < 1e-6

    x, t = rng.standard_normal((512, 256)).astype("float32"), rng.standard_normal((512, 8)).astype("float32")
    found = {}
    for precision in ("highest", "tf32"):
        net = gd.Sequential(gd.Dense(256, 512), gd.Tanh(), gd.Dense(8))
        model = gd.Model(net, gd.SquaredError(), "cuda", matmul_precision=precision)
        first = model.gradient(x, t)
        model.fit(x, t, optimizer=gd.SGD(lr=0.01), epochs=4, batch_size=128, verbose=0)
        found[precision] = cuda.get(first), cuda.get(model.theta)
    for exact, near in zip(found["highest"], found["tf32"], strict=True):
        assert 1e-6 < np.linalg.norm(near - exact) / np.linalg.norm(exact) < 1e-2

"""Steps, fit, files and memory on a GPU, against the CPU."""

import warnings

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.backend.cupy.graph import CapturedStep
from gdnet.errors import ArrayError, DeviceError
from gdnet.testing.backends import backend_under_test
from gdnet.testing.cases import LAYERS
from gdnet.testing.cases_losses import LOSSES
from gdnet.testing.cases_optimizers import FIRST_ORDER

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cuda():
    return backend_under_test("cuda").backend


def distance(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def run(backend, net, loss, optimizer, x, t, steps=12, compiled=False):
    """θ and the losses on the host; every fourth batch is shorter than the others."""
    x, t = backend.asarray(x), backend.asarray(t)
    step = gd.training_step(net, loss, optimizer)
    step = backend.compile(step, donate=(0, 1)) if compiled else step
    theta = net.parameters(like=x)
    state, values = optimizer.init(theta), []
    for i in range(steps):
        n = x.shape[0] - (i % 4 == 3)
        theta, state, value = step(theta, state, x[:n], t[:n])
        values.append(value)
    if compiled:
        assert isinstance(step, CapturedStep)
        assert step.captured is not None, "it was never captured"
    return backend.to_numpy(theta), [float(backend.to_numpy(v)) for v in values]


def cases():
    """Every layer, loss and optimizer in a network."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 9, dtype=np.int32)
    plain = gd.Sequential(gd.Dense(4, 5), gd.Tanh(), gd.Dropout(0.3), gd.Dense(5, 3))
    for case in LAYERS:
        out = case.layer.out_shape(case.in_shape)
        net = gd.Sequential(case.layer, *([gd.Flatten()] if len(out) != 1 else []), gd.Dense(3))
        yield case.name, net, gd.CrossEntropy(), gd.SGD(lr=0.1), rng.standard_normal((9, *case.in_shape)), labels
    for case in LOSSES:
        net = gd.Sequential(gd.Dense(4, int(np.prod(case.out_shape))), gd.Reshape(*case.out_shape))
        yield case.name, net, case.loss, gd.SGD(lr=0.01), rng.standard_normal((9, 4)), case.draw(9)[1]
    more = [gd.Averaged(gd.Adam()), gd.SGD(lr=gd.OneCycle(0.1, total_steps=9), clip_norm=1.0, l1=0.01)]
    for optimizer in (*[case.optimizer for case in FIRST_ORDER], *more):
        yield repr(optimizer), plain, gd.CrossEntropy(), optimizer, rng.standard_normal((9, 4)), labels


CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_captured_equals_eager_equals_numpy(cuda, case):
    """That a step can be captured proves that nothing in it is read on the host. A warning would be an error here."""
    expected, losses = run(get_backend("cpu"), *case[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        eager, eager_losses = run(cuda, *case[1:])
        captured, captured_losses = run(cuda, *case[1:], compiled=True)
    assert distance(eager, expected) < 1e-10
    assert distance(captured, eager) < 1e-12
    np.testing.assert_allclose(eager_losses, losses, rtol=1e-9)
    np.testing.assert_allclose(captured_losses, eager_losses, rtol=1e-12)


class Written(gd.Layer):
    """A dense layer of a user's own, with products as users write them."""

    def __init__(self, product):
        self.product = product

    def shapes(self, in_shape):
        return {"W": (in_shape[0], 3)}

    def out_shape(self, in_shape):
        return (3,)

    def init(self, in_shape, rng):
        return {"W": rng.standard_normal((in_shape[0], 3))}

    def forward(self, params, x, context):
        W, xp = params["W"], context.xp

        def jvp(dparams, dx):
            dy = dx @ W
            return dy + x @ dparams["W"] if dparams else dy

        return self.product(xp, x, W), gd.Jacobian(jvp, lambda dy: ({"W": x.T @ dy}, dy @ W.T))


PRODUCTS = {
    "@": lambda xp, x, W: x @ W,
    "matmul": lambda xp, x, W: xp.matmul(x, W),
    "linalg.matmul": lambda xp, x, W: xp.linalg.matmul(x, W),
    "tensordot": lambda xp, x, W: xp.tensordot(x, W, axes=1),
    "vecdot": lambda xp, x, W: xp.vecdot(x[:, None, :], W.T[None, :, :]),
    "einsum": lambda xp, x, W: xp.einsum("ni,io->no", x, W),
    "dot": lambda xp, x, W: x.dot(W),
    "batches": lambda xp, x, W: (x[:, None, :] @ W)[:, 0, :],
    "vectors": lambda xp, x, W: xp.stack([x @ W[:, k] for k in range(3)], axis=1),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_users_products_are_captured(cuda, name, dtype):
    rng = np.random.default_rng(0)
    net = gd.Sequential(gd.Dense(4, 5), gd.Tanh(), Written(PRODUCTS[name]))
    case = net, gd.CrossEntropy(), gd.SGD(lr=0.1), rng.standard_normal((9, 4)).astype(dtype), rng.integers(0, 3, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        eager, _ = run(cuda, *case)
        captured, _ = run(cuda, *case, compiled=True)
    assert captured.dtype == dtype
    assert distance(captured, eager) < {"float32": 1e-5, "float64": 1e-12}[dtype]


@pytest.mark.parametrize("name", ["solve", "read", "host"])
def test_what_cannot_be_captured_costs_one_warning_that_names_its_line(cuda, name):
    rules = {
        "solve": lambda xp, x, W: xp.linalg.solve(W.T @ W, (x @ W).T).T,
        "read": lambda xp, x, W: (x @ W) * float(x[0, 0]),
        "host": lambda xp, x, W: (x @ W) * xp.asarray(np.ones(3)),
    }
    rng = np.random.default_rng(0)
    net, x = gd.Sequential(Written(rules[name])), cuda.asarray(rng.standard_normal((9, 4)))
    step = cuda.compile(gd.training_step(net, gd.SquaredError(), gd.SGD(lr=0.0)), donate=(0, 1))
    theta = net.parameters(like=x)
    state = gd.SGD(lr=0.0).init(theta)
    step(theta, state, x, x[:, :3])
    with pytest.warns(UserWarning, match=f'"{name}": lambda') as caught:
        step(theta, state, x, x[:, :3])
    assert [w.filename for w in caught] == [__file__]
    step(theta, state, x, x[:, :3])


def digits():
    (x, t), (xv, tv) = gd.data.load_digits()
    return x.astype("float32"), t, xv.astype("float32"), tv


def model(device, **options):
    net = gd.Sequential(gd.Dense(64, 50), gd.Sigmoid(), gd.Dropout(0.1), gd.Dense(50, 10))
    return gd.Model(net, gd.CrossEntropy(), device=device, seed=3, **options)


def test_fit_equals_that_of_the_cpu():
    """The same weights, batches and dropout masks; losses equal within the rounding of float32."""
    x, t, xv, tv = digits()
    found = {}
    for device in ("cpu", "cuda"):
        m = model(device)
        history = m.fit(x, t, optimizer=gd.Adam(), epochs=5, batch_size=100, validation_data=(xv, tv), verbose=0)
        found[device] = history["loss"], history["val_loss"], m.evaluate(xv, tv)["accuracy"]
    np.testing.assert_allclose(found["cuda"][0], found["cpu"][0], rtol=1e-3)
    np.testing.assert_allclose(found["cuda"][1], found["cpu"][1], rtol=1e-3)
    assert abs(found["cuda"][2] - found["cpu"][2]) < 0.01


def test_data_in_pieces_train_as_data_moved_at_once(monkeypatch):
    """Larger than the device's memory, as far as gdnet is told: pinned buffers, a second stream, the same batches."""
    x, t, _, _ = digits()
    at_once, in_pieces = model("cuda"), model("cuda")
    at_once.fit(x, t, optimizer=gd.SGD(lr=0.1), epochs=3, batch_size=64, verbose=0)
    monkeypatch.setattr("gdnet.data.arrays.WHOLE_BYTES", 0)
    in_pieces.fit(x, t, optimizer=gd.SGD(lr=0.1), epochs=3, batch_size=64, verbose=0)
    to_numpy = at_once.backend.to_numpy
    np.testing.assert_array_equal(to_numpy(in_pieces.theta), to_numpy(at_once.theta))


@pytest.mark.parametrize(("first", "second"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_files_go_from_device_to_device(tmp_path, first, second):
    x, t, xv, _ = digits()
    saved = model(first)
    saved.fit(x, t, optimizer=gd.Adam(), epochs=2, batch_size=100, verbose=0)
    saved.save(tmp_path / "m.safetensors")
    read = gd.load(tmp_path / "m.safetensors", device=second)
    a, b = (m.backend.to_numpy(m.predict(xv)) for m in (saved, read))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_new_learning_rate_needs_no_new_capture(cuda):
    optimizer, net = gd.SGD(lr=0.1), gd.Sequential(gd.Dense(3, 1))
    x = cuda.asarray(np.ones((4, 3), "float32"))
    step = cuda.compile(gd.training_step(net, gd.SquaredError(), optimizer), donate=(0, 1))
    theta = net.parameters(like=x)
    state = optimizer.init(theta)
    for _ in range(3):
        theta, state, _ = step(theta, state, x, x[:, :1])
    graph, before = step.captured, cuda.to_numpy(theta)
    theta, state, _ = step(theta, optimizer.with_lr(state, 1e-30), x, x[:, :1])
    assert step.captured is graph
    np.testing.assert_array_equal(cuda.to_numpy(theta), before)


def test_numerical_gradient_agrees_with_backpropagation():
    rng = np.random.default_rng(0)
    m = gd.Model(gd.Sequential(gd.Dense(6, 5), gd.Tanh(), gd.Dense(3)), gd.CrossEntropy(), "cuda", dtype="float64")
    x, t = rng.standard_normal((20, 6)), rng.integers(0, 3, 20)
    exact, found = (m.backend.to_numpy(g) for g in (m.gradient(x, t), m.numerical_gradient(x, t)))
    assert distance(found, exact) < 1e-7


def test_out_of_memory_says_which_batch_fits():
    import cupy

    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    limit = pool.get_limit()
    pool.set_limit(size=2 << 30)
    m = gd.Model(gd.Sequential(gd.Dense(1, 4096), gd.Tanh(), gd.Dense(1)), gd.SquaredError(), "cuda")
    x = np.ones((1 << 18, 1), "float32")  # 4 GiB in the hidden layer
    try:
        with pytest.raises(DeviceError, match=r"asked for.*left.*batch_size=\d+") as caught:
            m.fit(x, x, batch_size=None, verbose=0)
        fits = int(str(caught.value).split("batch_size=")[1].split()[0])
        m.fit(x, x, batch_size=fits, epochs=1, verbose=0)
    finally:
        pool.set_limit(size=limit)


def test_devices_that_are_not_there():
    import cupy

    count = cupy.cuda.runtime.getDeviceCount()
    with pytest.raises(DeviceError, match=f"cuda:{count}.*{count} CUDA device"):
        get_backend(f"cuda:{count}")
    m = model("cpu")
    with pytest.raises(ArrayError, match="cupy"):
        m.predict(cupy.ones((2, 64), "float32"))

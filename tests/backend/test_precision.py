"""TF32 is a choice: off by default, refused where there is none, and true of one model alone."""

from types import SimpleNamespace

import array_api_strict
import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend, select
from gdnet.backend.cupy.detect import require_tensor_cores
from gdnet.backend.numpy.backend import NumpyBackend
from gdnet.bench.candidates import GdnetStep, with_tf32
from gdnet.bench.problems import Problem
from gdnet.cli import main
from gdnet.errors import DeviceError, OptionError
from gdnet.testing.backends import installed


@pytest.mark.parametrize(
    ("device", "backend", "says"),
    [
        ("cpu", None, 'device="cuda".*numpy on cpu'),
        ("cpu", "torch", r"set_float32_matmul_precision\("),
        ("cpu", "jax", "jax_default_matmul_precision"),
        ("cpu", array_api_strict, "array_api_strict"),
    ],
    ids=["numpy", "torch", "jax", "strict"],
)
def test_it_is_refused_where_there_is_none(request, device, backend, says):
    if isinstance(backend, str) and not installed(backend):
        (pytest.fail if request.config.getoption("--require-all") else pytest.skip)(f"{backend} is not installed")
    with pytest.raises(OptionError, match=says):
        get_backend(device, backend, "tf32")
    with pytest.raises(OptionError, match=says):
        gd.Model(gd.Dense(1), gd.SquaredError(), device, backend, matmul_precision="tf32")


def test_other_names_are_refused():
    with pytest.raises(OptionError, match=r'"highest" or "tf32", got \'high\''):
        gd.Model(gd.Dense(1), gd.SquaredError(), matmul_precision="high")
    assert gd.Model(gd.Dense(1), gd.SquaredError()).matmul_precision == "highest"


def test_a_device_that_is_not_there_is_told_first():
    with pytest.raises(DeviceError, match="99"):
        get_backend("cuda:x99", None, "tf32")


class Rounding(NumpyBackend):
    """NumPy as TF32 multiplies: factors of 11 bits, float32 sums."""

    name = "cupy"
    tf32 = False

    def __init__(self, tf32=False, capability="90"):
        super().__init__()
        self.tf32, self.device = tf32, SimpleNamespace(id=0, compute_capability=capability)

    def in_tf32(self):
        require_tensor_cores(self.device)
        return Rounding(tf32=True)

    def matmul(self, a, b, out=None):
        return super().matmul(*((eleven_bits(a), eleven_bits(b)) if self.tf32 else (a, b)), out=out)

    def compile(self, step, donate=(), strict=False):
        return step


def eleven_bits(a):
    return ((np.ascontiguousarray(a).view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32).reshape(a.shape)


@pytest.fixture
def gpu(monkeypatch):
    """`device="cuda"` is a stand-in."""
    found = Rounding()
    monkeypatch.setattr(select, "_get_backend", lambda device, backend: found if backend in (None, "cupy") else backend)
    return found


def test_it_is_refused_for_float64_and_for_old_gpus(gpu):
    with pytest.raises(OptionError, match=r'dtype="float32", got \'float64\''):
        gd.Model(gd.Dense(1), gd.SquaredError(), "cuda", dtype="float64", matmul_precision="tf32")
    gpu.device.compute_capability = "75"
    with pytest.raises(OptionError, match=r"8\.0 or later, and cuda:0 has 7\.5"):
        get_backend("cuda", None, "tf32")
    assert with_tf32("cuda", {"cupy": gpu}) == {"cupy": gpu}


def model(**options):
    net = gd.Sequential(gd.Dense(3, 20), gd.Tanh(), gd.Dense(20), gd.ReLU(), gd.Dense(1))
    return gd.Model(net, gd.SquaredError(), "cuda", **options)


def test_every_product_of_a_model_follows_its_own_choice(gpu, tmp_path):
    """Two models on one device; predictions, losses, gradients and training of each in its own precision."""
    x = np.random.default_rng(0).standard_normal((64, 3)).astype("float32")
    t = np.sin(x[:, :1])
    full, fast = model(), model(matmul_precision="tf32")
    assert (full.matmul_precision, fast.matmul_precision) == ("highest", "tf32")

    def differs(a, b):
        return 1e-5 < np.linalg.norm(a - b) / np.linalg.norm(b) < 1e-2

    exact = gd.Model(full.net, full.loss, backend=get_backend("cpu"))
    for ask in (lambda m: m.predict(x), lambda m: m.gradient(x, t), lambda m: m.evaluate(x, t)["loss"]):
        np.testing.assert_allclose(ask(full), ask(exact), rtol=1e-6)
        assert differs(ask(fast), ask(full))
        np.testing.assert_allclose(ask(full), ask(exact), rtol=1e-6)  # the other model has changed nothing
    for m in (full, fast, exact):
        m.fit(x, t, optimizer=gd.Adam(lr=0.01), epochs=2, batch_size=16, verbose=0)
    np.testing.assert_allclose(full.theta, exact.theta, rtol=1e-6)
    assert differs(fast.theta, full.theta)

    fast.save(tmp_path / "m.safetensors")
    read = gd.load(tmp_path / "m.safetensors", backend=get_backend("cpu"))
    assert read.matmul_precision == "highest", "a file of a GPU's model is read anywhere"
    np.testing.assert_array_equal(read.theta, fast.theta)
    again = gd.load(tmp_path / "m.safetensors", "cuda", matmul_precision="tf32")
    np.testing.assert_array_equal(again.predict(x), fast.predict(x))


def test_the_benchmark_shows_both_settings(gpu):
    both = with_tf32("cuda", {"cupy": gpu})
    assert list(both) == ["cupy", "cupy-tf32"]
    assert [b.tf32 for b in both.values()] == [False, True]
    problem, losses = Problem((8, 50, 50, 1), "tanh", 32, "adam", name="D"), []
    for backend in both.values():
        step = GdnetStep(problem, backend)
        step.run(3)
        losses.append(step.loss())
    assert 1e-7 < abs(losses[1] / losses[0] - 1.0) < 1e-2
    assert with_tf32("cpu", {"numpy": get_backend("cpu")}) == {"numpy": get_backend("cpu")}


def test_the_command_line_passes_it_on(tmp_path, capsys):
    out = str(tmp_path / "run")
    assert main(["train", "digits", "--matmul-precision", "tf32", "--epochs", "1", "--quiet", "--out", out]) == 1
    assert 'matmul_precision="tf32" is for device="cuda"' in capsys.readouterr().err

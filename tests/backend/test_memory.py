"""Out of memory, by simulation: what was asked for, what is left, which batch size fits."""

import weakref

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import Backend, get_backend
from gdnet.backend.out_of_memory import bytes_in, device_memory
from gdnet.errors import DeviceError

GIB = 1 << 30


class Small(Backend):
    """A device of 8 GiB."""

    name = "small"
    used = GIB

    def bytes_refused(self, error):
        return error.args[0] if isinstance(error, MemoryError) else None

    def memory(self):
        return self.used, 8 * GIB - self.used


def fail(backend, used, asked, examples):
    with device_memory(backend, examples):
        backend.used = used
        raise MemoryError(asked)


@pytest.mark.parametrize(
    ("used", "asked", "examples", "message"),
    [
        (
            7 * GIB,
            8 * GIB,
            1000,
            r"8.0 GiB were asked for, 1.0 GiB are left: 1000 .* about 14.0 GiB: .*batch_size=256 ",
        ),
        (8 * GIB, 1, 1000, "batch_size=256 or less"),  # a hair too much: at most a half is promised
        (2 * GIB, 800 * GIB, 100, "not even one example fits"),
        (2 * GIB, 800 * GIB, None, "too large for this device"),
    ],
)
def test_the_message_says_what_fits(used, asked, examples, message):
    with pytest.raises(DeviceError, match=message) as caught:
        fail(Small(np, "gpu"), used, asked, examples)
    assert caught.value.code == "out-of-memory"
    assert caught.value.__cause__.__traceback__ is None, "the failed step's arrays would stay in memory"


def test_other_errors_pass():
    with pytest.raises(KeyError), device_memory(Small(np, "gpu"), 10):
        raise KeyError("x")


@pytest.mark.parametrize("call", ["fit", "predict", "evaluate"])
@pytest.mark.parametrize(("most", "advice"), [(10, "batch_size=8 or less"), (0, "not even one example")])
def test_the_advice_has_been_tried(call, most, advice, monkeypatch):
    """The library's own error is met at the public edge: the first array alone would let 16 examples pass."""
    backend = get_backend("cpu")
    model = gd.Model(gd.Sequential(gd.Dense(2, 1)), gd.SquaredError())
    x, t = np.ones((64, 2), "float32"), np.ones((64, 1), "float32")
    expected, limit = model.predict(x), [most]

    def matmul(self, a, b, out=None):
        if a.shape[0] > limit[0] and a.shape[-1] == 2:
            raise MemoryError(2 * GIB)
        return np.matmul(a, b, out=out)

    monkeypatch.setattr(type(backend), "matmul", matmul)
    monkeypatch.setattr(type(backend), "bytes_refused", Small.bytes_refused)
    monkeypatch.setattr(type(backend), "memory", lambda self: (0, GIB))
    model = gd.Model(model.net, model.loss)
    calls = {
        "fit": lambda size: model.fit(x, t, batch_size=size, verbose=0),
        "predict": lambda size: model.predict(x, batch_size=size),
        "evaluate": lambda size: model.evaluate(x, t, batch_size=size),
    }
    with pytest.raises(DeviceError, match=rf"2\.0 GiB were asked for, 1\.0 GiB are left.*{advice}"):
        calls[call](64)
    before = np.array(model.theta)
    if most:
        calls[call](8)
    limit[0] = 64
    np.testing.assert_array_equal(gd.Model(model.net, model.loss).predict(x), expected)
    assert call == "fit" or np.array_equal(model.theta, before), "an attempt leaves no trace"


def test_an_attempt_finds_the_memory_of_what_failed_free():
    """Arrays of the failed step live in its frames, which the error's traceback holds, and so does `with`."""

    class Big:
        pass

    alive, seen = weakref.WeakSet(), []

    def work(backend):
        held = Big()
        alive.add(held)
        backend.used = 7 * GIB
        raise MemoryError(8 * GIB)

    def attempt(n):
        seen.append((n, len(alive)))
        if n > 64:
            raise MemoryError(GIB)

    backend = Small(np, "gpu")
    with pytest.raises(DeviceError, match="batch_size=64 or less") as caught, device_memory(backend, 1000, attempt):
        work(backend)
    assert not alive, "who catches the error can go on at once"
    assert caught.value.code == "out-of-memory"
    assert seen == [(256, 0), (128, 0), (64, 0)]


def test_what_the_libraries_say():
    torch = pytest.importorskip("torch")
    error = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
    assert get_backend("cpu", "torch").bytes_refused(error) == 2 * GIB
    text = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1024 bytes."
    assert bytes_in(text) == 1024

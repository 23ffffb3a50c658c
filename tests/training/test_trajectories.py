"""The same fit on every array library: loss curves over 200 steps agree, for every first-order optimizer."""

import functools

import numpy as np
import pytest

import gdnet as gd
from gdnet.testing.backends import backend_under_test, installed
from gdnet.testing.cases_optimizers import FIRST_ORDER

CASES = {type(case.optimizer).__name__: case.optimizer for case in FIRST_ORDER}  # the last options of each
LIBRARIES = ("numpy", "strict-device1", "torch", "jax", "jax-eager")


class Curve(gd.Callback):
    """The loss of every step, and the batches in their order."""

    def __init__(self):
        self.values = []

    def on_iteration_end(self, run):
        self.values.append(run.values[-1])


def backend(library):
    if library != "jax-eager":
        return backend_under_test(library).backend
    from gdnet.backend.jax.backend import JaxBackend

    class Eager(JaxBackend):
        def compile(self, step, donate=()):
            return step

    return Eager()


def fit(optimizer, library, epochs=40):
    """(initial theta, loss of each step)."""
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((48, 4)), rng.integers(0, 3, 48)
    net = gd.Sequential(gd.Dense(4, 5), gd.Tanh(), gd.Dense(5, 3))
    model = gd.Model(net, loss=gd.CrossEntropy(), backend=backend(library), dtype="float64")
    start, curve = model.backend.to_numpy(model.theta), Curve()
    model.fit(x, t, optimizer=optimizer, epochs=epochs, batch_size=10, callbacks=[curve], verbose=0)
    return start, np.asarray([float(model.backend.to_numpy(v)) for v in curve.values])


@functools.cache
def reference(name):
    return fit(CASES[name], "numpy")


@pytest.mark.parametrize("library", LIBRARIES[1:])
@pytest.mark.parametrize("name", CASES)
def test_loss_curves_agree(name, library):
    if not installed(library.removesuffix("-eager")):
        pytest.skip(f"{library} is not installed")
    start, curve = fit(CASES[name], library)
    expected_start, expected = reference(name)
    np.testing.assert_array_equal(start, expected_start)
    assert curve.shape == (200,)
    np.testing.assert_allclose(curve, expected, rtol=1e-9)
    assert curve[-5:].mean() < curve[:5].mean()


def test_single_precision_is_kept_everywhere(bk):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((20, 4)).astype("float32"), rng.integers(0, 3, 20)
    net = gd.Sequential(gd.Dense(4, 5), gd.Sigmoid(), gd.Dropout(0.1), gd.Dense(5, 3))
    model = gd.Model(net, loss=gd.CrossEntropy(), backend=bk.backend)
    seen = Curve()
    model.fit(x, t, optimizer=gd.Adam(clip_norm=1.0), epochs=2, batch_size=6, callbacks=[seen], verbose=0,
              sample_weight=rng.random(20))  # fmt: skip
    assert {str(v.dtype).rpartition(".")[2] for v in (*seen.values, model.theta, model.predict(x))} == {"float32"}

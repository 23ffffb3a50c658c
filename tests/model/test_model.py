"""fit, predict, evaluate, save and load on every array library."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.model import Model, load


def data(n=60, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4))
    return x, (x[:, 0] + 0.5 * x[:, 1] ** 2 > 0.3).astype(np.int64) + (x[:, 2] > 1)


def classifier(bk=None, **options):
    net = gd.Sequential(gd.Dense(4, 6), gd.Tanh(), gd.Dense(3))
    return Model(net, loss=gd.CrossEntropy(), backend=None if bk is None else bk.backend, dtype="float64", **options)


def test_fit_lowers_the_loss_and_agrees_with_numpy(bk):
    x, t = data()
    here, there = classifier(bk), classifier()
    for model in (here, there):
        history = model.fit(x, t, optimizer=gd.SGD(lr=0.5), epochs=5, batch_size=8, validation_split=0.25, verbose=0)
        assert history["loss"][-1] < history["loss"][0]
        assert history.epochs == 5
        assert history.stop_reason == "epochs"
        assert set(history) == {"loss", "val_loss", "val_accuracy"}
    np.testing.assert_allclose(bk.get(here.theta), there.theta, rtol=1e-10)
    np.testing.assert_allclose(bk.get(here.predict(x)), there.predict(x), rtol=1e-9)
    assert here.evaluate(x, t) == pytest.approx(there.evaluate(x, t), rel=1e-10)


def test_saved_model_is_the_same_on_every_library(bk, tmp_path):
    x, t = data()
    model = classifier(bk)
    model.fit(x, t, optimizer=gd.SGD(lr=0.5), epochs=2, batch_size=8, verbose=0)
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.net == model.net
    np.testing.assert_array_equal(again.theta, bk.get(model.theta))
    assert again.evaluate(x, t)["accuracy"] == model.evaluate(x, t)["accuracy"]

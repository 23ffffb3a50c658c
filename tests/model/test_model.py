"""fit, predict, evaluate, save and load on every array library."""

import copy
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import OptionError
from gdnet.model import Model, load
from gdnet.training.trainer import Trainer


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


def rmse(y, t):
    """scikit-learn's: the mean over the outputs of the roots of their mean squares."""
    return np.mean(np.sqrt(np.mean((y - t) ** 2, axis=0)))


LOSSES = {
    "BinaryCrossEntropy": (gd.BinaryCrossEntropy(), "accuracy", lambda y, t: np.mean((y > 0) == (t > 0.5))),
    "Hinge": (gd.Hinge(), "accuracy", lambda y, t: np.mean((y > 0) == (t > 0))),
    "SquaredError": (gd.SquaredError(), "rmse", lambda y, t: rmse(y, t)),
    "Huber": (gd.Huber(), "rmse", lambda y, t: rmse(y, t)),
    "Poisson": (gd.Poisson(), "rmse", lambda y, t: rmse(np.exp(y), t)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_evaluate_gives_the_metric_of_the_loss(name):
    loss, metric, rule = LOSSES[name]
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((30, 4)), rng.integers(0, 2, (30, 2))
    t = 2 * t - 1 if name == "Hinge" else t
    model = Model(gd.Sequential(gd.Dense(4, 2)), loss=loss, dtype="float64")
    scores = model.evaluate(x, t, batch_size=7)
    assert set(scores) == {"loss", metric}
    assert scores[metric] == pytest.approx(float(rule(model.predict(x), t)), rel=1e-12)
    assert scores["loss"] == pytest.approx(float(loss(model.predict(x), t.astype(float)).value), rel=1e-12)
    history = model.fit(x, t, optimizer=gd.SGD(lr=0.01), epochs=3, batch_size=10, verbose=0, metrics=[metric])
    assert len(history[metric]) == 3


def test_rmse_is_that_of_the_report_with_weights_and_outputs_of_any_shape():
    rng = np.random.default_rng(3)
    x, t = rng.standard_normal((30, 4)), rng.standard_normal((30, 2, 3)) * np.asarray([1.0, 10.0, 100.0])
    model = Model(gd.Sequential(gd.Dense(4, 6), gd.Reshape(2, 3)), loss=gd.SquaredError(), dtype="float64")
    y = model.predict(x)
    expected = gd.report.rmse(t.reshape(30, 6), y.reshape(30, 6))
    assert model.evaluate(x, t, batch_size=7)["rmse"] == pytest.approx(expected, rel=1e-12)
    weight, twice = np.asarray([2.0] * 5 + [1.0] * 25), np.concatenate([np.arange(30), np.arange(5)])
    expected = gd.report.rmse(t[twice].reshape(35, 6), y[twice].reshape(35, 6))
    assert model.evaluate(x, t, weight, batch_size=7)["rmse"] == pytest.approx(expected, rel=1e-12)


class GaussianNLL(gd.Loss):
    """Mean and log variance are predicted, the target has one column: no figure of merit fits by itself."""

    def target_shape(self, out_shape, target_ndim):
        return (1,)

    def at(self, backend, y, t, weight):
        at, n = gd.LossAt(), y.shape[0]
        error, precision = y[:, :1] - t, np.exp(-y[:, 1:])
        at.value = 0.5 * np.sum(y[:, 1:] + error**2 * precision) / n
        at.gradient = np.concatenate([error * precision, 0.5 - 0.5 * error**2 * precision], axis=1) / n
        return at


def test_a_loss_without_a_metric_is_reported_alone():
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((40, 4)), rng.standard_normal((40, 1))
    model = Model(gd.Sequential(gd.Dense(4, 2)), loss=GaussianNLL(), dtype="float64")
    assert set(model.evaluate(x, t)) == {"loss"}
    history = model.fit(x, t, optimizer=gd.SGD(lr=0.01), epochs=2, validation_data=(x, t), verbose=0)
    assert set(history) == {"loss", "val_loss"}
    with pytest.raises(gd.errors.OptionError, match=r"metric = \(name, rule\)"):
        model.fit(x, t, optimizer=gd.SGD(lr=0.01), epochs=1, metrics=["rmse"], verbose=0)


def test_a_loss_is_not_scored_by_its_name_but_by_its_metric():
    class Hinge(gd.ElementwiseLoss):
        def l(self, xp, y, t):
            return (y - t) ** 2

        def dl(self, xp, y, t):
            return 2.0 * (y - t)

    class Named(Hinge):
        metric = ("largest error", lambda xp, y, t: xp.max(xp.abs(y - t), axis=1))

    x, t = np.eye(4), np.arange(8.0).reshape(4, 2)
    net = gd.Sequential(gd.Dense(4, 2))
    assert set(Model(net, loss=Hinge()).evaluate(x, t)) == {"loss"}
    model = Model(net, loss=Named(), dtype="float64")
    expected = np.mean(np.max(np.abs(model.predict(x) - t), axis=1))
    assert model.evaluate(x, t)["largest error"] == pytest.approx(expected, rel=1e-12)


def test_one_hot_targets_give_the_same_accuracy():
    x, t = data()
    model = classifier()
    assert model.evaluate(x, np.eye(3)[t]) == pytest.approx(model.evaluate(x, t), rel=1e-12)


def test_arrays_of_the_own_library_stay_there(bk):
    x, t = data()
    here, there = classifier(bk), classifier(bk)
    here.fit(bk.put(x), bk.put(t), optimizer=gd.SGD(lr=0.1), epochs=2, batch_size=8, verbose=0)
    there.fit(x, t, optimizer=gd.SGD(lr=0.1), epochs=2, batch_size=8, verbose=0)
    np.testing.assert_array_equal(bk.get(here.theta), bk.get(there.theta))
    assert type(here.predict(bk.put(x))) is type(bk.put(x))


def test_what_the_user_holds_is_not_overwritten(bk):
    x, t = data()
    model, optimizer = classifier(bk), gd.Adam()
    theta = model.theta
    kept = bk.get(theta)
    model.fit(x, t, optimizer=optimizer, epochs=1, batch_size=8, verbose=0)
    np.testing.assert_array_equal(bk.get(theta), kept)
    step, state = model.training_step(optimizer), optimizer.init(theta)
    for _ in range(3):
        new, _, value = step(theta, state, bk.put(x), bk.put(t))
    np.testing.assert_array_equal(bk.get(theta), kept)
    assert float(bk.get(value)) == pytest.approx(classifier().evaluate(x, t)["loss"], rel=1e-10)
    assert np.abs(bk.get(new) - kept).max() > 0


def test_data_in_a_file_larger_than_wished(tmp_path):
    x, t = data()
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "bytes.npy", np.clip(np.round(16 * x + 128), 0, 255).astype(np.uint8))
    mapped, plain = np.load(tmp_path / "x.npy", mmap_mode="r"), x
    thetas = []
    for source in (mapped, plain):
        model = classifier()
        model.fit(source, t, optimizer=gd.SGD(lr=0.1), epochs=2, batch_size=8, verbose=0)
        thetas.append(model.theta)
    np.testing.assert_array_equal(*thetas)
    stored = np.load(tmp_path / "bytes.npy", mmap_mode="r")
    dataset = gd.data.Dataset(stored, t, prepare=lambda part: (part.astype("float64") - 128) / 16)
    model = classifier()
    history = model.fit(dataset, optimizer=gd.SGD(lr=0.1), epochs=2, batch_size=8, verbose=0, validation_data=dataset)
    assert history["val_loss"][-1] < history["loss"][0]
    assert model.evaluate(dataset)["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-12)


def test_input_size_from_the_first_data():
    x, _ = data()
    model = Model(gd.Sequential(gd.Dense(3)), loss=gd.CrossEntropy())
    assert "not built" in repr(model)
    assert model.predict(x).shape == (60, 3)
    assert model.layout.size == 15
    assert "15 parameters" in repr(model)


def test_same_seed_same_start_everywhere(bk):
    np.testing.assert_array_equal(bk.get(classifier(bk, seed=5).theta), classifier(seed=5).theta)
    assert np.abs(classifier(seed=5).theta - classifier(seed=6).theta).max() > 0.01


def test_jax_without_double_precision():
    pytest.importorskip("jax")
    code = (
        "import gdnet as gd\n"
        "try:\n"
        "    gd.Model(gd.Dense(2, 1), loss=gd.SquaredError(), backend='jax', dtype='float64')\n"
        "except gd.errors.OptionError as error:\n"
        "    print(error)\n"
        "print(gd.Model(gd.Dense(2, 1), loss=gd.SquaredError(), backend='jax').theta.dtype)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    told = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environment,
                          check=True).stdout  # fmt: skip
    assert "JAX_ENABLE_X64=1" in told
    assert told.endswith("float32\n")


def test_examples_of_weight_zero_do_not_count():
    x, t = data()
    weight = np.where(np.arange(60) < 30, 1.0, 0.0)
    model, other = classifier(), classifier()
    scores = model.evaluate(x, t, sample_weight=weight, batch_size=10)
    assert scores == pytest.approx(model.evaluate(x[:30], t[:30]), rel=1e-12)
    options = {"optimizer": gd.SGD(lr=0.1), "epochs": 2, "batch_size": 10, "shuffle": False, "verbose": 0}
    history = model.fit(x, t, sample_weight=weight, **options)
    expected = other.fit(x[:30], t[:30], **options)
    assert history["loss"] == pytest.approx(expected["loss"], rel=1e-12)
    np.testing.assert_allclose(model.theta, other.theta, rtol=1e-12)


def test_the_next_fit_takes_the_compiled_step_of_the_last(bk, monkeypatch):
    x, t = data()
    made = []
    compile_step = type(bk.backend).compile

    def counted(self, step, donate=()):
        made.extend([step] if donate else [])
        return compile_step(self, step, donate)

    monkeypatch.setattr(type(bk.backend), "compile", counted)
    one, two = classifier(bk), classifier(bk)
    for rate in (0.5, 0.5, 0.1, 0.1):  # as of a run with another rate at half-time
        one.fit(x, t, optimizer=gd.SGD(lr=rate), epochs=2, batch_size=16, verbose=0)
        two.fit(x, t, optimizer=gd.SGD(lr=rate), epochs=2, batch_size=16, verbose=0)
        two._steps.clear()  # as it was before the first fit
        np.testing.assert_array_equal(bk.get(one.theta), bk.get(two.theta))
    assert len(made) == 2 + 4
    before, kept = one.theta, bk.get(one.theta)
    one.fit(x, t, optimizer=gd.SGD(lr=0.1), epochs=1, batch_size=16, verbose=0)
    np.testing.assert_array_equal(bk.get(before), kept)  # the parameters of the last fit are still the user's


def test_what_changes_between_two_fits_is_noticed():
    x, t = np.random.default_rng(0).standard_normal((2, 40, 4))

    def made():
        net = gd.Sequential(gd.Dense(4, 6), gd.Tanh(), gd.Dropout(0.5), gd.Dense(4))
        return Model(net, loss=gd.SquaredError(), dtype="float64")

    def change_loss(model):
        model.loss = gd.AbsoluteError()

    def change_layer(model):
        model.net.layers[2].rate = 0.1

    def change_seed(model):
        model.seed = 3

    for change in (change_loss, change_layer, change_seed):
        one, two = made(), made()
        one.fit(x, t, optimizer=gd.SGD(), epochs=1, batch_size=8, verbose=0)
        two.theta = one.theta.copy()
        change(one), change(two)
        histories = [m.fit(x, t, optimizer=gd.SGD(), epochs=2, batch_size=8, verbose=0) for m in (one, two)]
        assert histories[0]["loss"] == histories[1]["loss"]
        np.testing.assert_array_equal(one.theta, two.theta)
        assert one.evaluate(x, t) == two.evaluate(x, t)
    with pytest.raises(gd.errors.OptionError, match="Loss object"):
        one.loss = gd.AbsoluteError


def test_copies_and_pickles_train_on_alone(bk):
    x, t = data()
    model = classifier(bk)
    model.fit(x, t, optimizer=gd.Adam(), epochs=1, batch_size=16, verbose=0)
    twins = [copy.deepcopy(model)]
    if bk.backend.name in ("numpy", "torch", "jax", "cupy"):  # found again by these names
        twins.append(pickle.loads(pickle.dumps(model)))
    before = bk.get(model.theta)
    for twin in twins:
        assert twin.backend.name == model.backend.name
        np.testing.assert_array_equal(bk.get(twin.predict(x)), bk.get(model.predict(x)))
        twin.fit(x, t, optimizer=gd.Adam(), epochs=1, batch_size=16, verbose=0)
        assert np.abs(bk.get(twin.theta) - before).max() > 0
    np.testing.assert_array_equal(bk.get(model.theta), before)


def test_threads_may_share_a_model():
    x = np.random.default_rng(0).standard_normal((600, 20)).astype("float32")
    t = np.arange(600) % 3
    model = Model(
        gd.Sequential(gd.Dense(20, 64), gd.GELU(), gd.Dense(64, 64), gd.Tanh(), gd.Dense(3)), gd.CrossEntropy()
    )
    expected, scores = model.predict(x, batch_size=100), model.evaluate(x, t, batch_size=100)

    def work(_):
        same = [np.array_equal(model.predict(x, batch_size=100), expected) for _ in range(20)]
        return all(same) and all(model.evaluate(x, t, batch_size=100) == scores for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_integer_weights_are_numbers(bk):
    x, t = data()
    for put in (np.asarray, bk.put):
        for whole in (np.arange(60) % 3, np.arange(60) % 3 > 0):
            scores = []
            for weight in (whole, whole.astype("float64")):
                model = classifier(bk, in_shape=(4,))
                model.fit(put(x), put(t), sample_weight=put(weight), batch_size=20, verbose=0)
                scores.append(model.evaluate(put(x), put(t), put(weight)))
            assert scores[0] == scores[1]


def test_of_two_threads_that_train_one_model_one_is_refused(monkeypatch):
    """Also where the second one comes while the first still checks its data."""
    model = gd.Model(gd.Sequential(gd.Dense(2, 1)), gd.SquaredError())
    x = np.ones((4, 2), "float32")
    begun, go, prepare = threading.Event(), threading.Event(), Trainer.prepare

    def waiting(self, *args, **kwargs):
        begun.set()
        assert go.wait(30)
        return prepare(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "prepare", waiting)
    first = threading.Thread(target=lambda: model.fit(x, x[:, :1], verbose=0))
    first.start()
    assert begun.wait(30)
    with pytest.raises(OptionError, match="is being trained"):
        model.fit(x, x[:, :1], verbose=0)
    go.set()
    first.join()
    model.fit(x, x[:, :1], verbose=0)  # free again
    with pytest.raises(OptionError):
        model.fit(x, x[:, :1], epochs=0, verbose=0)
    model.fit(x, x[:, :1], verbose=0)  # after an error too

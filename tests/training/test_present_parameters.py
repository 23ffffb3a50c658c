"""In a callback the model is as the run has made it so far."""

import copy
import gc
import pickle
import threading
import weakref
from itertools import pairwise

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import OptionError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
T = np.tanh(X @ np.asarray([[1.0], [-2.0], [0.5]]))

OPTIMIZERS = {
    "Adam": gd.Adam(lr=0.05),
    "averaged": gd.Averaged(gd.Momentum(lr=0.05), decay=0.9),
    "LM": gd.LevenbergMarquardt(),
    "BFGS": gd.BFGS(),
}


def model(bk=None, **options):
    net = gd.Sequential(gd.Dense(3, 4), gd.Tanh(), gd.Dense(1))
    return gd.Model(net, loss=gd.SquaredError(), dtype="float64", backend=bk and bk.backend, **options)


class Look(gd.Callback):
    """Everything that the model gives at the end of an epoch."""

    def __init__(self, model, each_step=False):
        self.model, self.each_step, self.seen, self.thetas = model, each_step, [], []

    @property
    def wants_iterations(self):
        return self.each_step

    def on_iteration_end(self, run):
        self.seen.append(self.model.evaluate(X, T)["loss"])

    def on_epoch_end(self, run):
        own, theta = self.model, self.model.theta
        host = run.backend.to_numpy
        np.testing.assert_array_equal(host(theta), host(run.solution))
        y = host(own.predict(X))
        loss = own.evaluate(X, T)["loss"]
        assert loss == pytest.approx(np.mean((y - T) ** 2), rel=1e-12)
        assert loss == run.logs["val_loss"]
        assert float(own.objective(X, T)(theta).value) == pytest.approx(loss, rel=1e-12)
        self.thetas.append(theta)
        self.seen.append(loss)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_predict_evaluate_and_theta(name, bk):
    optimizer, trained = OPTIMIZERS[name], model(bk)
    look = Look(trained)
    options = {"optimizer": optimizer, "epochs": 4, "batch_size": None if optimizer.full_batch else 10, "verbose": 0}
    trained.fit(X, T, validation_data=(X, T), callbacks=[look], **options)
    assert len(set(look.seen)) == 4
    hosts = [bk.get(theta) for theta in look.thetas]  # none has been overwritten by a later step
    assert all(np.abs(a - b).max() > 0 for a, b in pairwise(hosts))
    np.testing.assert_array_equal(hosts[-1], bk.get(trained.theta))
    alone = model(bk)
    alone.fit(X, T, validation_data=(X, T), **options)
    np.testing.assert_array_equal(bk.get(alone.theta), bk.get(trained.theta))  # looking changes nothing


def test_at_every_step():
    trained = model()
    look = Look(trained, each_step=True)
    trained.fit(X, T, optimizer=gd.Adam(), epochs=2, batch_size=10, validation_data=(X, T), callbacks=[look], verbose=0)
    assert len(look.seen) == 10
    assert len(set(look.seen)) == 8  # the end of an epoch is seen twice


def test_at_the_end_the_model_is_what_fit_leaves():
    trained = model()

    class AtTheEnd(gd.Callback):
        def on_train_end(self, run):
            self.theta = trained.theta

    watch, stop = AtTheEnd(), gd.EarlyStopping(patience=3, monitor="loss", min_delta=10.0)  # the first epoch is best
    trained.fit(X, T, epochs=9, callbacks=[stop, watch], verbose=0)
    np.testing.assert_array_equal(watch.theta, trained.theta)
    np.testing.assert_array_equal(watch.theta, stop.theta)


def test_copies_and_files_hold_the_present_parameters(tmp_path):
    trained = model(in_shape=(3,))

    class Keep(gd.Callback):
        def on_epoch_end(self, run):
            trained.save(tmp_path / "m.safetensors")
            twins = copy.deepcopy(trained), pickle.loads(pickle.dumps(trained)), gd.load(tmp_path / "m.safetensors")
            for twin in twins:
                np.testing.assert_array_equal(twin.theta, run.theta)
                twin.theta = twin.theta * 2.0  # a copy is not being trained
                twin.fit(X, T, verbose=0)

    before = trained.theta
    trained.fit(X, T, callbacks=[Keep()], verbose=0)
    assert np.abs(trained.theta - before).max() > 0


def test_a_model_in_training_is_not_changed_from_outside(tmp_path):
    trained = model(in_shape=(3,))
    trained.save(tmp_path / "m.safetensors")
    changes = (
        lambda: setattr(trained, "theta", np.zeros(21)),
        lambda: setattr(trained, "loss", gd.AbsoluteError()),
        lambda: trained.load_parameters(tmp_path / "m.safetensors"),
        lambda: trained.build((3,)),
        lambda: trained.fit(X, T, verbose=0),
    )

    class Change(gd.Callback):
        def on_epoch_end(self, run):
            for change in changes:
                with pytest.raises(OptionError, match="is being trained"):
                    change()

    trained.fit(X, T, callbacks=[Change()], verbose=0)
    expected = model(in_shape=(3,))
    expected.fit(X, T, verbose=0)
    np.testing.assert_array_equal(trained.theta, expected.theta)
    for change in changes:
        change()

    class Fail(gd.Callback):
        def on_epoch_end(self, run):
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        trained.fit(X, T, callbacks=[Fail()], verbose=0)
    trained.theta = np.zeros(trained.layout.size)  # the run is over


def test_another_thread_sees_the_parameters_from_before():
    trained = model(in_shape=(3,))
    before = trained.theta.copy()

    class Ask(gd.Callback):
        def on_iteration_end(self, run):
            thread = threading.Thread(target=lambda: np.testing.assert_array_equal(trained.theta, before))
            thread.start()
            thread.join()

    trained.fit(X, T, callbacks=[Ask()], verbose=0)
    assert np.abs(trained.theta - before).max() > 0


def overwritten(array):
    """Whether the array could be filled with other numbers, and was."""
    try:
        array[...] = 5.0
    except (TypeError, ValueError):  # JAX, read-only arrays
        return False
    return True


def test_the_callers_arrays_stay_the_callers(bk):
    net = model(bk, in_shape=(3,))
    given = bk.put(np.ones(net.layout.size))
    net.theta = given
    if overwritten(given):
        np.testing.assert_array_equal(bk.get(net.theta), np.ones(net.layout.size))
    for passing in (gd.Identity(), gd.Flatten(), gd.Sequential(gd.Dropout(0.5), gd.Reshape(3))):
        x = bk.put(X.copy())
        y = gd.Model(gd.Sequential(passing), gd.SquaredError(), dtype="float64", backend=bk.backend).predict(x)
        np.testing.assert_array_equal(bk.get(y), X)
        overwritten(y)
        np.testing.assert_array_equal(bk.get(x), X)


def test_a_dropped_model_is_freed_at_once():
    """Without waiting for Python to look for circles of references."""
    gc.disable()
    try:
        dropped = model()
        for _ in range(4):  # long enough to be compiled
            dropped.predict(X), dropped.evaluate(X, T)
        dropped.fit(X, T, epochs=5, validation_split=0.2, callbacks=[gd.EarlyStopping()], verbose=0)
        gone = [weakref.ref(part) for part in (dropped, dropped.net, dropped.scorer, dropped.theta)]
        del dropped
        assert [part() for part in gone] == [None] * 4
    finally:
        gc.enable()


def test_threads_may_be_the_first_to_predict():
    for _ in range(20):
        fresh, start, failed = model(), threading.Barrier(4), []

        def first(fresh=fresh, start=start, failed=failed):
            start.wait()
            try:
                fresh.predict(X)
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=first) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert not failed

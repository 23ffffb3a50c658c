"""A run that breaks off inside a step: nothing half done is kept, and the resumed run ends as if nothing had been."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.training import trainer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 5)).astype("float32")
T = X[:, :1] * 2


class Broken:
    """A compiled step that is broken off in call `at`, after it has overwritten what it was given."""

    def __init__(self, step, at, error):
        self.step, self.at, self.error, self.calls = step, at, error, 0

    def __call__(self, *args):
        self.calls += 1
        if self.calls == self.at:
            self.step(*args)
            raise self.error
        return self.step(*args)


def fit(bk, path, resume=None, at=0, error=KeyboardInterrupt, optimizer=None, monkeypatch=None, **options):
    optimizer = optimizer or gd.Momentum(lr=0.1)
    model = gd.Model(gd.Sequential(gd.Dense(5, 1)), gd.SquaredError(), seed=1, backend=bk and bk.backend)
    seen = {}

    class Keep(gd.Callback):
        def on_epoch_end(self, run):
            seen[run.epoch] = run.backend.to_numpy(run.solution)

        def on_train_end(self, run):
            seen["end"] = run.backend.to_numpy(model.theta)

    class Steps(trainer.StepCache):
        def get(self, *args):
            step = super().get(*args)
            if at and not isinstance(step, Broken):
                self.step = step = Broken(step, at, error)
            return step

    model._steps = Steps()
    every = options.pop("every", (1, "epoch"))
    callbacks = [Keep(), gd.Checkpoint(path, every)] if path else [Keep()]
    options = {"epochs": 4, "batch_size": None if optimizer.full_batch else 16, "verbose": 0} | options
    try:
        history = model.fit(X, T, optimizer=optimizer, callbacks=callbacks, resume=resume, **options)
    except RuntimeError:
        history = None
    return model, history, seen


@pytest.mark.parametrize("at", [1, 2, 4, 5, 6, 12, 16])
@pytest.mark.parametrize("every", [(1, "epoch"), (3, "iteration")])
def test_an_interrupt_inside_a_step(at, every, tmp_path):
    expected, whole, _ = fit(None, None)
    path = tmp_path / "run.safetensors"
    model, history, seen = fit(None, path, at=at, every=every)
    assert history.stop_reason == "interrupted"
    epochs = (at - 1) // 4  # whole ones before the step that broke off
    start = gd.Model(gd.Sequential(gd.Dense(5, 1)), gd.SquaredError(), seed=1).theta
    for theta in (model.theta, seen["end"]):
        np.testing.assert_array_equal(theta, seen.get(epochs, start))
    resumed, again, _ = fit(None, path, resume=path if path.exists() else None, every=every)
    np.testing.assert_array_equal(resumed.theta, expected.theta)
    assert dict(again) == dict(whole)


def test_on_every_library(bk, tmp_path):
    path = tmp_path / "run.safetensors"
    model, history, seen = fit(bk, path, at=6)
    assert history.stop_reason == "interrupted"
    np.testing.assert_array_equal(bk.get(model.theta), seen[1])
    resumed, _, _ = fit(bk, path, resume=path)
    np.testing.assert_array_equal(bk.get(resumed.theta), bk.get(fit(bk, None)[0].theta))


def test_an_error_inside_a_step_leaves_the_last_good_parameters(bk):
    model, _, seen = fit(bk, None, at=6, error=RuntimeError("crash"))
    np.testing.assert_array_equal(bk.get(model.theta), seen[1])


def test_an_interrupt_at_the_end_of_an_epoch(tmp_path):
    """Some callbacks have counted the epoch and some have not: the checkpoint before it stands."""
    path = tmp_path / "run.safetensors"

    class Interrupt(gd.Callback):
        def __init__(self, at):
            self.at = at

        def on_epoch_end(self, run):
            if run.epoch == self.at:
                raise KeyboardInterrupt

    def run(at=0, resume=None):
        model = gd.Model(gd.Sequential(gd.Dense(5, 1)), gd.SquaredError(), seed=1)
        stop = gd.EarlyStopping(patience=2, min_delta=1e9, monitor="loss")
        history = model.fit(X, T, epochs=9, batch_size=16, resume=resume, verbose=0,
                            callbacks=[Interrupt(at), stop, gd.Checkpoint(path)])  # fmt: skip
        return model, history

    expected, whole = run()
    path.unlink()
    interrupted, history = run(at=2)
    assert history.stop_reason == "interrupted"
    assert np.isfinite(interrupted.theta).all()
    resumed, again = run(resume=path)
    np.testing.assert_array_equal(resumed.theta, expected.theta)
    assert (dict(again), again.stop_reason) == (dict(whole), whole.stop_reason)


def test_a_solver_that_is_interrupted_keeps_its_last_point(tmp_path, monkeypatch):
    path, solver = tmp_path / "run.safetensors", gd.BFGS()
    expected, whole, _ = fit(None, None, optimizer=solver)
    real, calls = type(solver).step, []

    def step(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, *args)

    monkeypatch.setattr(type(solver), "step", step)
    model, history, seen = fit(None, path, optimizer=solver)
    monkeypatch.undo()
    assert history.stop_reason == "interrupted"
    np.testing.assert_array_equal(model.theta, seen[2])
    resumed, again, _ = fit(None, path, resume=path, optimizer=solver)
    np.testing.assert_array_equal(resumed.theta, expected.theta)
    assert dict(again) == dict(whole)

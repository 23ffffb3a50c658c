"""Callbacks, stop reasons and history."""

import csv
import os
import signal
import time

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import FileError
from gdnet.model import Model
from gdnet.training import checkpoint

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
T = X @ np.asarray([[1.0], [-2.0], [0.5]]) + 0.3


def fit(*callbacks, model=None, **options):
    model = model or Model(gd.Sequential(gd.Dense(3, 1)), loss=gd.SquaredError(), dtype="float64")
    options = {"optimizer": gd.SGD(lr=0.05), "epochs": 6, "batch_size": 8, "verbose": 0} | options
    return model, model.fit(X, T, callbacks=callbacks, **options)


class Recorder(gd.Callback):
    def __init__(self):
        self.calls, self.lr, self.thetas = [], [], []

    def on_train_begin(self, run):
        self.calls.append("begin")

    def on_epoch_begin(self, run):
        self.calls.append(f"epoch {run.epoch}")
        self.lr.append(run.lr)

    def on_epoch_end(self, run):
        self.calls.append(f"done {run.epoch} {sorted(run.logs)}")
        self.thetas.append(run.backend.to_numpy(run.theta))

    def on_train_end(self, run):
        self.calls.append("end")


def test_hooks_come_in_order():
    recorder = Recorder()
    fit(recorder, epochs=2, validation_data=(X, T))
    done = "['loss', 'val_loss', 'val_rmse']"
    assert recorder.calls == ["begin", "epoch 0", f"done 1 {done}", "epoch 1", f"done 2 {done}", "end"]


def test_iterations_are_reported_only_to_those_who_ask():
    class Count(gd.Callback):
        seen = ()

        def on_iteration_end(self, run):
            self.seen = (*self.seen, (run.epoch, run.iteration, run.steps))

    count = Count()
    assert count.wants_iterations
    assert not gd.EarlyStopping().wants_iterations
    fit(count, epochs=2)
    assert count.seen == tuple((e, i + 1, 5 * e + i + 1) for e in range(2) for i in range(5))


def test_epoch_loss_is_the_weighted_mean_over_examples():
    model = Model(gd.Sequential(gd.Dense(3, 1)), loss=gd.SquaredError(), dtype="float64")
    weight = RNG.random(40)
    expected = model.evaluate(X, T, sample_weight=weight)["loss"]
    _, history = fit(
        model=model, optimizer=gd.SGD(lr=1e-12), epochs=1, batch_size=7, sample_weight=weight
    )  # 7 leaves a short batch
    assert history["loss"][0] == pytest.approx(expected, rel=1e-9)
    y = model.predict(X)
    assert expected == pytest.approx(float(np.sum(weight * np.sum((y - T) ** 2, axis=1)) / weight.sum()), rel=1e-9)


def test_drop_last_leaves_out_the_short_batch():
    class Steps(gd.Callback):
        def on_train_end(self, run):
            self.n = run.steps

    steps = Steps()
    fit(steps, epochs=2, batch_size=7, drop_last=True)
    assert steps.n == 10


def test_early_stopping_restores_the_best():
    class Worsen(gd.Callback):
        """After epoch 3 the learning rate is absurd, so that the validation loss grows."""

        def on_epoch_begin(self, run):
            if run.epoch == 3:
                run.lr = 0.6

    recorder = Recorder()
    model, history = fit(
        Worsen(), recorder, gd.EarlyStopping(patience=2), epochs=50, optimizer=gd.SGD(lr=0.01), validation_data=(X, T)
    )
    best = int(np.argmin(history["val_loss"]))
    assert history.epochs == best + 3 < 50
    assert "early stopping: val_loss" in history.stop_reason
    np.testing.assert_array_equal(model.theta, recorder.thetas[best])
    assert model.evaluate(X, T)["loss"] == pytest.approx(min(history["val_loss"]), rel=1e-12)


def test_early_stopping_can_watch_an_accuracy():
    labels = (T[:, 0] > 0).astype(int)
    model = Model(gd.Sequential(gd.Dense(3, 2)), loss=gd.CrossEntropy(), dtype="float64")
    stop = gd.EarlyStopping(patience=3, monitor="val_accuracy")
    history = model.fit(X, labels, optimizer=gd.SGD(lr=1.0), epochs=200, batch_size=8, validation_data=(X, labels),
                        callbacks=[stop], verbose=0)  # fmt: skip
    assert history.epochs < 200
    assert model.evaluate(X, labels)["accuracy"] == max(history["val_accuracy"]) == stop.best


def test_schedule_sets_the_learning_rate():
    recorder = Recorder()
    fit(gd.LearningRateSchedule(lambda epoch: 0.1 / (epoch + 1)), recorder, epochs=4)
    np.testing.assert_allclose(recorder.lr, [0.1, 0.05, 0.1 / 3, 0.025])


def test_plateau_lowers_the_learning_rate():
    recorder = Recorder()
    fit(recorder, gd.ReduceOnPlateau(factor=0.1, patience=1, monitor="loss", min_delta=1e9), epochs=6)
    np.testing.assert_allclose(recorder.lr, [0.05, 0.05, 0.05, 0.005, 0.005, 0.0005])


@pytest.mark.parametrize("lr", [1e-3, 1e-2, 0.05])
def test_the_least_rate_of_a_plateau_raises_no_rate(lr):
    recorder = Recorder()
    plateau = gd.ReduceOnPlateau(factor=0.1, patience=1, monitor="loss", min_delta=1e9, min_lr=0.01)
    fit(recorder, plateau, optimizer=gd.SGD(lr=lr), epochs=6)
    np.testing.assert_allclose(recorder.lr, [lr] * 3 + [min(lr, 0.01)] * 3)


def test_a_callback_may_stop_before_an_epoch():
    class Quit(gd.Callback):
        def on_epoch_begin(self, run):
            return "enough" if run.epoch == 2 else None

    _, history = fit(Quit())
    assert (history.stop_reason, history.epochs) == ("enough", 2)


def test_training_stops_when_it_diverges_and_keeps_the_last_good_epoch():
    recorder = Recorder()
    with np.errstate(all="ignore"):
        model, history = fit(recorder, gd.LearningRateSchedule(lambda epoch: 0.01 if epoch < 3 else 1e200), epochs=20)
    assert "not finite in epoch 4" in history.stop_reason
    assert history.epochs == 4
    np.testing.assert_array_equal(model.theta, recorder.thetas[2])


def test_time_limit():
    began = time.perf_counter()
    _, history = fit(gd.TimeLimit(0.3), epochs=10**7)
    assert "time limit" in history.stop_reason
    assert time.perf_counter() - began < 5
    assert history.epochs >= 1


@pytest.mark.parametrize("how", ["returned", "raised"])
def test_a_callback_may_stop(how):
    class Quit(gd.Callback):
        def on_epoch_end(self, run):
            if run.epoch == 2:
                if how == "raised":
                    raise gd.StopTraining("enough")
                return "enough"
            return None

    _, history = fit(Quit())
    assert (history.stop_reason, history.epochs) == ("enough", 2)


@pytest.mark.parametrize("how", ["signal", "exception"])
def test_interrupt_keeps_the_parameters(how):
    class Interrupt(gd.Callback):
        def on_iteration_end(self, run):
            if run.steps == 8:
                self.theta = run.backend.to_numpy(run.theta)
                if how == "exception":
                    raise KeyboardInterrupt
                os.kill(os.getpid(), signal.SIGINT)

    interrupt = Interrupt()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started the tests with &
    try:
        model, history = fit(interrupt)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert (history.stop_reason, history.epochs) == ("interrupted", 1)
    np.testing.assert_array_equal(model.theta, interrupt.theta)


def test_csv_log(tmp_path):
    _, history = fit(gd.CSVLog(tmp_path / "log.csv"), validation_data=(X, T))
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 7))
    assert [float(row["val_loss"]) for row in rows] == history["val_loss"]
    assert float(rows[0]["lr"]) == pytest.approx(0.05)


class Crash(gd.Callback):
    def __init__(self, at):
        self.at = at

    def on_epoch_end(self, run):
        if run.epoch == self.at:
            raise RuntimeError("crash")


class SaveOnce(gd.Callback):
    """A checkpoint of the end of epoch 3 alone."""

    def __init__(self, path):
        self.path = path

    def on_epoch_end(self, run):
        if run.epoch == 3:
            checkpoint.save(run, self.path)


def epochs_in(path):
    with path.open(newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


def test_the_log_of_a_resumed_run(tmp_path, monkeypatch):
    path, log = tmp_path / "run.safetensors", tmp_path / "log.csv"
    with pytest.raises(RuntimeError, match="crash"):
        fit(SaveOnce(path), gd.CSVLog(log), Crash(5))
    assert epochs_in(log) == [1, 2, 3, 4, 5]
    log.write_text(log.read_text() + "1")  # the beginning of a line that a kill has cut off
    for name in ("replace", "fsync"):  # killed, or without room, while the log is taken up again

        def fail(*args):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(FileError, match="No space left on device"):
                fit(gd.CSVLog(log), resume=path)
        assert epochs_in(log)[:5] == [1, 2, 3, 4, 5]
    fit(gd.CSVLog(log), resume=path)
    assert epochs_in(log) == [1, 2, 3, 4, 5, 6]
    fit(gd.CSVLog(log), epochs=2)  # another run
    assert epochs_in(log) == [1, 2]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"epoch,loss\nx,1\n", b"\xff\xfe\n1\n", b"\n1\n"])
def test_a_log_of_something_else_is_refused_before_the_first_step(content, tmp_path):
    path, log, recorder = tmp_path / "run.safetensors", tmp_path / "log.csv", Recorder()
    fit(SaveOnce(path))
    log.write_bytes(content)
    with pytest.raises(FileError, match="no log of a run"):
        fit(gd.CSVLog(log), recorder, resume=path)
    assert "epoch 3" not in recorder.calls
    assert log.read_bytes() == content


def test_a_log_that_cannot_be_written_on_is_a_file_error(tmp_path):
    log = tmp_path / "log.csv"

    class Remove(gd.Callback):
        def on_epoch_end(self, run):
            if run.epoch == 2:
                log.unlink()
                log.mkdir()

    with pytest.raises(FileError, match="could not be written: Is a directory"):
        fit(gd.CSVLog(log), Remove())


def test_history_reads_like_a_table(tmp_path):
    _, history = fit(validation_data=(X, T), metrics=["rmse"])
    assert list(history) == ["loss", "rmse", "val_loss", "val_rmse"]
    assert history["rmse"] == history["val_rmse"]
    assert "stopped: epochs" in str(history)
    assert "6 epochs" in repr(history)
    assert history.seconds > 0
    with pytest.raises(KeyError, match="metrics"):
        history["accuracy"]
    history.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_progress_bar_shows_the_losses(capsys):
    fit(verbose=1, validation_data=(X, T))
    shown = capsys.readouterr().err
    assert "epoch 6/6" in shown
    assert "val_loss=" in shown
    assert "30/30" in shown
    fit(verbose=0)
    assert capsys.readouterr().err == ""


def test_class_weights_multiply_sample_weights():
    labels = (X[:, 0] > 0).astype(int)
    weight = RNG.random(40)

    def run(**options):
        model = Model(gd.Sequential(gd.Dense(3, 2)), loss=gd.CrossEntropy(), dtype="float64")
        model.fit(X, labels, optimizer=gd.SGD(lr=0.1), epochs=2, batch_size=10, verbose=0, **options)
        return model.theta

    both = run(sample_weight=weight, class_weight={1: 3.0})
    np.testing.assert_allclose(both, run(sample_weight=weight * np.where(labels == 1, 3.0, 1.0)), rtol=1e-13)
    assert np.abs(both - run(sample_weight=weight)).max() > 1e-3


def test_validation_split_is_drawn_by_the_seed_and_left_out():
    model, history = fit(validation_split=0.25)
    again, same = fit(validation_split=0.25)
    assert history["val_loss"] == same["val_loss"]
    np.testing.assert_array_equal(model.theta, again.theta)

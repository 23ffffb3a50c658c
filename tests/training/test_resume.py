"""A run that was killed and resumed ends bit for bit as one that was not."""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import FileError
from gdnet.files import archive

SCRIPT = Path(__file__).with_name("killed_run.py")
_spec = importlib.util.spec_from_file_location("killed_run", SCRIPT)
killed_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(killed_run)


@pytest.mark.parametrize("case", killed_run.CASES)
def test_killed_at_random_moments(case, tmp_path):
    rng, path, kills = random.Random(case), tmp_path / "run.safetensors", 0
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    expected = killed_run.run(case, str(tmp_path / "reference.safetensors"))
    lasts = time.perf_counter() - began
    for _ in range(12):
        delay = rng.uniform(0.1, 0.9) * lasts if kills < 3 else 0.0
        ended = subprocess.run(
            [sys.executable, SCRIPT, case, path, str(delay)],
            capture_output=True, text=True, env=environment, check=False, timeout=30,
        )  # fmt: skip
        if ended.returncode == 0 and kills:
            break
        if ended.returncode == 0:  # it was faster than the reference: once more, with an earlier shot
            lasts /= 2
            path.unlink()
            continue
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        kills += 1
    assert kills
    assert ended.stdout.strip() == expected


class Crash(gd.Callback):
    """Dies without warning after so many steps."""

    def __init__(self, steps=None):
        self.steps = steps

    def on_iteration_end(self, run):
        if run.steps == self.steps:
            raise RuntimeError("crash")


OPTIMIZERS = {
    "SGD": gd.SGD(lr=0.1), "Momentum": gd.Momentum(lr=0.1), "Nesterov": gd.Nesterov(lr=0.1), "AdaGrad": gd.AdaGrad(),
    "RMSProp": gd.RMSProp(), "Adam": gd.Adam(), "AdamW": gd.AdamW(weight_decay=0.1, decay_on="W"), "NAdam": gd.NAdam(),
    "Lion": gd.Lion(), "Rprop": gd.Rprop(), "Averaged": gd.Averaged(gd.Adam()),
    "clipped": gd.SGD(lr=0.1, clip_norm=0.1),
    "warm-up": gd.Adam(lr=gd.LinearWarmup(0.01, total_iters=9)),
    "GradientDescent": gd.GradientDescent(), "ConjugateGradient": gd.ConjugateGradient(), "BFGS": gd.BFGS(),
    "LBFGS": gd.LBFGS(), "Newton": gd.Newton(), "NewtonCG": gd.NewtonCG(),
    "ScaledConjugateGradient": gd.ScaledConjugateGradient(), "LevenbergMarquardt": gd.LevenbergMarquardt(),
    "BayesianRegularization": gd.BayesianRegularization(), "HessianFree": gd.HessianFree(),
}  # fmt: skip


def train(bk, optimizer, path=None, crash=None, resume=None, **changes):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    net = changes.pop("net", gd.Sequential(gd.Dense(3, 4), gd.Sigmoid(), gd.Dense(4, 2)))
    model = gd.Model(net, loss=gd.SquaredError(), dtype=changes.pop("dtype", "float64"), backend=bk and bk.backend,
                     seed=changes.pop("seed", 0))  # fmt: skip
    more = changes.pop("more", [])
    options = {"epochs": 3, "batch_size": None if optimizer.full_batch else 7, "verbose": 0} | changes
    callbacks = [Crash(crash), *([] if path is None else [gd.Checkpoint(path, every=(2, "iteration"))])]
    if optimizer.full_batch:
        callbacks = [Crash(crash), *([] if path is None else [gd.Checkpoint(path)])]
    model.fit(x * changes.get("scale", 1.0) if "scale" in options else x, t, optimizer=optimizer,
              callbacks=[*callbacks, *more], resume=resume,
              **{k: v for k, v in options.items() if k != "scale"})  # fmt: skip
    return model


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on_from_the_middle_of_an_epoch(name, tmp_path):
    optimizer, path = OPTIMIZERS[name], tmp_path / "run.safetensors"
    crash = 2 if optimizer.full_batch else 8  # in the second epoch, between two checkpoints
    with pytest.raises(RuntimeError, match="crash"):
        train(None, optimizer, path, crash + 1)
    resumed = train(None, optimizer, path, resume=path)
    np.testing.assert_array_equal(resumed.theta, train(None, optimizer).theta)


def test_resumes_on_every_library(bk, tmp_path):
    path = tmp_path / "run.safetensors"
    net = gd.Sequential(gd.Dense(3, 4), gd.Sigmoid(), gd.Dropout(0.2), gd.Dense(4, 2))
    with pytest.raises(RuntimeError, match="crash"):
        train(bk, gd.Adam(), path, 9, net=net)
    resumed = train(bk, gd.Adam(), path, resume=path, net=net)
    np.testing.assert_array_equal(bk.get(resumed.theta), bk.get(train(bk, gd.Adam(), net=net).theta))


class Seen(gd.Callback):
    """Notes every epoch that ends, and presses Ctrl-C at the end of one."""

    def __init__(self, seen, interrupts=None):
        self.seen, self.interrupts = seen, interrupts

    def on_epoch_end(self, run):
        self.seen.append(run.epoch)
        if run.epoch == self.interrupts:
            raise KeyboardInterrupt


@pytest.mark.parametrize("every", [(1, "epoch"), (3, "epoch")])
@pytest.mark.parametrize("name", ["Adam", "LBFGS", "LevenbergMarquardt"])
def test_an_interrupt_in_a_hook_repeats_no_hook_and_leaves_none_out(name, every, tmp_path):
    """The callback that is interrupted, the one before it and the one after it each see every epoch once."""
    optimizer, path, seen = OPTIMIZERS[name], tmp_path / "run.safetensors", ([], [], [])
    for resume in (None, path):
        model = train(
            None, optimizer, resume=resume, epochs=7,
            more=[gd.Checkpoint(path, every=every), Seen(seen[0]), Seen(seen[1], interrupts=4), Seen(seen[2])],
        )  # fmt: skip
    assert seen == ([1, 2, 3, 4, 5, 6, 7],) * 3
    np.testing.assert_array_equal(model.theta, train(None, optimizer, epochs=7).theta)


def test_a_finished_run_may_be_prolonged(tmp_path):
    path = tmp_path / "run.safetensors"
    train(None, gd.Adam(), path)
    np.testing.assert_array_equal(
        train(None, gd.Adam(), path, resume=path, epochs=5).theta, train(None, gd.Adam(), epochs=5).theta
    )


OTHER = {
    "network": {"net": gd.Sequential(gd.Dense(3, 4), gd.Tanh(), gd.Dense(4, 2))},
    "optimizer": {"optimizer": gd.Adam(lr=0.1)},
    "batch_size": {"batch_size": 6},
    "dtype": {"dtype": "float32"},
    "seed": {"seed": 1},
    "shuffle": {"shuffle": False},
    "data": {"scale": 2.0},
}


@pytest.mark.parametrize("setting", OTHER)
def test_a_checkpoint_of_another_run_is_refused(setting, tmp_path):
    path = tmp_path / "run.safetensors"
    train(None, gd.Adam(), path)
    changes = dict(OTHER[setting])
    with pytest.raises(FileError, match=f"another {setting}"):
        train(None, changes.pop("optimizer", gd.Adam()), resume=path, path=path, **changes)


def test_other_callbacks_with_a_memory_are_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    train(None, gd.Adam(), path)
    with pytest.raises(FileError, match=r"callbacks.*ReduceOnPlateau"):
        train(None, gd.Adam(), path, resume=path, more=[gd.ReduceOnPlateau(monitor="loss")])


def test_callbacks_without_a_memory_may_come_and_go(tmp_path, capsys):
    path = tmp_path / "run.safetensors"
    with pytest.raises(RuntimeError, match="crash"):
        train(None, gd.Adam(), path, 9, verbose=1, more=[gd.CSVLog(tmp_path / "log.csv")])
    resumed = train(None, gd.Adam(), resume=path, more=[gd.TimeLimit(1e3)])
    np.testing.assert_array_equal(resumed.theta, train(None, gd.Adam()).theta)


def test_a_damaged_checkpoint_leaves_the_previous_one(tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(RuntimeError, match="crash"):
        train(None, gd.Adam(), path, 9)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileError, match=r"run\.previous\.safetensors"):
        train(None, gd.Adam(), path, resume=path)
    resumed = train(None, gd.Adam(), path, resume=archive.previous(path))
    np.testing.assert_array_equal(resumed.theta, train(None, gd.Adam()).theta)
    archive.read(path, ("checkpoint",))


def test_a_run_that_has_stopped_stays_stopped(tmp_path):
    path = tmp_path / "run.safetensors"
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))

    def run(resume=None):
        model = gd.Model(gd.Sequential(gd.Dense(3, 2)), loss=gd.SquaredError(), dtype="float64")
        stop = gd.EarlyStopping(patience=2, min_delta=0.5, monitor="loss")
        history = model.fit(x, t, optimizer=gd.SGD(lr=0.01), epochs=50, batch_size=10, verbose=0, resume=resume,
                            callbacks=[gd.Checkpoint(path), stop])  # fmt: skip
        return model, history

    model, history = run()
    again, same = run(resume=path)
    assert same.stop_reason == history.stop_reason != "epochs"
    assert dict(same) == dict(history)
    np.testing.assert_array_equal(again.theta, model.theta)


def test_time_and_interrupts_are_no_reason_to_stay_stopped(tmp_path):
    path = tmp_path / "run.safetensors"

    class Interrupt(gd.Callback):
        def __init__(self, at):
            self.at = at

        def on_iteration_end(self, run):
            if run.steps == self.at:
                raise KeyboardInterrupt

    def run(at, resume=None):
        model = gd.Model(gd.Sequential(gd.Dense(3, 2)), loss=gd.SquaredError(), dtype="float64")
        rng = np.random.default_rng(0)
        x, t = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
        history = model.fit(x, t, optimizer=gd.Adam(), epochs=4, batch_size=10, verbose=0, resume=resume,
                            callbacks=[Interrupt(at), gd.Checkpoint(path, every=(100, "epoch"))])  # fmt: skip
        return model, history

    assert run(5)[1].stop_reason == "interrupted"  # in the middle of the second epoch; saved at the end
    resumed, history = run(None, resume=path)
    expected, whole = run(None)
    assert dict(history) == dict(whole)
    np.testing.assert_array_equal(resumed.theta, expected.theta)


def test_a_kill_while_writing_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    train(None, gd.Adam(), path, epochs=1)
    whole = path.read_bytes()
    for killer in ("fsync", "link", "replace"):

        def kill(*args):
            raise SystemExit

        with monkeypatch.context() as patch:
            patch.setattr(os, killer, kill)
            with pytest.raises(SystemExit):
                train(None, gd.Adam(), path, resume=path, epochs=2)
        assert path.read_bytes() == whole
    train(None, gd.Adam(), path, resume=path, epochs=2)
    assert {p.name for p in tmp_path.iterdir()} == {path.name, archive.previous(path).name}


def resumed(path, resume=None, x=None, held=None, callbacks=(), **options):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3)) if x is None else x
    model = gd.Model(gd.Sequential(gd.Dense(3, 2)), loss=gd.SquaredError(), dtype="float64")
    options = {"epochs": 2, "batch_size": 50, "verbose": 0} | options
    return model.fit(x, x[:, :2] * 2.0, resume=resume, validation_data=held, **options,
                     callbacks=[*callbacks, *([gd.Checkpoint(path)] if path else [])])  # fmt: skip


def test_every_example_is_looked_at(tmp_path):
    path, x = tmp_path / "run.safetensors", np.random.default_rng(0).standard_normal((200, 3))
    resumed(path, x=x)
    for row in (1, 77, 198):
        other = x.copy()
        other[row, 1] += 1e-12
        with pytest.raises(FileError, match="another data"):
            resumed(None, path, x=other)
    resumed(None, path, x=x)


def test_validation_data_and_metrics_belong_to_a_run(tmp_path):
    path, x = tmp_path / "run.safetensors", np.random.default_rng(1).standard_normal((20, 3))
    held = (x, x[:, :2])
    resumed(path, held=held)
    for other in (None, (x, x[:, 1:]), (x[1:], x[1:, :2]), (*held, np.linspace(1, 2, 20))):
        with pytest.raises(FileError, match="another validation data"):
            resumed(None, path, held=other)
    with pytest.raises(FileError, match="another metrics"):
        resumed(None, path, held=held, metrics=["rmse"])
    assert len(resumed(None, path, held=held, epochs=3)["val_loss"]) == 3


@pytest.mark.parametrize(("one", "other"), [
    (gd.EarlyStopping(3, monitor="loss"), gd.EarlyStopping(4, monitor="loss")),
    (gd.EarlyStopping(3, monitor="loss"), gd.EarlyStopping(3, min_delta=0.1, monitor="loss")),
    (gd.ReduceOnPlateau(0.1, monitor="loss"), gd.ReduceOnPlateau(0.2, monitor="loss")),
    (gd.ReduceOnPlateau(0.1, monitor="loss"), gd.ReduceOnPlateau(0.1, min_lr=1e-4, monitor="loss")),
])  # fmt: skip
def test_settings_of_callbacks_belong_to_a_run(one, other, tmp_path):
    path = tmp_path / "run.safetensors"
    resumed(path, callbacks=[one])
    with pytest.raises(FileError, match="another setting of callbacks"):
        resumed(None, path, callbacks=[other])
    resumed(None, path, callbacks=[one])


def test_a_checkpoint_of_a_run_that_has_diverged_loads_as_what_fit_has_left(tmp_path):
    path = tmp_path / "run.safetensors"
    x = np.random.default_rng(0).standard_normal((200, 3))
    model = gd.Model(gd.Sequential(gd.Dense(3, 2)), loss=gd.SquaredError(), dtype="float64")
    history = model.fit(x, x[:, :2], optimizer=gd.SGD(lr=1e300), epochs=9, verbose=0, callbacks=[gd.Checkpoint(path)])
    assert "not finite" in history.stop_reason
    np.testing.assert_array_equal(gd.load(path).theta, model.theta)


class Hooks(gd.Callback):
    def __init__(self, crash=None):
        self.seen, self.crash = [], crash

    def on_epoch_begin(self, run):
        self.seen.append(run.epoch)

    def on_iteration_end(self, run):
        if run.steps == self.crash:
            raise RuntimeError("crash")


def test_an_epoch_begins_once_and_seconds_go_on(tmp_path):
    path = tmp_path / "run.safetensors"

    def run(watch, resume=None):
        model = gd.Model(gd.Sequential(gd.Dense(3, 1)), loss=gd.SquaredError(), dtype="float64")
        x = np.random.default_rng(0).standard_normal((20, 3))
        return model.fit(x, x[:, :1], batch_size=5, epochs=3, verbose=0, resume=resume,
                         callbacks=[gd.Checkpoint(path, every=(1, "iteration")), watch])  # fmt: skip

    with pytest.raises(RuntimeError, match="crash"):
        run(Hooks(6))
    tensors, content = archive.read(path, ("checkpoint",))
    assert content["position"] == [1, 1]
    content["history"]["seconds"] = 1000.0
    archive.write(path, "checkpoint", tensors, {k: v for k, v in content.items() if k not in ("kind", "version")})
    watch = Hooks()
    history = run(watch, resume=path)
    assert watch.seen == [2]
    assert 1000.0 < history.seconds < 1900.0

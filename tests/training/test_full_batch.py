"""Methods that need the whole objective inside the same fit."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import OptionError

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (40, 1))
T = np.sin(3 * X)
SOLVERS = [gd.BFGS(), gd.LBFGS(), gd.NewtonCG(), gd.ConjugateGradient(), gd.ScaledConjugateGradient()]


def model(*extra, **options):
    net = gd.Sequential(gd.Dense(1, 6), gd.Tanh(), *extra, gd.Dense(6, 1))
    return gd.Model(net, loss=gd.SquaredError(), dtype="float64", **options)


@pytest.mark.parametrize("optimizer", SOLVERS, ids=lambda o: type(o).__name__)
def test_an_epoch_is_one_step_of_a_solver(optimizer, tmp_path):
    m = model()
    history = m.fit(X, T, optimizer=optimizer, epochs=150, batch_size=None, validation_data=(X, T), verbose=0,
                    callbacks=[gd.CSVLog(tmp_path / "log.csv")])  # fmt: skip
    assert history["val_loss"][-1] < 2e-2
    assert all(b <= a * (1 + 1e-12) for a, b in zip(history["loss"], history["loss"][1:], strict=False))
    assert history["loss"][1] == pytest.approx(history["val_loss"][0], rel=1e-9)  # before and after a step


def test_the_solver_may_stop():
    m = model()
    history = m.fit(X, T, optimizer=gd.BFGS(goal=0.3), epochs=100, batch_size=None, verbose=0)
    assert history.stop_reason == "goal"
    assert history.epochs < 100
    assert m.evaluate(X, T)["loss"] <= 0.3


def test_mini_batches_are_refused():
    for batch_size in (1, 32, 39):
        with pytest.raises(OptionError, match=r"BFGS.*batch_size=None.*gd\.Adam"):
            model().fit(X, T, optimizer=gd.BFGS(), batch_size=batch_size, verbose=0)
    model().fit(X, T, optimizer=gd.BFGS(), batch_size=40, verbose=0)  # all of them: the same objective every time


def test_random_networks_are_refused():
    with pytest.raises(OptionError, match="Dropout"):
        model(gd.Dropout(0.5)).fit(X, T, optimizer=gd.BFGS(), batch_size=None, verbose=0)


def test_solvers_run_on_every_library(bk):
    here, there = model(backend=bk.backend), model()
    for m in (here, there):
        m.fit(X, T, optimizer=gd.LBFGS(), epochs=5, batch_size=None, verbose=0)
    np.testing.assert_allclose(bk.get(here.theta), there.theta, rtol=1e-6)

"""What CI keeps of the suite: pytest benchmarks/test_steps.py --benchmark-json=out.json.

The named cases' steps on every backend that is installed, their matrix products alone, an update, and one epoch of
`fit`. Times are saved, never asserted; that every backend reaches the same loss is.
"""

import numpy as np
import pytest

import gdnet as gd
from gdnet.bench.candidates import GdnetStep, backends_for
from gdnet.bench.floor import Products
from gdnet.bench.problems import CASES
from gdnet.bench.steps import loss_after, same_loss
from gdnet.bench.update import GdnetUpdate

BACKENDS = backends_for("cpu")
KEPT = [case for case in CASES if case.name != "C"]  # C takes a tenth of a second a step


@pytest.fixture
def kept(benchmark, request):
    """Runs a candidate under pytest-benchmark, ten steps a round."""

    def run(problem, candidate):
        benchmark.extra_info.update(problem=problem, steps=10)
        benchmark.pedantic(candidate.run, (10,), setup=candidate.reset, rounds=5, warmup_rounds=1)

    return run


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("case", KEPT, ids=lambda case: case.name)
def test_step(kept, case, name):
    step = GdnetStep(case, BACKENDS[name])
    kept(case.label, step)
    assert same_loss(loss_after(step, 10), loss_after(GdnetStep(case, BACKENDS["numpy"]), 10))


@pytest.mark.parametrize("case", KEPT, ids=lambda case: case.name)
def test_products_alone(kept, case):
    kept(case.label, Products(case, BACKENDS["numpy"]))


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_update(kept, name):
    update = GdnetUpdate(name, 1_000_000, BACKENDS["numpy"])
    kept(f"{name} update of 1e6 parameters", update)
    assert np.all(update.theta < 1.0)


def test_fit_one_epoch(benchmark):
    case, rng = CASES[0], np.random.default_rng(0)
    x, t = rng.random((6000, 784), dtype=np.float32), rng.integers(0, 10, 6000)
    model = gd.Model(case.net(), case.loss())
    fit = {"optimizer": case.rule(), "epochs": 1, "batch_size": 100, "verbose": 0}
    history = benchmark.pedantic(model.fit, (x, t), fit, rounds=3, warmup_rounds=1)
    assert np.isfinite(history["loss"][-1])

"""What `Model.fit` costs beside its bare steps: batches, shuffling, history, callbacks and the progress bar."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import gdnet as gd
from gdnet.backend import Backend
from gdnet.bench.candidates import GdnetStep, kind_of
from gdnet.bench.problems import CASES, Problem, sizes_text
from gdnet.bench.timing import Effort
from gdnet.training.feed import Feed


def against_bare_step(
    backends: dict[str, Backend], device: str, effort: Effort, examples: int = 60_000, problem: Problem = CASES[0]
) -> Iterator[dict[str, Any]]:
    """One epoch of `fit` over as many bare steps on a few batches, and over bare steps on its own shuffled batches.

    What the first `fit` and the first steps compile is left out on both sides; `first_seconds` tells it.
    """
    rng = np.random.default_rng(0)
    x = rng.random((examples, problem.sizes[0]), dtype=np.float32)
    t = rng.integers(0, problem.sizes[-1], examples)
    steps = examples // problem.batch
    for name, backend in backends.items():
        bare = GdnetStep(problem, backend)
        bare.run(3)
        model = gd.Model(problem.net(), problem.loss(), device=device, backend=name)
        feed = Feed(gd.data.Dataset(x, t).on(backend, problem.dtype), problem.batch)
        epochs, alone, fed = [], [], []
        for turn in range(max(4, effort.rounds) + 1):
            if turn:
                model.theta = backend.asarray(problem.theta())
            epochs.append(_seconds(fit_once, model, x, t, problem))
            bare.reset()
            alone.append(_seconds(bare.run, steps))
            bare.reset()
            fed.append(_seconds(bare.follow, feed.epoch(turn)))
        first, *epochs = epochs
        yield {
            "case": problem.name,
            "network": sizes_text(problem.sizes),
            "batch": problem.batch,
            "examples": examples,
            "device": kind_of(device),
            "candidate": f"gdnet {name}",
            "first_seconds": first,
            "seconds": min(epochs),
            "median_seconds": median(epochs),
            "bare_seconds": min(alone[1:]),
            "fed_seconds": min(fed[1:]),
            "over_bare": min(epochs) / min(alone[1:]),
            "over_fed": min(epochs) / min(fed[1:]),
        }


def _seconds(work: Callable, *args: Any) -> float:
    start = time.perf_counter()
    work(*args)
    return time.perf_counter() - start


def fit_once(model: gd.Model, x: np.ndarray, t: np.ndarray, problem: Problem) -> None:
    """One epoch with everything on; the bar draws into memory."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        model.fit(
            x, t, optimizer=problem.rule(), epochs=1, batch_size=problem.batch, verbose=1,
            callbacks=[gd.CSVLog(Path(folder) / "history.csv"), gd.EarlyStopping(monitor="loss")],
        )  # fmt: skip

"""Training steps: gdnet on every backend, its peers, and the matrix products alone, taking turns."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gdnet.backend import Backend, get_backend
from gdnet.bench.candidates import GdnetStep, Unavailable, kind_of
from gdnet.bench.floor import Products
from gdnet.bench.peers import FLOOR_OF, load_peer
from gdnet.bench.problems import Problem, sizes_text
from gdnet.bench.timing import Effort, Timing, race
from gdnet.errors import DeviceError

LOSS_STEPS = 10
"""The loss after so many steps stands beside each time: who trains something else is no peer."""
TOLERANCE = 1e-3
"""Relative difference of that loss, which single precision explains."""
Row = dict[str, Any]


def compare(
    problem: Problem, backends: dict[str, Backend], peers: Sequence[str], device: str, effort: Effort
) -> Iterator[Row]:
    """One row a candidate: seconds a step, loss, and the ratio to the matrix products on the same library."""
    steps: dict[str, Any] = {f"gdnet {name}": GdnetStep(problem, b) for name, b in backends.items()}
    skipped = {}
    for name in peers:
        try:
            steps[name] = load_peer(name)(problem, device)
        except Unavailable as reason:
            skipped[name] = str(reason)
    losses = {}
    for name in list(steps):
        try:
            losses[name] = loss_after(steps[name], LOSS_STEPS)
        except Exception as error:  # a peer whose compiler is missing must not end the run
            if name.startswith("gdnet "):
                raise
            skipped[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"
            del steps[name]
    floors = products(problem, backends, [FLOOR_OF[name] for name in steps if name in FLOOR_OF], device)
    times = race({**floors, **steps}, effort)
    reference = next(iter(losses.values()))
    for name in steps:
        library = name.removeprefix("gdnet ") if name.startswith("gdnet ") else FLOOR_OF[name]
        yield {
            **describe(problem, device, name),
            **times[name].row(),
            "examples_per_second": problem.batch / times[name].best,
            **over_floor(times[name], times, library),
            "loss": losses[name],
            "loss_steps": LOSS_STEPS,
            "comparable": same_loss(losses[name], reference),
        }
    for name, why in skipped.items():
        yield {**describe(problem, device, name), "seconds": None, "skipped": why}


def products(problem: Problem, backends: dict[str, Backend], others: Sequence[str], device: str) -> dict[str, Products]:
    """The matrix products alone on every library that takes part; for NumPy also by `dot`."""
    known = dict(backends)
    for name in others:
        with contextlib.suppress(DeviceError):
            known.setdefault(name, get_backend(device, name))
    floors = {f"floor {name}": Products(problem, b) for name, b in known.items()}
    if "numpy" in known:
        floors["floor numpy.dot"] = Products(problem, known["numpy"], np.dot)
    return floors


def describe(problem: Problem, device: str, candidate: str) -> Row:
    return {
        "case": problem.name,
        "network": sizes_text(problem.sizes),
        "activation": problem.activation,
        "batch": problem.batch,
        "optimizer": problem.optimizer,
        "parameters": problem.parameters,
        "dtype": problem.dtype,
        "device": kind_of(device),
        "candidate": candidate,
    }


def over_floor(timing: Timing, times: dict[str, Timing], library: str) -> Row:
    """The matrix products alone on this library, and the ratio; for NumPy also with `dot`, which costs less a call."""
    floor = times.get(f"floor {library}")
    if floor is None:
        return {}
    row = {"floor_seconds": floor.best, "over_floor": timing.best / floor.best}
    if library == "numpy":
        row["floor_dot_seconds"] = times["floor numpy.dot"].best
    return row


def loss_after(step: Any, count: int) -> float:
    step.reset()
    step.run(count)
    return float(step.loss())


def same_loss(a: float, b: float) -> bool:
    return math.isfinite(a) and abs(a - b) <= TOLERANCE * max(abs(b), 1e-12)


# -- over batch sizes ------------------------------------------------------------------------------------------------


def grid(
    networks: Sequence[Problem], batches: Sequence[int], optimizers: Sequence[str], backends: dict[str, Backend],
    device: str, effort: Effort, longest: float,
) -> Iterator[Row]:  # fmt: skip
    """Throughput of gdnet's backends over batch sizes.

    A step whose products alone would take more than `longest` seconds is not run: its row is extrapolated from the
    batch before, in proportion to the number of examples, and says so.
    """
    medium = Problem((512, 512, 512), batch=512)
    alone = race({f"gdnet {name}": Products(medium, b) for name, b in backends.items()}, Effort(3, 0.01))
    rates = {name: medium.flops / timing.best for name, timing in alone.items()}
    for network in networks:
        for optimizer in optimizers:
            before: dict[str, Row] = {}
            for batch in batches:
                problem = Problem(network.sizes, network.activation, batch, optimizer, network.dtype)
                for row in grid_rows(problem, backends, device, effort, before, rates, longest):
                    before[row["candidate"]] = row
                    yield row


def grid_rows(
    problem: Problem, backends: dict[str, Backend], device: str, effort: Effort, before: dict[str, Row],
    rates: dict[str, float], longest: float,
) -> Iterator[Row]:  # fmt: skip
    """All backends at one batch size, of which `before` holds the rows of the one before and `rates` flops a second."""
    steps: dict[str, Any] = {}
    floors: dict[str, Any] = {}
    far: dict[str, Row] = {}
    for name, backend in backends.items():
        last = before.get(f"gdnet {name}")
        if last and (last["extrapolated"] or problem.flops / rates[f"gdnet {name}"] > longest):
            seconds, floor = (last[key] * problem.batch / last["batch"] for key in ("seconds", "floor_seconds"))
            far[f"gdnet {name}"] = {"seconds": seconds, "floor_seconds": floor, "over_floor": seconds / floor}
        else:
            steps[f"gdnet {name}"] = GdnetStep(problem, backend)
            floors[f"floor {name}"] = Products(problem, backend)
    times = race({**floors, **steps}, effort)
    if floors and "floor numpy" in floors:
        times["floor numpy.dot"] = times["floor numpy"]
    for name in [f"gdnet {b}" for b in backends]:
        measured = name in times
        row = far[name] if not measured else times[name].row() | over_floor(times[name], times, name.split()[1])
        row.pop("floor_dot_seconds", None)
        yield {
            **describe(problem, device, name),
            **row,
            "extrapolated": not measured,
            "examples_per_second": problem.batch / row["seconds"],
        }

"""Where to train a given network: what was measured here, and what a results file of another machine tells."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from gdnet.bench.candidates import backends_for, kind_of
from gdnet.bench.problems import Problem, parse_sizes, sizes_text
from gdnet.bench.results import hardware
from gdnet.bench.steps import grid
from gdnet.bench.timing import Effort

Row = dict[str, Any]


def measure(problem: Problem, devices: Sequence[str], wanted: Sequence[str] | None, effort: Effort) -> list[Row]:
    """Steps of this network at this batch size and around it, on every device and backend that works here."""
    batches = sorted({max(1, problem.batch // 4), problem.batch, problem.batch * 4, problem.batch * 16})
    rows: list[Row] = []
    for device in devices:
        backends = backends_for(device, wanted)
        rows += grid([problem], batches, [problem.optimizer], backends, device, effort, 1.0)
    return rows


def crossover(rows: Sequence[Row]) -> int | None:
    """The smallest batch size from which on the GPU is faster, of rows of one network; None where it never is.

    >>> cpu = [{"device": "cpu", "batch": n, "seconds": 1e-6 * n} for n in (1, 100, 1000)]
    >>> crossover(cpu + [{"device": "cuda", "batch": n, "seconds": 1e-4} for n in (1, 100, 1000)])
    1000
    """
    best = {device: fastest(rows, device) for device in ("cpu", "cuda")}
    found = None
    for batch in sorted(set(best["cpu"]) & set(best["cuda"]), reverse=True):
        if best["cuda"][batch]["seconds"] >= best["cpu"][batch]["seconds"]:
            break
        found = batch
    return found


def fastest(rows: Sequence[Row], device: str) -> dict[int, Row]:
    """The fastest row of a device at each batch size."""
    best: dict[int, Row] = {}
    for row in rows:
        if row["device"] == device and (row["batch"] not in best or row["seconds"] < best[row["batch"]]["seconds"]):
            best[row["batch"]] = row
    return best


def ahead(rows: Sequence[Row]) -> dict[tuple[str, str, int], tuple[float, str, str]]:
    """By network, optimizer and batch: the fastest peer's time over the fastest gdnet backend's, and who these are."""
    found = {}
    for size in dict.fromkeys((r["network"], r["optimizer"], r["batch"]) for r in rows):
        own = [r for r in rows if (r["network"], r["optimizer"], r["batch"]) == size and r.get("comparable")]
        ours = [r for r in own if r["candidate"].startswith("gdnet ")]
        peers = [r for r in own if not r["candidate"].startswith("gdnet ")]
        if ours and peers:
            us, peer = (min(group, key=lambda r: r["seconds"]) for group in (ours, peers))
            found[size] = peer["seconds"] / us["seconds"], us["candidate"].removeprefix("gdnet "), peer["candidate"]
    return found


def advise(problem: Problem, rows: Sequence[Row], others: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of advice from rows measured here and results files of other machines."""
    here = sorted((r for r in rows if r["batch"] == problem.batch), key=lambda r: r["seconds"])
    lines = [f"{problem.label}, {problem.parameters} parameters:"]
    for row in here:
        share = row["seconds"] / here[0]["seconds"]
        notes = ["fastest here" if share == 1.0 else f"{share:.2f} times as long"] if len(here) > 1 else []
        notes += ["extrapolated"] if row["extrapolated"] else []
        lines.append(
            f"  {row['device']:<5} {row['candidate']:<13} {micro(row['seconds'])} a step, "
            f"{row['examples_per_second']:,.0f} examples/s, {row['over_floor']:.2f} x its matrix products"
            + (f" ({', '.join(notes)})" if notes else "")
        )
    lines += [line for found in others for line in elsewhere(problem, here[0], found)]
    gpu = any(r["device"] == "cuda" for r in rows)
    if gpu:
        lines.append(_crossover_line(problem, crossover(rows)))
    elif not any(kind_of(o["settings"]["device"]) == "cuda" for o in others):
        lines.append(
            "No GPU was measured: the advice is among this machine's CPU backends. --results takes a GPU's file."
        )
    choice = here[0]["candidate"].removeprefix("gdnet ")
    default = {"cpu": "numpy", "cuda": "cupy"}[here[0]["device"]]
    extra = "" if choice == default else f', backend="{choice}"'
    lines.append(f'Use gd.Model(..., device="{here[0]["device"]}"{extra}).')
    return lines


def elsewhere(problem: Problem, here: Row, found: dict[str, Any]) -> list[str]:
    """What another machine's file says: its measured network that is nearest in size, at this batch size."""
    rows = [r for r in found["sections"].get("grid", ()) if r["optimizer"] == problem.optimizer]
    if not rows:
        return [f"The results of {hardware(found)} hold no grid for {problem.optimizer}."]
    near = min({r["network"] for r in rows}, key=lambda n: _distance(n, problem))
    seconds, name = min((interpolate(rows, near, c, problem.batch), c) for c in {r["candidate"] for r in rows})
    rough = "" if near == sizes_text(problem.sizes) else f" for {near}, the nearest network in that file"
    ratio = here["seconds"] / seconds
    verdict = f"{ratio:.1f} times faster than here" if ratio >= 1 else f"{1 / ratio:.1f} times slower than here"
    return [f"On {hardware(found)}: {name} about {micro(seconds)} a step{rough}, {verdict}."]


def interpolate(rows: Sequence[Row], network: str, candidate: str, batch: int) -> float:
    """Seconds of a step at this batch size, on straight lines between logarithms; beyond the last, in proportion."""
    known = sorted((r["batch"], r["seconds"]) for r in rows if r["network"] == network and r["candidate"] == candidate)
    if not known:
        return math.inf
    if batch <= known[0][0]:
        return float(known[0][1])
    for (n, s), (m, u) in pairwise(known):
        if batch <= m:
            share = math.log(batch / n) / math.log(m / n)
            return float(s * (u / s) ** share)
    return float(known[-1][1] * batch / known[-1][0])


def _distance(network: str, problem: Problem) -> float:
    return abs(math.log(Problem(parse_sizes(network)).parameters / problem.parameters))


def _crossover_line(problem: Problem, batch: int | None) -> str:
    if batch is None:
        return "In the batch sizes measured the GPU is never the faster one."
    return f"From batch size {batch} on the GPU is the faster one."


def micro(seconds: float) -> str:
    """Microseconds below 10 ms, milliseconds below 10 s, seconds below 5 minutes; then minutes, hours and days.

    >>> micro(0.0005), micro(0.05), micro(24516.5), micro(310317.4)
    ('500 µs', '50.0 ms', '6.8 hours', '3.6 days')
    """
    if seconds < 1e-2:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 10:
        return f"{seconds * 1e3:.1f} ms"
    for limit, size, unit in ((300, 1, "s"), (2 * 3600, 60, "minutes"), (2 * 86400, 3600, "hours")):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86400:,.1f} days"

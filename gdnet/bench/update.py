"""An optimizer's update of a long vector against the memory's bandwidth."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gdnet.backend import Backend
from gdnet.bench.candidates import Unavailable, kind_of, wait_for
from gdnet.bench.floor import DEVICE_NUMBERS, bandwidth_candidates, device_bandwidth_candidates
from gdnet.bench.peers import load_peer
from gdnet.bench.problems import OPTIMIZERS
from gdnet.bench.timing import Effort, race

PASSES = {"sgd": 3, "adam": 7}
"""Vectors that must be read or written: θ, g and θ⁺; for Adam also m and v, read and written."""
ARRAYS = {"sgd": 2, "adam": 4}
"""Vectors that lie in memory."""


class GdnetUpdate:
    """`optimizer.apply` on one vector, compiled as a step is."""

    def __init__(self, name: str, size: int, backend: Backend) -> None:
        rule, lr = OPTIMIZERS[name]
        optimizer, self.backend = rule(lr=lr), backend
        self.theta = backend.asarray(np.ones(size, np.float32))
        self.gradient = backend.asarray(np.full(size, 1e-3, np.float32))
        self.state = optimizer.init(self.theta)
        self.update = backend.compile(
            lambda theta, state, gradient: optimizer.apply(gradient, state, theta), donate=(0, 1)
        )

    def reset(self) -> None:
        pass

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.theta, self.state = self.update(self.theta, self.state, self.gradient)
        wait_for(self.backend, self.theta)


def updates(
    sizes: Sequence[int], names: Sequence[str], backends: dict[str, Backend], peers: Sequence[str], device: str,
    effort: Effort,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """One row an optimizer, size and candidate, with the ratio to the time that its memory traffic needs.

    The bandwidth is measured in turns with the updates; the best way counts. On a CPU its vectors take as much memory
    as the update's, so that the cache holds as little of them; on a GPU they are far larger than the cache. Rounds are
    many and short: what others on a shared machine take of the memory's bandwidth changes within milliseconds.
    """
    effort = replace(effort, rounds=5 * effort.rounds, seconds=effort.seconds / 5)
    for name in names:
        for size in sizes:
            candidates: dict[str, Any] = {f"gdnet {b}": GdnetUpdate(name, size, found) for b, found in backends.items()}
            for peer in peers:
                if peer == "torch.compile":
                    continue  # its optimizer is torch's
                with contextlib.suppress(Unavailable):  # it has no optimizer of its own, or not here
                    candidates[peer] = load_peer(peer, "Update")(name, size, OPTIMIZERS[name][1], device)
            if kind_of(device) == "cpu":
                limits = bandwidth_candidates(ARRAYS[name] * size // 2)
            else:
                limits = device_bandwidth_candidates(next(iter(backends.values())), max(size, DEVICE_NUMBERS))
            times = race({**{way: call for way, (_, call) in limits.items()}, **candidates}, effort)
            speeds = {way: count / times[way].best for way, (count, _) in limits.items()}
            traffic, best = PASSES[name] * 4 * size, max(speeds.values())
            for candidate in candidates:
                yield {
                    "optimizer": name,
                    "parameters": size,
                    "dtype": "float32",
                    "device": kind_of(device),
                    "candidate": candidate,
                    **times[candidate].row(),
                    "bytes": traffic,
                    "bandwidth": best,
                    "bandwidths": speeds,
                    "bound_seconds": traffic / best,
                    "over_bound": times[candidate].best * best / traffic,
                }

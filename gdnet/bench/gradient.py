"""Numerical gradient against backpropagation: seconds against the number of parameters, the batch and the device.

One forward pass takes F seconds. Backpropagation should take about 3 F whatever P is (one product forward, two back);
the textbook loop over elements, with central differences, 2 P F. Beside them stands gdnet's structured numerical
gradient, which takes the same quotients.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import gdnet as gd
from gdnet.backend import Backend
from gdnet.bench.candidates import kind_of, wait_for
from gdnet.bench.problems import Problem, sizes_text
from gdnet.bench.timing import Call, Effort, race
from gdnet.network.structured_gradient import numerical_gradient_of

H = 1e-4
TEXTBOOK = Problem((784, 50, 10), "sigmoid", 100, dtype="float64")
"""The network of the textbooks."""
STRUCTURED_LIMIT = 600.0
"""Where the loop would take more seconds than this, the structured numerical gradient is not run either."""


class Gradients:
    """One objective and the ways to its gradient."""

    def __init__(self, problem: Problem, backend: Backend) -> None:
        self.problem, self.backend = problem, backend
        net, (x, t) = problem.net(), problem.batches()[0]
        self.layout = net.layout()
        self.theta = backend.asarray(problem.theta())
        self.objective = gd.Objective(
            net, problem.loss(), backend.asarray(x), backend.asarray(t), backend=backend, layout=self.layout
        )

    def forward(self) -> Any:
        return self.objective(self.theta).value

    def gradient(self) -> Any:
        """Forward and backward."""
        return self.objective(self.theta).gradient

    def structured(self) -> np.ndarray:
        return self.backend.to_numpy(numerical_gradient_of(self.objective, self.theta, h=H))

    def textbook(self, entries: int) -> np.ndarray:
        """The loop over elements, for the first few of them."""
        host, b, found = self.backend.to_numpy(self.theta), self.backend, np.empty(entries)
        for i in range(entries):
            kept = host[i]
            host[i] = kept + H
            ahead = b.read(self.objective(b.asarray(host.copy())).value)
            host[i] = kept - H
            behind = b.read(self.objective(b.asarray(host.copy())).value)
            host[i] = kept
            found[i] = (ahead - behind) / (2 * H)
        return found


def passes(work: Gradients, effort: Effort) -> tuple[float, float]:
    """Seconds of one forward pass, and of forward and backward, each as one compiled call."""
    b, o = work.backend, work.objective

    def objective(theta: Any, x: Any, t: Any) -> Any:
        return gd.Objective(o.net, o.loss, x, t, backend=b, layout=o.layout)(theta)

    forward = b.compile(lambda theta, x, t: objective(theta, x, t).value)
    gradient = b.compile(lambda theta, x, t: objective(theta, x, t).gradient)
    last: list[Any] = [None]

    def run(function: Any) -> Any:
        def call() -> None:
            last[0] = function(work.theta, o.x, o.t)

        return Call(call, lambda: wait_for(b, last[0]))

    times = race({"forward": run(forward), "gradient": run(gradient)}, effort)
    return times["forward"].best, times["gradient"].best


def _timed(function: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    found = function()
    return time.perf_counter() - start, found


def against_numerical(
    problems: Sequence[Problem], backend: Backend, device: str, effort: Effort, sample: int
) -> Iterator[dict[str, Any]]:
    """One row a problem; beyond `sample` entries the textbook loop is extrapolated from that many, and marked."""
    for problem in problems:
        work = Gradients(problem, backend)
        forward, gradient = passes(work, effort)
        size, entries = problem.parameters, min(sample, problem.parameters)
        start = time.perf_counter()
        loop = work.textbook(entries)
        textbook = (time.perf_counter() - start) * size / entries
        structured, difference = None, None
        if textbook <= STRUCTURED_LIMIT:
            runs = [_timed(work.structured) for _ in range(2)]
            structured = min(seconds for seconds, _ in runs)
            difference = float(np.max(np.abs(runs[0][1][:entries] - loop)))
        eps = float(np.finfo(problem.dtype).eps)
        yield {
            **_row(problem, backend, device, forward, gradient),
            "textbook_seconds": textbook,
            "textbook_extrapolated_from": entries if entries < size else None,
            "textbook_theory_seconds": 2 * size * forward,
            "structured_seconds": structured,
            "largest_difference": difference,
            "rounding": 10 * eps * abs(backend.read(work.forward())) / H,
        }


def over_forward(cases: Sequence[Problem], backend: Backend, device: str, effort: Effort) -> Iterator[dict[str, Any]]:
    """Forward and backward over one forward pass for the named cases."""
    for problem in cases:
        forward, gradient = passes(Gradients(problem, backend), effort)
        yield {
            "case": problem.name,
            **_row(problem, backend, device, forward, gradient),
        }


def problems(largest: float, batches: Sequence[int]) -> list[Problem]:
    """64-H-10 with about 1e2, 1e3, ... parameters in float64."""
    found = []
    for batch in batches:
        for exponent in range(2, 8):
            if 10**exponent > largest:
                break
            hidden = max(1, round((10**exponent - 10) / 75))
            found.append(Problem((64, hidden, 10), "sigmoid", batch, dtype="float64"))
    return found


def _row(problem: Problem, backend: Backend, device: str, forward: float, gradient: float) -> dict[str, Any]:
    """What every row tells of the two passes."""
    return {
        "network": sizes_text(problem.sizes),
        "parameters": problem.parameters,
        "batch": problem.batch,
        "dtype": problem.dtype,
        "device": kind_of(device),
        "candidate": f"gdnet {backend.name}",
        "forward_seconds": forward,
        "seconds": gradient,
        "over_forward": gradient / forward,
        "theory_seconds": 3 * forward,
    }

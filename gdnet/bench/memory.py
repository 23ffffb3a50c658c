"""Peak memory of training, each candidate in a process of its own.

    python -m gdnet.bench.memory '{"sizes": [784, 50, 10], "backend": "numpy", ...}'

prints one JSON object. The bound is parameters + optimizer state + activations. What is counted begins when libraries
are loaded and the data stands in memory, and ends after some steps: the rise of the process's peak (`VmHWM` where
Linux lets it be set back, else `ru_maxrss`), for NumPy also the peak of `tracemalloc`, on a GPU the memory that it has
lost to the process. `peak_bytes` is the last of these after the first steps, which compile.
"""

import gc
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gdnet.bench.candidates import GdnetStep, kind_of
from gdnet.bench.problems import Problem, sizes_text

STATE = {"sgd": 0, "adam": 2}
"""Vectors of an optimizer's state."""
STEPS = 5


def bound(problem: Problem) -> int:
    """Bytes of parameters, optimizer state and activations."""
    return 4 * (problem.parameters * (1 + STATE[problem.optimizer]) + problem.activations)


def memory(problems: Sequence[Problem], backends: Sequence[str], device: str) -> Iterator[dict[str, Any]]:
    """One row a problem and backend."""
    for problem in problems:
        for name in backends:
            task = {"sizes": problem.sizes, "activation": problem.activation, "batch": problem.batch,
                    "optimizer": problem.optimizer, "device": device, "backend": name}  # fmt: skip
            ran = subprocess.run(
                [sys.executable, "-m", __name__, json.dumps(task)], capture_output=True, text=True, check=False
            )
            row = {"case": problem.name, "network": sizes_text(problem.sizes), "batch": problem.batch,
                   "optimizer": problem.optimizer, "parameters": problem.parameters, "device": kind_of(device),
                   "candidate": f"gdnet {name}", "bound_bytes": bound(problem)}  # fmt: skip
            if ran.returncode:
                yield {**row, "peak_bytes": None, "skipped": ran.stderr.strip().splitlines()[-1:]}
                continue
            found = json.loads(ran.stdout.strip().splitlines()[-1])
            peak = found["steady_bytes"] or found["device_bytes"] or found["resident_bytes"]
            yield {**row, **found, "peak_bytes": peak, "over_bound": peak / bound(problem)}


def measure(device: str, backend: str, **task: Any) -> dict[str, Any]:
    """In the child: the memory that some steps need at their worst."""
    problem = Problem(**{**task, "sizes": tuple(task["sizes"])})
    warm = GdnetStep(Problem((8, 8, 2), problem.activation, 8, problem.optimizer), _backend(device, backend))
    warm.run(3)  # libraries make their own buffers at the first call
    step = GdnetStep(problem, warm.backend)
    del step.theta, step.state
    free = device_free(device)
    settled = reset_peak()
    _train(step)
    resident, after = max(peak() - settled, 0), device_free(device)
    found = {"resident_bytes": resident, "traced_bytes": None, "steady_bytes": None,
             "device_bytes": None if free is None or after is None else free - after}  # fmt: skip
    return found | (_traced(GdnetStep(problem, warm.backend)) if warm.backend.name == "numpy" else {})


def _backend(device: str, backend: str) -> Any:
    from gdnet.backend import get_backend

    return get_backend(device, backend)


def _train(step: GdnetStep) -> None:
    step.reset()
    step.run(STEPS)
    del step.theta, step.state


def _traced(step: GdnetStep) -> dict[str, int]:
    """Bytes that NumPy holds at the worst moment of all steps, and of those after the first, which compile and check.

    Tracing slows the steps, so nothing is timed here.
    """
    import tracemalloc

    del step.theta, step.state
    tracemalloc.start()
    step.reset()
    step.run(STEPS)
    whole = tracemalloc.get_traced_memory()[1]
    gc.collect()  # what Python keeps of the compilation for later use
    tracemalloc.reset_peak()
    step.run(STEPS)
    steady = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"traced_bytes": whole, "steady_bytes": steady}


def peak() -> int:
    """The process's largest resident size so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        return _kib(status, "VmHWM")
    import resource

    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024


def reset_peak() -> int:
    """Forget the peak so far, where the system can; returns what stands in memory now, or else that peak."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _kib(Path("/proc/self/status"), "VmRSS")
    except OSError:
        return peak()


def _kib(status: Path, name: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def device_free(device: str) -> int | None:
    """Bytes that are free on a CUDA device, as its driver tells; libraries keep what they have once taken."""
    if kind_of(device) != "cuda":
        return None
    import importlib

    try:
        runtime = importlib.import_module("cupy").cuda.runtime
        return int(runtime.memGetInfo()[0])
    except Exception:  # without CuPy nobody is asked
        return None


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))

"""Calls a step: NumPy calls of the compiled program, nodes of a CUDA graph, kernels of JAX's executable."""

import ast
import ctypes
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gdnet.backend import Backend
from gdnet.backend.numpy.compiler.trace import Tape
from gdnet.backend.tree import flatten, unflatten
from gdnet.bench.candidates import GdnetStep, kind_of
from gdnet.bench.problems import Problem, sizes_text


def operations(problems: Sequence[Problem], backends: dict[str, Backend], device: str) -> Iterator[dict[str, Any]]:
    """One row a problem and backend that can be counted."""
    for problem in problems:
        for name, backend in backends.items():
            if name not in COUNTERS:
                continue
            step = GdnetStep(problem, backend)
            step.run(4)
            count, unit = COUNTERS[name](step)
            row = {"case": problem.name, "network": sizes_text(problem.sizes), "batch": problem.batch,
                   "optimizer": problem.optimizer, "device": kind_of(device), "candidate": f"gdnet {name}",
                   "operations": count, "unit": unit}  # fmt: skip
            yield row | ({"eager_operations": numpy_calls_eager(step)} if name == "numpy" else {})


def numpy_calls(step: GdnetStep) -> tuple[int | None, str]:
    """Calls in the program of the compiled step; None where the step could not be written down."""
    programs = [p for p in step.step.programs.values() if p is not None]
    count = sum(isinstance(node, ast.Call) for node in ast.walk(ast.parse(programs[0].source))) if programs else None
    return count, "NumPy calls"


def numpy_calls_eager(step: GdnetStep) -> int:
    """NumPy calls of the step as it is written, before the program leaves some out."""
    tape = Tape()
    leaves, form = flatten((step.theta, step.state, *step.batches[0]))
    step.step.step(*unflatten(form, iter([tape.input(leaf) for leaf in leaves])))
    return len(tape.calls)


def jax_kernels(step: GdnetStep) -> tuple[int, str]:
    """Instructions of the executable's entry that run: fusions, products, calls, copies."""
    text = step.step.lower(step.theta, step.state, *step.batches[0]).compile().as_text()
    entry = text[text.index("ENTRY") :].split("\n}")[0]
    names = re.findall(r" = \S+ (?:/\*.*?\*/)?([a-z-]+)\(", entry)
    idle = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast"}
    return sum(name not in idle for name in names), "XLA kernels"


def cuda_nodes(step: GdnetStep) -> tuple[int | None, str]:
    """Nodes of the captured graph, which is one launch; None where the step runs eagerly."""
    captured = getattr(step.step, "captured", None)
    if captured is None:
        return None, "kernels in one graph"
    graph = captured.sides[0].launch.__self__.graph
    count = ctypes.c_size_t(0)
    status = ctypes.CDLL("libcuda.so.1").cuGraphGetNodes(ctypes.c_void_p(int(graph)), None, ctypes.byref(count))
    return (None if status else count.value), "kernels in one graph"


COUNTERS: dict[str, Callable[[GdnetStep], tuple[int | None, str]]] = {
    "numpy": numpy_calls,
    "jax": jax_kernels,
    "cupy": cuda_nodes,
}
"""How to count on each backend; a backend that is missing here has no row."""

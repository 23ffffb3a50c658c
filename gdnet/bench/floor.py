"""The limits: a step's matrix products alone, and the bandwidth of the memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from gdnet.backend import Backend
from gdnet.bench.candidates import wait_for
from gdnet.bench.environment import usable_cores
from gdnet.bench.problems import Problem
from gdnet.bench.timing import Call


class Products:
    """The matrix products of a step: x W, xᵀ dz, and dz Wᵀ for all layers but the first.

    NumPy and PyTorch write them into arrays made beforehand; other libraries do all of them in one compiled call.
    """

    def __init__(self, problem: Problem, backend: Backend, product: Callable | None = None) -> None:
        rng = np.random.default_rng(0)

        def array(*shape: int) -> Any:
            return backend.asarray(rng.standard_normal(shape, dtype=np.float32), problem.dtype)

        self.backend = backend
        x = array(problem.batch, problem.sizes[0])
        forward, backward = [], []
        for i, (n_in, n_out) in enumerate(pairwise(problem.sizes)):
            W, dz = array(n_in, n_out), array(problem.batch, n_out)
            forward.append((x, W, array(problem.batch, n_out)))
            backward.append((x.T, dz, array(n_in, n_out)))
            if i:
                backward.append((dz, W.T, array(problem.batch, n_in)))
            x = forward[-1][2]
        self.work = forward + backward[::-1]
        self.product: Any = product or (np.matmul if backend.name == "numpy" else backend.matmul)
        self.compiled: Any = None
        if backend.name not in ("numpy", "torch"):
            pairs = tuple([(a, b) for a, b, _ in self.work])
            # JAX leaves out what is not given back; a CUDA graph does all of it, but copies what it gives back, so
            # there it is the network's output alone.
            given = slice(None) if backend.name == "jax" else slice(len(forward) - 1, len(forward))
            step = backend.compile(lambda *arrays: tuple([backend.matmul(a, b) for a, b in arrays][given]))
            self.compiled = partial(step, *pairs)

    def reset(self) -> None:
        pass

    def run(self, steps: int) -> None:
        last: Any = None
        if self.compiled is not None:
            for _ in range(steps):
                last = self.compiled()[-1]
        else:
            product, work = self.product, self.work
            for _ in range(steps):
                for a, b, out in work:
                    product(a, b, out=out)
        wait_for(self.backend, last)


def bandwidth_candidates(size: int) -> dict[str, tuple[int, Call]]:
    """Ways to move memory as fast as this processor can: name -> (bytes that a call asks for, candidate).

    A copy reads one array and writes another; a triad, a += b, reads two and writes one. Each on one core and on all.
    """
    a, b, c = (np.full(size, number, np.float32) for number in (1.0, 1e-3, 0.0))
    cores = usable_cores()
    parts = [slice(k * size // cores, (k + 1) * size // cores) for k in range(cores)]
    pool = ThreadPoolExecutor(cores)

    def copy(part: slice) -> None:
        np.copyto(c[part], a[part])

    def triad(part: slice) -> None:
        np.add(a[part], b[part], out=a[part])

    def on_all(function: Callable[[slice], None]) -> Call:
        return Call(lambda: list(pool.map(function, parts)))

    whole = slice(None)
    return {
        "copy, one core": (2 * a.nbytes, Call(lambda: copy(whole))),
        "copy, all cores": (2 * a.nbytes, on_all(copy)),
        "triad, one core": (3 * a.nbytes, Call(lambda: triad(whole))),
        "triad, all cores": (3 * a.nbytes, on_all(triad)),
    }


def device_bandwidth_candidates(backend: Backend, size: int) -> dict[str, tuple[int, Call]]:
    """The same for a device's own memory: a sum of two large arrays."""
    a, b = (backend.asarray(np.ones(size, np.float32)) for _ in range(2))
    last: list[Any] = [None]

    def run() -> None:
        last[0] = a + b

    return {"triad, device": (3 * 4 * size, Call(run, lambda: wait_for(backend, last[0])))}

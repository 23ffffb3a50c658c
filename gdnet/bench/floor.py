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

    They are written into arrays made beforehand, one by one on a CPU and as one CUDA graph on a GPU; JAX, which writes
    into no array, does all of them in one compiled call.
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
        self.once = self._compiled()

    def _written(self) -> tuple[()]:
        product = self.product
        for a, b, out in self.work:
            product(a, b, out=out)
        return ()

    def _compiled(self) -> Callable[[], Any]:
        """One step's products, as fast as the library can do them."""
        name = self.backend.name
        if name == "cupy":  # a graph of a step without arguments and results copies nothing
            return self.backend.compile(self._written)
        if name == "torch" and "cuda" in str(self.backend.device):
            from gdnet.bench.peers.torch_peer import graphed

            return graphed(self._written, self.backend.device)
        if name in ("numpy", "torch"):
            return self._written
        pairs, matmul = tuple([(a, b) for a, b, _ in self.work]), self.backend.matmul
        # All is given back: JAX leaves out what is not.
        return partial(self.backend.compile(lambda *arrays: tuple([matmul(a, b) for a, b in arrays])), *pairs)

    def reset(self) -> None:
        pass

    def run(self, steps: int) -> None:
        once, found = self.once, ()
        for _ in range(steps):
            found = once()
        wait_for(self.backend, found[-1] if found else None)


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


DEVICE_NUMBERS = 1 << 28
"""Numbers in each array whose movement is timed on a GPU: 1 GiB, far more than any GPU's L2 cache (50 to 130 MB)."""


def device_bandwidth_candidates(backend: Backend, size: int = DEVICE_NUMBERS) -> dict[str, tuple[int, Call]]:
    """The same for a device's own memory: a copy, where arrays can be written, and a triad."""
    a, b = (backend.asarray(np.full(size, number, np.float32)) for number in (1.0, 1e-3))
    last: list[Any] = [a]

    def copy() -> None:
        a[...] = b

    def triad() -> None:
        moved = a
        if backend.mutable:
            moved += b
        else:
            last[0] = moved + b

    def wait() -> None:
        wait_for(backend, last[0])

    ways = {"triad, device": (3 * 4 * size, Call(triad, wait))}
    return ways | ({"copy, device": (2 * 4 * size, Call(copy, wait))} if backend.mutable else {})

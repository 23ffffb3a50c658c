"""Chains of elementwise operations on arrays of one shape, in one pass over memory.

Ten NumPy calls read and write whole arrays ten times. A chain runs all of them on one part of the arrays after the
other, so that what lies between them stays in the cache: by the compiled loops of `chain.c` where the package was
installed with a C compiler, else by NumPy's own functions on larger parts. Either way every operation is the one that
NumPy does, so the results are the same bit for bit.
"""

import functools
import itertools
import math
import os
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

compiled: Any
try:
    from gdnet.backend.numpy.compiler import _chain as compiled

    compiled.WHOLE  # noqa: B018 (missing where it was built from an older chain.c)
except (ImportError, AttributeError):  # installed without a C compiler
    compiled = None


def add_scaled(a: Any, b: Any, c: Any, out: Any) -> None:
    """c + a b for a number b, rounded twice as the two operations are."""
    np.add(c, a * b, out=out)


def subtract_scaled(a: Any, b: Any, c: Any, out: Any) -> None:
    """c - a b for a number b."""
    np.subtract(c, a * b, out=out)


def spread_row(a: Any, out: Any) -> None:
    """The vector a at every row of a matrix."""
    np.copyto(out, a)


def spread_column(a: Any, out: Any) -> None:
    """A number a row along the columns of a matrix."""
    np.copyto(out, a)


_IN_ORDER: tuple[Any, ...] = (
    np.add, np.subtract, np.multiply, np.true_divide, np.maximum, np.minimum, np.greater, np.greater_equal, np.less,
    np.less_equal, np.sqrt, np.negative, np.absolute, add_scaled, subtract_scaled, spread_row, spread_column,
)  # fmt: skip
OPERATIONS: dict[Any, int] = {function: code for code, function in enumerate(_IN_ORDER)}
"""What may stand in a chain, by the number that `chain.c` knows it under. Comparisons give 1 and 0."""
_AS_C = (  # in the same order, without the last two
    "{} + {}", "{} - {}", "{} * {}", "{} / {}", "{0} >= {1} || {0} != {0} ? {0} : {1}",
    "{0} <= {1} || {0} != {0} ? {0} : {1}", "{} > {} ? (T)1 : (T)0", "{} >= {} ? (T)1 : (T)0", "{} < {} ? (T)1 : (T)0",
    "{} <= {} ? (T)1 : (T)0", "SQRT({})", "-{}", "ABS({})", "{2} + {0} * {1}", "{2} - {0} * {1}",
)  # fmt: skip
BYTES = 5
"""Bytes of one operation in the code of a chain: operation, result, and three operands, the last one repeated."""
ROOMS, SPREADS = 6, 2
"""Scratch arrays of a chain: 6 for intermediate results, 2 more for operands that are spread over rows or columns."""

BLOCK = 1 << 16
"""Elements of one part where NumPy's functions do the work: few enough that the parts of all arrays stay in the cache
from the first call to the last, so many that the interpreter's share, ten calls a part, is small."""
PARALLEL = 1 << 20
"""Elements from which on a chain is shared by the cores; below, handing work over costs more than it saves."""


def pays(shape: tuple[int, ...]) -> bool:
    """Whether a chain on arrays of this shape is faster than its calls."""
    return math.prod(shape) > (0 if compiled is not None else BLOCK)


def shortest() -> int:
    """From how many calls on a chain is faster; a compiled one does single calls as fast as NumPy or faster."""
    return 1 if compiled is not None else 2


def scaled(function: Any, place: int) -> Any:
    """The one operation for a product with a number that is then the operand at this place of `function`, if any."""
    if compiled is None:
        return None
    return {(np.add, 0): add_scaled, (np.add, 1): add_scaled, (np.subtract, 1): subtract_scaled}.get((function, place))


def spread(shape: tuple[int, ...], over: tuple[int, ...]) -> Any:
    """The operation that spreads an array of this shape over a matrix, if there is one and it is compiled."""
    if compiled is None or len(over) != 2 or math.prod(over) == 0:
        return None
    return {(over[1],): spread_row, (1, over[1]): spread_row, (over[0], 1): spread_column}.get(shape)


class Formula(NamedTuple):
    """A chain as C: what it does to one element of the operands X, with the numbers N, to give the results Y."""

    text: str
    arrays: list[int]
    numbers: list[int]
    results: list[int]
    """The places that X, N and Y stand for."""

    @property
    def order(self) -> bytes:
        return bytes(self.arrays + self.numbers + self.results)


def formula(calls: Sequence[tuple[int, ...]], n_places: int, numbers: Collection[int]) -> Formula | None:
    """What a chain does, in the same words for all that make the same calls; None if it spreads rows or columns."""
    if any(call[0] >= len(_AS_C) for call in calls):
        return None
    inputs: dict[str, list[int]] = {"X": [], "N": []}
    name: dict[int, str] = {}  # what stands at a place at this point
    lines = []
    for k, (operation, result, *operands) in enumerate(calls):
        for place in operands:
            if place not in name:
                kind = "N" if place in numbers else "X"
                name[place] = f"{kind}({len(inputs[kind])})"
                inputs[kind].append(place)
        lines.append(f"const T r{k} = {_AS_C[operation].format(*(name[place] for place in operands))};")
        name[result] = f"r{k}"
    results = list(dict.fromkeys(call[1] for call in calls if call[1] < n_places))
    lines += [f"Y({j}) = {name[place]};" for j, place in enumerate(results)]
    return Formula(" ".join(lines), inputs["X"], inputs["N"], results)


class ChainKernel:
    """`kernel(*places)` makes calls `(operation, result, *operands)` on arrays and numbers.

    A number below `n_places` is a place, the others are rooms for results that stay inside. At the places `numbers`
    stand single numbers.
    """

    def __init__(
        self, calls: Sequence[tuple[int, ...]], n_places: int, shape: tuple[int, ...], dtype: Any,
        numbers: Collection[int] = (),
    ) -> None:  # fmt: skip
        self.calls, self.dtype = calls, dtype
        self.shape, self.size = shape, math.prod(shape)
        self.code = b"".join(bytes([*call, *call[-1:] * (BYTES - len(call))]) for call in calls)
        self.rooms = max([0, *(max(call[1:]) + 1 - n_places for call in calls)])
        self.formula = formula(calls, n_places, numbers)
        self.loops = self._compiled()

    def _compiled(self) -> Callable | None:
        """`loops(places, start, stop, size)`: the whole chain as one loop if there is one, else a loop an operation."""
        if compiled is None:
            return None
        if self.formula is not None and self.formula.text in compiled.WHOLE:
            return partial(compiled.run_whole, compiled.WHOLE.index(self.formula.text), self.formula.order)
        return partial(compiled.run, self.code, self.rooms)

    def __call__(self, *places: Any) -> None:
        if self.loops is not None:
            try:
                if self.size < PARALLEL:
                    return self.loops(places, 0, self.size, self.size)
                return on_all_cores(self._part(self.loops, places), self.size)
            except BufferError:  # an argument that is not contiguous, or overlaps a result in part
                pass
        if all(a.flags.c_contiguous and a.size == self.size for a in places if np.ndim(a)) and not _overlap(places):
            flat = [a.reshape(-1) if np.ndim(a) else a for a in places]
            return on_all_cores(lambda start, stop: self._in_blocks(flat, start, stop), self.size)
        return self._run([*places, *(np.empty(self.shape, self.dtype) for _ in range(self.rooms))])

    def _part(self, loops: Callable, places: tuple) -> Callable[[int, int], None]:
        return lambda start, stop: loops(places, start, stop, self.size)

    def _in_blocks(self, places: Sequence[Any], start: int, stop: int) -> None:
        rooms = np.empty((self.rooms, min(BLOCK, stop - start)), self.dtype)
        for low in range(start, stop, BLOCK):
            part = slice(low, min(low + BLOCK, stop))
            self._run([*(a[part] if np.ndim(a) else a for a in places), *rooms[:, : part.stop - low]])

    def _run(self, places: Sequence[Any]) -> None:
        for operation, result, *operands in self.calls:
            _IN_ORDER[operation](*[places[k] for k in operands], out=places[result])


def _overlap(places: Sequence[Any]) -> bool:
    """Whether some arrays share memory without being the same: then a part would change what the next one reads."""
    arrays = [a for a in places if isinstance(a, np.ndarray)]
    return any(
        np.may_share_memory(a, b) and (a.ctypes.data, a.nbytes) != (b.ctypes.data, b.nbytes)
        for a, b in itertools.combinations(arrays, 2)
    )


@functools.cache
def _workers() -> tuple[Any, int]:
    """The threads that help, and into how many parts work is cut; `OMP_NUM_THREADS` bounds them as it does BLAS."""
    from concurrent.futures import ThreadPoolExecutor

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # a list holds a number a nesting level
    parts = max(1, min(cores, int(wanted) if wanted.isdigit() else cores))
    return (ThreadPoolExecutor(parts - 1, "gdnet") if parts > 1 else None), parts


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)  # a child has none of its parent's threads


def on_all_cores(work: Callable[[int, int], None], size: int) -> None:
    """`work(start, stop)` for parts that make up 0..size, each of whole blocks, at the same time where it pays."""
    pool, parts = _workers() if size >= PARALLEL else (None, 1)
    if pool is None:
        return work(0, size)
    step = -(-size // (parts * BLOCK)) * BLOCK
    handed = [pool.submit(work, start, min(start + step, size)) for start in range(step, size, step)]
    work(0, min(step, size))
    for part in handed:
        part.result()
    return None

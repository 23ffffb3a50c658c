"""Chains of elementwise operations: NumPy's results bit for bit, in C and without it; buffers that never collide."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from gdnet.backend import get_backend
from gdnet.backend.numpy.compiler import chain
from gdnet.backend.numpy.compiler.chain import (
    BLOCK,
    OPERATIONS,
    PARALLEL,
    ChainKernel,
    add_scaled,
    spread_column,
    spread_row,
    subtract_scaled,
)
from gdnet.backend.numpy.compiler.program import ALIGNED, Arena

RNG = np.random.default_rng(0)
SPECIAL = [0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-42, -1e-42, 3e38, 1e-30]
UFUNCS = [function for function in OPERATIONS if isinstance(function, np.ufunc)]


@pytest.fixture(params=["chain.c", "numpy"])
def way(request, monkeypatch):
    """With the compiled loops, and as where they could not be built."""
    if request.param == "numpy":
        monkeypatch.setattr(chain, "compiled", None)
    return request.param


def test_the_compiled_loops_are_there(request):
    assert chain.compiled is not None or not request.config.getoption("--require-all")


def bits(a):
    return np.where(np.isnan(a), np.asarray(np.nan, a.dtype), a + 0.0)  # NaNs have many forms, zeros two


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", UFUNCS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("kinds", ["aa", "an", "na"])
def test_every_operation_is_numpys(function, kinds, dtype, way):
    pairs = [(x, y) for x in SPECIAL for y in SPECIAL]
    x, y = (np.concatenate([np.asarray(v, dtype), RNG.standard_normal(3000).astype(dtype)]) for v in zip(*pairs))
    for number in SPECIAL:
        a = np.asarray(number, dtype) if kinds[0] == "n" else x
        b = np.asarray(number, dtype) if kinds[1] == "n" else y
        if function.nin == 1 and kinds != "aa":
            continue
        with np.errstate(all="ignore"):
            expected = function(*(a, b)[: function.nin]).astype(dtype)
            found = np.full(x.shape, 7.0, dtype)
            call = (OPERATIONS[function], 2, 0, 1)[: 2 + function.nin]
            ChainKernel([call], 3, x.shape, x.dtype)(a, b, found)
        np.testing.assert_array_equal(bits(found), bits(expected))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["add", "subtract"])
def test_a_scaled_operand_is_rounded_twice(name, dtype, way):
    a, c = RNG.standard_normal((2, 5000)).astype(dtype)
    b, out = np.asarray(0.1, dtype), np.empty_like(a)
    operation = {"add": add_scaled, "subtract": subtract_scaled}[name]
    ChainKernel([(OPERATIONS[operation], 3, 0, 1, 2)], 4, a.shape, a.dtype)(a, b, c, out)
    np.testing.assert_array_equal(out, getattr(np, name)(c, a * b))


MULTIPLY, ADD, SQRT, ROW, COLUMN = (OPERATIONS[f] for f in (np.multiply, np.add, np.sqrt, spread_row, spread_column))
SCALED = OPERATIONS[add_scaled]


@pytest.mark.parametrize("size", [1, 3, 1023, 1024, 1025, BLOCK + 1, PARALLEL, PARALLEL + 12345])
def test_a_chain_with_rooms_covers_every_element(size, way):
    x, y = RNG.random((2, size))
    out, half = np.empty(size), np.asarray(0.5)
    # places: 0 x, 1 half, 2 y, 3 out; rooms: 4, 5
    calls = [(MULTIPLY, 4, 0, 0), (MULTIPLY, 5, 1, 2), (ADD, 4, 4, 5), (SQRT, 3, 4), (MULTIPLY, 0, 0, 1)]
    expected, scaled = np.sqrt(x * x + 0.5 * y), x * 0.5
    ChainKernel(calls, 4, x.shape, x.dtype)(x, half, y, out)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(x, scaled)  # written in place after it was read


FORKED = """
import os
import numpy as np
from gdnet.backend.numpy.compiler.chain import OPERATIONS, PARALLEL, ChainKernel

x = np.ones(PARALLEL)
double = ChainKernel([(OPERATIONS[np.add], 0, 0, 0)], 1, x.shape, x.dtype)
double(x)
child = os.fork()
double(x)
if not child:
    os._exit(0 if (x == 4.0).all() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(
    ("value", "parts"), [("1", 1), ("1,1", 1), ("", None), ("auto", None), ("0", 1), ("9999", None)]
)
def test_the_number_of_threads_is_read_as_openmp_writes_it(value, parts, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    chain._workers.cache_clear()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert chain._workers()[1] == (cores if parts is None else parts)
    chain._workers.cache_clear()


@pytest.mark.parametrize("parts", range(1, 65))
@pytest.mark.parametrize("size", [PARALLEL, PARALLEL + 17, 3_000_001, 64 * BLOCK, 64 * BLOCK + 1])
def test_parts_cover_everything_once(parts, size, monkeypatch):
    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(chain, "_workers", lambda: (pool, parts))
        seen = []
        chain.on_all_cores(lambda start, stop: seen.append((start, stop)), size)
    seen.sort()
    assert [seen[0][0], seen[-1][1]] == [0, size]
    assert all(stop == start for (_, stop), (start, _) in pairwise(seen))
    assert len(seen) <= parts
    assert all(start % BLOCK == 0 for start, _ in seen)


def test_an_error_in_a_part_is_told(monkeypatch):
    def work(start, stop):
        if start:
            raise FloatingPointError("in a part")

    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(chain, "_workers", lambda: (pool, 3))
        with pytest.raises(FloatingPointError):
            chain.on_all_cores(work, PARALLEL)


@pytest.mark.parametrize("parts", [2, 3, 5])
@pytest.mark.parametrize("size", [PARALLEL - 1, PARALLEL, PARALLEL + 12345])
def test_several_threads_give_the_same_bits(size, parts, way, monkeypatch):
    x, y = RNG.random((2, size))
    out = np.empty(size)
    calls = [(MULTIPLY, 3, 0, 0), (ADD, 3, 3, 1), (SQRT, 2, 3)]
    threads = set()

    def run(self, places):
        threads.add(threading.get_ident())
        for operation, result, *operands in self.calls:
            chain._IN_ORDER[operation](*[places[k] for k in operands], out=places[result])

    if way == "numpy":
        monkeypatch.setattr(ChainKernel, "_run", run)
    with ThreadPoolExecutor(parts - 1) as pool:
        monkeypatch.setattr(chain, "_workers", lambda: (pool, parts))
        ChainKernel(calls, 3, x.shape, x.dtype)(x, y, out)
    np.testing.assert_array_equal(out, np.sqrt(x * x + y))
    if way == "numpy":
        assert (len(threads) > 1) == (size >= PARALLEL)


FORKED_WITHIN = """
import os, threading
import numpy as np
from gdnet.backend import get_backend

entered, leave = threading.Event(), threading.Event()
wait = []

def step(x):
    if wait:
        entered.set()
        leave.wait()
    return (x * 2.0,)

compiled = get_backend().compile(step)
wait.append(True)
thread = threading.Thread(target=compiled, args=(np.ones(3),))
thread.start()
entered.wait()
wait.clear()
child = os.fork()  # while the thread is within the step, and holds its lock
if not child:
    os._exit(0 if (compiled(np.ones(3))[0] == 2.0).all() else 1)
leave.set()
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_child_forked_while_a_thread_is_within_a_step_may_call_it():
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED_WITHIN], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout == "0\n", ran.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_forked_child_has_threads_of_its_own():
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    assert ran.stdout == "0\n", ran.stderr


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 700), (1023, 3), (40, 1024), (1025, 1100)])
def test_rows_and_columns_are_spread(shape, way):
    n, k = shape
    x, row, column = RNG.random(shape), RNG.random(k), RNG.random((n, 1))
    out = np.empty(shape)
    # places: 0 x, 1 row, 2 column, 3 out; rooms: 4, 5
    calls = [(ROW, 4, 1), (COLUMN, 5, 2), (ADD, 4, 0, 4), (MULTIPLY, 3, 4, 5)]
    ChainKernel(calls, 4, shape, x.dtype)(x, row, column, out)
    np.testing.assert_array_equal(out, (x + row) * column)
    ChainKernel(calls, 4, shape, x.dtype)(np.asfortranarray(x), row, np.repeat(column, 2, axis=1)[:, :1], out)
    np.testing.assert_array_equal(out, (x + row) * column)


@pytest.mark.parametrize("order", ["transposed", "strided"])
def test_arrays_that_are_not_contiguous_are_taken_too(order, way):
    x = RNG.random((40, 30)).T if order == "transposed" else RNG.random((30, 80))[:, ::2]
    y, out = RNG.random((30, 40)), np.empty((30, 40))
    ChainKernel([(MULTIPLY, 3, 0, 1), (ADD, 2, 3, 1)], 3, x.shape, x.dtype)(x, y, out)
    np.testing.assert_array_equal(out, x * y + y)


@pytest.mark.parametrize(
    ("code", "arrays", "rooms"),
    [
        (bytes([99, 0, 0, 0, 0]), (np.ones(4),), 0),
        (bytes([0, 0, 0, 5, 5]), (np.ones(4),), 0),
        (bytes([0, 0, 0]), (np.ones(4),), 0),
        (bytes([0, 0, 0, 0, 0]), (), 0),
        (bytes([0, 0, 0, 0, 0]), (np.ones(4),), 1000),
        (bytes([0, 0, 0, 1, 1]), (np.ones(4), np.ones(4, np.float32)), 0),
        (bytes([0, 0, 0, 0, 0]), (np.ones(4, np.int64),), 0),
        (bytes([0, 0, 0, 0, 0]), (np.ones(3),), 0),
        (bytes([0, 0, 0, 0, 0]), (np.ones(4, ">f8"),), 0),
        (bytes([0, 0, 1, 1, 1]), (np.asarray(1.0), np.ones(4)), 0),
        (bytes([OPERATIONS[np.sqrt], 0, 1, 1, 1]), (np.ones(4), np.asarray(1.0)), 0),
        (bytes([0, 0, 1, 1, 1]), (np.ones(4), np.asarray(1.0)), 0),
        (bytes([SCALED, 0, 0, 0, 0]), (np.ones(4),), 0),
        (bytes([SCALED, 0, 1, 1, 0]), (np.ones(4), np.asarray(1.0)), 0),
        (bytes([ROW, 0, 1, 1, 1]), (np.ones(4), np.ones(3)), 0),
        (bytes([ROW, 0, 1, 1, 1]), (np.ones(4), np.ones(0)), 0),
        (bytes([ROW, 1, 1, 1, 1]), (np.ones(4),), 1),
        (bytes([0, 0, 1, 1, 1]), (np.ones(4), np.ones(2)), 0),
    ],
    ids=[
        "operation",
        "operand",
        "cut",
        "nothing",
        "rooms",
        "mixed",
        "integers",
        "short",
        "byte order",
        "number written",
        "root of a number",
        "sum of numbers",
        "scaled by a vector",
        "scaled number",
        "wide row",
        "empty row",
        "spread room",
        "row as a whole",
    ],
)
def test_what_the_compiled_loops_cannot_do_is_refused(code, arrays, rooms):
    before = [a.copy() for a in arrays]
    with pytest.raises((ValueError, BufferError), match=r"of different types|does not exist|too many"):
        chain.compiled.run(code, rooms, arrays, 0, 4, 4)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)
    fixed = np.ones(4)
    fixed.flags.writeable = False
    with pytest.raises(BufferError):
        chain.compiled.run(bytes([0, 0, 0, 0, 0]), 0, (fixed,), 0, 4, 4)


def compiled(step, *args):
    """The source of the program that has taken the place of the step; its results are the step's."""
    program = get_backend().compile(step, strict=True)
    for _ in range(4):
        expected, found = step(*args), program(*args)
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_array_equal(a, b)
    (found,) = program.programs.values()
    assert found.checks_left == 0
    return found.source


def test_a_chain_is_cut_where_something_between_needs_it_or_spoils_it():
    def needed(x):
        a = x * 2.0 + 1.0
        total = np.sum(a)
        return (a * total + x,)

    def spoiled(x):
        y = np.empty_like(x)
        head = y[:2]
        head[...] = x[:2] + x[2:4]
        y[2:] = 3.0
        a = y * 2.0
        a = a + x
        head[...] = x[:2] - x[2:4]
        return a, y * 2.0

    x = RNG.random(6)
    assert compiled(needed, x).count("chain_") == 2
    compiled(spoiled, x)


def test_a_row_that_is_still_read_is_not_written_over():
    def first(x, w):
        y = x @ w
        z = y - y[0]
        return z * z @ w.T, np.sum(z)

    def last(x, w):
        y = x @ w
        z = y - y[-1]
        return (z * z @ w.T,)

    x, w = RNG.random((640, 8)), RNG.random((8, 32))
    assert compiled(first, x, w).count("chain_") == 1
    assert compiled(last, x, w).count("chain_") == 1


def test_numbers_between_the_links_come_before_the_chain():
    def step(x, rate):
        a = x * rate
        rate = rate / (rate + 1.0)
        return a + rate * x, rate

    source = compiled(step, RNG.random(6), np.asarray(0.3))
    assert source.count("chain_") == 1


def test_more_results_than_rooms():
    def step(x):
        parts = [x * float(k) for k in range(1, 12)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part * part
        return (total,)

    compiled(step, RNG.random(2000))


def test_links_of_several_shapes_are_kept_apart():
    def step(x, y):
        a, b = x * 2.0, y * 3.0
        a, b = a + 1.0, b - 1.0
        return a, b, (a @ b) * 2.0 + 1.0

    assert compiled(step, RNG.random((4, 3)), RNG.random((3, 5))).count("chain_") == 3


def test_products_with_numbers_join_the_sum_that_they_go_into():
    def step(x, y, rate):
        a, b = x * 0.9, rate * y
        c = a + y  # joined
        d = x - b  # joined
        e = x * 0.5
        return c, d, e + y, e - y, y * rate - x, (x * 2.0) * (y + 1.0) - 3.0 * (x * rate)

    x, y = RNG.standard_normal((2, 2000))
    source = compiled(step, x, y, np.asarray(0.1))
    assert source.count("add_scaled") == 1
    assert source.count("subtract_scaled") == 2
    assert source.count("chain_") == 1


def test_rows_and_columns_join_a_chain():
    def step(x, b, w):
        y = x @ w + b
        shifted = np.maximum(y, 0.0) - np.max(y, axis=-1, keepdims=True)
        return shifted * b, shifted / np.sum(shifted, axis=-1, keepdims=True) + b * b[0]

    source = compiled(step, RNG.random((6, 4)), RNG.random(3), RNG.random((4, 3)))
    assert source.count("chain_") == 4  # the largest and the sum of a row are needed in between; b * b[0] is a row


def test_more_rows_than_a_chain_can_spread():
    def step(x, rows):
        for k in range(12):
            x = x * rows[k] + rows[11 - k]
        return (x,)

    compiled(step, RNG.random((50, 30)), RNG.random((12, 30)))


def test_truth_values_wanted_as_numbers_are_made_as_numbers():
    source = compiled(lambda x, dy: ((dy * (x > 0.0).astype(x.dtype)) + 1.0,), RNG.standard_normal(50), RNG.random(50))
    assert source.count("chain_") == 1
    assert "astype" not in source


def test_the_memory_of_a_rehearsal_is_enough():
    orders = [(int(RNG.integers(1, 5000)), float(RNG.random())) for _ in range(2000)]

    def play(arena):
        held, pieces = [], []
        for size, chance in orders:
            if held and chance < 0.48:
                arena.give(held.pop(int(chance * 1000) % len(held)))
            else:
                held.append(arena.take(size))
                pieces.append(held[-1])
        return pieces

    rehearsal = Arena(sum(size + ALIGNED for size, _ in orders))
    assert play(rehearsal) == play(Arena(rehearsal.peak))


def test_buffers_in_use_never_share_memory():
    arena, held, total = Arena(1 << 20), [], 0
    for _ in range(3000):
        if held and (total > 600_000 or RNG.random() < 0.45):
            piece, array, mark = held.pop(RNG.integers(len(held)))
            assert (array == mark).all()
            total -= array.nbytes
            arena.give(piece)
            continue
        shape = tuple(int(k) for k in RNG.integers(1, 90, 2))
        dtype = np.dtype(RNG.choice(["float32", "float64", "bool"]))
        piece = arena.take(int(np.prod(shape)) * dtype.itemsize)
        array = arena.array(piece, shape, dtype)
        array[...] = mark = dtype.type(RNG.integers(0, 2) if dtype.kind == "b" else RNG.integers(1, 10**6))
        assert array.ctypes.data % ALIGNED == 0
        held.append((piece, array, mark))
        total += array.nbytes
    for piece, array, mark in held:
        assert (array == mark).all()
        arena.give(piece)
    assert arena.free == [(0, 1 << 20)]
    assert arena.peak <= 1 << 20

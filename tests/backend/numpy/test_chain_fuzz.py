"""Byte code and arrays at random: what `chain.c` takes, it does as NumPy would; what it refuses, it leaves untouched.

Every array stands between guards that must keep their values. `GDNET_FUZZ=100000` makes that many cases, for a build
with -fsanitize=address,undefined.
"""

import os

import numpy as np
import pytest

from gdnet.backend.numpy.compiler import chain
from gdnet.backend.numpy.compiler.chain import (
    BYTES,
    OPERATIONS,
    add_scaled,
    spread_column,
    spread_row,
    subtract_scaled,
)

pytestmark = pytest.mark.skipif(chain.compiled is None, reason="the loops are not compiled")
CASES = int(os.environ.get("GDNET_FUZZ", "4000"))
SIZES = [0, 1, 2, 6, 24, 1000, 1024, 1025, 2050, 5000]
GUARD, MARK = 64, 77.0
REFUSALS = (ValueError, BufferError, TypeError, OverflowError)


class Arrays:
    """Arrays of one case, each within guards."""

    def __init__(self, rng, size, dtype):
        self.rng, self.size, self.dtype, self.blocks = rng, size, dtype, []
        self.places = tuple(self.array() for _ in range(rng.integers(1, 7)))
        self.before = [block.copy() for block in self.blocks]

    def block(self, count, dtype):
        block = np.full(count + 2 * GUARD, MARK, dtype)
        block[GUARD : GUARD + count] = self.rng.standard_normal(count)
        self.blocks.append(block)
        return block[GUARD : GUARD + count]

    def array(self):
        kind = self.rng.choice(
            ["whole", "number", "part", "shifted", "other", "short", "fixed"],
            p=[0.55, 0.2, 0.15, 0.03, 0.02, 0.03, 0.02],
        )
        if kind == "number":
            return self.block(1, self.dtype)[0:1].reshape(())
        if kind == "part":
            counts = [k for k in range(1, min(self.size, 60) + 1) if self.size % k == 0]
            return self.block(int(self.rng.choice(counts)) if counts else 1, self.dtype)
        if kind == "shifted" and self.size > 1 and self.blocks and self.blocks[-1].size - 2 * GUARD == self.size:
            block = self.blocks[-1]
            return block[GUARD - 1 : GUARD - 1 + self.size]
        if kind == "other":
            return self.block(self.size, np.float32 if self.dtype == np.float64 else np.float64)
        whole = self.block(self.size + (kind == "short"), self.dtype)
        whole.flags.writeable = kind != "fixed"
        return whole

    def guards_hold(self):
        return all((b[:GUARD] == MARK).all() and (b[-GUARD:] == MARK).all() for b in self.blocks)

    def untouched(self):
        return all(np.array_equal(a, b) for a, b in zip(self.blocks, self.before, strict=True))


def arity(operation):
    function = list(OPERATIONS)[operation]
    if function in (add_scaled, subtract_scaled):
        return 3
    return 1 if function in (spread_row, spread_column) else function.nin


def code(rng, n, rooms):
    """Mostly sensible calls: operands that exist, the last one repeated."""
    calls = []
    for _ in range(rng.integers(1, 9)):
        operation = int(rng.integers(len(OPERATIONS)))
        operands = rng.integers(0, n + rooms, arity(operation)).tolist()
        call = [operation, int(rng.integers(0, n + rooms)), *operands]
        call += call[-1:] * (BYTES - len(call))
        if rng.random() < 0.05:
            call[rng.integers(BYTES)] = int(rng.integers(0, 256))
        calls.append(call)
    return calls


def reference(calls, places, rooms, start, stop, size):
    """What NumPy makes of it, operation by operation on whole arrays, for elements start to stop."""
    held = [*places, *np.zeros((rooms, size), places[0].dtype)]
    for operation, result, *operands in calls:
        function = list(OPERATIONS)[operation]
        values = [held[k] for k in operands[: arity(operation)]]
        if function is spread_row:
            found = np.tile(values[0].reshape(-1), size // max(values[0].size, 1))
        elif function is spread_column:
            found = np.repeat(values[0].reshape(-1), size // max(values[0].size, 1))
        elif function in (add_scaled, subtract_scaled):
            a, b, c = values
            found = c + a * b if function is add_scaled else c - a * b
        else:
            found = function(*values)
        held[result][start:stop] = found[start:stop]


def test_byte_code_at_random():
    rng, taken = np.random.default_rng(1), 0
    for _ in range(CASES):
        size, rooms = int(rng.choice(SIZES)), int(rng.integers(0, 4))
        arrays = Arrays(rng, size, rng.choice([np.float32, np.float64]))
        calls = code(rng, len(arrays.places), rooms)
        start = int(rng.integers(0, size + 1)) if rng.random() < 0.5 else 0
        stop = int(rng.integers(start, size + 1)) if rng.random() < 0.5 else size
        said = size if rng.random() < 0.9 else int(rng.choice([-1, 0, size + 1, 2**62]))
        stop = said if said > size else stop
        copies = [a.copy() for a in arrays.places]
        try:
            chain.compiled.run(b"".join(map(bytes, calls)), rooms, arrays.places, start, stop, said)
        except REFUSALS:
            assert arrays.untouched()
            continue
        finally:
            assert arrays.guards_hold()
        taken += 1
        with np.errstate(all="ignore"):
            reference(calls, copies, rooms, start, stop, said)
        for a, b in zip(arrays.places, copies, strict=True):
            np.testing.assert_array_equal(a, b)
    assert taken > CASES / 50


def test_whole_chains_with_operands_at_random():
    rng, taken = np.random.default_rng(2), 0
    for _ in range(CASES):
        size = int(rng.choice(SIZES))
        arrays = Arrays(rng, size, rng.choice([np.float32, np.float64]))
        index = int(rng.integers(-1, len(chain.compiled.WHOLE) + 1))
        order = rng.integers(0, len(arrays.places) + (rng.random() < 0.05), rng.integers(1, 12)).tolist()
        text = chain.compiled.WHOLE[min(max(index, 0), len(chain.compiled.WHOLE) - 1)]
        if rng.random() < 0.9:  # as many operands as there are, of the right kinds where there are such
            counts = [len({part.split(")")[0] for part in text.split(f"{kind}(")[1:]}) for kind in "XNY"]
            whole = [k for k, a in enumerate(arrays.places) if a.ndim] or [0]
            numbers = [k for k, a in enumerate(arrays.places) if not a.ndim] or [0]
            order = [int(rng.choice(c)) for kind, c in zip(counts, [whole, numbers, whole]) for _ in range(kind)]
        stop = int(rng.integers(0, size + 1)) if rng.random() < 0.5 else size
        said = size if rng.random() < 0.9 else int(rng.choice([-1, 0, size + 1, 2**62]))
        try:
            chain.compiled.run_whole(index, bytes(order), arrays.places, 0, stop, said)
            taken += 1
        except REFUSALS:
            assert arrays.untouched()
        finally:
            assert arrays.guards_hold()
    assert taken > CASES / 50


def test_what_a_sanitizer_found_is_refused():
    number, x = np.asarray(2.0), np.zeros(16)
    sqrt, negative = OPERATIONS[np.sqrt], OPERATIONS[np.negative]
    row, add = OPERATIONS[spread_row], OPERATIONS[np.add]
    refused = [
        (bytes([negative, 1, 0, 1, 1]), 0, (number, x), 16),  # a number as the whole operand, an array as padding
        (bytes([sqrt, 1, 1, 0, 0]), 0, (number, x), 16),
        (bytes([add, 1, 1, 0, 1]), 0, (number, x), 16),
        (bytes([add, 1, 1, 1, 1]), 1, (x[:3],), 2**62),  # a size that no array has
        (bytes([add, 1, 0, 0, 0]), 0, (x[:15], x[1:]), 15),  # a result shifted against its operand
        (bytes([row, 0, 1, 1, 1]), 0, (x, x[2:6]), 16),
        (bytes([row, 0, 1, 1, 1]), 0, (x, x[:4]), 16),
        (bytes([add, 0, 1, 1, 1]), 1, (x,), 16),  # a room that nothing was put into
    ]
    for code, rooms, arrays, size in refused:
        with pytest.raises((ValueError, BufferError)):
            chain.compiled.run(code, rooms, arrays, 0, size, size)
    assert not x.any()


@pytest.mark.parametrize("size", [70_000, 1 << 20])
def test_a_chain_whose_result_overlaps_an_operand_in_part_is_made_as_a_whole(size, monkeypatch):
    for compiled in (chain.compiled, None):
        monkeypatch.setattr(chain, "compiled", compiled)
        memory = np.arange(size + 1.0)
        kernel = chain.ChainKernel(
            [(OPERATIONS[np.add], 1, 0, 0), (OPERATIONS[np.add], 1, 1, 1)], 2, (size,), memory.dtype
        )
        kernel(memory[:-1], memory[1:])
        np.testing.assert_array_equal(memory[1:], 4.0 * np.arange(size))

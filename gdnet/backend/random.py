"""Random numbers without a global generator.

Two kinds. *On the host*, for initial weights and shuffles: NumPy's Philox, keyed by the seed, a purpose and a path, so
that every backend starts from the same weights and sees the same batches. *On the device*, for dropout: Threefry, a
counter-based generator in 32-bit integer arithmetic, so that every library draws the same bits and a step that uses
them can still be traced, captured and repeated.
"""

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdnet.backend.base import Array, Backend, overridable


def host_generator(seed: int, purpose: str, *path: int) -> "np.random.Generator":
    """A NumPy generator of its own for every seed, purpose and path; the same on every machine.

    >>> host_generator(0, "shuffle", 3).integers(100) == host_generator(0, "shuffle", 3).integers(100)
    np.True_
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()), *path))
    return np.random.Generator(np.random.Philox(sequence))


@dataclass(frozen=True)
class Key:
    """Names one stream of random numbers: a seed, a path through the network and the number of the training step.

    `step` may be an array on the device (and must be one where the step is compiled): it is never read on the host.

    >>> key = Key(0, step=3).child(1)
    >>> key.path, key.child(2).path
    ((1,), (1, 2))
    >>> from gdnet.backend import get_backend
    >>> a, b = (Key(0, step).uniform(get_backend("cpu"), (4,)) for step in (3, 4))
    >>> a.shape, bool((a == b).all())
    ((4,), False)
    """

    seed: int
    step: Any = 0
    path: tuple[int, ...] = ()

    def child(self, i: int) -> "Key":
        return Key(self.seed, self.step, (*self.path, i))

    def uniform(self, backend: Backend, shape: tuple[int, ...]) -> Array:
        """float32 numbers uniform on [0, 1), of 24 random bits each, the same for every library.

        >>> from gdnet.backend import get_backend
        >>> u = Key(0).uniform(get_backend("cpu"), (1000,))
        >>> bool(u.min() >= 0) and bool(u.max() < 1)
        True
        """
        words = np.random.SeedSequence(self.seed, spawn_key=self.path).generate_state(2, np.uint32).view(np.int32)
        pair = (int(words[0]), int(words[1]))
        drawn = uniform_numbers(backend, math.prod(shape), pair, self.step, backend.device)
        return backend.xp.reshape(drawn, shape)


@overridable
def uniform_numbers(xp: Any, n: int, words: tuple[int, int], step: Any, device: Any) -> Array:
    """n float32 numbers on [0, 1): the counter runs over half of them, and each call of threefry gives two."""
    counter = xp.arange((n + 1) // 2, dtype=xp.int32, device=device)
    a, b = threefry2x32(xp, words, counter, xp.zeros_like(counter) + step)  # step is an array or an int, never read
    bits = xp.concat([a, b])[:n]
    return xp.astype(_shift_right(xp, bits, 8), xp.float32) * 2.0**-24


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def _signed(word: int) -> int:
    """The int32 that has these 32 bits."""
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >= 1 << 31 else word


def _shift_right(xp: Any, x: Array, bits: int) -> Array:
    """Logical shift of an int32: the sign that an arithmetic shift drags in is masked away."""
    return xp.bitwise_and(xp.bitwise_right_shift(x, xp.full_like(x, bits)), xp.full_like(x, (1 << (32 - bits)) - 1))


def threefry2x32(xp: Any, key: tuple[int, int], x0: Array, x1: Array) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds: two int32 arrays of counters to two of random bits.

    Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11. It needs only additions
    modulo 2^32, rotations and exclusive ors, which signed 32-bit integers of every library do alike.
    """
    ks = (_signed(key[0]), _signed(key[1]), _signed(_PARITY ^ (key[0] & 0xFFFFFFFF) ^ (key[1] & 0xFFFFFFFF)))
    x0, x1 = x0 + ks[0], x1 + ks[1]
    for block in range(5):
        for r in _ROTATIONS[block % 2]:
            x0 = x0 + x1
            left = xp.bitwise_left_shift(x1, xp.full_like(x1, r))
            x1 = xp.bitwise_xor(xp.bitwise_or(left, _shift_right(xp, x1, 32 - r)), x0)
        x0 = x0 + ks[(block + 1) % 3]
        x1 = x1 + _signed(ks[(block + 2) % 3] + block + 1)
    return x0, x1

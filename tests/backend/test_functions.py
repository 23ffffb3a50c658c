"""What the standard lacks: erf, random numbers, products into a window, overrides."""

import math

import numpy as np
import pytest

from gdnet.backend import Key, get_backend, host_generator, overridable
from gdnet.backend.base import Backend
from gdnet.backend.random import threefry2x32


@pytest.mark.parametrize("size", [50, 10_001], ids=["small", "large"])
def test_erf_equals_the_c_library(bk, size):
    x = np.linspace(-7, 7, size)
    expected = np.asarray([math.erf(v) for v in x])
    np.testing.assert_allclose(bk.get(bk.backend.erf(bk.put(x))), expected, rtol=1e-14, atol=1e-16)
    single = bk.get(bk.backend.erf(bk.put(x, "float32")))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=3e-7)


# Known answers of Threefry-2x32, 20 rounds, published with the Random123 library.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((-1, -1), (-1, -1), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("key", "counter", "expected"), KNOWN)
def test_threefry_known_answers(bk, key, counter, expected):
    words = [bk.put(np.asarray([c & 0xFFFFFFFF], dtype=np.uint32).view(np.int32)) for c in counter]
    with np.errstate(over="ignore"):
        found = threefry2x32(bk.xp, key, *words)
    assert [int(bk.get(w)[0]) & 0xFFFFFFFF for w in found] == list(expected)


def test_uniform_numbers_are_the_same_everywhere(bk):
    key = Key(7, bk.put(np.int32(11))).child(2)
    u = bk.get(key.uniform(bk.backend, (4, 5)))
    reference = Key(7, 11).child(2).uniform(get_backend("cpu"), (4, 5))
    assert u.dtype == np.float32
    np.testing.assert_array_equal(u, reference)


def test_uniform_numbers_are_uniform_and_independent():
    many = [Key(seed, step).child(i) for seed in (0, 1) for step in (0, 1) for i in (0, 1)]
    draws = np.stack([k.uniform(get_backend("cpu"), (20_001,)) for k in many])
    assert draws.min() >= 0
    assert draws.max() < 1
    np.testing.assert_allclose(draws.mean(axis=1), 0.5, atol=0.01)
    np.testing.assert_allclose(draws.var(axis=1), 1 / 12, atol=0.003)
    assert np.abs(np.corrcoef(draws) - np.eye(len(many))).max() < 0.03


def test_host_generators_depend_on_every_part_of_their_name():
    draws = [
        host_generator(*parts).integers(1 << 62)
        for parts in [(0, "init"), (1, "init"), (0, "shuffle"), (0, "init", 1), (0, "init", 0)]
    ]
    assert len(set(draws)) == len(draws)


def test_a_product_goes_into_its_window(bk):
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    if bk.backend.mutable:
        out = bk.xp.empty((2, 4), dtype=bk.xp.float64, device=bk.backend.device)
        bk.backend.matmul(bk.put(a), bk.put(b), out=out)
    else:
        out = bk.backend.matmul(bk.put(a), bk.put(b))
    np.testing.assert_array_equal(bk.get(out), a @ b)


def test_a_backend_may_override_a_body_by_name():
    @overridable
    def twice(xp, x):
        """Doubles."""
        return x + x

    class Fast(Backend):
        kernels = {"twice": lambda backend, x: ("fast", 2 * x)}  # noqa: RUF012

    assert twice(Backend(np), 3) == 6
    assert twice(Fast(np), 3) == ("fast", 6)
    assert twice.__doc__ == "Doubles."

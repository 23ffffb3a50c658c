"""The chains that are compiled whole: `whole.h` is made from what gdnet's steps trace, and gives NumPy's bits."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gdnet.backend import get_backend
from gdnet.backend.numpy.compiler import chain
from gdnet.backend.numpy.compiler.chain import BLOCK, PARALLEL, ChainKernel
from gdnet.testing import whole_chains
from gdnet.testing.whole_chains import HEADER, chains, header


def test_the_header_holds_the_chains_that_gdnet_makes():
    if chain.compiled is None:
        pytest.skip("chains are joined in another way without the compiled loops")
    if get_backend().xp is not np:  # NumPy 2.0, by array-api-compat, whose sign is traced as more than one call
        assert len(set(chains()) - set(chain.compiled.WHOLE)) <= 1
        return
    assert HEADER.read_text() == header(), f"write it again: {whole_chains.__doc__}"
    assert tuple(chains()) == chain.compiled.WHOLE, "built from an older header: pip install -e ."


SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, 3e38, -1.0]


def same_bits(found, expected, zeros: bool, user: str) -> None:
    np.testing.assert_array_equal(found, expected, err_msg=user)
    if zeros:
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]), err_msg=user)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 15, 1000, BLOCK + 1, PARALLEL + 17])
def test_one_loop_gives_the_bits_of_numpys_operations(size, dtype, monkeypatch):
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(chain, "_workers", lambda: (pool, 2))  # two threads where it pays
        rng = np.random.default_rng(0)
        for user, kernel in chains().values():
            f = kernel.formula
            n = 1 + max(f.order)
            places = [rng.standard_normal(size).astype(dtype) for _ in range(n)]
            for a in places:
                a[: len(SPECIAL)] = rng.permutation(SPECIAL)[:size]
            for place in f.numbers:
                places[place] = np.asarray(rng.random(), dtype)
            again = ChainKernel(kernel.calls, n, (size,), np.dtype(dtype), f.numbers)
            assert again.formula == f
            if chain.compiled is not None and f.text in chain.compiled.WHOLE:
                assert again.loops.func is chain.compiled.run_whole, user
            zeros = not any(chain._IN_ORDER[call[0]] in (np.maximum, np.minimum) for call in again.calls)
            expected = [a.copy() for a in places]
            # As in a step: a result lies over an operand that nothing needs any more.
            over = [a.copy() for a in places]
            for result, operand in zip(f.results, [p for p in f.arrays if p not in f.results], strict=False):
                over[result] = over[operand]
            with np.errstate(all="ignore"):
                again._run([*expected, *np.empty((again.rooms, size), dtype)])
                again(*places)
                again(*over)
            for place in f.results:
                same_bits(places[place], expected[place], zeros, user)
                if not set(f.results) & set(f.arrays):
                    same_bits(over[place], expected[place], zeros, user)


@pytest.mark.skipif(chain.compiled is None, reason="the loops are not compiled")
def test_what_does_not_fit_a_loop_is_refused():
    run_whole, f = chain.compiled.run_whole, next(kernel.formula for _, kernel in chains().values())
    x, number = np.ones(10), np.asarray(0.5)
    places = [number if place in f.numbers else x.copy() for place in range(1 + max(f.order))]
    run_whole(0, f.order, tuple(places), 0, 10, 10)
    frozen = x.copy()
    frozen.flags.writeable = False
    bad = {
        "no such chain": lambda: run_whole(10_000, f.order, tuple(places), 0, 10, 10),
        "no such operand": lambda: run_whole(0, b"\xff" * len(f.order), tuple(places), 0, 10, 10),
        "too few operands": lambda: run_whole(0, f.order[:-1], tuple(places), 0, 10, 10),
        "a part beyond the end": lambda: run_whole(0, f.order, tuple(places), 0, 11, 10),
        "a part before the start": lambda: run_whole(0, f.order, tuple(places), -1, 10, 10),
        "no arrays": lambda: run_whole(0, f.order, (), 0, 10, 10),
        "arrays too short": lambda: run_whole(0, f.order, tuple(places), 0, 11, 11),
        "numbers alone": lambda: run_whole(0, f.order, (number,) * len(places), 0, 10, 10),
        "arrays alone": lambda: run_whole(0, f.order, (x,) * len(places), 0, 10, 10),
    }
    for call in bad.values():
        with pytest.raises(ValueError):
            call()
    with pytest.raises(BufferError):
        run_whole(0, f.order, tuple(frozen if place in f.results else a for place, a in enumerate(places)), 0, 10, 10)
    with pytest.raises(BufferError):
        run_whole(0, f.order, tuple(a.astype("float32") if k == 0 else a for k, a in enumerate(places)), 0, 10, 10)
    with pytest.raises(TypeError):
        run_whole(0, f.order)

"""Copies that run beside the steps, with a stand-in whose copies happen as late as they may."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.backend.cupy.feed import ahead
from gdnet.data import Dataset
from gdnet.training.feed import Feed


class LateCopier:
    """Copies are done when somebody waits for them, and not before."""

    def __init__(self):
        self.pending, self.done, self.log = [], 0, []

    def pinned(self, shape, dtype):
        self.log.append("pinned")
        return np.full(shape, 0, dtype)

    def empty(self, shape, dtype):
        self.log.append("empty")
        return np.full(shape, -1, dtype)

    def wait_for_steps(self):
        self.log.append("wait for steps")

    def copy(self, array, pinned):
        self.log.append("copy")
        self.pending.append((array, pinned))

    def end_of_copies(self):
        return len(self.pending)

    def _until(self, event):
        for array, pinned in self.pending[self.done : event]:
            array[...] = pinned
        self.done = max(self.done, event)

    def steps_wait_for(self, event):
        self.log.append("steps wait")
        self._until(event)

    def wait_on_host(self, event):
        self._until(event)


def batches(sizes):
    return [(np.full((n, 2), float(i)), np.full(n, i)) for i, n in enumerate(sizes, start=1)]


@pytest.mark.parametrize("sizes", [[], [4], [4, 4], [4, 4, 4, 4, 3], [2, 5, 3]])
def test_every_batch_arrives_whole_and_in_order(sizes):
    given = batches(sizes)
    found = [tuple(np.array(a) for a in batch) for batch in ahead(LateCopier(), iter(given))]
    assert len(found) == len(given)
    for batch, expected in zip(found, given, strict=True):
        for a, b in zip(batch, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_arrays_are_not_used_again():
    """What a step keeps of a batch, such as an output that is the input, stays as it is."""
    kept = list(ahead(LateCopier(), batches([4, 4, 4, 4])))
    for (x, _), (expected, _) in zip(kept, batches([4, 4, 4, 4]), strict=True):
        np.testing.assert_array_equal(x, expected)


def test_pinned_memory_is_not_rewritten_under_a_copy():
    """Steps wait on the device, not on the host: a copy may still be on its way when the batch is handed out."""

    class Later(LateCopier):
        def steps_wait_for(self, event):
            pass

    kept = list(ahead(Later(), batches([4, 4, 4, 4, 4])))
    for (x, t), expected in zip(kept, batches([4, 4, 4, 4, 4]), strict=True):
        np.testing.assert_array_equal(x, expected[0])
        np.testing.assert_array_equal(t, expected[1])


def test_the_next_copy_begins_before_a_batch_is_used():
    copier = LateCopier()
    feed = ahead(copier, batches([4, 4, 4]))
    next(feed)
    assert copier.log.count("copy") == 4, "two arrays of the first batch and two of the second"
    assert copier.done == 2, "and the second is not waited for"
    feed.close()
    assert copier.done == 4, "what was on its way has arrived when its memory is given back"


def test_new_memory_waits_for_the_steps_that_used_it_before():
    copier = LateCopier()
    list(ahead(copier, batches([4, 4, 3])))
    for i, call in enumerate(copier.log):
        if call == "copy" and copier.log[i - 1] != "copy":
            assert copier.log[i - 1] == "wait for steps"
    assert copier.log.count("pinned") == 4, "two buffers of two arrays, whatever the number of batches"


def test_a_feed_from_the_host_is_prefetched(bk):
    """Larger data come batch by batch, with the same batches as data that were moved at once."""
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((10, 3)), rng.integers(0, 2, 10)
    whole, parts = (Dataset(x, t).on(bk.backend, "float32", whole=whole) for whole in (True, False))
    for a, b in zip(Feed(whole, 4).epoch(1), Feed(parts, 4).epoch(1), strict=True):
        assert [str(v.dtype) for v in a] == [str(v.dtype) for v in b]
        for v, w in zip(a, b, strict=True):
            np.testing.assert_array_equal(bk.get(v), bk.get(w))


def test_training_goes_through_prefetch(monkeypatch):
    import array_api_strict

    calls = []
    backend = get_backend("cpu", array_api_strict)
    plain = type(backend).prefetch
    monkeypatch.setattr(type(backend), "prefetch", lambda self, b: (calls.append(1), plain(self, b))[1])
    monkeypatch.setattr("gdnet.data.arrays.WHOLE_BYTES", 0)
    x = np.linspace(-1, 1, 8, dtype="float32")[:, None]
    gd.Model(gd.Sequential(gd.Dense(1, 1)), gd.SquaredError(), backend=array_api_strict).fit(
        x, x, optimizer=gd.SGD(), epochs=2, batch_size=4, verbose=0
    )
    assert len(calls) == 2

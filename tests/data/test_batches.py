"""Batches: each example once an epoch, the same everywhere, and only what is asked for is loaded."""

import numpy as np
import pytest

from gdnet.backend import get_backend
from gdnet.data import Dataset, batches, batches_per_epoch
from gdnet.errors import ArrayError, OptionError

N = 23


def host(n=N, dtype="float64"):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 3)).astype(dtype), np.arange(n)


def numbers(found):
    """The example numbers in each batch (t of `host`)."""
    return [np.asarray(b[1]).tolist() for b in found]


def test_same_batches_on_every_backend(bk):
    x, t = host()
    expected = list(batches(x, t, batch_size=5, seed=3, epoch=2))
    found = list(batches(bk.put(x), bk.put(t), batch_size=5, seed=3, epoch=2))
    assert len(found) == 5
    for (xb, tb), (xe, te) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(bk.get(xb), xe)
        np.testing.assert_array_equal(bk.get(tb), te)


def test_nothing_is_read_on_the_host_while_batches_are_taken(bk):
    x, t = (bk.put(a) for a in host())
    with bk.no_host_reads():
        for shuffle in (True, False):
            assert len([1 for _ in batches(x, t, batch_size=5, shuffle=shuffle)]) == 5


@pytest.mark.parametrize("batch_size", [1, 5, 22, 23])
def test_each_example_once_an_epoch(batch_size):
    seen = np.concatenate(numbers(batches(*host(), batch_size=batch_size)))
    assert sorted(seen) == list(range(N))


def test_orders_differ_by_epoch_and_seed_and_repeat():
    def order(**key):
        return np.concatenate(numbers(batches(*host(), batch_size=5, **key))).tolist()

    assert order(seed=1, epoch=1) == order(seed=1, epoch=1)
    assert order(seed=1, epoch=1) != order(seed=1, epoch=2)
    assert order(seed=1, epoch=1) != order(seed=2, epoch=1)
    assert order(shuffle=False) == list(range(N))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("start", [0, 2, 5])
def test_an_epoch_goes_on_in_its_middle(start, shuffle):
    key = {"batch_size": 5, "seed": 4, "epoch": 6, "shuffle": shuffle}
    assert numbers(batches(*host(), start=start, **key)) == numbers(batches(*host(), **key))[start:]


def test_the_last_short_batch_is_kept_or_dropped():
    assert [len(b) for b in numbers(batches(*host(), batch_size=5))] == [5, 5, 5, 5, 3]
    assert [len(b) for b in numbers(batches(*host(), batch_size=5, drop_last=True))] == [5, 5, 5, 5]
    assert batches_per_epoch(N, 5) == 5
    assert batches_per_epoch(N, 5, drop_last=True) == 4


@pytest.mark.parametrize("batch_size", [None, N])
def test_the_full_batch_is_the_data_themselves(batch_size):
    x, t = host()
    [(xb, tb)] = batches(x, t, batch_size=batch_size)
    assert xb is x
    assert tb is t


def test_unshuffled_batches_are_windows():
    x, t = host()
    assert all(np.shares_memory(xb, x) for xb, _ in batches(x, t, batch_size=5, shuffle=False))


def test_members_follow_what_was_given():
    x, t = host()
    assert len(next(batches(x, batch_size=5))) == 1
    _, tb, wb = next(batches(x, t, t / 2, batch_size=5))
    np.testing.assert_array_equal(wb, tb / 2)


@pytest.mark.parametrize("wrong", [0, -1, N + 1, 2.0, True, "all"])
def test_impossible_batch_sizes_are_refused_at_the_call(wrong):
    with pytest.raises(OptionError, match="batch_size must be an integer from 1 to the number of examples, 23"):
        batches(*host(), batch_size=wrong)


def test_a_start_outside_the_epoch_is_refused():
    with pytest.raises(OptionError, match="from 0 to 5"):
        batches(*host(), batch_size=5, start=6)


# -- host data for another backend ------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [None, True, False])
def test_host_data_are_moved_once_or_batch_by_batch(bk, whole):
    x, t = host()
    data = Dataset(x, t.astype("uint8"), t / 2).on(bk.backend, "float32", whole=whole)
    for (xb, tb, wb), (xe, te) in zip(batches(data, batch_size=5), batches(x, t, batch_size=5), strict=True):
        assert (str(xb.dtype).rpartition(".")[2], str(wb.dtype).rpartition(".")[2]) == ("float32", "float32")
        assert "int64" in str(tb.dtype)
        np.testing.assert_array_equal(bk.get(xb), xe.astype("float32"))
        np.testing.assert_array_equal(bk.get(tb), te)
        np.testing.assert_array_equal(bk.get(wb), te / 2)
        (xb @ xb.T)  # on one device with its like


def test_device_data_change_their_dtype_there(bk):
    x, t = host()
    data = Dataset(bk.put(x), bk.put(t)).on(bk.backend if bk.name != "numpy-readonly" else None, "float32")
    xb, tb = next(batches(data, batch_size=5))
    assert "float32" in str(xb.dtype)
    assert "int64" in str(tb.dtype)
    narrow = Dataset(bk.put(x), bk.put(t.astype("uint8"))).on(data.backend)
    assert str(narrow.t.dtype).endswith("int64" if "numpy" in bk.name else "int32")


def test_device_data_are_not_moved_silently(bk):
    other = get_backend("cpu") if "numpy" not in bk.name else None
    if other is not None:
        with pytest.raises(ArrayError, match="convert them, or give NumPy arrays"):
            Dataset(bk.put(host()[0])).on(other)


def test_data_that_fit_already_are_not_copied():
    x, t = host(dtype="float32")
    data = Dataset(x, t).on(get_backend("cpu"), "float32")
    assert data.x is x
    assert data.t is t


def test_foreign_byte_order_is_converted():
    x, t = host()
    data = Dataset(x.astype(">f8"), t.astype(">i4")).on(None, whole=False)
    xb, tb = next(batches(data, batch_size=5))
    assert xb.dtype.isnative
    assert xb.dtype == np.float64
    assert tb.dtype == np.int64


@pytest.mark.parametrize("view", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2]])
def test_arrays_that_are_not_contiguous(view):
    x, t = host()
    np.testing.assert_array_equal(next(batches(view(x), t, batch_size=5))[0], next(batches(x, t, batch_size=5))[0])


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_memory_mapped_file_gives_the_same_batches(tmp_path):
    x, t = host()
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for shuffle in (True, False):
        for (xb, _), (xe, _) in zip(
            batches(mapped, t, batch_size=5, shuffle=shuffle), batches(x, t, batch_size=5, shuffle=shuffle), strict=True
        ):
            assert type(xb) is np.ndarray
            np.testing.assert_array_equal(xb, xe)


@pytest.mark.parametrize(("n", "fortran"), [(2_000_000, False), (20_000, True)])
def test_a_batch_of_a_file_never_loads_the_rest(tmp_path, n, fortran):
    """Sparse files of 8 GB by rows and 80 MB by columns."""
    import tracemalloc

    path = tmp_path / "x.npy"
    mapped = np.lib.format.open_memmap(path, "w+", "float32", (n, 1000), fortran_order=fortran)
    if not fortran:
        mapped[-1] = 7.0
    del mapped
    data = Dataset(np.load(path, mmap_mode="r")).on(get_backend("cpu"), "float64")
    tracemalloc.start()
    (xb,) = data.take(np.asarray([n - 1, 0, 5]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert xb.shape == (3, 1000)
    assert xb.dtype == np.float64
    assert fortran or (xb[0] == 7.0).all()
    assert peak < 1e6


def test_bytes_in_a_file_are_prepared_batch_by_batch(tmp_path, bk):
    np.save(tmp_path / "x.npy", np.arange(60, dtype="uint8").reshape(20, 3))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = Dataset(mapped, prepare=lambda x: x.astype("float32") / 4).on(bk.backend, "float64")
    (xb,) = next(batches(data, batch_size=2, shuffle=False))
    assert "float64" in str(xb.dtype)
    np.testing.assert_array_equal(bk.get(xb), np.arange(6).reshape(2, 3) / 4)


def test_prepare_is_for_host_data(bk):
    if "numpy" not in bk.name:
        with pytest.raises(ArrayError, match="prepare works on host data"):
            Dataset(bk.put(host()[0]), prepare=lambda x: x)

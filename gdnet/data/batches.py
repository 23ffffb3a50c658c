"""Mini-batches: random choice without replacement, the same on every backend, resumable in the middle of an epoch."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gdnet.backend import Array, host_generator
from gdnet.checks import is_whole
from gdnet.data.arrays import Dataset
from gdnet.errors import OptionError


def batches_per_epoch(n: int, batch_size: int | None, drop_last: bool = False) -> int:
    """How many batches make an epoch of n examples.

    >>> batches_per_epoch(250, 100), batches_per_epoch(250, 100, drop_last=True), batches_per_epoch(250, None)
    (3, 2, 1)
    """
    if batch_size is None:
        return 1
    if not is_whole(batch_size) or not 1 <= batch_size <= n:
        raise OptionError(
            f"batch_size must be an integer from 1 to the number of examples, {n}, or None for all of them; "
            f"got {batch_size!r}"
        )
    return n // batch_size if drop_last else -(-n // batch_size)


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch visits its n examples: a permutation, keyed by seed and epoch.

    >>> sorted(epoch_order(4, seed=0, epoch=7).tolist())
    [0, 1, 2, 3]
    """
    return host_generator(seed, "shuffle", epoch).permutation(n)


def batches(
    x: Array | Dataset,
    t: Array | None = None,
    sample_weight: Array | None = None,
    *,
    batch_size: int | None = 100,
    shuffle: bool = True,
    seed: int = 0,
    epoch: int = 0,
    start: int = 0,
    drop_last: bool = False,
    prepare: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """The batches of one epoch: every example once, in an order that depends on `seed` and `epoch` alone.

    Parameters
    ----------
    x, t, sample_weight : arrays (n, ...), or x a `Dataset`
        A batch has as many members as are given here: `(x, t)`, `(x, t, sample_weight)` or `(x,)`.
    batch_size : int or None
        None (or n) gives all examples in one batch, in their order and without a copy.
    shuffle : bool
        False keeps the order of the data; batches are then windows of it.
    epoch : int
        Give the number of the epoch, so that each has an order of its own.
    start : int
        The number of batches to pass over: a run that was interrupted after k batches goes on with `start=k`.
    drop_last : bool
        Whether a last batch that is smaller than the others is left out.
    prepare : callable, optional
        See `Dataset`.

    Raises
    ------
    OptionError
        If `batch_size` is below 1 or above n, or `start` outside the epoch.

    >>> x, t = np.arange(5.0)[:, None], np.arange(5)
    >>> [len(tb) for xb, tb in batches(x, t, batch_size=2)]
    [2, 2, 1]
    """
    data = x if isinstance(x, Dataset) else Dataset(x, t, sample_weight, prepare=prepare)
    n, count = len(data), batches_per_epoch(len(data), batch_size, drop_last)
    if not 0 <= start <= count:
        raise OptionError(f"start must be a number of batches from 0 to {count}, got {start}")
    return _batches(data, n, batch_size, count, start, (seed, epoch) if shuffle else None)


def _batches(
    data: Dataset, n: int, size: int | None, count: int, start: int, key: tuple[int, int] | None
) -> Iterator[tuple[Any, ...]]:
    size = size or n
    if size == n or key is None:  # the order of the one batch of everything changes nothing
        for i in range(start, count):
            yield data.slice(i * size, min(n, (i + 1) * size))
        return
    order = epoch_order(n, *key)
    if not data.on_host:  # one transfer for the epoch; its windows are free
        order = data.home.asarray(order, "int32")
    for i in range(start, count):
        yield data.take(order[i * size : min(n, (i + 1) * size)])

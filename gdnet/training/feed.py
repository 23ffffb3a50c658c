"""What an epoch is made of: a data set, a batch size, an order, and how much each batch counts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gdnet.backend import Array
from gdnet.data import Dataset, batches, batches_per_epoch
from gdnet.data.batches import epoch_order


@dataclass(frozen=True)
class Feed:
    """The mini-batches of every epoch, on the model's device.

    >>> feed = Feed(Dataset(np.eye(3), np.arange(3)), batch_size=2, shuffle=False)
    >>> [t.tolist() for x, t in feed.epoch(0)]
    [[0, 1], [2]]
    >>> feed.weights(0)
    array([2., 1.])
    """

    data: Dataset
    batch_size: int | None
    shuffle: bool = True
    drop_last: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        self.n_batches  # noqa: B018 (refuses a batch size that is none)

    @property
    def n_batches(self) -> int:
        """Steps an epoch."""
        return batches_per_epoch(len(self.data), self.batch_size, self.drop_last)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Array, ...]]:
        """(x, t) or (x, t, sample_weight) of each batch of this epoch, from batch `start` on."""
        data = self.data.on_home() if self.data.streams else self.data
        found = batches(
            data, batch_size=self.batch_size, shuffle=self.shuffle, drop_last=self.drop_last, seed=self.seed,
            epoch=epoch, start=start,
        )  # fmt: skip
        return self.data.backend.prefetch(found) if self.data.streams else found

    def weights(self, epoch: int) -> np.ndarray:
        """What each batch counts in the epoch's mean over examples: its examples, or the sum of their weights."""
        n, size = len(self.data), self.batch_size or len(self.data)
        starts = np.arange(self.n_batches) * size
        if self.data.sample_weight is None:
            return np.minimum(starts + size, n).astype(np.float64) - starts
        weight = np.asarray(self.data.home.to_numpy(self.data.sample_weight), dtype=np.float64)
        if self.shuffle and self.batch_size is not None:
            weight = weight[epoch_order(n, self.seed, epoch)]
        return np.add.reduceat(weight[: min(n, self.n_batches * size)], starts)

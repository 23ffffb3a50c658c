"""How much each batch counts, whatever the order."""

import numpy as np
import pytest

from gdnet.data import Dataset
from gdnet.training.feed import Feed

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("epoch", [0, 1, 5])
@pytest.mark.parametrize("n", [11, 12])
def test_a_batch_counts_as_the_weights_in_it(n, epoch, drop_last, shuffle, bk):
    weight = RNG.random(n)
    data = Dataset(bk.put(np.eye(n)), bk.put(np.arange(n)), bk.put(weight))
    feed = Feed(data, 4, shuffle=shuffle, drop_last=drop_last, seed=3)
    expected = [float(np.sum(bk.get(batch[2]))) for batch in feed.epoch(epoch)]
    np.testing.assert_allclose(feed.weights(epoch), expected, rtol=1e-14)
    plain = Feed(Dataset(np.eye(n), np.arange(n)), 4, shuffle=shuffle, drop_last=drop_last, seed=3)
    np.testing.assert_array_equal(plain.weights(epoch), [len(t) for _, t in plain.epoch(epoch)])

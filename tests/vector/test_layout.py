"""Names and shapes <-> one vector."""

import numpy as np
import pytest

from gdnet.errors import ShapeError
from gdnet.vector import Layout

LAYOUT = Layout({"0.W": (3, 2), "0.b": (2,), "2.W": (2, 1)})


def test_split_and_join_are_inverse(bk):
    for lead in [(), (4,), (2, 3)]:
        host = np.arange(np.prod(lead, dtype=int) * 10, dtype=np.float64).reshape(*lead, 10)
        windows = LAYOUT.split(bk.put(host))
        assert {name: tuple(w.shape) for name, w in windows.items()} == {
            name: (*lead, *shape) for name, shape in LAYOUT.shapes.items()
        }
        np.testing.assert_array_equal(bk.get(LAYOUT.join(windows)), host)


def test_every_element_is_located():
    theta = np.arange(10.0)
    windows = LAYOUT.split(theta)
    for i in range(10):
        name, index = LAYOUT.locate(i)
        assert windows[name][index] == i
    with pytest.raises(ShapeError, match=r"0\.\.9"):
        LAYOUT.locate(10)


def test_numpy_windows_share_the_vectors_memory():
    theta = np.zeros(10)
    assert all(np.shares_memory(theta, w) for w in LAYOUT.split(theta).values())


def test_masks_norms_and_buckets(bk):
    np.testing.assert_array_equal(LAYOUT.mask(lambda name: name.endswith("b")), [0] * 6 + [1, 1] + [0, 0])
    np.testing.assert_array_equal(LAYOUT.spread({"0.W": 1, "0.b": 2, "2.W": 3}), [1] * 6 + [2] * 2 + [3] * 2)
    norms = LAYOUT.norms(bk.put(np.asarray([0, 0, 3.0, 4, 0, 0, 5, 12, 8, 15])))
    assert [float(bk.get(n)) for n in norms.values()] == [5, 13, 17]
    assert LAYOUT.buckets(7) == [slice(0, 8), slice(8, 10)]
    assert LAYOUT.buckets(1) == [slice(0, 6), slice(6, 8), slice(8, 10)]


def test_what_does_not_fit_is_refused(bk):
    with pytest.raises(ShapeError, match="expected a vector of 10"):
        LAYOUT.split(bk.put(np.zeros(9)))
    with pytest.raises(ShapeError, match="expected the names"):
        LAYOUT.join({"0.W": bk.put(np.zeros((3, 2)))})


def test_equality_is_by_names_shapes_and_order():
    same = Layout({"0.W": (3, 2), "0.b": (2,), "2.W": (2, 1)})
    other = Layout({"0.b": (2,), "0.W": (3, 2), "2.W": (2, 1)})
    assert same == LAYOUT
    assert hash(same) == hash(LAYOUT)
    assert other != LAYOUT

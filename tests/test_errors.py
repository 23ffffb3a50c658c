"""Errors come through from the process in which they were raised."""

import copy
import pickle

import numpy as np
import pytest

import gdnet as gd
from gdnet import errors

ALL = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)]


@pytest.mark.parametrize("cls", ALL)
def test_every_error_can_be_pickled(cls):
    error = cls("no-cupy", "install it") if cls is errors.DeviceError else cls("what came, and what to do")
    error.add_note("seen in a worker")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for again in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error)):
            assert type(again) is cls
            assert str(again) == str(error)
            assert vars(again) == vars(error)


def test_a_reason_to_stop_can_be_pickled():
    stop = pickle.loads(pickle.dumps(gd.StopTraining("time is up", final=False)))
    assert (stop.reason, stop.final, str(stop)) == ("time is up", False, "time is up")


def test_states_of_optimizers_can_be_pickled():
    theta = np.arange(3.0)
    for optimizer in (gd.Adam(), gd.Averaged(gd.Adam()), gd.Averaged(gd.Momentum(), decay=None), gd.LBFGS()):
        state = optimizer.init(theta)
        if not optimizer.full_batch:
            theta, state = optimizer.apply(np.ones(3), state, theta)
        again = pickle.loads(pickle.dumps(state))
        assert type(again) is type(state)
        assert type(copy.deepcopy(state)) is type(state)
        if not optimizer.full_batch:
            moved = [optimizer.apply(np.ones(3), one, theta)[0] for one in (state, again)]
            np.testing.assert_array_equal(*moved)

"""Warnings of what is seldom meant: an activation that the loss applies itself, inputs far from the unit scale."""

import warnings

import numpy as np
import pytest

import gdnet as gd

RNG = np.random.default_rng(0)


class Exp(gd.Elementwise):
    """y = exp(x), a class of the user's own."""

    def f(self, backend, x):
        return backend.xp.exp(x)

    def df(self, backend, x, y):
        return y


class Rowwise(gd.Layer):
    """A layer that cannot be tried on inputs of any shape."""

    keeps_shape = True

    def forward(self, params, x, context):
        raise RuntimeError("these inputs will not do")


TOLD = [
    (gd.Sigmoid(), gd.BinaryCrossEntropy()),
    (gd.ReLU(), gd.BinaryCrossEntropy(label_smoothing=0.1)),
    (gd.Softmax(), gd.CrossEntropy()),
    (gd.LogSoftmax(), gd.CrossEntropy()),
    (gd.Sigmoid(), gd.CrossEntropy()),
    (gd.Sigmoid(), gd.Hinge()),
    (gd.Softplus(), gd.Poisson()),
    (Exp(), gd.Poisson()),
    (gd.Sequential(gd.Dense(4), gd.Sequential(gd.Softmax())), gd.CrossEntropy()),
    (gd.Sequential(gd.Sigmoid(), gd.Dropout(0.1), gd.Flatten()), gd.BinaryCrossEntropy()),
    (gd.Parallel(gd.Dense(2), gd.Sequential(gd.Dense(2), gd.Sigmoid()), combine="concat"), gd.BinaryCrossEntropy()),
    (gd.Parallel(gd.Sequential(gd.Dense(2), gd.Sigmoid()), gd.Sequential(gd.Dense(2), gd.ReLU())), gd.CrossEntropy()),
]
NOT_TOLD = [
    (gd.Tanh(), gd.Hinge()),
    (gd.GELU(), gd.CrossEntropy()),
    (gd.Dense(2), gd.BinaryCrossEntropy()),
    (gd.Softplus(), gd.SquaredError()),
    (gd.Sigmoid(), gd.SquaredError()),
    (gd.Softmax(), gd.AbsoluteError()),
    (gd.Residual(gd.Sigmoid()), gd.BinaryCrossEntropy()),
    (gd.Parallel(gd.Sigmoid(), gd.Tanh()), gd.CrossEntropy()),
    (gd.Parallel(gd.Sequential(gd.Dense(2), gd.Sigmoid()), gd.Dense(2)), gd.CrossEntropy()),
    (gd.Parallel(gd.Sequential(gd.Dense(2), gd.Sigmoid()), gd.Sequential(gd.Dense(2), gd.LogSoftmax())), gd.Hinge()),
    (Rowwise(), gd.CrossEntropy()),
    (gd.Sequential(gd.Identity()), gd.CrossEntropy()),
]


@pytest.mark.parametrize(("last", "loss"), TOLD, ids=lambda value: type(value).__name__)
def test_an_activation_that_the_loss_applies_itself_is_told(last, loss):
    with pytest.warns(UserWarning, match="never change their sign: leave that layer out") as told:
        model = gd.Model(gd.Sequential(gd.Dense(3, 4), last), loss)
    assert len(told) == 1
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match="leave that layer out"):
        gd.training_step(model.net, loss, gd.SGD())


@pytest.mark.parametrize(("last", "loss"), NOT_TOLD, ids=lambda value: type(value).__name__)
def test_other_activations_are_not(last, loss):
    gd.Model(gd.Sequential(gd.Dense(3, 4), last), loss)  # a warning is an error here


def test_another_loss_is_looked_at_again():
    model = gd.Model(gd.Sequential(gd.Dense(3, 1), gd.Sigmoid()), gd.SquaredError())
    with pytest.warns(UserWarning, match="leave that layer out"):
        model.loss = gd.BinaryCrossEntropy()


def fit(x, *layers, told=True, bk=None):
    net = gd.Sequential(*(layers or (gd.Dense(4), gd.Tanh(), gd.Dense(1))))
    model = gd.Model(net, gd.SquaredError(), dtype="float64", backend=bk and bk.backend)
    x = x if bk is None else bk.put(x)
    t = x[:, :1] * 0
    if not told:
        model.fit(x, t, verbose=0)
        return
    with pytest.warns(UserWarning, match=r"1 feature is far from the unit scale, such as feature 1.*Standardizer") as w:
        model.fit(x, t, optimizer=gd.SGD(lr=1e-30), verbose=0)
    assert len(w) == 1
    assert w[0].filename == __file__


@pytest.mark.parametrize(("shift", "scale"), [(1e5, 1e3), (0.0, 1e4), (0.0, 1e-6), (50.0, 1.0), (-50.0, 1.0)])
def test_features_far_from_the_unit_scale_are_told(shift, scale, bk):
    x = RNG.standard_normal((100, 3))
    x[:, 1] = shift + scale * x[:, 1]
    fit(x, bk=bk)
    fit(x, gd.Flatten(), gd.Sequential(gd.Dropout(0.1), gd.Dense(1)))


def test_other_features_are_not():
    x = RNG.standard_normal((100, 3))
    ones, rare, bytes_ = x.copy(), x.copy(), x.copy()
    ones[:, 1], rare[:, 1], bytes_[:, 1] = 1e9, 0.0, RNG.integers(0, 256, 100)
    rare[7, 1] = 0.1
    for good in (x, ones, rare, bytes_):
        fit(good * 1.0, told=False)
    x[:, 1] *= 1e6
    fit(x, gd.Tanh(), gd.Dense(1), told=False)  # a layer of scales may stand before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gd.Model(gd.Sequential(gd.Dense(1)), gd.SquaredError()).evaluate(
            x.astype("float32"), x[:, :1].astype("float32")
        )

"""What is compiled follows the network, the loss and the optimizer as they are."""

import array
import dataclasses
import functools
from collections import OrderedDict, defaultdict, deque
from types import SimpleNamespace

import numpy as np
import pytest

import gdnet as gd
from gdnet.training.configuration import Configuration

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 4))
T = X[:, :1] ** 2 + 0.3 * RNG.standard_normal((64, 1))


class Quantile(gd.ElementwiseLoss):
    """A loss with an argument that says nothing of it in `config`."""

    def __init__(self, q):
        self.q = q

    def config(self):
        return {}

    def l(self, xp, y, t):
        return xp.maximum(self.q * (t - y), (self.q - 1.0) * (t - y))

    def dl(self, xp, y, t):
        return xp.astype(y > t, y.dtype) - self.q

    def d2l(self, xp, y, t):
        return 0.0 * y


class Slope(gd.Elementwise):
    """An activation with an argument in a slot."""

    __slots__ = ("slope",)

    def __init__(self, slope):
        self.slope = slope

    def f(self, backend, x):
        return self.slope * x

    def df(self, backend, x, y):
        return backend.xp.full_like(x, self.slope)


def test_a_loss_with_another_argument_is_another_loss(bk):
    model = gd.Model(gd.Sequential(gd.Dense(4, 1)), Quantile(0.1), dtype="float64", backend=bk.backend)
    options = {"optimizer": gd.SGD(lr=0.1), "epochs": 60, "verbose": 0}
    model.fit(X, T, **options)
    assert np.mean(bk.get(model.predict(X)) < T) > 0.8
    model.loss = Quantile(0.9)
    model.fit(X, T, **options)
    assert np.mean(bk.get(model.predict(X)) < T) < 0.2
    high = model.evaluate(X, T)["loss"]
    model.loss.q = 0.1  # in place
    assert model.evaluate(X, T)["loss"] != high
    model.fit(X, T, **options)
    assert np.mean(bk.get(model.predict(X)) < T) > 0.8


def follow(bk, change, backend=None, **options):
    net = gd.Sequential(gd.Dense(4, 6), gd.LeakyReLU(0.01), gd.Dropout(0.5), gd.Dense(1))
    model = gd.Model(net, gd.SquaredError(), dtype="float64", backend=backend or bk.backend)

    class Change(gd.Callback):
        def on_epoch_begin(self, run):
            if change == "begin":
                net.layers[2].rate = 0.5 / (1 + run.epoch)

        def on_epoch_end(self, run):
            if change == "end":
                net.layers[2].rate = 0.5 / (1 + run.epoch)
                net.layers[1].slope = 0.01 * run.epoch

    history = model.fit(X, T, optimizer=gd.Adam(lr=0.01), epochs=4, batch_size=16, validation_data=(X, T),
                        callbacks=[Change()], verbose=0, **options)  # fmt: skip
    return history["loss"], history["val_loss"], bk.get(model.theta)


class NotCompiled(type(gd.get_backend("cpu"))):
    def compile(self, step, donate=()):
        return step


@pytest.mark.parametrize("change", ["begin", "end"])
def test_a_callback_may_change_a_layer(change, bk):
    """A rate of dropout that falls from epoch to epoch, against steps that are not compiled."""
    expected = follow(bk_of_numpy, change, backend=NotCompiled())
    for found, right in zip(follow(bk, change), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-9)
    assert np.abs(np.subtract(expected[0], follow(bk_of_numpy, "", backend=NotCompiled())[0])).max() > 1e-3


class bk_of_numpy:
    backend, get = gd.get_backend("cpu"), staticmethod(np.asarray)


def test_nothing_is_compiled_again_without_a_change(monkeypatch):
    made, compile_step = [], type(bk_of_numpy.backend).compile

    def counted(self, step, donate=()):
        made.append(step)
        return compile_step(self, step, donate)

    monkeypatch.setattr(type(bk_of_numpy.backend), "compile", counted)
    follow(bk_of_numpy, "")
    assert len(made) == 3  # the step; predict and scores
    follow(bk_of_numpy, "begin")
    assert len(made) == 3 + 4 * 3  # four rates


def test_predictions_follow_a_layer_that_was_changed(bk):
    net = gd.Sequential(gd.LeakyReLU(0.5))
    model = gd.Model(net, gd.SquaredError(), dtype="float64", backend=bk.backend)
    for slope in (0.5, 0.25):
        net.layers[0].slope = slope
        for _ in range(4):  # long enough to be compiled
            np.testing.assert_array_equal(bk.get(model.predict(X)), np.where(X > 0, X, slope * X))


def test_what_makes_two_configurations_differ():
    layer = gd.Dense(3, 2)
    assert Configuration(layer) == Configuration(layer)
    assert Configuration(gd.Sequential(gd.Dropout(0.5))) == Configuration(gd.Sequential(gd.Dropout(0.5)))
    assert Configuration(gd.Dropout(0.5)) != Configuration(gd.Dropout(0.4))
    assert Configuration(gd.Tanh()) != Configuration(gd.Sigmoid())
    assert Configuration(Slope(1.0)) != Configuration(Slope(2.0))
    assert Configuration(gd.Adam()) == Configuration(gd.Adam())
    assert Configuration(gd.Adam(lr=gd.CosineDecay(0.1, T_max=5))) != Configuration(gd.Adam(lr=0.1))
    assert Configuration(gd.Averaged(gd.SGD(lr=0.1))) != Configuration(gd.Averaged(gd.SGD(lr=0.2)))
    nested = [gd.Sequential(gd.Residual(gd.Sequential(gd.Dense(3, 3), gd.LeakyReLU(s)))) for s in (0.1, 0.2)]
    assert Configuration(nested[0]) != Configuration(nested[1])
    first, table = Quantile(0.1), np.zeros(3)
    first.table, first.owner = {"a": [table]}, first  # it knows itself
    before = Configuration(first)
    assert before == Configuration(first)
    table[1] = 1.0
    assert before != Configuration(first)
    shared = gd.Tanh()
    assert Configuration(gd.Sequential(shared, shared)) != Configuration(gd.Sequential(shared, gd.Tanh()))
    assert before != "something else"


@dataclasses.dataclass
class Settings:
    q: float = 0.0


class Slotted:
    __slots__ = ("q",)


def closed_over():
    q = 0.0

    def read():
        return q

    def write(value):
        nonlocal q
        q = value

    return read, write


def kept_in(holder, read, write):
    return holder, lambda: read(holder), lambda value: write(holder, value)


def set_item(key):
    return lambda holder: holder[key], lambda holder, value: holder.__setitem__(key, value)


def set_q(holder, value):
    holder.q = value


def only(holder, value):
    holder.clear()
    holder.add(value)


def kept_by_a_function():
    read, write = closed_over()
    return read, read, write


class Tagged(list):
    pass


PLACES = {
    "namespace": lambda: kept_in(SimpleNamespace(q=0.0), lambda h: h.q, set_q),
    "dataclass": lambda: kept_in(Settings(), lambda h: h.q, set_q),
    "slots": lambda: kept_in(Slotted(), lambda h: h.q, set_q),
    "nested": lambda: kept_in(Settings([SimpleNamespace(q=0.0)]), lambda h: h.q[0].q, lambda h, v: set_q(h.q[0], v)),
    "class": lambda: kept_in(type("Group", (), {"q": 0.0})(), lambda h: h.q, lambda h, v: set_q(type(h), v)),
    "ordered": lambda: kept_in(OrderedDict(q=0.0), *set_item("q")),
    "default": lambda: kept_in(defaultdict(float), *set_item("q")),
    "deque": lambda: kept_in(deque([0.0]), *set_item(0)),
    "list": lambda: kept_in(Tagged([0.0]), *set_item(0)),
    "set": lambda: kept_in(set(), lambda h: next(iter(h)), only),
    "key": lambda: kept_in({}, lambda h: next(iter(h)), lambda h, v: (h.clear(), h.__setitem__(v, None))),
    "array.array": lambda: kept_in(array.array("d", [0.0]), *set_item(0)),
    "array": lambda: kept_in(np.zeros(20000), *set_item(slice(None))),
    "objects": lambda: kept_in(np.array([None]), *set_item(0)),
    "closure": kept_by_a_function,
    "partial": lambda: kept_in(functools.partial(min, [0.0]), lambda h: h(), lambda h, v: h.args[0].__setitem__(0, v)),
}


class Kept(Quantile):
    """A quantile loss whose argument stands in an object of another class."""

    def __init__(self, place):
        self.place, self.read, self.write = PLACES[place]()

    @property
    def q(self):
        return float(np.max(self.read()))


@pytest.mark.parametrize("place", PLACES)
def test_an_argument_may_be_changed_wherever_it_is_kept(place):
    """The step, the predictions and the scores that were compiled for one number are not used for another."""
    loss = Kept(place)
    loss.write(0.1)
    model = gd.Model(gd.Sequential(gd.Dense(4, 1)), loss, dtype="float64")
    options = {"optimizer": gd.SGD(lr=0.1), "verbose": 0}
    model.fit(X, T, epochs=60, **options)
    assert np.mean(model.predict(X) < T) > 0.8
    low = model.evaluate(X, T)["loss"]
    loss.write(0.9)
    assert model.evaluate(X, T)["loss"] != low
    model.fit(X, T, epochs=60, **options)
    assert np.mean(model.predict(X) < T) < 0.2

    class Back(gd.Callback):
        def on_epoch_begin(self, run):
            loss.write(0.1 if run.epoch > 1 else 0.9)

    model.fit(X, T, epochs=60, callbacks=[Back()], **options)
    assert np.mean(model.predict(X) < T) > 0.8


def test_an_attribute_of_a_class_and_a_method_may_be_changed(monkeypatch):
    class Doubling(gd.Elementwise):
        factor = 2.0

        def f(self, backend, x):
            return self.factor * x

        def df(self, backend, x, y):
            return backend.xp.full_like(x, self.factor)

    model = gd.Model(gd.Sequential(Doubling()), gd.SquaredError(), dtype="float64")
    for _ in range(4):
        np.testing.assert_array_equal(model.predict(X), 2.0 * X)
    Doubling.factor = 3.0
    np.testing.assert_array_equal(model.predict(X), 3.0 * X)
    Doubling.f = lambda self, backend, x: x - 1.0
    np.testing.assert_array_equal(model.predict(X), X - 1.0)


def test_a_layer_that_knows_its_model_is_compiled_once(monkeypatch):
    """What a model holds beside its network and its loss is no part of the step."""
    made, compile_step = [], type(bk_of_numpy.backend).compile

    def counted(self, step, donate=()):
        made.append(step)
        return compile_step(self, step, donate)

    monkeypatch.setattr(type(bk_of_numpy.backend), "compile", counted)
    net = gd.Sequential(gd.Dense(4, 1))
    model = gd.Model(net, gd.SquaredError(), dtype="float64")
    net.layers[0].model, net.layers[0].read = model, model.predict
    for _ in range(3):
        model.fit(X, T, epochs=3, verbose=0)
        model.predict(X)
    assert len(made) == 3

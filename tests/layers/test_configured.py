"""Classes of a user's own: what makes two of them equal, and what a file makes of them."""

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import FileError, OptionError
from gdnet.testing import CheckFailed, check_layer, check_loss


class Quantile(gd.ElementwiseLoss):
    def __init__(self, q):
        self.q = q

    def l(self, xp, y, t):
        return xp.maximum(self.q * (t - y), (self.q - 1.0) * (t - y))

    def dl(self, xp, y, t):
        return xp.where(t > y, xp.full_like(y, -self.q), xp.full_like(y, 1.0 - self.q))

    def d2l(self, xp, y, t):
        return xp.zeros_like(y)


class Smooth(Quantile):
    def __init__(self, q, *, width=0.5):
        super().__init__(q * width)


class Power(gd.Elementwise):
    def __init__(self, *powers, **named):
        self.total = sum(powers) + sum(named.values())

    def f(self, backend, x):
        return self.total * x

    def df(self, backend, x, y):
        return backend.xp.full_like(x, self.total)

    def d2f(self, backend, x, y):
        return backend.xp.zeros_like(x)


class Shift(gd.Elementwise):
    def __init__(self, by, window=(1, 2), inner=None, init=None):
        self.amount, self.window, self.inner, self.init_rule = np.asarray(by), (*window, 0), inner, init

    def f(self, backend, x):
        return x + backend.asarray(self.amount, str(np.dtype(x.dtype)))

    def df(self, backend, x, y):
        return backend.xp.ones_like(x)

    def d2f(self, backend, x, y):
        return backend.xp.zeros_like(x)


class Applied(gd.Elementwise):
    def __init__(self, rule):
        self.rule = rule


class Block(gd.Sequential):
    def __init__(self, width):
        super().__init__(gd.Dense(width), gd.Tanh())


@dataclass(frozen=True)
class Weighted(gd.ElementwiseLoss):
    by: float = 1.0


class Plain(gd.ElementwiseLoss):
    q = 0.5


def rule(x):
    return x


def changed(thing, **attributes):
    for name, value in attributes.items():
        setattr(thing, name, value)
    return thing


DIFFERENT = {
    "argument": (Quantile(0.1), Quantile(0.9)),
    "argument of a subclass": (Smooth(0.1, width=1.0), Smooth(0.2, width=0.5)),
    "default": (Smooth(0.1), Smooth(0.1, width=0.25)),
    "class": (Quantile(0.1), Smooth(0.2)),
    "variadic": (Power(1, 2), Power(2, 1)),
    "named": (Power(a=1), Power(b=1)),
    "array": (Shift(np.ones(3)), Shift(np.asarray([1.0, 1.0, 2.0]))),
    "precision of an array": (Shift(np.ones(3)), Shift(np.ones(3, "float32"))),
    "layer": (Shift(1.0, inner=gd.Dense(3)), Shift(1.0, inner=gd.Dense(4))),
    "function": (Applied(rule), Applied(lambda x: x)),
    "set afterwards": (Quantile(0.1), changed(Quantile(0.1), q=0.9)),
    "attribute of the class": (Plain(), changed(Plain(), q=0.9)),
    "composite": (Block(3), Block(4)),
    "dataclass": (Weighted(1.0), Weighted(2.0)),
    "subclass of gdnet's": (type("Mine", (gd.Huber,), {})(1.0), gd.Huber(1.0)),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_other_arguments_make_other_objects(name):
    a, b = DIFFERENT[name]
    assert a != b
    assert not a == b  # noqa: SIM201 (both operators)
    assert a == a


EQUAL = {
    "loss": lambda: Quantile(0.1),
    "subclass": lambda: Smooth(0.1),
    "variadic": lambda: Power(1, 2, a=3, b=4),
    "variadic without any": lambda: Power(a=3),
    "array and tuple": lambda: Shift(np.arange(4.0), window=(3, 4)),
    "single precision": lambda: Shift(np.arange(4, dtype="float32")),
    "nested": lambda: Shift(1.0, inner=gd.Sequential(gd.Dense(3), Power(2))),
    "initializer": lambda: Shift(1.0, init=gd.normal(0.1)),
    "numpy number": lambda: Quantile(np.float32(0.25)),
    "composite": lambda: Block(3),
    "in a chain": lambda: gd.Sequential(Block(4), gd.Residual(Power(1)), gd.Parallel(Power(1), Power(2))),
    "dataclass": lambda: Weighted(2.0),
    "function": lambda: Applied(rule),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_arguments_make_equal_objects(name):
    a, b = EQUAL[name](), EQUAL[name]()
    assert a == b
    assert hash(a) == hash(b)
    assert copy.deepcopy(a) == a
    assert pickle.loads(pickle.dumps(a)) == a


@pytest.mark.parametrize("name", [name for name in EQUAL if name != "function"])
def test_a_spec_makes_it_again(name):
    import json

    thing = EQUAL[name]()
    again = type(thing).from_spec(json.loads(json.dumps(thing.spec(), allow_nan=False)))
    assert again == thing
    if name == "array and tuple":
        assert again.window == (3, 4, 0)
    if name == "single precision":
        assert again.amount.dtype == np.float32


def test_a_step_compiled_for_one_loss_is_not_used_for_another():
    rng = np.random.default_rng(0)
    x, t = np.ones((1000, 1)), rng.standard_normal((1000, 1))
    model = gd.Model(gd.Sequential(gd.Dense(1, 1)), loss=Quantile(0.1), dtype="float64")
    for q in (0.1, 0.9):
        model.loss = Quantile(q)
        model.fit(x, t, optimizer=gd.SGD(lr=0.05), epochs=60, batch_size=100, verbose=0)
        assert model.predict(x)[0, 0] == pytest.approx(np.quantile(t, q), abs=0.15)


def test_models_with_classes_of_ones_own_are_saved_and_loaded(tmp_path):
    net = gd.Sequential(gd.Dense(2, 3), Shift(np.asarray([1.0, 2.0, 3.0])), Block(2))
    model, x = gd.Model(net, loss=Smooth(0.3, width=0.25), dtype="float64"), np.ones((4, 2))
    model.save(tmp_path / "m.safetensors")
    known = dict(gd.Layer.known)
    again = gd.load(tmp_path / "m.safetensors", custom={"Shift": Shift, "Block": Block, "Smooth": Smooth})
    assert again.net == net
    assert again.loss == model.loss
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert gd.Layer.known == known  # a file changes nothing but the model that is read

    class Short(gd.Loss):
        def __init__(self):
            pass

    with pytest.raises(FileError, match="the loss in the file cannot be built"):
        gd.load(tmp_path / "m.safetensors", custom={"Shift": Shift, "Block": Block, "Smooth": Short})


class Forgets(gd.Elementwise):
    """It says that it has no arguments, and has one."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def config(self):
        return {}

    def f(self, backend, x):
        return self.factor * x

    def df(self, backend, x, y):
        return backend.xp.full_like(x, self.factor)

    def d2f(self, backend, x, y):
        return backend.xp.zeros_like(x)


class ForgetsLoss(Quantile):
    def __init__(self, q=0.5):
        self.q = q

    def config(self):
        return {}


class Loses(Power):
    """Its argument is derived, and read back as if it were not."""

    def __init__(self, total=1.0):
        self.total = 2.0 * total

    def config(self):
        return {"total": self.total}


def test_the_checks_find_a_config_that_does_not_make_it_again():
    assert check_layer(Power(2, 3), (2,))
    assert check_layer(Shift(np.arange(3.0)), (3,))
    assert check_loss(Smooth(0.3), (2,))
    assert check_loss(Quantile(np.float32(0.5)), (2,))
    assert check_layer(Forgets(), (2,))
    for wrong in (Forgets(2.0), Loses(2.0)):
        with pytest.raises(CheckFailed, match="spec makes it again"):
            check_layer(wrong, (2,))
    with pytest.raises(CheckFailed, match="spec makes it again"):
        check_loss(ForgetsLoss(0.75), (2,))


def test_a_name_in_files_can_be_given_and_belongs_to_one_class():
    class Mine(Power, name="mine"):
        pass

    assert gd.Layer.from_spec(Mine(2).spec()) == Mine(2)
    assert Mine(2).spec()["type"] == "mine"
    with pytest.raises(OptionError, match="belongs to gdnet"):

        class Dense(Power, name="Dense"):
            pass


def test_a_kernel_is_not_inherited():
    class Mine(gd.Tanh):
        def f(self, backend, x):
            return 2.0 * x

    class Own(gd.Huber):
        pass

    assert gd.Tanh.kernel == "Tanh"
    assert Mine.kernel == Own.kernel == ""


@dataclass
class Ranged(Quantile):
    """A dataclass whose constructor calls that of a class with another one."""

    low: float = 0.25
    high: float = 0.5

    def __post_init__(self):
        super().__init__(self.high - self.low)


def test_the_arguments_are_those_of_the_outermost_constructor():
    assert Ranged(0.25, 0.75).config() == {"low": 0.25, "high": 0.75}
    assert gd.Loss.from_spec(Ranged(0.25, 0.75).spec()) == Ranged(0.25, 0.75)
    assert Ranged(0.25, 0.75) != Ranged(0.0, 0.5)


class WrongWithoutDx(gd.Dense):
    """Its derivative by b is wrong where nobody asks for dx."""

    def forward(self, params, x, context):
        y, J = super().forward(params, x, context)
        if context.need_dx:
            return y, J

        def vjp(dy):
            own, _ = J.vjp(dy)
            return own | {"b": 1.01 * own["b"]}, None

        return y, gd.Jacobian(J.jvp, vjp)


def test_check_layer_looks_at_layers_of_which_nobody_asks_for_dx():
    with pytest.raises(CheckFailed, match="without dx"):
        check_layer(WrongWithoutDx(2), (3,))


ARGUMENTS = [
    {1: 2, (0, "a"): [3]},  # keys that JSON would make texts of
    {"tuple": [1]},  # what stands for a tuple in a file
    {"dict": [[1, 2]]},
    {"type": "Tanh", "config": {}},
    {"array": [1], "dtype": "int8"},
    {"initializer": "normal", "options": {}},
    {"plain": {None: (1, 2)}},
    float("nan"),
    [float("inf"), {"a": float("nan")}],
]


class Noted(Quantile):
    def __init__(self, thing):
        self.thing, self.q = thing, 0.3


@pytest.mark.parametrize("thing", ARGUMENTS, ids=repr)
def test_an_argument_of_a_loss_comes_back_from_a_file_as_it_was(thing, tmp_path):
    loss = Noted(thing)
    assert copy.deepcopy(loss) == loss
    assert pickle.loads(pickle.dumps(loss)) == loss
    gd.Model(gd.Dense(2, 1), loss).save(tmp_path / "m.safetensors")
    again = gd.load(tmp_path / "m.safetensors", custom={"Noted": Noted}).loss
    assert again == loss
    assert repr(again.thing) == repr(thing)


@pytest.mark.parametrize("thing", [{1, 2}, 1j, b"x", range(3), len, np.array(["a"])], ids=repr)
def test_a_loss_that_no_file_can_hold_is_refused_in_words(thing, tmp_path):
    model = gd.Model(gd.Dense(2, 1), Noted(thing))
    with pytest.raises(FileError, match=r"Noted.* cannot be written to a file.* Write config and from_config"):
        model.save(tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())
    x = np.ones((4, 2), "float32")
    model.fit(x, x[:, :1], verbose=0)  # trains all the same
    with pytest.raises(FileError, match="cannot be written"):
        model.fit(x, x[:, :1], verbose=0, callbacks=[gd.Checkpoint(tmp_path / "c.safetensors")])


class Formula(gd.Elementwise):
    def __init__(self, rule, slope):
        self.rule, self.slope = rule, slope

    def f(self, backend, x):
        return self.rule(x)

    def df(self, backend, x, y):
        return self.slope(x)


def test_a_layer_with_a_function_as_its_argument_is_trained():
    """It has no form in a file, and none is asked for."""
    x = np.linspace(-1.0, 1.0, 32, dtype="float32")[:, None]
    model = gd.Model(
        gd.Sequential(gd.Dense(4), Formula(lambda x: x * x, lambda x: 2.0 * x), gd.Dense(1)), gd.SquaredError()
    )
    history = model.fit(x, x * x, optimizer=gd.Adam(lr=0.05), epochs=60, verbose=0)
    assert history["loss"][-1] < 0.1 * history["loss"][0]

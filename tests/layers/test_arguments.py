"""Arguments of layers, losses and initializers: every kind of number is taken, and what is none is refused in words."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import OptionError

FRACTIONS = {
    "Dropout": (gd.Dropout, "rate"),
    "CrossEntropy": (gd.CrossEntropy, "label_smoothing"),
    "BinaryCrossEntropy": (gd.BinaryCrossEntropy, "label_smoothing"),
}
REALS = {
    "LeakyReLU": (gd.LeakyReLU, "slope"),
    "ELU": (gd.ELU, "alpha"),
    "Huber": (gd.Huber, "delta"),
    "constant": (gd.constant, "value"),
    "normal": (gd.normal, "std"),
    "orthogonal": (gd.orthogonal, "gain"),
    "uniform": (gd.uniform, "low"),
}
NO_NUMBER = [
    "a",
    "0.5",
    None,
    True,
    np.bool_(True),
    [0.5],
    (0.5,),
    {},
    0.5j,
    float("nan"),
    float("inf"),
    10**400,
    np.ones(2),
]


@pytest.mark.parametrize("value", [0.25, np.float32(0.25), np.float64(0.25), np.float16(0.25), 0, np.int64(0)])
@pytest.mark.parametrize("name", FRACTIONS)
def test_fractions(name, value):
    make, option = FRACTIONS[name]
    found = getattr(make(**{option: value}), option)
    assert found == float(value)
    assert type(found) is float


@pytest.mark.parametrize("value", [*NO_NUMBER, 1.0, -0.1, np.float32(1.0), 2])
@pytest.mark.parametrize("name", FRACTIONS)
def test_bad_fractions(name, value):
    make, option = FRACTIONS[name]
    with pytest.raises(OptionError, match=f"^{name}: {option} must be "):
        make(**{option: value})


@pytest.mark.parametrize("value", [0.02, np.float32(0.02), np.float64(0.02), np.float16(0.02)])
@pytest.mark.parametrize("name", REALS)
def test_numbers(name, value):
    make, option = REALS[name]
    made = make(**{option: value})
    found = made.options[option] if isinstance(made, type(gd.zeros())) else getattr(made, option)
    assert found == float(value)
    assert type(found) is float


@pytest.mark.parametrize("value", NO_NUMBER)
@pytest.mark.parametrize("name", REALS)
def test_bad_numbers(name, value):
    make, option = REALS[name]
    with pytest.raises(OptionError, match=f"^{name}: {option} must be "):
        make(**{option: value})


@pytest.mark.parametrize("size", [4, np.int64(4), np.int8(4), np.uint16(4)])
def test_sizes(size):
    assert gd.Reshape(size) == gd.Reshape(4)
    assert gd.Dense(size, size) == gd.Dense(4, 4)
    assert gd.Reshape(size, -1).shape == (4, -1)


@pytest.mark.parametrize("size", [4.0, "4", None, True, np.bool_(True), 0, -2, [4], np.float32(4)])
def test_bad_sizes(size):
    for make in (gd.Dense, gd.Reshape):
        with pytest.raises(OptionError, match="positive integers"):
            make(size)


@pytest.mark.parametrize("value", ["no", 1, 0, None, "False"])
def test_switches(value):
    with pytest.raises(OptionError, match=r"^Dense: bias must be True or False"):
        gd.Dense(3, bias=value)


RULES = ["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal"]
VARIANCE = {"glorot": lambda i, o: 2 / (i + o), "he": lambda i, o: 2 / i, "lecun": lambda i, o: 1 / i}


@pytest.mark.parametrize("name", RULES)
def test_fans_of_weights_that_are_no_matrix(name):
    rng, shape = np.random.default_rng(0), (3, 5, 64, 32)
    rule = getattr(gd, name)()
    drawn = rule(rng, shape, fan_in=15 * 64, fan_out=15 * 32)
    expected = VARIANCE[name.partition("_")[0]](15 * 64, 15 * 32)
    assert np.var(drawn) == pytest.approx(expected, rel=0.03)
    matrix = rule(np.random.default_rng(1), (300, 200))
    assert np.var(matrix) == pytest.approx(VARIANCE[name.partition("_")[0]](300, 200), rel=0.03)
    np.testing.assert_array_equal(matrix, rule(np.random.default_rng(1), (300, 200), fan_in=300, fan_out=200))
    with pytest.raises(OptionError, match="fan_in must be an integer"):
        rule(rng, shape, fan_in=0)


@pytest.mark.parametrize("name", [*RULES, "zeros", "orthogonal"])
def test_the_text_form_of_an_initializer(name):
    rule = getattr(gd, name)()
    assert gd.initializer(rule.config()) == rule
    assert gd.initializer(rule) is rule
    for bad in ({"name": "nothing"}, {}, 3, "he_normal", gd.he_normal):
        with pytest.raises(OptionError):
            gd.initializer(bad)


def test_orthogonal_is_uniform_over_the_orthogonal_matrices():
    signs = [np.sign(gd.orthogonal()(np.random.default_rng(seed), (3, 3))[0, 0]) for seed in range(400)]
    assert abs(np.mean(signs)) < 0.15  # of a plain QR the first entry is always negative


FAR = [1e3, 1e10, 1e19, 1e20, 1e30, 1e38, 3e38]
ACTIVATIONS = [
    gd.Identity(), gd.Step(), gd.Sigmoid(), gd.Tanh(), gd.ReLU(), gd.LeakyReLU(), gd.ELU(), gd.SELU(), gd.Softplus(),
    gd.GELU(), gd.SiLU(), gd.HardTanh(),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_activations_far_away(layer):
    backend = gd.get_backend("cpu")
    x = np.asarray([*FAR, *(-v for v in FAR)], "float32")
    y = layer.f(backend, x)
    slope, bend = layer.df(backend, x, y), layer.d2f(backend, x, y)
    assert np.isfinite(y).all()
    assert np.isfinite(slope).all()
    np.testing.assert_array_equal(bend, 0.0)


def test_gelu_bends_where_it_did():
    x = np.linspace(-6.0, 6.0, 101)
    bend = gd.GELU().d2f(gd.get_backend("cpu"), x, None)
    np.testing.assert_allclose(bend, (2.0 - x**2) * np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi), rtol=1e-14)

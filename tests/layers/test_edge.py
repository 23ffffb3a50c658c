"""What is refused, and how it is said; layers as text; initial weights."""

import json
import math

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import Key, host_generator
from gdnet.errors import ArrayError, OptionError, ShapeError
from gdnet.layers import Elementwise, Layer
from gdnet.layers.initializers import Initializer
from gdnet.testing.cases import LAYERS


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: gd.Dense(0), "positive integers"),
        (lambda: gd.Dense(2.5), "positive integers"),
        (lambda: gd.Dense(-1, 3), "positive integers"),
        (lambda: gd.Dense(True), "positive integers"),
        (lambda: gd.Dense(), "n_out"),
        (lambda: gd.Dense(1, 2, 3), "n_out"),
        (lambda: gd.Dense(3, init="he"), "he_normal"),
        (lambda: gd.Dense(3, init=gd.he_normal), r"write he_normal\(\)"),
        (lambda: gd.Dense(3, init={"name": "nonsense"}), "unknown initializer"),
        (lambda: gd.Dropout(1.0), "at least 0 and below 1"),
        (lambda: gd.Dropout(-0.1), "at least 0 and below 1"),
        (lambda: gd.Dropout(math.nan), "at least 0 and below 1"),
        (lambda: gd.Dropout("half"), "at least 0 and below 1"),
        (lambda: gd.LeakyReLU(math.nan), "finite"),
        (lambda: gd.ELU(math.inf), "finite"),
        (lambda: gd.Reshape(), "positive integers"),
        (lambda: gd.Reshape(-1, -1), "positive integers"),
        (lambda: gd.Reshape(0, 3), "positive integers"),
        (lambda: gd.Reshape(2.0), "positive integers"),
        (lambda: gd.normal(-1.0), "std"),
        (lambda: gd.normal(math.nan), "std"),
        (lambda: gd.uniform(1.0, 0.0), "low"),
        (lambda: gd.constant(math.inf), "finite"),
        (lambda: gd.orthogonal(math.nan), "finite"),
        (lambda: gd.Dropout(0.5)({}, np.ones((2, 2)), training=True), "key"),
    ],
)
def test_option_errors(make, says):
    with pytest.raises(OptionError, match=says):
        make()


X = np.ones((5, 6))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: gd.Dense(4, 3)({"W": np.ones((4, 3)), "b": np.ones(3)}, X),
            r"Dense\(4, 3\) expects 4 features, got 6",
        ),
        (lambda: gd.Dense(3)({}, np.ones((5, 2, 3))), r"Dense\(3\).*Flatten"),
        (lambda: gd.Dense(3)({}, X), r"Dense\(3\) needs the parameter 'W' of shape \(6, 3\)"),
        (lambda: gd.Dense(3)({"W": np.ones((3, 6)), "b": np.ones(3)}, X), r"Dense\(3\): 'W' must have shape \(6, 3\)"),
        (lambda: gd.Dense(3)({"W": np.ones((6, 3)), "b": np.ones((1, 3))}, X), r"'b' must have shape \(3,\)"),
        (lambda: gd.Dense(3, init=lambda rng, shape: np.ones(3)).init((2,), None), r"Dense\(3\): init"),
        (lambda: gd.Reshape(4, 2)({}, X), r"Reshape\(4, 2\) cannot take examples of shape \(6,\)"),
        (lambda: gd.Reshape(4, -1)({}, X), r"Reshape\(4, -1\) cannot"),
        (lambda: gd.Softmax()({}, np.ones(3)), r"Softmax\(\) takes"),
        (lambda: gd.Tanh()({}, np.asarray(1.0)), "axis of examples"),
        (lambda: gd.Flatten()({}, np.asarray(1.0)), r"Flatten\(\).*axis of examples"),
    ],
)
def test_shape_errors_name_the_layer(call, says):
    with pytest.raises(ShapeError, match=says):
        call()


def test_wrong_kinds_of_arrays():
    with pytest.raises(ArrayError, match=r"Tanh\(\): x must be of a float type, got int"):
        gd.Tanh()({}, np.ones((2, 2), dtype=int))
    with pytest.raises(ArrayError, match="must be an array"):
        gd.Tanh()({}, [[1.0]])


class Scale(Elementwise):
    """A layer outside gdnet, with an option."""

    def __init__(self, by=2.0):
        self.by = by

    def config(self):
        return {"by": self.by}


@pytest.mark.parametrize(
    "layer",
    [case.layer for case in LAYERS]
    + [
        gd.Dense(3, 2, bias=False, init=gd.normal(0.5)),
        gd.Reshape(2, -1),
        gd.Sequential(Scale(3.0), gd.Residual(gd.Parallel(gd.Tanh(), Scale(), combine="sum"))),
    ],
    ids=repr,
)
def test_layers_survive_text(layer):
    text = json.dumps(layer.spec())
    rebuilt = Layer.from_spec(json.loads(text))
    assert rebuilt == layer
    assert hash(rebuilt) == hash(layer)
    assert repr(rebuilt) == repr(layer)
    assert type(layer).from_config(json.loads(json.dumps(layer.config()))) == layer
    assert json.dumps(rebuilt.spec()) == text


def test_different_layers_differ():
    assert gd.Dense(3) != gd.Dense(3, bias=False)
    assert gd.LeakyReLU(0.1) != gd.LeakyReLU(0.2)
    assert gd.Parallel(gd.Tanh()) != gd.Parallel(gd.Tanh(), combine="concat")
    assert gd.Sequential(gd.Tanh()) != gd.Residual(gd.Tanh())


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"type": "NoSuchLayer", "config": {}}, "unknown layer 'NoSuchLayer'.*import"),
        ({"type": "Dense", "config": {"nonsense": 1}}, "Dense cannot be made"),
        ({"type": "Tanh", "config": {"slope": 1}}, "Tanh cannot be made"),
        ({"type": "Sequential", "config": {"layers": ["Tanh"]}}, "unknown layer 'Tanh'"),
        ({}, "unknown layer {}"),
        (3, "unknown layer 3"),
    ],
)
def test_bad_text(spec, says):
    with pytest.raises(OptionError, match=says):
        Layer.from_spec(spec)


@pytest.mark.parametrize(
    ("init", "mean", "variance"),
    [
        (gd.zeros(), 0.0, 0.0),
        (gd.constant(0.3), 0.3, 0.0),
        (gd.normal(0.5), 0.0, 0.25),
        (gd.uniform(-1.0, 3.0), 1.0, 16.0 / 12.0),
        (gd.glorot_uniform(), 0.0, 2.0 / 500),
        (gd.glorot_normal(), 0.0, 2.0 / 500),
        (gd.he_uniform(), 0.0, 2.0 / 300),
        (gd.he_normal(), 0.0, 2.0 / 300),
        (gd.lecun_normal(), 0.0, 1.0 / 300),
        (gd.orthogonal(2.0), 0.0, 4.0 / 300),
    ],
    ids=repr,
)
def test_initializers(init, mean, variance):
    w = init(host_generator(1, "init"), (300, 200))
    assert w.shape == (300, 200)
    assert w.dtype == np.float64
    assert w.mean() == pytest.approx(mean, abs=4.0 * math.sqrt(variance / w.size) + 1e-14)  # a mean rounds
    assert w.var() == pytest.approx(variance, rel=0.03)
    np.testing.assert_array_equal(w, init(host_generator(1, "init"), (300, 200)))
    if variance:
        assert (w != init(host_generator(2, "init"), (300, 200))).any()
    if "uniform" in init.name:
        half = math.sqrt(3.0 * variance)
        assert np.abs(w - mean).max() <= half
        assert np.abs(w - mean).max() > 0.99 * half
    assert isinstance(init, Initializer)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (4, 4)])
def test_orthogonal(shape):
    w = gd.orthogonal()(host_generator(0, "init"), shape)
    gram = w.T @ w if shape[0] >= shape[1] else w @ w.T
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-14)


def test_init_may_be_a_function():
    layer = gd.Dense(2, init=lambda rng, shape: np.full(shape, 7.0))
    start = layer.init((3,), host_generator(0, "init"))
    np.testing.assert_array_equal(start["W"], np.full((3, 2), 7.0))
    np.testing.assert_array_equal(start["b"], 0.0)
    assert layer.config()["init"] is None


def test_initial_weights_are_the_same_everywhere(bk):
    net = gd.Sequential(gd.Dense(6, 5, init=gd.he_normal()), gd.Tanh(), gd.Dense(3, init=gd.orthogonal()))
    theta = net.parameters(like=bk.put(np.ones((1, 6))), seed=4)
    np.testing.assert_array_equal(bk.get(theta), net.initial(seed=4))


def test_dropout_masks_differ_by_place():
    net = gd.Sequential(gd.Dropout(0.5), gd.Residual(gd.Dropout(0.5)))
    x = np.ones((20, 20))
    y, _ = net({}, x, training=True, key=Key(0))
    assert set(np.unique(y)) == {0.0, 2.0, 6.0}


def test_jacobian_as_maps(bk):
    rng = np.random.default_rng(0)
    params = {"W": bk.put(rng.standard_normal((4, 3))), "b": bk.put(rng.standard_normal(3))}
    x = bk.put(rng.standard_normal((2, 4)))
    by = gd.Dense(3).jacobian(params, x)
    W = bk.get(params["W"])
    np.testing.assert_allclose(bk.get(by["x"].dense()), np.kron(np.eye(2), W.T), atol=1e-14)
    expected = np.einsum("ni,op->noip", bk.get(x), np.eye(3)).reshape(6, 12)
    np.testing.assert_allclose(bk.get(by["W"].dense()), expected, atol=1e-14)
    np.testing.assert_allclose(bk.get(by["b"].dense()), np.tile(np.eye(3), (2, 1)), atol=1e-14)
    with pytest.raises(OptionError, match="max_bytes"):
        by["W"].dense(max_bytes=100)

"""The structured numerical gradient takes the quotients of the plain loop: equal within 10 ε |f| / h."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import Key
from gdnet.errors import ArrayError, OptionError
from gdnet.layers.jacobian import Jacobian
from gdnet.network.structured_gradient import numerical_gradient_of, rank_one_cross_entropy

H = 1e-4


class Scale(gd.Layer):
    """y = a x with one parameter a feature: a layer of which the structured gradient knows nothing."""

    keeps_shape = True

    def shapes(self, in_shape):
        return {"a": in_shape}

    def forward(self, params, x, context):
        return params["a"] * x, Jacobian()


class Centred(gd.Layer):
    """y = x - mean over examples: examples influence each other."""

    keeps_shape = True

    def forward(self, params, x, context):
        return x - context.xp.mean(x, axis=0, keepdims=True), Jacobian()


def chain(*layers):
    return gd.Sequential(*layers)


NETS = {
    "one layer": lambda: chain(gd.Dense(6, 3)),
    "two layers": lambda: chain(gd.Dense(6, 4), gd.Sigmoid(), gd.Dense(3)),
    "no bias": lambda: chain(gd.Dense(6, 4, bias=False), gd.Tanh(), gd.Dense(3, bias=False)),
    "activation last": lambda: chain(gd.Dense(6, 4), gd.Tanh(), gd.Dense(3), gd.Softplus()),
    "deep": lambda: chain(gd.Dense(6, 5), gd.Tanh(), gd.Sigmoid(), gd.Dense(4), gd.Dense(4), gd.SiLU(), gd.Dense(3)),
    "nested": lambda: chain(gd.Dense(6, 5), chain(gd.Tanh(), chain(gd.Dense(4), gd.Tanh())), gd.Dense(3)),
    "softmax inside": lambda: chain(gd.Dense(6, 5), gd.Softmax(), gd.Dense(3)),
    "own layer": lambda: chain(Scale(), gd.Dense(6, 5), Scale(), gd.Tanh(), gd.Dense(3)),
    "mixed examples": lambda: chain(gd.Dense(6, 5), gd.Tanh(), Centred(), gd.Dense(3)),
    "dropout": lambda: chain(gd.Dense(6, 5), gd.Tanh(), gd.Dropout(0.4), gd.Dense(3)),
}


def setting(bk, net, loss=None, labels=True, training=False, weighted=False, n=7, dtype="float64"):
    rng = np.random.default_rng(0)
    x = bk.put(rng.standard_normal((n, 6)), dtype)
    t = bk.put(rng.integers(0, 3, n)) if labels else bk.put(rng.random((n, 3)), dtype)
    weight = bk.put(rng.random(n) + 0.5, dtype) if weighted else None
    objective = gd.Objective(
        net, loss or gd.CrossEntropy(), x, t, weight, backend=bk.backend, layout=net.layout((6,)),
        training=training, key=Key(3) if training else None,
    )  # fmt: skip
    theta = net.initial(1, (6,)) + 0.1 * rng.standard_normal(net.layout((6,)).size)
    return objective, bk.put(theta, dtype)


def textbook(bk, objective, theta, method="central", h=H):
    """The loop over elements, as the textbooks have it."""
    host, found = bk.get(theta), []

    def value(vector):
        return bk.backend.read(objective(bk.put(vector)).value)

    for i in range(len(host)):
        high, low = host.copy(), host.copy()
        high[i] += h if method != "backward" else 0.0
        low[i] -= h if method != "forward" else 0.0
        found.append((value(high) - value(low)) / (2 * h if method == "central" else h))
    return np.asarray(found), 10 * np.finfo(np.float64).eps * abs(value(host)) / h


@pytest.fixture
def host():
    from gdnet.testing.backends import backend_under_test

    return backend_under_test("numpy")


@pytest.mark.parametrize("name", NETS)
def test_equals_the_textbook_loop(host, name):
    objective, theta = setting(host, NETS[name](), weighted=True)
    expected, tolerance = textbook(host, objective, theta)
    found = numerical_gradient_of(objective, theta, h=H)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["two layers", "own layer"])
def test_equals_the_textbook_loop_on_every_library(bk, host, name):
    expected, tolerance = textbook(host, *setting(host, NETS[name]()))
    objective, theta = setting(bk, NETS[name]())
    found = numerical_gradient_of(objective, theta, h=H)
    assert found.shape == theta.shape
    assert found.dtype == theta.dtype
    np.testing.assert_allclose(bk.get(found), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("method", ["forward", "backward", "central"])
@pytest.mark.parametrize("max_memory", [1, 4000, 1 << 28])
def test_methods_and_memory(host, method, max_memory):
    objective, theta = setting(host, NETS["two layers"]())
    expected, tolerance = textbook(host, objective, theta, method)
    found = numerical_gradient_of(objective, theta, method, H, max_memory=max_memory)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", NETS)
def test_in_training(host, name):
    """With a key the masks of dropout are the same at every theta."""
    objective, theta = setting(host, NETS[name](), training=True)
    expected, tolerance = textbook(host, objective, theta)
    np.testing.assert_allclose(numerical_gradient_of(objective, theta, h=H), expected, rtol=0, atol=tolerance)


LOSSES = [
    (gd.CrossEntropy(), True), (gd.CrossEntropy(label_smoothing=0.1), True), (gd.SquaredError(), False),
    *((getattr(gd, name)(), False) for name in ("AbsoluteError", "BinaryCrossEntropy", "Huber", "LogCosh", "Poisson")),
]  # fmt: skip


class Unknown(gd.SquaredError):
    """A loss of which only `at` is known."""

    def at(self, backend, y, t, weight):
        class At:
            value = gd.SquaredError().at(backend, y, t, weight).value + 1.0

        return At()


@pytest.mark.parametrize(("loss", "labels"), [*LOSSES, (Unknown(), False)], ids=lambda v: repr(v))
@pytest.mark.parametrize("weighted", [False, True])
def test_losses(host, loss, labels, weighted):
    objective, theta = setting(host, NETS["deep"](), loss, labels, weighted=weighted)
    expected, tolerance = textbook(host, objective, theta)
    np.testing.assert_allclose(numerical_gradient_of(objective, theta, h=H), expected, rtol=0, atol=tolerance)


def test_probabilities_as_targets(host):
    objective, theta = setting(host, NETS["two layers"](), gd.CrossEntropy(), labels=False, weighted=True)
    expected, tolerance = textbook(host, objective, theta)
    np.testing.assert_allclose(numerical_gradient_of(objective, theta, h=H), expected, rtol=0, atol=tolerance)


def test_images(host):
    net = chain(gd.Flatten(), gd.Dense(6, 4), gd.Tanh(), gd.Dense(3))
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((5, 2, 3)), rng.integers(0, 3, 5)
    objective = gd.Objective(net, gd.CrossEntropy(), x, t, backend=host.backend, layout=net.layout((2, 3)))
    theta = net.initial(0, (2, 3))
    np.testing.assert_allclose(numerical_gradient_of(objective, theta), objective(theta).gradient, atol=1e-9)


def test_default_step_agrees_with_backpropagation(bk):
    objective, theta = setting(bk, NETS["two layers"]())
    found = bk.get(numerical_gradient_of(objective, theta))
    np.testing.assert_allclose(found, bk.get(objective(theta).gradient), atol=3e-10)


def test_float32(bk):
    objective, theta = setting(bk, NETS["one layer"](), dtype="float32")
    found = numerical_gradient_of(objective, theta)
    assert found.dtype == theta.dtype
    np.testing.assert_allclose(bk.get(found), bk.get(objective(theta).gradient), atol=1e-3)


def test_perfect_fit(host):
    net = chain(gd.Dense(6, 4), gd.Tanh(), gd.Dense(3))
    rng = np.random.default_rng(0)
    x, theta = rng.standard_normal((7, 6)), net.initial(0)
    t = net(net.layout().split(theta), x)[0]
    objective = gd.Objective(net, gd.SquaredError(), x, t, backend=host.backend, layout=net.layout())
    np.testing.assert_allclose(numerical_gradient_of(objective, theta), 0.0, atol=1e-9)  # h² f''' / 6


@pytest.mark.parametrize("b", [1, 5, 200])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_kernel_equals_the_body(host, b, weighted):
    rng = np.random.default_rng(0)
    z, w, d = (rng.standard_normal(shape) for shape in ((7, 90), (b, 7), (b, 90)))
    t = rng.random((7, 90))
    total = np.sum(t, axis=0, keepdims=True) if weighted else 1.0
    found = rank_one_cross_entropy(host.backend, 1e3 * z, w, d, t, total)
    np.testing.assert_allclose(found, rank_one_cross_entropy.body(host.xp, 1e3 * z, w, d, t, total), rtol=1e-12)


def test_any_function_of_theta(host):
    found = numerical_gradient_of(lambda v: np.sum(v * v), np.asarray([1.0, 2.0]))
    np.testing.assert_allclose(found, [2.0, 4.0], rtol=1e-9)


def test_bad_input(host):
    objective, theta = setting(host, NETS["two layers"]())
    for options, says in (({"method": "complex"}, "method"), ({"h": 0.0}, "positive"), ({"h": 1e-18}, "too small")):
        with pytest.raises(OptionError, match=says):
            numerical_gradient_of(objective, theta, **options)
    with pytest.raises(ArrayError, match="int64"):
        numerical_gradient_of(objective, theta.astype(np.int64))

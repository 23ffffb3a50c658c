"""Composites beyond the table: names, shapes, errors, skipped work, second derivatives of layers that have none."""

import warnings

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.errors import NotBuilt, OptionError, ShapeError
from gdnet.layers import Context, Elementwise, Jacobian
from gdnet.testing import check_layer

CPU = get_backend("cpu")


class Cube(Elementwise):
    """y = x³ with no second derivative written."""

    def forward(self, params, x, context):
        d = 3.0 * x * x
        return x**3, Jacobian(lambda dparams, dx: dx * d, lambda dy: ({}, dy * d))


class Bare(gd.Dense):
    """A dense layer by its two products alone; its jvp cannot do without dx."""

    def forward(self, params, x, context):
        W, b, xp = params["W"], params["b"], context.xp

        def jvp(dparams, dx):
            dy = dx @ W
            return dy + x @ dparams["W"] + xp.expand_dims(dparams["b"], axis=-2) if dparams else dy

        def vjp(dy):
            return {"W": x.T @ dy, "b": xp.sum(dy, axis=-2)}, dy @ W.T

        return x @ W + b, Jacobian(jvp, vjp)


def test_names_and_order():
    net = gd.Sequential(
        gd.Dense(3, 4),
        gd.Residual(gd.Dense(4), gd.Tanh()),
        gd.Parallel(gd.Dense(2), gd.Sequential(gd.Tanh(), gd.Dense(1)), combine="concat"),
        gd.Dense(1, bias=False),
    )
    layout = net.layout()
    assert list(layout) == ["0.W", "0.b", "1.0.W", "1.0.b", "2.0.W", "2.0.b", "2.1.1.W", "2.1.1.b", "3.W"]
    assert layout.shapes["3.W"] == (3, 1)
    assert net.out_shape((3,)) == (1,)
    _, J = net(layout.split(net.initial(seed=0)), np.ones((2, 3)))
    for found in (J.vjp(np.ones((2, 1)))[0], J.rows(np.ones((1, 2, 1)))):
        assert list(found) == list(layout)


@pytest.mark.parametrize(
    ("net", "in_shape"),
    [
        (gd.Sequential(gd.Dense(3, 4), gd.Tanh()), (3,)),
        (gd.Sequential(gd.Tanh(), gd.Dense(3, 4)), (3,)),
        (gd.Sequential(gd.Residual(gd.Dense(5)), gd.Dense(5, 3)), (5,)),
        (gd.Sequential(gd.Parallel(gd.Identity(), gd.Dense(6, 6))), (6,)),
        (gd.Sequential(gd.Sequential(gd.Tanh()), gd.Sequential(gd.Dense(2, 1))), (2,)),
        (gd.Sequential(gd.Flatten(), gd.Dense(6, 3)), None),
        (gd.Sequential(gd.Parallel(gd.Tanh(), gd.Tanh(), combine="concat"), gd.Dense(6, 3)), None),
        (gd.Sequential(gd.Dense(3)), None),
    ],
)
def test_input_size(net, in_shape):
    assert net.in_shape == in_shape
    if in_shape is None:
        with pytest.raises(NotBuilt, match="Dense"):
            net.layout()
    else:
        assert net.layout().size > 0


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: gd.Sequential(), OptionError, "Sequential needs at least one layer"),
        (lambda: gd.Residual(), OptionError, "Residual needs at least one layer"),
        (lambda: gd.Parallel(), OptionError, "Parallel needs at least one layer"),
        (lambda: gd.Sequential(gd.Tanh), OptionError, r"Sequential: layer 0 is a type, not a Layer.*ReLU\(\)"),
        (lambda: gd.Parallel(gd.Tanh(), combine="mean"), OptionError, "combine"),
        (
            lambda: gd.Sequential(gd.Dense(3, 4), gd.Dense(5, 2)).layout(),
            ShapeError,
            r"layer 1: Dense\(5, 2\) expects 5",
        ),
        (lambda: gd.Residual(gd.Dense(3, 4)).layout(), ShapeError, r"Residual\(Dense\(3, 4\)\) adds.*\(3,\).*\(4,\)"),
        (lambda: gd.Parallel(gd.Dense(3, 4), gd.Tanh()).layout(), ShapeError, r"Parallel.*adds outputs of one shape"),
        (
            lambda: gd.Parallel(gd.Flatten(), gd.Tanh(), combine="concat").out_shape((2, 3)),
            ShapeError,
            "joins outputs along the last axis",
        ),
        (
            lambda: gd.Sequential(gd.Dense(3, 4), gd.Residual(gd.Sequential(gd.Dense(5, 4)))).layout(),
            ShapeError,
            r"layer 1: layer 0: layer 0: Dense\(5, 4\) expects 5",
        ),
        (lambda: gd.Sequential(gd.Dense(3, 4)).layout((5,)), ShapeError, r"takes examples of shape \(3,\), got \(5,\)"),
    ],
)
def test_errors(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_nobody_asks_for_the_derivative_by_data():
    """Where x is data, the first layer with parameters computes no dx, and layers before it are not asked at all."""

    class Asked(Elementwise):
        count = 0

        def forward(self, params, x, context):
            def vjp(dy):
                Asked.count += 1
                return {}, dy

            return x, Jacobian(lambda dparams, dx: dx, vjp, lambda dparams, dx, gy: ({}, None))

    class Spy(gd.Dense):
        def forward(self, params, x, context):
            y, J = super().forward(params, x, context)
            J.vjp_x = None  # would fail if called
            return y, J

    net = gd.Sequential(Asked(), gd.Sequential(Asked(), Spy(3, 3)), gd.Tanh(), gd.Residual(gd.Dense(3)), gd.Dense(1))
    layout = net.layout((3,))
    theta, x, dy = layout.split(net.initial(0, (3,))), np.ones((2, 3)), np.ones((2, 1))
    _, J = net.forward(theta, x, Context(CPU, need_dx=False))
    v = {name: np.ones_like(value) for name, value in theta.items()}
    for found in (J.vjp(dy), J.curve(v, None, dy), J.hvp(v, None, dy, lambda d: d)):
        assert found[1] is None
        assert list(found[0]) == list(layout)
    J.vjp_into(dy, layout.split(np.empty(layout.size)))
    J.rows(dy[None])
    J.gram(dy[None])
    assert Asked.count == 0


@pytest.mark.parametrize(
    "layer",
    [
        gd.Sequential(gd.Tanh(), Cube(), gd.Sigmoid()),
        gd.Residual(gd.Tanh(), gd.Sequential(Bare(4), Cube()), gd.Sigmoid()),
        gd.Parallel(gd.Tanh(), gd.Sequential(Cube(), Bare(4))),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_without_curve(bk, layer):
    """Central differences of the exact vjp, said by a warning; exact to two thirds of the digits, for all axes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert check_layer(layer, (4,), backend=bk.backend)
    found = {str(w.message) for w in caught}
    assert {w.category for w in caught} == {UserWarning}
    assert all("has no `curve`" in text for text in found)
    assert any(text.startswith(("Cube()", "Dense(4)")) for text in found)


def test_the_warning_names_the_layer():
    net = gd.Sequential(Cube())
    _, J = net({}, np.ones((1, 2)))
    with pytest.warns(UserWarning, match=r"Cube\(\) has no `curve`") as caught:
        _, cx = J.curve({}, np.ones((1, 2)), np.ones((1, 2)))
    assert len(caught) == 1
    J.curve({}, np.ones((1, 2)), np.ones((1, 2)))  # once is enough: a warning here would be an error
    assert f"{Cube.__module__}.Cube" in str(caught[0].message)
    np.testing.assert_allclose(cx, 6.0, rtol=1e-9)


def test_nothing_moves_nothing_bends(bk):
    """A zero tangent of a layer without `curve` gives zero, not 0 / 0."""
    net = gd.Sequential(Cube())
    x = bk.put(np.ones((1, 2)))
    _, J = net({}, x)
    with pytest.warns(UserWarning, match="curve"):
        _, cx = J.curve({}, 0.0 * x, x)
    np.testing.assert_array_equal(bk.get(cx), 0.0)


def test_first_layer_that_needs_dx():
    """A user's layer whose jvp wants a dx gets zeros where x is data, with the tangents' batch axes."""
    net = gd.Sequential(Bare(3, 4), gd.Tanh())
    twin = gd.Sequential(gd.Dense(3, 4), gd.Tanh())
    theta = twin.layout().split(twin.initial())
    v = twin.layout().split(np.random.default_rng(0).standard_normal((5, twin.layout().size)))
    x = np.random.default_rng(1).standard_normal((2, 3))
    mine, other = (n.forward(theta, x, Context(CPU, need_dx=False))[1] for n in (net, twin))
    np.testing.assert_allclose(mine.jvp(v, None), other.jvp(v, None), rtol=1e-14)
    with pytest.warns(UserWarning, match="curve"):
        found = mine.curve(v, None, np.ones((2, 4)))[0]
    for name, value in other.curve(v, None, np.ones((2, 4)))[0].items():
        np.testing.assert_allclose(found[name], value, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    "net",
    [
        gd.Sequential(gd.Dense(3, 4), gd.Tanh(), gd.Dense(2)),
        gd.Sequential(gd.Dense(3, 3), gd.Residual(gd.Dense(3), gd.Sigmoid()), gd.Parallel(gd.Dense(2), gd.Dense(2))),
        gd.Sequential(gd.Dense(3, 2)),
    ],
    ids=repr,
)
def test_hessian_of_a_network_loss(bk, net):
    """hvp over the whole network, with many tangents at once, against differences of the gradient."""
    rng = np.random.default_rng(0)
    layout, loss = net.layout(), gd.CrossEntropy()
    x, t = bk.put(rng.standard_normal((5, 3))), bk.put(rng.integers(0, 2, 5))
    theta, v = net.initial(seed=1), rng.standard_normal((3, layout.size))

    def at(theta):
        y, J = net.forward(layout.split(bk.put(theta)), x, Context(bk.backend, need_dx=False))
        return loss(y, t), J

    here, J = at(theta)
    tangents = layout.split(bk.put(v))
    product = bk.get(layout.join(J.hvp(tangents, None, here.gradient, here.hessian)[0]))
    again = bk.get(layout.join(J.hvp(tangents, None, here.gradient, here.hessian)[0]))
    np.testing.assert_array_equal(product, again)

    def gradient(theta):
        here, J = at(theta)
        return bk.get(layout.join(J.vjp(here.gradient)[0]))

    for k in range(3):
        h = 1e-5
        expected = (gradient(theta + h * v[k]) - gradient(theta - h * v[k])) / (2.0 * h)
        np.testing.assert_allclose(product[k], expected, rtol=1e-6, atol=1e-8)


def test_gram_is_rows_times_rows():
    net = gd.Sequential(gd.Dense(3, 4), gd.Residual(gd.Tanh(), gd.Dense(4)), gd.Dense(2))
    layout = net.layout()
    x = np.random.default_rng(0).standard_normal((6, 3))
    y, J = net.forward(layout.split(net.initial()), x, Context(CPU, need_dx=False))
    dy = np.random.default_rng(1).standard_normal((2, *y.shape))
    rows = layout.join(J.rows(dy)).reshape(12, -1)
    np.testing.assert_allclose(J.gram(dy).reshape(12, 12), rows @ rows.T, atol=1e-12)

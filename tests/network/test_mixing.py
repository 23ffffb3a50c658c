"""Layers whose output depends on the other examples of the batch: nothing that is made example by example is wrong."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.derivatives import numerical_gradient, numerical_jacobian
from gdnet.errors import OptionError
from gdnet.network.structured_gradient import numerical_gradient_of
from gdnet.testing import CheckFailed, check_layer, check_loss


class Centred(gd.Layer):
    """y = a (x - mean over the batch of x)."""

    keeps_shape = mixes_examples = True

    def shapes(self, in_shape):
        return {"a": in_shape}

    def init(self, in_shape, rng):
        return {"a": np.ones(in_shape)}

    def forward(self, params, x, context):
        a, xp = params["a"], context.xp

        def centred(z):
            return z - xp.mean(z, axis=-2, keepdims=True)

        def jvp(dparams, dx):
            dy = a * centred(dx)
            return dy + xp.expand_dims(dparams["a"], axis=-2) * centred(x) if dparams else dy

        def vjp(dy):
            return {"a": xp.sum(dy * centred(x), axis=-2)}, centred(a * dy)

        def curve(dparams, dx, gy):
            da = xp.sum(gy * centred(dx), axis=-2)
            return {"a": da}, centred(xp.expand_dims(dparams["a"], axis=-2) * gy) if dparams else None

        return a * centred(x), gd.Jacobian(jvp, vjp, curve)


class Undeclared(Centred):
    mixes_examples = False


class Spread(gd.Loss):
    """Half the variance of the prediction over the batch, whatever the target."""

    mixes_examples = True

    def at(self, backend, y, t, weight):
        at, xp, n = gd.LossAt(), backend.xp, y.shape[0]
        centred = y - xp.mean(y, axis=0, keepdims=True)
        at.value, at.gradient = 0.5 * xp.sum(centred * centred) / n, centred / n
        at.hessian = gd.Map(
            backend, tuple(y.shape), tuple(y.shape), y.dtype,
            *[lambda v: (v - xp.mean(v, axis=-y.ndim, keepdims=True)) / n] * 2, {"symmetric", "psd"},
        )  # fmt: skip
        at.root = gd.Map(
            backend, tuple(y.shape), tuple(y.shape), y.dtype,
            *[lambda v: (v - xp.mean(v, axis=-y.ndim, keepdims=True)) / n**0.5] * 2,
        )  # fmt: skip
        return at


NETS = {
    "first": gd.Sequential(Centred(), gd.Dense(3, 4), gd.Tanh(), gd.Dense(2)),
    "in the middle": gd.Sequential(gd.Dense(3, 4), Centred(), gd.Tanh(), gd.Dense(2)),
    "last": gd.Sequential(gd.Dense(3, 4), gd.Tanh(), gd.Dense(2), Centred()),
    "nested": gd.Sequential(gd.Dense(3, 2), gd.Residual(gd.Dense(2), gd.Parallel(Centred(), gd.Tanh())), gd.Dense(2)),
    "joined": gd.Sequential(
        gd.Dense(3, 2), gd.Parallel(gd.Sequential(Centred(), gd.Dense(1)), gd.Dense(1), combine="concat")
    ),
}  # fmt: skip
N = 5


def problem(name, loss=None):
    rng = np.random.default_rng(1)
    net = NETS[name]
    x, t = rng.standard_normal((N, 3)), rng.standard_normal((N, 2))
    objective = gd.Objective(net, loss or gd.SquaredError(), x, t, backend=get_backend("cpu"), layout=net.layout())
    theta = net.initial(2) + 0.3 * rng.standard_normal(net.layout().size)
    return objective, theta


@pytest.mark.parametrize("name", NETS)
def test_every_form_of_the_jacobian_is_that_of_the_batch(name):
    objective, theta = problem(name)
    assert objective.net.mixes_examples
    at = objective(theta)
    J = numerical_jacobian(lambda v: objective(v).prediction.reshape(-1), theta)
    close = {"rtol": 1e-6, "atol": 1e-7}
    np.testing.assert_allclose(at.jacobian.dense(), J, **close)
    np.testing.assert_allclose(at.jacobian.gram(), J @ J.T, **close)
    np.testing.assert_allclose(at.jacobian.normal(), J.T @ J, **close)
    np.testing.assert_allclose(at.jacobian.normal_diagonal(), np.sum(J * J, axis=0), **close)
    # with so little memory that rows are made in blocks
    p, m = theta.size, J.shape[0]
    np.testing.assert_allclose(at.jacobian.normal(8 * (2 * p * p + 3 * p * (m // 3))), J.T @ J, **close)
    H = 2.0 / N * J.T @ J
    np.testing.assert_allclose(at.gauss_newton.dense(), H, **close)
    np.testing.assert_allclose(at.gauss_newton.diagonal(), np.diag(H), **close)
    np.testing.assert_allclose(np.stack([at.gauss_newton(row) for row in np.eye(p)]), H, **close)
    A = at.root_jacobian
    np.testing.assert_allclose(A.dense().T @ A.dense(), H, **close)
    np.testing.assert_allclose(A.gram(), A.dense() @ A.dense().T, **close)
    np.testing.assert_allclose(at.rows().sum(axis=0), at.gradient, **close)
    each = 2.0 / N * np.einsum("nk,nkp->np", at.prediction - objective.t, J.reshape(N, 2, p))
    np.testing.assert_allclose(at.rows(), each, **close)
    hessian = numerical_jacobian(lambda v: objective(v).gradient, theta)
    np.testing.assert_allclose(at.hessian.dense(), hessian, **close)


@pytest.mark.parametrize("name", NETS)
def test_the_input_jacobian_has_no_blocks(name):
    objective, theta = problem(name)
    at = objective(theta)
    with pytest.raises(OptionError, match="per_example"):
        at.input_jacobian.blocks()
    net, layout = objective.net, objective.layout

    def prediction(x):
        return net(layout.split(theta, np), x.reshape(N, 3))[0].reshape(-1)

    dense = numerical_jacobian(prediction, objective.x.reshape(-1))
    np.testing.assert_allclose(at.input_jacobian.dense(), dense, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("loss", [gd.SquaredError(), Spread()], ids=["squared", "spread"])
@pytest.mark.parametrize("name", NETS)
def test_the_numerical_gradient_is_that_of_the_batch(name, loss):
    objective, theta = problem(name, loss)
    found = numerical_gradient_of(objective, theta)
    np.testing.assert_array_equal(found, numerical_gradient(lambda v: objective(v).value, theta))
    np.testing.assert_allclose(found, objective(theta).gradient, rtol=1e-6, atol=1e-8)


def test_levenberg_marquardt_fits_such_a_network():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3))
    t = np.tanh(x @ rng.standard_normal((3, 2)))
    t -= t.mean(axis=0)
    model = gd.Model(gd.Sequential(gd.Dense(3, 6), gd.Tanh(), gd.Dense(2), Centred()), loss=gd.SquaredError())
    model.fit(x, t, optimizer=gd.LevenbergMarquardt(), epochs=60, batch_size=None, verbose=0)
    assert model.evaluate(x, t, batch_size=40)["loss"] < 1e-3


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_the_checks_know_of_it(name):
    backend = get_backend("cpu", name)
    assert "batch against single examples" not in check_layer(Centred(), (3,), backend=backend).findings
    for net in NETS.values():
        assert check_layer(net, (3,), backend=backend)
    with pytest.raises(CheckFailed, match="declare mixes_examples = True"):
        check_layer(Undeclared(), (3,), backend=backend)


def test_check_loss_knows_of_losses_that_mix_examples():
    class Undeclared(Spread):
        mixes_examples = False

    assert "weights" not in check_loss(Spread(), (2,)).findings
    with pytest.raises(CheckFailed, match="declare mixes_examples = True"):
        check_loss(Undeclared(), (2,))
    objective, theta = problem("first", Spread())
    with pytest.raises(OptionError, match="mixes examples"):
        _ = objective(theta).root_jacobian
    np.testing.assert_allclose(
        objective(theta).gauss_newton.dense(),
        np.stack([objective(theta).gauss_newton(row) for row in np.eye(theta.size)]),
        atol=1e-15,
    )

"""One layer object in two places of a network: one window of theta, to which both places' derivatives add."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.derivatives import numerical_gradient, numerical_jacobian
from gdnet.errors import FileError, ShapeError
from gdnet.network.structured_gradient import numerical_gradient_of
from gdnet.testing import check_layer


def chain():
    d = gd.Dense(3, 3)
    return gd.Sequential(d, gd.Tanh(), d)


def across():
    d = gd.Dense(3, 3)
    return gd.Sequential(
        gd.Dense(3, 3), d, gd.Residual(gd.Tanh(), d), gd.Sequential(gd.Sequential(gd.Tanh(), d)), gd.Dense(2)
    )


def branches():
    d, e = gd.Dense(3), gd.Dense(2, bias=False)
    return gd.Sequential(gd.Dense(3, 3), gd.Parallel(d, gd.Sequential(gd.Tanh(), d), combine="concat"), e, gd.Tanh())


def repeated():
    block = gd.Residual(gd.Dense(3), gd.Tanh())
    return gd.Sequential(gd.Dense(3, 3), *[block] * 3, gd.Dense(2))


def summed():
    d = gd.Dense(3)
    return gd.Sequential(gd.Parallel(d, d, gd.Tanh()), gd.SiLU(), d)


NETS = [chain, across, branches, repeated, summed]
SIZES = {"chain": 12, "across": 12 + 12 + 8, "branches": 12 + 12 + 12, "repeated": 12 + 12 + 8, "summed": 12}


@pytest.mark.parametrize("net", NETS)
def test_the_layer_has_one_window(net):
    assert net().layout((3,)).size == SIZES[net.__name__]
    assert net().initial(0, (3,)).shape == (SIZES[net.__name__],)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("net", NETS)
def test_every_rule_adds(net, name):
    assert check_layer(net(), (3,), backend=get_backend("cpu", name))


@pytest.mark.parametrize("net", NETS)
def test_every_derivative_of_the_objective(net):
    rng, net = np.random.default_rng(0), net()
    layout = net.layout((3,))
    x = rng.standard_normal((4, 3))
    t = rng.standard_normal((4, *net.out_shape((3,))))
    objective = gd.Objective(net, gd.SquaredError(), x, t, backend=get_backend("cpu"), layout=layout)
    theta = net.initial(1, (3,)) + 0.2 * rng.standard_normal(layout.size)
    at, close = objective(theta), {"rtol": 1e-6, "atol": 1e-7}
    gradient = numerical_gradient(lambda v: objective(v).value, theta)
    np.testing.assert_allclose(at.gradient, gradient, **close)
    np.testing.assert_array_equal(numerical_gradient_of(objective, theta), gradient)
    J = numerical_jacobian(lambda v: objective(v).prediction.reshape(-1), theta)
    np.testing.assert_allclose(at.jacobian.dense(), J, **close)
    np.testing.assert_allclose(at.jacobian.gram(), J @ J.T, **close)
    np.testing.assert_allclose(at.jacobian.normal(), J.T @ J, **close)
    np.testing.assert_allclose(at.gauss_newton.diagonal(), np.sum(J * J, axis=0) / 2.0, **close)
    np.testing.assert_allclose(at.hessian.dense(), numerical_jacobian(lambda v: objective(v).gradient, theta), **close)
    np.testing.assert_allclose(at.rows().sum(axis=0), at.gradient, **close)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("net", NETS)
def test_training_is_the_same_on_every_library(net, name):
    rng, net = np.random.default_rng(0), net()
    x = rng.standard_normal((12, 3))
    t = rng.standard_normal((12, *net.out_shape((3,))))

    def trained(name):
        if len(net.in_shape or ()) == 0:
            model = gd.Model(
                gd.Sequential(gd.Dense(3, 3, bias=False), net),
                backend=get_backend("cpu", name),
                dtype="float32",
                loss=gd.SquaredError(),
            )
        else:
            model = gd.Model(net, backend=get_backend("cpu", name), dtype="float32", loss=gd.SquaredError())
        model.fit(x, t, optimizer=gd.Adam(lr=0.01), epochs=5, batch_size=4, verbose=0)
        return model.backend.to_numpy(model.theta)

    np.testing.assert_allclose(trained(name), trained("numpy"), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("net", NETS)
def test_files_keep_what_is_shared(net, tmp_path):
    model, x = gd.Model(gd.Sequential(gd.Dense(3, 3), net()), loss=gd.SquaredError()), np.ones((2, 3))
    model.save(tmp_path / "m.safetensors")
    again = gd.load(tmp_path / "m.safetensors")
    assert again.net == model.net
    assert again.layout == model.layout
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_two_layers_are_not_one_layer_twice():
    apart = gd.Sequential(gd.Dense(3, 3), gd.Tanh(), gd.Dense(3, 3))
    assert apart != chain()
    assert apart.layout().size == 24


def test_layers_without_parameters_may_come_as_often_as_one_likes():
    tanh = gd.Tanh()
    net = gd.Sequential(gd.Dense(3, 3), tanh, gd.Dense(3), tanh)
    assert net == gd.Sequential(gd.Dense(3, 3), gd.Tanh(), gd.Dense(3), gd.Tanh())
    assert not net.plan((3,)).tied


def test_one_window_has_one_shape():
    d = gd.Dense(4)
    with pytest.raises(ShapeError, match=r"layer 2: .* shares '0.W' of shape \(3, 4\)"):
        gd.Sequential(d, gd.Tanh(), d).layout((3,))


@pytest.mark.parametrize("number", [-1, 5, "0", None, 1.5])
def test_a_file_that_shares_what_is_not_there(number):
    from gdnet.files.spec import read_network

    spec = gd.Sequential(gd.Dense(3, 3), gd.Tanh()).spec()
    spec["config"]["layers"].append({"shared": number})
    with pytest.raises(FileError, match="a shared layer must be one of the 2 before it"):
        read_network(spec, {})


@pytest.mark.parametrize("combine", ["sum", "concat"])
def test_branches_alone_share(combine):
    shared = gd.Dense(3)
    net = gd.Parallel(shared, gd.Tanh(), shared, combine=combine)
    assert check_layer(net, (3,))
    assert net.layout((3,)).size == 12

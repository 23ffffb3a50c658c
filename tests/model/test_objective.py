"""The objective answers: gradient, Gauss-Newton, Hessian and derivatives by the input, against differences."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.derivatives import numerical_gradient, numerical_hessian, numerical_jacobian
from gdnet.model import Model


def problem(loss, bk=None):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((5, 3))
    t = rng.integers(0, 2, 5) if isinstance(loss, gd.CrossEntropy) else rng.standard_normal((5, 2))
    net = gd.Sequential(gd.Dense(3, 4), gd.Tanh(), gd.Residual(gd.Dense(4, 4), gd.Sigmoid()), gd.Dense(4, 2))
    model = Model(net, loss=loss, dtype="float64", backend=None if bk is None else bk.backend, seed=1)
    return model, x, t


@pytest.mark.parametrize("loss", [gd.SquaredError(), gd.CrossEntropy(0.1)], ids=repr)
def test_hessian_is_the_second_derivative(loss):
    model, x, t = problem(loss)
    at = model.objective(x, t)(model.theta)
    expected = numerical_jacobian(lambda v: model.objective(x, t)(v).gradient, model.theta)
    np.testing.assert_allclose(at.hessian.dense(), expected, rtol=1e-6, atol=1e-8)
    assert np.abs(at.hessian.dense() - at.gauss_newton.dense()).max() > 1e-3  # the curvature matters here


def test_hessian_products_agree_on_every_library(bk):
    model, x, t = problem(gd.SquaredError(), bk)
    here = model.objective(x, t)(model.theta)
    other, _, _ = problem(gd.SquaredError())
    there = other.objective(x, t)(other.theta)
    v = np.random.default_rng(0).standard_normal((2, model.layout.size))
    np.testing.assert_allclose(bk.get(here.hessian(bk.put(v))), there.hessian(v), rtol=1e-10, atol=1e-12)
    u = np.random.default_rng(1).standard_normal(x.shape)
    np.testing.assert_allclose(bk.get(here.input_jacobian(bk.put(u))), there.input_jacobian(u), rtol=1e-10, atol=1e-12)


def test_numerical_hessian_of_the_value():
    model, x, t = problem(gd.SquaredError())
    objective = model.objective(x, t)
    expected = numerical_hessian(lambda v: objective(v).value, model.theta)
    np.testing.assert_allclose(objective(model.theta).hessian.dense(), expected, rtol=1e-3, atol=1e-4)


def test_input_jacobian():
    model, x, t = problem(gd.SquaredError())
    J = model.objective(x, t)(model.theta).input_jacobian
    expected = numerical_jacobian(lambda v: model.predict(v.reshape(x.shape)).reshape(-1), x.reshape(-1))
    np.testing.assert_allclose(J.dense(), expected, rtol=1e-7, atol=1e-9)
    u = np.random.default_rng(0).standard_normal((5, 2))
    np.testing.assert_allclose(J.T(u).reshape(-1), expected.T @ u.reshape(-1), rtol=1e-7, atol=1e-9)


def test_rows_sum_to_the_gradient():
    model, x, t = problem(gd.CrossEntropy())
    at = model.objective(x, t, np.asarray([1.0, 2, 0, 1, 3]))(model.theta)
    np.testing.assert_allclose(at.rows().sum(axis=0), at.gradient, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(at.rows()[2], 0.0)


def test_model_gradients():
    model, x, t = problem(gd.SquaredError())
    exact, numerical = model.gradient(x, t), model.numerical_gradient(x, t)
    assert exact.shape == (model.layout.size,)
    np.testing.assert_allclose(numerical, exact, rtol=1e-6, atol=1e-9)
    forward = model.numerical_gradient(x, t, method="forward", h=1e-6)
    np.testing.assert_allclose(forward, exact, rtol=1e-3, atol=1e-4)
    assert np.abs(forward - exact).max() > np.abs(numerical - exact).max()
    plain = numerical_gradient(lambda v: model.objective(x, t)(v).value, model.theta)
    np.testing.assert_allclose(numerical, plain, rtol=1e-6, atol=1e-9)

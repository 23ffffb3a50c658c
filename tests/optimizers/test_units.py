"""The units of objective and parameters do not matter: the same steps, the same verdict, the same answer scaled."""

import math

import numpy as np
import pytest

import gdnet as gd
from gdnet.optimizers.scipy_api.minimize import METHODS


def rosen(x):
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2


def rosen_grad(x):
    return np.array([-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)])


def rosen_hess(x):
    return np.array([[1200 * x[0] ** 2 - 400 * x[1] + 2, -400 * x[0]], [-400 * x[0], 200.0]])


TARGET = np.array([0.3, -1.1, 2.0])


def tub(x):
    """Convex, of three scales, with a value of about 7 at its minimum."""
    return float(np.sum(np.array([1.0, 9.0, 30.0]) * np.cosh(x - TARGET)) / 6)


def tub_grad(x):
    return np.array([1.0, 9.0, 30.0]) * np.sinh(x - TARGET) / 6


def tub_hess(x):
    return np.diag(np.array([1.0, 9.0, 30.0]) * np.cosh(x - TARGET) / 6)


PROBLEMS = {
    "rosen": (rosen, rosen_grad, rosen_hess, np.array([-1.2, 1.0]), np.ones(2)),
    "tub": (tub, tub_grad, tub_hess, np.array([1.5, 1.0, -1.0]), TARGET),
    "tub from zero": (tub, tub_grad, tub_hess, np.zeros(3), TARGET),
}
SOLVERS = {
    **{name: kind() for name, kind in METHODS.items()},
    **{rule: gd.ConjugateGradient(rule) for rule in ("fletcher_reeves", "hestenes_stiefel", "dai_yuan", "hager_zhang")},
    "newton saddle-free": gd.Newton("saddle_free"),
    "bfgs hager-zhang": gd.BFGS(line_search=gd.HagerZhang()),
    "scg difference": gd.ScaledConjugateGradient(hvp="difference"),
}


def scaled(problem, value, unit, offset=0.0):
    """value f(x / unit) + offset, with exact derivatives, and its start."""
    f, g, H, x0, _ = PROBLEMS[problem]
    unit = unit * np.ones(len(x0))
    return gd.FunctionObjective(
        lambda x: value * f(x / unit) + offset,
        lambda x: value * g(x / unit) / unit,
        lambda x: value * H(x / unit) / np.outer(unit, unit),
    ), x0 * unit


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", SOLVERS)
def test_units_change_no_bit(name, problem):
    """Units that are powers of two scale every number exactly: the run must be the same to the last bit."""
    solver = SOLVERS[name]
    plain = solver.run(*scaled(problem, 1.0, 1.0))
    assert plain.success or name == "gd", plain
    np.testing.assert_allclose(plain.x, PROBLEMS[problem][4], atol=1e-5 if plain.success else 0.5)
    for k, j in [(-40, 0), (-16, 0), (12, 0), (40, 0), (0, -40), (0, 16), (0, 40), (-40, 40), (40, -40)]:
        found = solver.run(*scaled(problem, 2.0**k, 2.0**j))
        assert (found.success, found.stop_reason, found.nit, found.nfev, found.njev) == (
            plain.success, plain.stop_reason, plain.nit, plain.nfev, plain.njev,
        ), (k, j)  # fmt: skip
        assert np.array_equal(found.x, plain.x * 2.0**j) or (problem == "tub from zero" and j), (k, j)
        np.testing.assert_allclose(found.x * 2.0**-j, plain.x, rtol=1e-6)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", [name for name in SOLVERS if name != "gd"])
def test_units_of_ten(name, problem):
    """About as many steps: rounding differs now."""
    solver = SOLVERS[name]
    plain = solver.run(*scaled(problem, 1.0, 1.0))
    # conjugate gradients come to their last digits slowly, and rounding decides how slowly
    slack = 3 + plain.nit // 4 if isinstance(solver, gd.ConjugateGradient) else 3
    for k in range(-12, 13, 3):
        for value, unit in ((10.0**k, 1.0), (1.0, 10.0**k), (10.0**k, 10.0**-k)):
            found = solver.run(*scaled(problem, value, unit))
            assert found.success, (value, unit, found)
            assert abs(found.nit - plain.nit) <= slack, (value, unit, found.nit)
            np.testing.assert_allclose(found.x / unit, PROBLEMS[problem][4], atol=1e-5)


T = np.linspace(0.0, 4.0, 40)
DATA = 2.0 * np.exp(-1.7 * T) + 0.05 * np.sin(9.0 * T)


def decay(x):
    return x[0] * np.exp(-x[1] * T) - DATA


def decay_jac(x):
    e = np.exp(-x[1] * T)
    return np.stack([e, -x[0] * T * e], axis=1)


def fitted(solver):
    """A solver of least squares on the decay, with residuals times `value` and parameters times `unit`."""

    def run(value, unit):
        objective = gd.FunctionObjective(
            residual=lambda x: value * decay(x / unit), jacobian=lambda x: value * decay_jac(x / unit) / unit
        )
        return solver.run(objective, unit * np.ones(2))

    return run


def least_squares(value, unit, **given):
    return gd.least_squares(lambda x: value * decay(x / unit), unit * np.ones(2), **given)


def bounded(value, unit):
    return least_squares(value, unit, bounds=(0.0, np.array([1.9, 5.0]) * unit))


def interior_point(value, unit, jac=True):
    """The tub with a bound and an inequality that are active at its minimum."""
    return gd.minimize(
        lambda x: value * tub(x / unit), np.array([1.5, 1.0, -1.0]) * unit, method="interior_point",
        jac=(lambda x: value * tub_grad(x / unit) / unit) if jac else None,
        bounds=[(0.5 * unit, None), (None, None), (None, None)], g_le=lambda x: value * (x[1] / unit + x[2] / unit),
    )  # fmt: skip


def quadratic_program(value, unit):
    P, q = tub_hess(np.zeros(3)), tub_grad(np.zeros(3))
    return gd.quadratic_program(
        value * P / unit**2, value * q / unit, G=np.ones((1, 3)) / unit, h=[0.2], lower=[-0.5 * unit] * 3
    )


CONSTRAINED_AND_FITTED = {
    "levenberg-marquardt": fitted(gd.LevenbergMarquardt()),
    "levenberg-marquardt mean": fitted(gd.LevenbergMarquardt(scaling="mean")),
    "levenberg-marquardt samples": fitted(gd.LevenbergMarquardt(space="samples")),
    "levenberg-marquardt cg": fitted(gd.LevenbergMarquardt(space="cg")),
    "bayesian regularisation": fitted(gd.BayesianRegularization()),
    "hessian-free": fitted(gd.HessianFree()),
    "newton-cg gauss-newton": fitted(gd.NewtonCG(curvature="gauss_newton")),
    "least squares": least_squares,
    "least squares in a box": bounded,
    "interior point": interior_point,
    "interior point by differences": lambda value, unit: interior_point(value, unit, jac=False),
    "quadratic program": quadratic_program,
}


@pytest.mark.parametrize("name", CONSTRAINED_AND_FITTED)
def test_units_of_ten_of_fits_and_constrained_problems(name):
    """Residuals, or objective and constraints, times 10^k, and parameters and bounds."""
    run = CONSTRAINED_AND_FITTED[name]
    plain = run(1.0, 1.0)
    assert plain.success, plain
    for k in range(-12, 13, 3):
        for value, unit in ((10.0**k, 1.0), (1.0, 10.0**k), (10.0**k, 10.0**-k)):
            if name == "bayesian regularisation" and unit != 1.0:
                continue  # it expects weights of the size of one: that is its prior
            found = run(value, unit)
            assert found.success, (value, unit, found)
            assert abs(found.nit - plain.nit) <= 3 + plain.nit // 5, (value, unit, found.nit, plain.nit)
            np.testing.assert_allclose(found.x / unit, plain.x, atol=1e-6)


@pytest.mark.parametrize("problem", ["rosen", "tub"])
def test_newton_takes_a_unit_for_each_parameter(problem):
    """Where the Hessian is positive definite the method is affine invariant, and so is its stop rule."""
    plain = gd.Newton().run(*scaled(problem, 1.0, 1.0))
    for powers in ([-12, 12, 3], [12, -12, 0], [5, -7, 11]):
        unit = 10.0 ** np.array(powers[: len(plain.x)])
        found = gd.Newton().run(*scaled(problem, 1e-3, unit))
        assert found.success, found
        assert abs(found.nit - plain.nit) <= 3
        np.testing.assert_allclose(found.x / unit, PROBLEMS[problem][4], atol=1e-5)


@pytest.mark.parametrize("name", [name for name in SOLVERS if name != "gd"])
def test_an_offset_of_the_value(name):
    for offset in (-10.0, 1e3, 1e6):
        found = SOLVERS[name].run(*scaled("tub", 1.0, 1.0, offset))
        assert found.success, found
        np.testing.assert_allclose(found.x, TARGET, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in SOLVERS if name != "gd"])
def test_from_the_solution_and_from_near_it(name):
    solver = SOLVERS[name]
    for value in (1e-12, 1.0, 1e12):
        objective, _ = scaled("tub", value, 1.0)
        for distance in (0.0, 1e-15, 1e-10, 1e-6, 1e-3):
            found = solver.run(objective, TARGET + distance * np.array([1.0, -1.0, 0.5]))
            assert found.success, (value, distance, found)
            np.testing.assert_allclose(found.x, TARGET, atol=1e-6)
            assert found.nit <= 40


@pytest.mark.parametrize("name", [name for name in SOLVERS if name != "gd"])
def test_a_start_far_out_ends_at_the_minimum(name):
    """eˣ - 2x from 40: the gradient there is 1e17 times those near the minimum at log 2."""

    def exp(x):
        return np.exp(np.minimum(x, 700.0))

    f = gd.FunctionObjective(lambda x: float(exp(x[0]) - 2 * x[0]), lambda x: exp(x) - 2, lambda x: exp(x)[:, None])
    for start in (3.0, 12.0, 40.0):
        found = SOLVERS[name].run(f, np.array([start]))
        assert not found.success or abs(found.x[0] - math.log(2)) < 2e-4 * start, (start, found)
        assert start > 20 or found.success, (start, found)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "gd"])
@pytest.mark.parametrize("scale", [1e-10, 1e-4, 1e10])
def test_minimize_does_not_claim_success_at_a_start_in_small_units(method, scale):
    found = gd.minimize(lambda x: scale * rosen(x), [-1.2, 1.0], method=method, jac=lambda x: scale * rosen_grad(x))
    assert found.success, found
    np.testing.assert_allclose(found.x, 1.0, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("limit", [{"maxiter": 3}, {"max_time": 0.0}])
def test_a_limit_comes_without_success(method, limit):
    for scale in (1e-12, 1.0):
        found = gd.minimize(
            lambda x, c: c * rosen(x), [-1.2, 1.0], (scale,), method, lambda x, c: c * rosen_grad(x), options=limit
        )
        assert not found.success
        assert found.stop_reason in ("max_iter", "max_time")


@pytest.mark.parametrize("problem", ["rosen", "tub"])
@pytest.mark.parametrize("method", [name for name in METHODS if name != "gd"])
def test_units_without_derivatives(method, problem):
    """Difference steps follow the parameters' sizes, together and each by itself."""
    f, _, _, x0, best = PROBLEMS[problem]
    for k in range(-12, 13, 4):
        for value, unit in ((10.0**k, 1.0), (1.0, 10.0**k)):
            found = gd.minimize(lambda x, v, u: v * f(x / u), x0 * unit, (value, unit), method)
            assert found.success, (value, unit, found)
            np.testing.assert_allclose(found.x / unit, best, atol=1e-3)


def test_a_unit_for_each_parameter_without_derivatives():
    unit = np.array([1e-9, 1e4, 1.0])
    for method in ("newton",):
        found = gd.minimize(lambda x: tub(x / unit), PROBLEMS["tub"][3] * unit, method=method)
        np.testing.assert_allclose(found.x / unit, TARGET, atol=1e-4)


@pytest.mark.parametrize("method", ["bfgs", "lbfgs", "cg"])
def test_a_peak_in_small_units(method):
    """Amplitude 1e-8, position and width near 1: the parameters differ by eight powers of ten."""
    w = np.linspace(1, 2, 100)
    d = 1.2e-8 * np.exp(-0.5 * (w - 1.4) ** 2 / 0.11**2)

    def misfit(p):
        return np.sum((p[0] * np.exp(-0.5 * (w - p[1]) ** 2 / p[2] ** 2) - d) ** 2)

    found = gd.minimize(misfit, [1.5e-8, 1.6, 0.2], method=method)
    assert found.fun <= misfit([1.5e-8, 1.6, 0.2])
    assert not found.success or np.allclose(found.x, [1.2e-8, 1.4, 0.11], rtol=1e-2), found


def test_a_function_in_float32_of_an_x_in_float64():
    """Its rounding is that of float32: steps fit for float64 would find noise."""
    c = np.array([0.4, -1.5])
    for jac in (None, "2-point", "3-point"):
        found = gd.minimize(lambda x: np.float32(np.sum(np.cosh(np.float32(x - c)))), np.zeros(2), jac=jac)
        np.testing.assert_allclose(found.x, c, atol=5e-3)

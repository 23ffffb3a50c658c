"""Newton's methods: quadratic convergence, saddles, singular and indefinite Hessians, the trust region's path."""

import itertools
import math

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.errors import OptionError
from gdnet.optimizers.point import Point
from gdnet.optimizers.unconstrained.newton_cg import SteihaugPath


def rosenbrock(xp=np):
    def f(x):
        return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2

    def g(x):
        return xp.stack([-400.0 * x[0] * (x[1] - x[0] ** 2) - 2.0 * (1.0 - x[0]), 200.0 * (x[1] - x[0] ** 2)])

    def H(x):
        one = xp.ones_like(x[0])
        return xp.stack([
            xp.stack([1200.0 * x[0] ** 2 - 400.0 * x[1] + 2.0 * one, -400.0 * x[0]]),
            xp.stack([-400.0 * x[0], 200.0 * one]),
        ])  # fmt: skip

    return f, g, H


SOLVERS = [gd.Newton(), gd.Newton("saddle_free"), gd.NewtonCG()]


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_rosenbrock_on_every_library(bk, solver):
    found = solver.run(gd.FunctionObjective(*rosenbrock(bk.xp)), bk.put(np.array([-1.2, 1.0])))
    assert found.success, found.message
    np.testing.assert_allclose(bk.get(found.x), 1.0, atol=1e-6)
    assert found.nit <= 40


@pytest.mark.parametrize("solver", [gd.Newton(min_grad=1e-13), gd.Newton("saddle_free", min_grad=1e-13),
                                    gd.NewtonCG(min_grad=1e-13, forcing=0.9)], ids=repr)  # fmt: skip
def test_the_number_of_right_digits_doubles(solver):
    """f = Σ eˣ - x is least at 0, where e_{k+1} = ½ e_k² to first order."""
    errors = []
    f = gd.FunctionObjective(
        lambda x: float(np.sum(np.exp(x) - x)), lambda x: np.exp(x) - 1.0, lambda x: np.diag(np.exp(x))
    )
    found = solver.run(f, np.array([0.5, 0.4]), lambda r: errors.append(np.max(np.abs(r.x))) or None)
    assert found.gradient_norm <= 1e-13
    errors = [e for e in errors if e > 1e-14]
    assert len(errors) >= 3
    if isinstance(solver, gd.Newton):
        for before, after in itertools.pairwise(errors):
            assert after == pytest.approx(0.5 * before**2, rel=0.3, abs=1e-15)
    else:  # the forcing sequence √||g|| makes it of order 3/2
        for before, after in itertools.pairwise(errors[1:]):
            assert after <= 2.0 * before**1.5 + 1e-15


@pytest.mark.parametrize("solver", [gd.Newton(), gd.Newton("saddle_free")], ids=repr)
def test_a_saddle_is_left_even_from_its_very_point(bk, solver):
    """x⁴/4 - x²/2 + y²: the gradient is exactly zero at the start, the curvature is not positive."""
    xp = bk.xp
    f = gd.FunctionObjective(
        lambda x: 0.25 * x[0] ** 4 - 0.5 * x[0] ** 2 + x[1] ** 2,
        lambda x: xp.stack([x[0] ** 3 - x[0], 2.0 * x[1]]),
        lambda x: xp.stack([
            xp.stack([3.0 * x[0] ** 2 - 1.0, 0.0 * x[0]]), xp.stack([0.0 * x[0], 2.0 * xp.ones_like(x[0])])
        ]),
    )  # fmt: skip
    found = solver.run(f, bk.put(np.zeros(2)))
    assert found.success
    assert found.fun == pytest.approx(-0.25, abs=1e-9)


def test_trust_region_follows_negative_curvature():
    f = gd.FunctionObjective(
        lambda x: float(0.25 * x[0] ** 4 - 0.5 * x[0] ** 2 + x[1] ** 2),
        lambda x: np.array([x[0] ** 3 - x[0], 2.0 * x[1]]),
        hessp=lambda x, v: np.array([(3 * x[0] ** 2 - 1) * v[0], 2 * v[1]]),
    )
    found = gd.NewtonCG().run(f, np.array([1e-3, 1.0]))
    assert found.success
    assert found.fun == pytest.approx(-0.25, abs=1e-9)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_singular_hessians(solver):
    """(x - y)² is least on a line; x⁴ has no curvature where it is least."""
    line = gd.FunctionObjective(
        lambda x: float((x[0] - x[1] - 1) ** 2), lambda x: 2 * (x[0] - x[1] - 1) * np.array([1.0, -1.0]),
        lambda x: np.array([[2.0, -2.0], [-2.0, 2.0]]),
    )  # fmt: skip
    found = solver.run(line, np.array([3.0, -2.0]))
    assert found.success
    assert found.fun < 1e-12
    flat = gd.FunctionObjective(lambda x: float(np.sum(x**4)), lambda x: 4 * x**3, lambda x: np.diag(12 * x**2))
    assert solver.run(flat, np.array([2.0, 0.0])).success


@pytest.mark.parametrize("indefinite", [False, True])
def test_the_path_is_steihaugs(indefinite):
    """Against CG written out: the same steps, cut at any radius, without another product."""
    rng = np.random.default_rng(0)
    n, calls = 10, []
    B = rng.standard_normal((n, n))
    H = B @ B.T + 0.1 * np.eye(n) - (3.0 * np.eye(n) if indefinite else 0.0)
    g = rng.standard_normal(n)
    f = gd.FunctionObjective(lambda x: 0.0, lambda x: g, hessp=lambda x, v: calls.append(1) or H @ v)
    at = Point(get_backend("cpu"), f(np.zeros(n)), np.zeros(n))
    path = SteihaugPath(at, at.evaluation.hessian, g @ g, 1e-10, None)
    lengths = []
    for radius in (1e3, 3.0, 0.5, 1e-3):
        step, length, decrease = path.to(radius)
        assert length == pytest.approx(np.linalg.norm(step), rel=1e-6)
        assert decrease == pytest.approx(-(g @ step + 0.5 * step @ H @ step), rel=1e-6)
        lengths.append(length)
        if radius == 1e3:
            used = len(calls)
            if not indefinite:
                np.testing.assert_allclose(step, -np.linalg.solve(H, g), rtol=1e-5)
    assert lengths[-1] == pytest.approx(1e-3)
    np.testing.assert_allclose(step, -1e-3 * g / np.linalg.norm(g), rtol=1e-2, atol=1e-6)
    assert len(calls) == used
    # Every cut decreases at least as much as the best step along the gradient of that length does.
    for radius in (3.0, 0.5, 0.05):
        t = min(radius / np.linalg.norm(g), g @ g / (g @ H @ g) if g @ H @ g > 0 else math.inf)
        assert path.to(radius)[2] >= (t * g @ g - 0.5 * t * t * g @ H @ g) * (1 - 1e-9)


@pytest.mark.parametrize("solver", [gd.NewtonCG("gauss_newton"), gd.HessianFree(damping=1.0)], ids=repr)
def test_gauss_newton_products_fit_residuals(bk, solver):
    xp = bk.xp
    t = bk.put(np.linspace(0, 2, 15))
    y = 2.0 * xp.exp(-1.5 * t) + 0.5
    found = solver.run(
        gd.FunctionObjective(
            residual=lambda x: x[0] * xp.exp(-x[1] * t) + x[2] - y,
            jacobian=lambda x: xp.stack([xp.exp(-x[1] * t), -x[0] * t * xp.exp(-x[1] * t), xp.ones_like(t)], axis=1),
        ),
        bk.put(np.array([1.0, 1.0, 0.0])),
    )
    assert found.success, found.message
    np.testing.assert_allclose(bk.get(found.x), [2.0, 1.5, 0.5], atol=1e-3)


def test_without_a_hessian_differences_of_the_gradient_serve():
    f, g, H = rosenbrock()
    objective = gd.FunctionObjective(f, g)
    at = objective(np.array([0.3, -0.7]))
    v = np.array([0.6, 0.2])
    np.testing.assert_allclose(at.hessian(v), H(at.theta) @ v, rtol=1e-5)
    np.testing.assert_allclose(at.hessian.dense(), H(at.theta), rtol=1e-7, atol=1e-6)
    nothing = gd.FunctionObjective(f)(np.array([0.3, -0.7]))
    np.testing.assert_allclose(nothing.hessian.dense(), H(at.theta), rtol=2e-3, atol=0.1)


@pytest.mark.parametrize(
    "solver", [gd.Newton(), gd.NewtonCG(), gd.NewtonCG("gauss_newton"), gd.HessianFree()], ids=repr
)
def test_networks_are_trained(solver):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (80, 1))
    model = gd.Model(
        gd.Sequential(gd.Dense(1, 6), gd.Tanh(), gd.Dense(6, 1)), loss=gd.SquaredError(), dtype="float64", seed=0
    )
    history = model.fit(x, np.sin(4 * x), optimizer=solver, epochs=60, batch_size=None, verbose=0)
    losses = np.array(history["loss"])
    assert np.all(np.diff(losses) <= 0)
    assert losses[-1] < 1e-3


def test_options_are_checked():
    with pytest.raises(OptionError, match="saddle_free"):
        gd.Newton("lu")
    with pytest.raises(OptionError, match="gauss_newton"):
        gd.NewtonCG("fisher")
    with pytest.raises(OptionError, match="radius"):
        gd.NewtonCG(radius=0.0)
    with pytest.raises(OptionError, match="damping"):
        gd.HessianFree(damping=0.0)


def test_a_hessian_that_is_not_finite_is_named():
    f = gd.FunctionObjective(lambda x: float(x @ x), lambda x: 2 * x, lambda x: np.full((2, 2), np.nan))
    found = gd.Newton().run(f, np.ones(2))
    assert not found.success
    assert found.stop_reason == "hessian_not_finite"
    assert not gd.NewtonCG().run(f, np.ones(2)).success


@pytest.mark.parametrize("gradient", [1e-17, -1e-17])
def test_a_start_whose_gradient_is_rounding_alone_may_be_a_saddle(gradient):
    """Nothing is there to hold the gradient against, and no step along it lowers the value: the Hessian decides."""

    def f(v):
        return (v[0] ** 2 - 1.0) ** 2 / 4.0 + v[1] ** 2, np.asarray([v[0] ** 3 - v[0] + gradient, 2.0 * v[1]])

    def hessian(v):
        return np.diag([3.0 * v[0] ** 2 - 1.0, 2.0])

    found = gd.minimize(f, [0.0, 0.0], jac=True, hess=hessian, method="newton")
    np.testing.assert_allclose(abs(found.x), [1.0, 0.0], atol=1e-7)

"""Levenberg-Marquardt on networks: the step, its three spaces, its damping rules, its stop reasons."""

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.backend.linalg import cholesky_factor, cholesky_solve, solve_triangular
from gdnet.errors import OptionError
from gdnet.network.curvature import RootJacobian
from gdnet.optimizers.gauss_newton.damped_systems import choose_space, damped_system, flops
from gdnet.optimizers.gauss_newton.levenberg_marquardt import root_of
from gdnet.optimizers.gauss_newton.target_unit import in_target_unit
from gdnet.optimizers.point import Point

LOSSES = {
    "squared": (gd.SquaredError(), lambda rng, n, k: rng.normal(size=(n, k))),
    "cross-entropy": (gd.CrossEntropy(), lambda rng, n, k: rng.integers(0, k, n)),
    "binary": (gd.BinaryCrossEntropy(), lambda rng, n, k: rng.integers(0, 2, (n, k)).astype(float)),
    "huber": (gd.Huber(), lambda rng, n, k: 3.0 * rng.normal(size=(n, k))),
    "poisson": (gd.Poisson(), lambda rng, n, k: rng.poisson(2.0, (n, k)).astype(float)),
}


def network(sizes, activation=gd.Tanh):
    layers = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        layers += [gd.Dense(a, b)] + ([activation()] if i < len(sizes) - 2 else [])
    return gd.Sequential(*layers)


def objective_of(sizes, x, t, loss=None, backend=None, activation=gd.Tanh):
    net = network(sizes, activation)
    return gd.Objective(
        net, loss or gd.SquaredError(), x, t, backend=backend or get_backend(), layout=net.layout()
    ), net.initial(seed=0)


def sinc(seed=0):
    x = np.linspace(-1, 1, 1000)[:, None]
    objective, _ = objective_of((1, 20, 1), x, np.sinc(10 * x))
    rng = np.random.default_rng(seed)
    parts = []
    for a, b in ((1, 20), (20, 1)):
        k = 1 / math.sqrt(a)
        parts += [rng.uniform(-k, k, a * b), rng.uniform(-k, k, b)]
    return objective, np.concatenate(parts)


def case(name, bk=None, n=12, seed=0, sizes=(3, 4, 2)):
    rng = np.random.default_rng(seed)
    loss, target = LOSSES[name]
    x, t = rng.normal(size=(n, 3)), target(rng, n, 2)
    if bk is None:
        return objective_of(sizes, x, t, loss)
    objective, theta = objective_of(sizes, bk.put(x), bk.put(t), loss, bk.backend)
    return objective, bk.put(theta)


def dense(objective, theta):
    """A and the Gauss-Newton matrix from the maps, not from rows."""
    at = objective(theta)
    return objective.backend.to_numpy(at.root_jacobian.dense()), at


def constant(value):
    return lambda curvature: value


# -- A = R J -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_root_jacobian_agrees_with_the_maps(bk, name):
    objective, theta = case(name, bk)
    A, at = dense(objective, theta)
    root, get = at.root_jacobian, bk.get
    rng = np.random.default_rng(1)
    v, u = rng.normal(size=A.shape[1]), rng.normal(size=A.shape[0])
    scale = np.abs(A).max()
    np.testing.assert_allclose(get(root.matvec(bk.put(v))), A @ v, atol=1e-12 * scale)
    np.testing.assert_allclose(get(root.rmatvec(bk.put(u))), A.T @ u, atol=1e-12 * scale)
    np.testing.assert_allclose(get(root.gram()), A @ A.T, atol=1e-12 * scale**2)
    np.testing.assert_allclose(get(root.normal()), A.T @ A, atol=1e-12 * scale**2)
    np.testing.assert_allclose(get(root.diagonal()), np.sum(A * A, 0), atol=1e-12 * scale**2)
    np.testing.assert_allclose(get(at.gauss_newton(bk.put(v))), A.T @ (A @ v), atol=1e-12 * scale**2)
    if root.residual is not None:
        np.testing.assert_allclose(0.5 * np.sum(get(root.residual) ** 2), float(at.value), rtol=1e-12)
        np.testing.assert_allclose(get(root.rmatvec(root.residual)), get(at.gradient), atol=1e-12 * scale)


def test_row_blocks_equal_the_whole():
    objective, theta = case("cross-entropy", n=40)
    root = objective(theta).root_jacobian
    rows = 2 * root.shape[1] * 8
    blocks = list(root._blocks(3 * 7 * rows))  # seven examples a block
    assert len(blocks) == 6
    total = sum(np.asarray(b).T @ np.asarray(b) for b in blocks)
    np.testing.assert_allclose(total, root.normal(), rtol=1e-10, atol=1e-15)
    with pytest.raises(OptionError, match="does not fit"):
        root.dense(1000)


# -- the step ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["parameters", "samples", "cg"])
@pytest.mark.parametrize("name", ["squared", "cross-entropy", "huber"])
def test_the_spaces_give_the_reference_step(bk, space, name):
    objective, theta = case(name, bk)
    A, at = dense(objective, theta)
    g, mu, d = bk.get(at.gradient), 1e-2, 0.7
    reference = -np.linalg.solve(A.T @ A + mu * d * np.eye(A.shape[1]), g)
    system = damped_system(bk.backend, at.root_jacobian, space, constant(d), 1 << 31, cg_tol=0.0)
    assert system.factor(mu)
    step = bk.get(system.step())
    np.testing.assert_allclose(step, reference, rtol=1e-8, atol=1e-9 * np.abs(reference).max())
    u = np.random.default_rng(2).normal(size=A.shape[0])
    pulled = -np.linalg.solve(A.T @ A + mu * d * np.eye(A.shape[1]), A.T @ u)
    np.testing.assert_allclose(bk.get(system.pull(bk.put(u))), pulled, rtol=1e-7, atol=1e-8 * np.abs(pulled).max())


def test_moving_in_parameters_uses_every_units_own_scale():
    objective, theta = case("squared")
    A, at = dense(objective, theta)
    d2 = np.sum(A * A, 0)
    system = damped_system(get_backend(), at.root_jacobian, "parameters", lambda curvature: curvature, 1 << 31)
    assert system.factor(0.3)
    reference = -np.linalg.solve(A.T @ A + 0.3 * np.diag(d2), at.gradient)
    np.testing.assert_allclose(system.step(), reference, rtol=1e-9)


def test_a_wide_network_never_forms_the_jacobian(monkeypatch):
    rng = np.random.default_rng(0)
    x, t = rng.random((20, 100)), np.eye(5)[rng.integers(0, 5, 20)]
    objective, theta = objective_of((100, 30, 5), x, t)
    A, at = dense(objective, theta)
    reference = -A.T @ np.linalg.solve(A @ A.T + 2e-3 * np.eye(A.shape[0]), at.root_jacobian.residual)

    def forbidden(*args):
        raise AssertionError("rows of the Jacobian were formed")

    monkeypatch.setattr(RootJacobian, "_blocks", forbidden)
    optimizer = gd.LevenbergMarquardt(damping="marquardt", polish=0)
    new, _, info = optimizer.step(objective, theta, optimizer.init(theta))
    assert info.moved
    assert np.linalg.norm(new - theta - reference) <= 1e-8 * np.linalg.norm(reference)


def test_choice_of_space():
    small, _ = sinc()
    assert choose_space(small(sinc()[1]).root_jacobian, 1 << 31) == "parameters"
    rng = np.random.default_rng(0)
    objective, theta = objective_of((784, 50, 10), rng.random((100, 784)), rng.random((100, 10)))
    root = objective(theta).root_jacobian
    assert choose_space(root, 1 << 31) == "samples"
    assert choose_space(root, 1 << 20) == "cg"
    assert flops("samples", root) < flops("cg", root) < flops("parameters", root)
    with pytest.raises(OptionError, match="max_memory"):
        damped_system(get_backend(), root, "parameters", constant(1.0), 1 << 20)


@pytest.mark.parametrize(
    ("layers", "rows", "best"),
    [
        ((5, 60, 3), 1000, "parameters"),
        ((4, 30, 10), 600, "parameters"),
        ((3, 20, 10), 400, "parameters"),
        ((3, 40, 5), 3000, "parameters"),
        ((20, 70, 10), 1000, "cg"),
    ],
)
def test_choice_of_space_is_the_faster_one(layers, rows, best):
    """What ended lower in the same time, measured: by orders of magnitude for the first four."""
    rng = np.random.default_rng(0)
    objective, theta = objective_of(layers, rng.random((rows, layers[0])), rng.random((rows, layers[-1])))
    assert choose_space(objective(theta).root_jacobian, 1 << 31) == best


def test_classic_damping_takes_the_textbook_steps():
    """(EᵀE/N + μI) δ = -Eᵀe/N, μ × 0.1 and × 10: what MATLAB and torch-levenberg-marquardt do, by dense NumPy."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (40, 2))
    objective, theta = objective_of((2, 8, 1), x, np.sin(3 * x[:, :1]) * x[:, 1:])
    optimizer = gd.LevenbergMarquardt(damping="marquardt", mu_min=1e-10, space="parameters")
    state, reference, mu = optimizer.init(theta), theta.copy(), 1e-3
    rejected = 0
    for _ in range(25):
        at = objective(reference)
        E = np.asarray(at.jacobian.dense())
        e = (at.prediction - objective.t)[:, 0]
        while True:
            step = -np.linalg.solve(E.T @ E / 40 + mu * np.eye(E.shape[1]), E.T @ e / 40)
            if float(objective(reference + step).value) < float(at.value):
                reference, mu = reference + step, max(0.1 * mu, 1e-10)
                break
            mu, rejected = 10 * mu, rejected + 1
        theta, state, _ = optimizer.step(objective, theta, state)
        np.testing.assert_allclose(theta, reference, rtol=1e-5, atol=1e-7)
        assert state.memory.mu == pytest.approx(mu)
    assert rejected > 0, "the test needs rejected steps"


def test_the_first_step_is_not_far_longer_than_the_parameters():
    x = np.linspace(1, 2, 20)
    found = []

    def fun(b):
        found.append(np.abs(b).max())
        return 200.0 * (1 - np.exp(-0.5 * x)) - b[0] * (1 - np.exp(-b[1] * x))

    gd.least_squares(fun, [1.0, 1.0], jac="3-point", max_nfev=2)
    assert max(found) < 500


# -- quality -----------------------------------------------------------------------------------------------------------


def test_sinc_61_weights():
    values = []
    for seed in range(3):
        objective, theta = sinc(seed)
        values.append(gd.LevenbergMarquardt(min_grad=0.0, max_iter=200).run(objective, theta).fun)
    assert np.median(values) <= 5e-7, values


@pytest.mark.parametrize("space", ["parameters", "samples", "cg"])
def test_separable_classes_in_float32(space):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6)).astype(np.float32)
    t = (x[:, 0] > 0).astype(int) + 2 * (x[:, 1] > 0)
    objective, theta = objective_of((6, 8, 4), x, t, gd.CrossEntropy())
    theta = theta.astype(np.float32)
    optimizer = gd.LevenbergMarquardt(min_grad=0.0, space=space)
    state = optimizer.init(theta)
    for _ in range(60):
        theta, state, info = optimizer.step(objective, theta, state)
        assert theta.dtype == np.float32
        assert np.all(np.isfinite(theta))
        if info.moved:
            assert info.new_value < float(info.value)
        if info.stop:
            break
    assert info.new_value < 1e-6


@pytest.mark.parametrize("space", ["parameters", "samples", "cg"])
@pytest.mark.parametrize("name", LOSSES)
def test_convex_problems_are_solved(name, space):
    objective, theta = case(name, n=60, sizes=(3, 2))
    found = gd.LevenbergMarquardt(min_grad=1e-7, max_iter=100, space=space).run(objective, theta)
    assert found.stop_reason == "min_grad", (found.message, found.fun)


def test_every_library_takes_the_same_path(bk):
    objective, theta = case("squared", bk)
    host, start = case("squared")
    optimizer = gd.LevenbergMarquardt(max_iter=6)
    np.testing.assert_allclose(
        bk.get(optimizer.run(objective, theta).x), optimizer.run(host, start).x, rtol=1e-6, atol=1e-8
    )


# -- stopping and options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"goal": 0.05}, "goal"),
        ({"min_grad": 1e-2}, "min_grad"),
        ({"max_iter": 3}, "max_iter"),
        ({"max_time": 1e-9}, "max_time"),
    ],
)
def test_stop_reasons(options, reason):
    objective, theta = sinc()
    found = gd.LevenbergMarquardt(**options).run(objective, theta)
    assert found.stop_reason == reason
    assert len(found.message) > 10
    assert found.success == (reason in ("goal", "min_grad"))


@pytest.mark.parametrize("damping", ["nielsen", "marquardt"])
def test_a_wrong_jacobian_ends_the_run(damping):
    wrong = gd.FunctionObjective(residual=lambda x: x - 1.0, jacobian=lambda x: -np.eye(2))
    found = gd.LevenbergMarquardt(damping=damping).run(wrong, np.zeros(2))
    assert found.stop_reason in ("mu_max", "precision")
    assert not found.success
    assert found.nfev < 100
    if damping == "marquardt":
        assert found.stop_reason == "mu_max"


def test_a_minimum_is_not_left():
    objective, theta = case("squared", n=60, sizes=(3, 2))
    best = gd.LevenbergMarquardt(min_grad=0.0, max_iter=500).run(objective, theta)
    again = gd.LevenbergMarquardt(min_grad=0.0, max_iter=500).run(objective, best.x)
    assert again.fun <= best.fun
    assert again.stop_reason in ("precision", "mu_max", "min_grad")


def test_a_step_resumes_without_its_cache():
    objective, theta = sinc()
    optimizer = gd.LevenbergMarquardt()
    state = optimizer.init(theta)
    for _ in range(3):
        theta, state, _ = optimizer.step(objective, theta, state)
    one = optimizer.step(objective, theta, state)[0]
    two = optimizer.step(objective, theta.copy(), state._replace(at=None))[0]
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    "options",
    [
        {"damping": "none"}, {"space": "rows"}, {"scaling": "jac"}, {"mu": 0.0}, {"decrease": 1.0}, {"mu": 1e30},
        {"bend": -1.0}, {"max_memory": 0}, {"ftol": -1.0},
    ],
)  # fmt: skip
def test_bad_options(options):
    with pytest.raises(OptionError, match="LevenbergMarquardt"):
        gd.LevenbergMarquardt(**options)


@pytest.mark.parametrize("loss", [gd.AbsoluteError(), gd.Hinge(), gd.Huber(0.01)])
def test_a_loss_without_curvature_is_said_once(loss):
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (20, 2))
    net, signs = gd.Sequential(gd.Dense(2, 4), gd.Tanh(), gd.Dense(4, 1)), np.where(x[:, :1] > 0.0, 1.0, -1.0)
    objective = gd.Objective(net, loss, x, signs, backend=get_backend(), layout=net.layout())
    with pytest.warns(UserWarning, match="no second derivative at the start") as told:
        found = gd.LevenbergMarquardt(max_iter=5).run(objective, net.initial(seed=0))
    assert len(told) == 1
    assert found.nit == 5
    for convex in (gd.SquaredError(), gd.Huber(10.0), gd.LogCosh()):  # warnings are errors here
        objective = gd.Objective(net, convex, x, x[:, :1], backend=get_backend(), layout=net.layout())
        gd.LevenbergMarquardt(max_iter=2).run(objective, net.initial(seed=0))


def test_a_scalar_function_is_refused():
    with pytest.raises(OptionError, match="residuals"):
        gd.LevenbergMarquardt().run(gd.FunctionObjective(lambda x: float(x @ x)), np.ones(2))


def test_a_plain_residual_function():
    found = gd.LevenbergMarquardt().run(gd.FunctionObjective(residual=lambda x: x**2 - 2.0), np.ones(3))
    np.testing.assert_allclose(found.x, 2**0.5, rtol=1e-6)


# -- triangular systems ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 5, 200])
def test_cholesky_and_triangular_solves(bk, n):
    rng = np.random.default_rng(n)
    M = rng.normal(size=(n, n))
    A, b = M @ M.T + n * np.eye(n), rng.normal(size=(n, 2))
    L = cholesky_factor(bk.backend, bk.put(A))
    np.testing.assert_allclose(bk.get(cholesky_solve(bk.backend, L, bk.put(b))), np.linalg.solve(A, b), rtol=1e-8)
    U = np.triu(M) + n * np.eye(n)
    found = bk.get(solve_triangular(bk.backend, bk.put(U), bk.put(b[:, 0]), lower=False))
    np.testing.assert_allclose(found, np.linalg.solve(U, b[:, 0]), rtol=1e-8)


def test_no_factor_of_an_indefinite_or_broken_matrix(bk):
    for bad in (np.diag([1.0, -1.0]), np.zeros((2, 2)), np.array([[1.0, np.nan], [np.nan, 1.0]])):
        assert cholesky_factor(bk.backend, bk.put(bad)) is None


# -- units of the targets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1e-4, 1e4, 1e12])
def test_targets_in_any_unit_train_as_those_of_one(unit):
    """The same values in that unit after every step, and the same end, from initial weights made for targets of 1."""
    x = np.linspace(-1, 1, 60)[:, None]
    noise = 0.1 * np.random.default_rng(0).standard_normal(x.shape)
    for t in (np.sin(3 * x), np.sin(3 * x) + noise):
        rows = []
        for scale in (1.0, unit):
            objective, theta = objective_of((1, 6, 1), x, scale * t)
            optimizer, values = gd.LevenbergMarquardt(), []
            state = optimizer.init(theta)
            for _ in range(40):
                theta, state, info = optimizer.step(objective, theta, state)
                values.append(info.new_value / scale**2)
                assert info.stop is None
            rows.append(values[1:])
        np.testing.assert_allclose(rows[1][:10], rows[0][:10], rtol=1e-6)
        np.testing.assert_allclose(rows[1][-1], rows[0][-1], rtol=0.5)


@pytest.mark.parametrize("unit", [1e-12, 1e-4, 1e4])
def test_success_is_claimed_in_every_unit_or_in_none(unit):
    x = np.linspace(-1, 1, 60)[:, None]
    t = unit * (np.tanh(4 * x + 0.5) + 0.1 * np.random.default_rng(0).standard_normal(x.shape))
    objective, theta = objective_of((1, 1, 1), x, t)
    early = gd.LevenbergMarquardt(max_iter=3).run(objective, theta)
    found = gd.LevenbergMarquardt(max_iter=300).run(objective, theta)
    assert (early.success, early.stop_reason) == (False, "max_iter")
    assert (found.success, found.stop_reason) == (True, "min_grad")
    assert found.fun < 0.02 * unit**2
    assert found.nit < 30


def test_outputs_of_very_different_sizes():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (150, 2))
    t = np.stack([10.0**k * np.sin((k + 5) * 0.6 * x[:, 0] + x[:, 1]) for k in (-3, 0, 3)], axis=1)
    objective, theta = objective_of((2, 12, 3), x, t)
    found = gd.LevenbergMarquardt(max_iter=200).run(objective, theta)
    assert found.fun <= 1e-6 * np.sum(np.var(t, axis=0))


def test_the_last_layer_starts_in_the_targets_spread_and_only_where_nothing_follows_it(bk):
    rng = np.random.default_rng(0)
    x, t = rng.uniform(-1, 1, (40, 3)), 1e5 * rng.standard_normal((40, 2))
    objective, theta = objective_of((3, 5, 2), bk.put(x), bk.put(t), backend=bk.backend)
    theta = bk.put(theta)
    start = Point(bk.backend, objective(theta), theta)
    new, unit = in_target_unit(start, lambda v: Point(bk.backend, objective(v), v), root_of(start))
    spread, hidden = np.sqrt(t.var(axis=0).mean()), 3 * 5 + 5
    np.testing.assert_array_equal(bk.get(unit)[:hidden], 1.0)
    np.testing.assert_allclose(bk.get(unit)[hidden:], spread, rtol=1e-12)
    np.testing.assert_array_equal(bk.get(new.theta)[:hidden], bk.get(theta)[:hidden])
    factors = bk.get(new.theta)[hidden:-2] / bk.get(theta)[hidden:-2]
    np.testing.assert_allclose(factors, factors[0], rtol=1e-12)
    assert 0.1 * spread < factors[0] <= spread
    bent = gd.Sequential(gd.Dense(3, 5), gd.Tanh(), gd.Dense(5, 2), gd.Softplus())
    objective = gd.Objective(bent, gd.SquaredError(), x, np.abs(t), backend=get_backend(), layout=bent.layout())
    start = Point(get_backend(), objective(bent.initial(seed=0)), bent.initial(seed=0))
    assert in_target_unit(start, lambda v: Point(start.backend, objective(v), v), root_of(start)) == (start, None)


def test_a_second_fit_goes_on_from_the_weights_of_the_first():
    """A start that fits already is not multiplied by the targets' spread."""
    x = np.linspace(-1, 1, 60)[:, None]
    objective, theta = objective_of((1, 6, 1), x, 1e4 * np.sin(3 * x))
    first = gd.LevenbergMarquardt(max_iter=20).run(objective, theta)
    second = gd.LevenbergMarquardt(max_iter=1).run(objective, first.x)
    assert second.fun <= first.fun < 1e-3 * 1e8


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e4])
def test_a_smooth_curve_is_fitted_to_many_digits_from_every_start(seed, unit):
    """sin 5x, odd, and sin(10x) / 10x, even: an even curve and odd hidden features make a saddle at weights of zero."""
    x = np.linspace(-1, 1, 200)[:, None]
    for t, steps in ((np.sin(5 * x), 100), (np.sinc(10 * x / np.pi), 150)):
        net = gd.Sequential(gd.Dense(1, 20), gd.Tanh(), gd.Dense(20, 1))
        objective = gd.Objective(net, gd.SquaredError(), x, unit * t, backend=get_backend(), layout=net.layout())
        found = gd.LevenbergMarquardt(max_iter=steps).run(objective, net.initial(seed=seed))
        assert found.fun < 3e-7 * unit**2


def test_a_constant_fit_is_told():
    """Inputs in kelvin saturate the first layer: from most starts nothing but the mean is found."""
    x = np.random.default_rng(0).uniform(270.0, 310.0, (300, 1))
    t, constant = np.sin(0.075 * (x - 270.0)), 0
    for inputs in (x, (x - 290.0) / 12.0):
        for seed in range(5):
            objective, _ = objective_of((1, 10, 1), inputs, t)
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                found = gd.LevenbergMarquardt(max_iter=60).run(objective, objective.net.initial(seed=seed))
            told = any("a constant fits as well" in str(w.message) for w in seen)
            assert told == (found.fun > 0.9 * np.var(t) and found.stop_reason != "max_iter"), (seed, found.fun)
            constant += told
    assert 2 <= constant <= 5

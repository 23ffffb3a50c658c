"""Interior point: degenerate input, honest stops, derivatives at the edge, states and array libraries."""

import numpy as np
import pytest

from gdnet.errors import OptionError, ShapeError
from gdnet.optimizers.constrained.constraints import Constraint
from gdnet.optimizers.constrained.differences import difference
from gdnet.optimizers.constrained.interior_point import InteriorPoint, interior_point
from gdnet.optimizers.scipy_api.function import FunctionObjective

X0 = np.zeros(3)


def bowl(x):
    return np.sum((x - 1.0) ** 2)


def slope(x):
    return 2.0 * (x - 1.0)


def solve(x0=X0, **given):
    return interior_point(bowl, x0, jac=slope, **given)


@pytest.mark.parametrize(
    "given",
    [
        {"g_le": lambda x: np.array([x[0] + 1, 1 - x[0]])},
        {"h_eq": lambda x: np.array([x[0] - 1, x[0] - 2])},
        {"h_eq": lambda x: x @ x + 1.0},
        {"h_eq": lambda x: x[0] - 5, "bounds": [(0, 1)] * 3},
        {"h_eq": lambda x: x[0] - 1, "bounds": [(0.3, 0.3)] * 3},
        {"h_eq": lambda x: np.array([x[0], x[1], x[2], x[0] + x[1] + x[2] - 1])},
    ],
    ids=["inequalities", "equalities", "nonlinear", "bounds", "all fixed", "more equalities than variables"],
)
def test_infeasible_is_said(given):
    found = solve(**given)
    assert not found.success
    assert found.stop_reason == "infeasible"
    assert found.violation > 0.1


@pytest.mark.parametrize(
    ("given", "x"),
    [
        ({}, [1, 1, 1]),
        ({"g_le": lambda x: np.zeros(0), "h_eq": lambda x: np.zeros(0)}, [1, 1, 1]),
        ({"bounds": [(0.3, 0.3), (0, 1), (None, None)]}, [0.3, 1, 1]),
        ({"bounds": [(0.3, 0.3)] * 3}, [0.3] * 3),
        ({"x0": X0 + 100, "bounds": [(0, 0.5)] * 3}, [0.5] * 3),
        ({"h_eq": lambda x: np.array([x[0] + x[1] - 1, 2 * x[0] + 2 * x[1] - 2])}, [0.5, 0.5, 1]),
        ({"h_eq": lambda x: np.array([x[0] - 1, x[1] - 2, x[2] - 3, x[0] + x[1] + x[2] - 6])}, [1, 2, 3]),
        ({"h_eq": lambda x: x - np.array([1.0, 2.0, 3.0])}, [1, 2, 3]),
        ({"g_le": lambda x: np.array([x[0] - 0.5, 0.5 - x[0]])}, [0.5, 1, 1]),
        ({"bounds": [(0, 1e-12), (0, 1e-9), (0.3, np.nextafter(0.3, 1))]}, [0, 0, 0.3]),
        ({"g_le": [lambda x: x[0] - 0.25, Constraint(lambda x: x[1] - 0.5)]}, [0.25, 0.5, 1]),
    ],
    ids=[
        "no constraints", "empty g", "a fixed variable", "all fixed", "start outside", "dependent rows",
        "more equalities than variables", "as many equalities", "no interior", "narrow bounds", "a list of constraints",
    ],
)  # fmt: skip
def test_degenerate_but_solvable(given, x):
    found = solve(**given)
    assert found.stop_reason == "converged"
    assert np.max(np.abs(found.x - x)) < 1e-4
    for (low, high), v in zip(given.get("bounds", []), found.x):
        assert low is None or v >= low
        assert high is None or v <= high


@pytest.mark.parametrize(
    ("f", "given"),
    [
        (lambda x: -x[0], {}),
        (lambda x: -x @ x, {"x0": X0 + 0.1}),
        (lambda x: x[0] - x[1], {"g_le": lambda x: x[0] - x[1], "bounds": [(0, None)] * 3}),
        (lambda x: -np.exp(x[0]), {}),
    ],
    ids=["linear", "quadratic", "along a constraint", "exponential"],
)
def test_unbounded_is_said(f, given):
    found = interior_point(f, given.pop("x0", X0), **given)
    assert found.stop_reason == "unbounded"
    assert not found.success


@pytest.mark.parametrize(
    ("f", "given"),
    [
        (lambda x: np.nan, {}),
        (bowl, {"jac": lambda x: np.full(3, np.nan)}),
        (bowl, {"jac": slope, "hess": lambda x: np.full((3, 3), np.nan)}),
        (bowl, {"g_le": lambda x: np.nan * x}),
        (bowl, {"g_le": (lambda x: x - 1, lambda x: np.full((3, 3), np.nan))}),
        (lambda x: np.inf, {}),
        (lambda x: -np.inf if x[0] != X0[0] else 1.0, {}),
    ],
    ids=["f", "gradient", "Hessian", "g", "Jacobian of g", "inf", "differences of inf"],
)
def test_nan_is_said(f, given):
    found = interior_point(f, X0, **given)
    assert found.stop_reason == "nan"
    assert not found.success


def test_a_function_undefined_elsewhere_is_no_success():
    found = interior_point(lambda x: 0.0 if not x.any() else np.nan, X0, jac=lambda x: np.ones(3))
    assert not found.success


def test_a_domain_is_respected_by_the_line_search():
    found = interior_point(lambda x: np.log(x[0]) + 1 / x[0], np.array([3.0]), jac=lambda x: 1 / x - 1 / x**2)
    assert found.success
    assert found.x[0] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("error", "given"),
    [
        (OptionError, {"bounds": [(1, 0)] * 3}),
        (OptionError, {"bounds": [(np.nan, 0)] * 3}),
        (OptionError, {"bounds": [(np.inf, np.inf)] * 3}),
        (OptionError, {"x0": X0 * np.nan}),
        (OptionError, {"g_le": 3}),
        (OptionError, {"tol": -1.0}),
        (OptionError, {"mu_init": 0.0}),
        (OptionError, {"curvature": "wild"}),
        (ShapeError, {"bounds": [(0, 1)]}),
        (ShapeError, {"hess": lambda x: np.ones((2, 3))}),
        (ShapeError, {"g_le": (lambda x: x[:2], lambda x: np.ones((3, 2)))}),
        (ShapeError, {"g_le": (lambda x: x[:2], None, lambda x, y: np.ones(3))}),
        (ShapeError, {"g_le": lambda x: np.ones((2, 2))}),
        (ShapeError, {"h_eq": lambda x: x[:2] - 1.0 if x[0] < 0.2 else x}),
    ],
)
def test_wrong_input_is_an_error(error, given):
    with pytest.raises(error):
        solve(**given)


def test_wrong_gradient_shape():
    with pytest.raises(ShapeError):
        interior_point(bowl, X0, jac=lambda x: np.ones(2))


def test_iteration_and_time_limits():
    assert solve(max_iter=0).stop_reason == "max_iter"
    rosenbrock = {"fun": lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2, "x0": np.array([-1.2, 1.0])}
    assert interior_point(**rosenbrock, max_iter=3).nit == 3
    assert interior_point(**rosenbrock, max_time=0.0).stop_reason == "max_time"
    assert interior_point(**rosenbrock, callback=lambda r: r.nit == 2).stop_reason == "callback"


def test_args_belong_to_the_objective():
    def objective(x, a):
        return float(np.sum((x - a) ** 2))

    def solve(**constraints):
        return interior_point(objective, [0.0], args=(3.0,), **constraints)

    assert solve(g_le=lambda x: x - 2.0).x[0] == pytest.approx(2.0, abs=1e-6)
    assert solve(h_eq=lambda x, a=1.0: x - a).x[0] == pytest.approx(1.0, abs=1e-6)
    assert solve(g_le=np.sum).stop_reason == "converged"  # of a signature with many optional arguments
    for bad in ({"g_le": lambda x, a: x - a}, {"h_eq": (lambda x: x, lambda x, a: np.eye(1))}):
        (name,) = bad
        with pytest.raises(OptionError, match=rf"{name} is called with x alone.*args go to fun.*lambda x: c\(x"):
            solve(**bad)


def test_verbose_prints_the_three_residuals(capsys):
    solve(verbose=1)
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("violation", "stationarity", "complementarity"))


def test_steps_by_hand_and_from_a_state_without_cache():
    """A state is all that a later step needs: without the cached problem not a bit changes."""
    method = InteriorPoint(lower=[0.0, -np.inf, -np.inf], h_eq=lambda x: x[0] + x[1] + x[2])
    objective = FunctionObjective(bowl, slope)
    runs = []
    for forget in (False, True):
        theta, state = X0 + 0.5, method.init(X0)
        for _ in range(30):
            theta, state, info = method.step(objective, theta, state)
            state = state._replace(at=None) if forget else state
            if info.stop:
                break
        assert info.stop == "converged"
        runs.append(theta)
    assert np.array_equal(*runs)


def test_scaling_does_not_weaken_the_check():
    """A constraint scaled by 10⁶ is scaled back for the solver, but judged as it was given."""
    found = interior_point(bowl, X0 + 5.0, jac=slope, h_eq=lambda x: 1e6 * (x @ x - 1.0))
    assert found.success
    assert 1e6 * abs(found.x @ found.x - 1.0) <= 1e-7


def test_constraints_on_every_library(bk):
    """x, and all that the functions see, are arrays of the user's library."""

    def f(x):
        return bk.xp.sum((x - 1.0) ** 2)

    found = interior_point(
        f, bk.put(np.zeros(2)), jac=lambda x: 2.0 * (x - 1.0), bounds=[(0.0, 0.25), (None, None)],
        h_eq=lambda x: x[1:] - 0.5, g_le=(lambda x: x[:1] - 3.0, lambda x: bk.put(np.array([[1.0, 0.0]]))),
    )  # fmt: skip
    assert found.success
    assert np.max(np.abs(bk.get(found.x) - [0.25, 0.5])) < 1e-6


def test_differences_stay_within_the_bounds():
    seen = []

    def f(x):
        seen.append(x.copy())
        return np.exp(x)

    x = np.array([0.0, 1e-9, 0.5, 1.0])
    J = difference(f, x, np.zeros(4), np.ones(4), np.full(4, 1e-5))
    assert np.max(np.abs(J - np.diag(np.exp(x)))) < 1e-6
    assert np.min(seen) >= 0.0
    assert np.max(seen) <= 1.0

"""The interior point method does not depend on units, lands on active bounds, and claims no success above its start."""

import numpy as np
import pytest

from gdnet.optimizers.constrained.differences import second
from gdnet.optimizers.constrained.filter import Filter
from gdnet.optimizers.constrained.interior_point import interior_point
from gdnet.optimizers.scipy_api.minimize import minimize

POWERS = [-12, -9, -6, -3, 0, 3, 6, 9, 12]


def curved(f=1.0, g=1.0, h=1.0, x=(1.0, 1.0, 1.0), start=(0.5, 0.7, 0.9), derivatives=True):
    """A convex problem with an active bound, an active inequality and an equation, in other units."""
    x = np.asarray(x)

    def fun(v):
        u = v * x
        return f * float(np.sum(np.exp(u)) + (u[0] - 2.0) ** 2 + (u[1] + 1.0) ** 2)

    def jac(v):
        u = v * x
        return f * x * (np.exp(u) + np.array([2.0 * (u[0] - 2.0), 2.0 * (u[1] + 1.0), 0.0]))

    le, le_jac = (
        lambda v: g * ((v[0] * x[0]) ** 2 + v[2] * x[2] - 1.0),
        lambda v: g * x * np.array([2 * v[0] * x[0], 0, 1]),
    )
    eq, eq_jac = lambda v: h * (v[0] * x[0] + v[1] * x[1] + v[2] * x[2] - 1.2), lambda v: h * x
    given = {"fun": fun, "x0": np.asarray(start) / x, "bounds": list(zip(np.array([0.0, 0.1, -5.0]) / x, 3.0 / x))}
    if not derivatives:
        return {**given, "g_le": le, "h_eq": eq}
    return {**given, "jac": jac, "g_le": (le, le_jac), "h_eq": (eq, eq_jac)}


REFERENCE = interior_point(**curved())


@pytest.mark.parametrize("derivatives", [True, False], ids=["derivatives", "differences"])
@pytest.mark.parametrize("start", [(0.5, 0.7, 0.9), (0.0, 0.0, 0.0)], ids=["start", "zero"])
@pytest.mark.parametrize("seed", range(8))
def test_the_answer_does_not_depend_on_units(seed, start, derivatives):
    """Objective, constraints and each variable with its bounds, each times its own 10^k."""
    rng = np.random.default_rng(seed)
    f, g, h, *x = (10.0 ** rng.choice(POWERS, size=6)).tolist()
    x = np.asarray(x)
    one = interior_point(**curved(start=start, derivatives=derivatives))
    two = interior_point(**curved(f, g, h, x, start, derivatives))
    assert one.success
    assert two.success
    assert abs(two.nit - one.nit) <= 0.5 * one.nit + 3
    assert two.x * x == pytest.approx(REFERENCE.x, abs=1e-6)
    assert two.fun / f == pytest.approx(REFERENCE.fun, rel=1e-8)
    for name, unit in (("h_eq", f / h), ("g_le", f / g), ("lower", f * x), ("upper", f * x)):
        assert two.multipliers[name] / unit == pytest.approx(REFERENCE.multipliers[name], abs=1e-4)


@pytest.mark.parametrize("s", [1e6, 1.0, 1e-2, 1e-4, 1e-6, 1e-12])
@pytest.mark.parametrize("start", [0.0, 1.0])
def test_non_negative_least_squares_in_every_unit(s, start):
    rng = np.random.default_rng(0)
    A = rng.random((30, 4))
    y = A @ [1.0, 0.0, 2.0, 0.0] + 1e-2 * rng.standard_normal(30)
    found = interior_point(
        lambda x: 0.5 * s * s * float(np.sum((A @ x - y) ** 2)), np.full(4, start), bounds=[(0, None)] * 4
    )
    assert found.success
    assert found.x == pytest.approx([1.002525, 0.004495, 1.994819, 0.000667], abs=1e-5)


@pytest.mark.parametrize("scale", [1e-20, 1e-8, 1.0, 1e12])
@pytest.mark.parametrize(("g_le", "x"), [(None, [1.0, 2.0]), (lambda x: x[0] + x[1] - 2.0, [0.5, 1.5])])
def test_a_small_or_large_objective(scale, g_le, x):
    for start in ([0.0, 0.0], [0.3, 0.3]):
        found = interior_point(
            lambda v: scale * ((v[0] - 1) ** 2 + (v[1] - 2) ** 2), start, bounds=[(0, None)] * 2, g_le=g_le
        )
        assert found.success
        assert found.x == pytest.approx(x, abs=1e-7)


def test_no_success_above_the_start():
    """A peak of 1e-8 with noise-free data: the value at the end is that of a fit, not 500 000 times the start's."""
    w = np.linspace(1, 2, 100)
    d = 1.2e-8 * np.exp(-0.5 * (w - 1.4) ** 2 / 0.11**2)

    def f(p):
        return np.sum((p[0] * np.exp(-0.5 * (w - p[1]) ** 2 / p[2] ** 2) - d) ** 2)

    found = minimize(f, [1.5e-8, 1.6, 0.2], method="interior_point", bounds=[(0, None), (1, 2), (0.01, 1)])
    assert found.success
    assert found.x == pytest.approx([1.2e-8, 1.4, 0.11], rel=1e-4)


@pytest.mark.parametrize("seed", range(30))
def test_success_is_never_above_a_feasible_start(seed):
    """Many minima: a barrier method leaves the start's valley, and may not call that a success."""
    rng = np.random.default_rng(seed)
    a, b, x0 = rng.normal(size=2) * 3, rng.normal(size=2), rng.uniform(0.0, 4.0, 2)
    x0[rng.random(2) < 0.3] = 0.0

    def f(x):
        return float(np.sum(np.sin(3.0 * a * x + b)) + 0.1 * np.sum((x - 2.0) ** 2))

    found = interior_point(f, x0, bounds=[(0, 4)] * 2)
    assert not found.success or found.fun <= f(x0) + 1e-15 * abs(f(x0))


def test_a_start_that_is_the_solution_is_kept():
    found = interior_point(lambda x: x[0] + 2.0 * x[1], [0.0, 0.0], bounds=[(0, 1)] * 2)
    assert found.success
    assert found.x.tolist() == [0.0, 0.0]
    assert found.fun == 0.0


@pytest.mark.parametrize("slope", [1.0, 0.0, 1e-3], ids=["strongly", "weakly", "hardly active"])
def test_active_bounds_are_met_exactly(slope):
    """Also where the multiplier is zero: the barrier alone ends at the root of μ from there."""
    found = interior_point(
        lambda x: (x[0] - 1) ** 2 + slope * x[1] + x[1] ** 2 + (x[2] - 3) ** 2, np.full(3, 0.5),
        bounds=[(None, None), (0, None), (None, 2.5)],
    )  # fmt: skip
    assert found.success
    assert abs(found.x[1]) <= 1e-8
    assert slope == 0.0 or found.x[1] == 0.0
    assert found.x[2] == 2.5
    assert found.multipliers["upper"][2] == pytest.approx(1.0, rel=1e-6)
    assert found.multipliers["lower"][1] == pytest.approx(slope, abs=1e-6)


def test_active_inequalities_are_met():
    found = interior_point(lambda x: x[0] + x[1], [1.0, 1.0], g_le=lambda x: -x)
    assert found.success
    assert np.max(np.abs(found.x)) <= 1e-15
    assert found.violation <= 1e-15


@pytest.mark.parametrize("jac", [None, lambda x: np.array([2 * (x[0] - 1), 2 * (x[1] - 3)])])
def test_variables_fixed_by_equal_bounds_have_derivatives_and_multipliers(jac):
    found = interior_point(
        lambda x: (x[0] - 1) ** 2 + (x[1] - 3) ** 2, [0.0, 1.0], jac=jac, bounds=[(None, None), (1, 1)]
    )
    assert found.jac == pytest.approx([0.0, -4.0], abs=1e-7)
    assert found.multipliers["upper"] == pytest.approx([0.0, 4.0], abs=1e-7)
    assert found.multipliers["lower"].tolist() == [0.0, 0.0]
    held = interior_point(
        lambda x: (x[0] - 1) ** 2 + (x[1] - 3) ** 2, [0.0, 1.0], jac=jac, bounds=[(None, None), (1, 1)],
        h_eq=lambda x: x[0] + 2.0 * x[1] - 2.0,
    )  # fmt: skip
    assert held.multipliers["h_eq"] == pytest.approx([2.0], abs=1e-6)
    assert held.multipliers["lower"] == pytest.approx([0.0, 0.0], abs=1e-6)  # ∇f + y ∇h = -4 + 2 · 2


def test_a_fixed_variable_where_the_function_ends():
    found = interior_point(lambda x: (x[0] - 1) ** 2 + np.sqrt(x[1]), [0.0, 0.0], bounds=[(None, None), (0, 0)])
    assert found.success
    assert np.isnan(found.jac[1])


@pytest.mark.parametrize("jac", [None, lambda x: 2.0 * (x - 1.0)])
def test_nfev_is_the_number_of_calls(jac):
    calls = []

    def f(x):
        calls.append(1)
        return float(np.sum((x - 1.0) ** 2))

    found = minimize(f, np.zeros(3), method="interior_point", jac=jac, bounds=[(0, 0.5), (None, None), (0.2, 0.2)])
    assert found.nfev == len(calls)
    assert found.njev > 0


def test_what_holds_only_at_infinity_is_infeasible():
    """exp(x) <= 0 is approached for ever, and met where exp(x) is rounded to zero."""
    for f in (lambda x: x[0], lambda x: x[0] ** 2, lambda x: (x[0] - 1) ** 2):
        assert interior_point(f, [0.0], g_le=lambda x: np.exp(x[0])).stop_reason == "infeasible"


def test_differences_cost_little():
    """Ten electrons on a sphere, 30 variables, without derivatives: 73 341 calls of f before."""
    rng = np.random.default_rng(0)
    x0, pairs = rng.normal(size=(10, 3)), np.triu_indices(10, 1)
    x0 /= np.linalg.norm(x0, axis=1)[:, None]

    def f(x):
        d = x.reshape(10, 3)[pairs[0]] - x.reshape(10, 3)[pairs[1]]
        return float(np.sum(1.0 / np.sqrt(np.sum(d * d, axis=1))))

    found = interior_point(f, x0.ravel(), h_eq=lambda x: np.sum(x.reshape(10, 3) ** 2, axis=1) - 1.0)
    assert found.success
    assert found.fun == pytest.approx(32.716949, rel=1e-7)
    assert found.nfev <= 20000


def test_second_differences_within_the_bounds():
    seen = []

    def f(x):
        seen.append(x)
        return np.array([np.exp(x[0] + 2.0 * x[1]), x[0] * x[2]])

    x = np.array([0.0, 1.0, 0.3])
    H = second(f, x, np.zeros(3), np.array([1.0, 1.0, 0.3]), np.full(3, 1e-4), f(x))
    e = np.exp(2.0)
    assert np.max(np.abs(H[0] - np.array([[e, 2 * e, 0], [2 * e, 4 * e, 0], [0, 0, 0]]))) <= 1e-3 * 4 * e
    assert np.max(np.abs(H[1] - np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]]))) <= 1e-5
    assert np.min(seen) >= 0.0
    assert np.all(np.max(seen, axis=0) <= [1.0, 1.0, 0.3])


def test_the_filter_forbids_what_its_pairs_forbid():
    pairs = Filter(1e-4, 1e4).plus(2.0, 20.0).plus(20.0, 2.0)
    assert len(pairs.pairs) == 2
    assert not pairs.accepts(2.5, 20.5)
    assert not pairs.accepts(20.5, 2.5)
    assert pairs.accepts(10.0, 10.0)
    assert pairs.accepts(1.0, 100.0)
    assert len(pairs.plus(1.0, 1.0).pairs) == 1


def test_multipliers_are_those_of_the_users_functions():
    found = interior_point(
        lambda x: 3e4 * float(x @ x), [2.0, 0.5], jac=lambda x: 6e4 * x, h_eq=lambda x: 1e-3 * (x[0] + x[1] - 1.0)
    )
    assert found.success
    assert found.x == pytest.approx([0.5, 0.5], abs=1e-7)
    assert found.multipliers["h_eq"] == pytest.approx([-3e7], rel=1e-6)


def test_single_precision_stays_within_both_bounds():
    from gdnet.optimizers.constrained.bounds import cast_inside

    ends = np.array([0.7, 0.1, -0.1, 0.3])
    free = np.full(4, np.inf)
    assert np.all(cast_inside(ends, -free, ends, "float32").astype(np.float64) <= ends)
    assert np.all(cast_inside(ends, ends, free, "float32").astype(np.float64) >= ends)

"""Quadratic programs do not depend on units, and what cannot be solved is named, however near it is to what can."""

import numpy as np
import pytest

from gdnet.optimizers.constrained.quadratic_program import quadratic_program
from gdnet.optimizers.constrained.scaling import units


def program(seed, linear=False):
    """A feasible program with active rows and bounds, of numbers of the size of one."""
    rng = np.random.default_rng(seed)
    n, m, k = 6, 5, 2
    M, G, A, x = rng.normal(size=(n, n - 2)), rng.normal(size=(m, n)), rng.normal(size=(k, n)), rng.normal(size=n)
    P = np.zeros((n, n)) if linear else M @ M.T
    return {
        "P": P, "q": 3.0 * rng.normal(size=n), "G": G, "h": G @ x + 0.1 * rng.random(m), "A": A, "b": A @ x,
        "lower": x - 0.5, "upper": x + rng.random(n),
    }  # fmt: skip


def in_units(given, f, rows, equations, x):
    """The same program for a cost f times as large, rows times a factor, and variables in units of `x`."""
    return {
        "P": f * given["P"] * x * x[:, None], "q": f * given["q"] * x,
        "G": given["G"] * x * rows[:, None], "h": given["h"] * rows,
        "A": given["A"] * x * equations[:, None], "b": given["b"] * equations,
        "lower": given["lower"] / x, "upper": given["upper"] / x,
    }  # fmt: skip


@pytest.mark.parametrize("linear", [False, True], ids=["quadratic", "linear"])
@pytest.mark.parametrize("seed", range(12))
def test_the_answer_does_not_depend_on_units(seed, linear):
    """Objective, rows and variables, each times its own 10^k with k from -12 to 12."""
    rng, given = np.random.default_rng(seed), program(seed, linear)
    f, rows, equations, x = (10.0 ** rng.integers(-12, 13, size=size) for size in ((), 5, 2, 6))
    one, two = quadratic_program(**given), quadratic_program(**in_units(given, float(f), rows, equations, x))
    assert one.success
    assert two.success
    assert abs(one.nit - two.nit) <= 3
    assert np.max(np.abs(two.x * x - one.x)) <= 1e-6
    assert two.fun / f == pytest.approx(one.fun, rel=1e-8)
    for name, unit in (("h_eq", f / equations), ("g_le", f / rows), ("lower", f * x), ("upper", f * x)):
        assert two.multipliers[name] / unit == pytest.approx(one.multipliers[name], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("k", range(-12, 13, 2))
def test_non_negative_least_squares_in_every_unit(k):
    rng = np.random.default_rng(0)
    A = rng.random((30, 4))
    y = A @ [1.0, 0.0, 2.0, 0.0] + 1e-2 * rng.standard_normal(30)
    given = {"P": A.T @ A, "q": -A.T @ y}
    one = quadratic_program(**given, lower=0)
    two = quadratic_program(10.0**k * given["P"], 10.0**k * given["q"], lower=0)
    assert two.success
    assert np.max(np.abs(one.x - two.x)) <= 1e-8


@pytest.mark.parametrize(
    ("given", "x"),
    [
        ({"P": 1e-12 * np.eye(2), "q": [-1e-12, -2e-12], "lower": 0}, [1.0, 2.0]),
        ({"P": None, "q": [1e-11, 1e-11], "G": [[-1.0, -2.0]], "h": [-1.0], "lower": 0}, [0.0, 0.5]),
        ({"P": [[1.0]], "q": [-1e8], "lower": 0, "upper": 1}, [1.0]),
        ({"P": [[1.0]], "q": [-1e8], "G": [[1.0]], "h": [1.0]}, [1.0]),
        ({"P": [[1.0]], "q": [-1.0], "lower": 0, "upper": 1e12}, [1.0]),
        ({"P": [[1e-8]], "q": [-1.0], "lower": 0}, [1e8]),
    ],
    ids=["small", "linear and small", "box far below", "row far below", "box far above", "solution far away"],
)
def test_numbers_far_apart(given, x):
    found = quadratic_program(**given)
    assert found.success
    assert found.x == pytest.approx(x, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("seed", range(15))
def test_linear_programs_in_a_box_of_1e8(seed):
    """Rounding of G x, of the size of |G||x|, must not be taken for a violation."""
    linprog = pytest.importorskip("scipy.optimize").linprog
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(2, 12)), int(rng.integers(1, 15))
    q, G, x = rng.normal(size=n), rng.normal(size=(m, n)), rng.normal(size=n)
    h = G @ x + rng.random(m)
    found = quadratic_program(None, q, G=G, h=h, lower=-1e8, upper=1e8)
    assert found.success
    assert found.fun == pytest.approx(linprog(q, G, h, bounds=[(-1e8, 1e8)] * n).fun, rel=1e-8)


@pytest.mark.parametrize("curvature", [1e-4, 1e-6, 1e-8])
def test_little_curvature_along_a_ray(curvature):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        Q = np.linalg.qr(rng.normal(size=(6, 6)))[0]
        P = Q * np.append(rng.random(5) + 0.5, curvature) @ Q.T
        P, q = 0.5 * (P + P.T), rng.normal(size=6)
        found = quadratic_program(P, q)
        assert found.success
        assert found.x == pytest.approx(np.linalg.solve(P, -q), rel=1e-5)


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-6, 1e-7])
def test_infeasible_by_a_little_is_proved(distance):
    for seed in range(5):
        given = program(seed)
        for name in ("lower", "upper"):
            given[name] = np.full(6, -10.0 if name == "lower" else 10.0)
        given["G"] = np.concatenate([given["G"], -given["G"][:1]])
        given["h"] = np.append(given["h"], -given["h"][0] - distance)
        assert quadratic_program(**given).stop_reason == "infeasible"
        given["h"][-1] += 2.0 * distance
        assert quadratic_program(**given).stop_reason == "converged"


def test_a_matrix_is_judged_in_the_units_of_its_diagonal():
    """Positive semidefinite is what D P D is as well, for whatever units D."""
    unit = np.array([1e-9, 1.0, 1e9])
    good = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 1.0], [0.0, 1.0, 2.0]])
    bad = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert quadratic_program(good * unit * unit[:, None], -unit, lower=0).success
    with pytest.raises(Exception, match="semidefinite"):
        quadratic_program(bad * unit * unit[:, None], -unit, lower=0)


def test_units_follow_their_problem():
    rng = np.random.default_rng(3)
    P, q, G, h, size = np.diag(rng.random(4) + 1), rng.normal(size=4), rng.normal(size=(3, 4)), rng.normal(size=3), 2.0
    one = units(P, q, G, h, [np.full(4, size)])
    x, r, f = 10.0 ** np.array([3.0, -7, 0, 11]), 10.0 ** np.array([-4.0, 2, 9]), 1e-6
    two = units(f * P * x * x[:, None], f * q * x, G * x * r[:, None], h * r, [size / x])
    assert two.variables * x == pytest.approx(one.variables, rel=1e-6)
    assert two.rows / r == pytest.approx(one.rows, rel=1e-6)
    assert two.objective / f == pytest.approx(one.objective, rel=1e-6)

"""Convex quadratic programs: known solutions, support vector machines, degenerate and impossible problems."""

import numpy as np
import pytest

from gdnet.errors import DataError, OptionError, ShapeError
from gdnet.optimizers.constrained.interior_point import interior_point
from gdnet.optimizers.constrained.quadratic_program import quadratic_program

EYE = np.eye(2)


@pytest.mark.parametrize(
    ("given", "x", "f"),
    [
        ({"P": np.eye(3), "q": [1, 2, 3], "A": [[1, 1, 1]], "b": [1]}, [4 / 3, 1 / 3, -2 / 3], 7 / 6),
        ({"P": np.eye(3), "q": [1, 2, 3]}, [-1, -2, -3], -7.0),
        ({"P": None, "q": [-1, -2], "G": [[1, 1], [1, 3]], "h": [4, 6], "lower": 0}, [3, 1], -5.0),
        ({"P": None, "q": [1, 1], "G": -EYE, "h": [1, 2]}, [-1, -2], -3.0),
        ({"P": EYE, "q": [1, 0], "A": [[1, 1], [2, 2]], "b": [1, 2]}, [0, 1], 0.5),
        ({"P": EYE, "q": [1, 0], "lower": [0.5, -1], "upper": [0.5, 1]}, [0.5, 0], 0.625),
        ({"P": EYE, "q": [1, 0], "lower": [0.5, 1], "upper": [0.5, 1]}, [0.5, 1], 1.125),
        ({"P": EYE, "q": [1, 0], "G": [[1, 0], [-1, 0]], "h": [0.3, -0.3]}, [0.3, 0], 0.345),
        ({"P": 1e8 * EYE, "q": [1e8, 0], "G": [[1, 0]], "h": [-2e3]}, [-2e3, 0], 1.998e14),
        ({"P": [[2]], "q": [-4], "upper": 1}, [1], -3.0),
        ({"P": EYE, "q": [-1, 0], "G": [[1, 0], [0, 1]], "h": [np.inf, -1]}, [1, -1], 0.0),
    ],
)
def test_known_solutions(given, x, f):
    found = quadratic_program(**given)
    assert found.stop_reason == "converged"
    assert np.max(np.abs(found.x - x)) <= 1e-6 * max(1.0, np.max(np.abs(x)))
    assert found.fun == pytest.approx(f, rel=1e-8, abs=1e-8)


def separable_by_hand():
    """Two points x = ±1 with labels ±1 and the linear kernel: α = ½ each, margin 1."""
    return np.ones((2, 2)), np.array([1.0, -1.0]), [0.5, 0.5]


def test_support_vector_machine_with_a_known_solution():
    P, t, alpha = separable_by_hand()
    found = quadratic_program(P, -np.ones(2), A=t[None], b=[0.0], lower=0.0, upper=10.0)
    assert np.max(np.abs(found.x - alpha)) < 1e-8
    assert abs(found.multipliers["h_eq"][0]) < 1e-8  # the bias


def rings(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    t = np.where(np.sum(x * x, axis=1) > 1.4, 1.0, -1.0)
    t[rng.random(n) < 0.1] *= -1
    distance = np.sum((x[:, None] - x[None]) ** 2, axis=-1)
    return np.outer(t, t) * np.exp(-distance), t


def test_support_vector_machine():
    """The duality gap proves the optimum; a support vector strictly inside the box lies on the margin."""
    P, t = rings(300)
    found = quadratic_program(P, -np.ones(300), A=t[None], b=[0.0], lower=0.0, upper=1.0)
    assert found.success
    assert found.nit <= 30
    assert max(found.violation, found.stationarity, abs(found.gap)) <= 1e-9
    a, bias = found.x, found.multipliers["h_eq"][0]
    assert a.min() >= 0.0
    assert a.max() <= 1.0
    inside = (a > 1e-4) & (a < 1 - 1e-4)
    assert inside.any()
    assert np.max(np.abs((P @ a - 1 + bias * t)[inside])) < 1e-4


@pytest.mark.parametrize(("n", "m", "k"), [(5, 10, 2), (30, 60, 10), (60, 220, 20)])
def test_random_programs(n, m, k):
    """Fewer squares than variables, so that P is singular; the last size takes the path of large matrices."""
    rng = np.random.default_rng(n)
    M, G, A, x = rng.normal(size=(n, n // 2)), rng.normal(size=(m, n)), rng.normal(size=(k, n)), rng.normal(size=n)
    given = {"P": M @ M.T, "q": rng.normal(size=n), "G": G, "h": G @ x + rng.random(m), "A": A, "b": A @ x}
    found = quadratic_program(**given, lower=-10, upper=10)
    assert found.success
    assert found.nit <= 30
    assert max(found.violation, found.stationarity, abs(found.gap)) <= 1e-9


def test_against_the_general_method():
    rng = np.random.default_rng(3)
    M, G = rng.normal(size=(4, 6)), rng.normal(size=(5, 6))
    P, q, h = M.T @ M, rng.normal(size=6), rng.random(5)
    one = quadratic_program(P, q, G=G, h=h, lower=-1, upper=2)
    two = interior_point(
        lambda x: 0.5 * x @ P @ x + q @ x, np.zeros(6), jac=lambda x: P @ x + q, hess=lambda x: P,
        g_le=(lambda x: G @ x - h, lambda x: G, lambda x, y: np.zeros((6, 6))), bounds=[(-1, 2)] * 6,
    )  # fmt: skip
    assert two.success
    assert one.fun == pytest.approx(two.fun, abs=1e-6)


@pytest.mark.parametrize(
    ("stop", "given"),
    [
        ("infeasible", {"P": EYE, "q": [0, 0], "G": [[1, 0], [-1, 0]], "h": [-1, -1]}),
        ("infeasible", {"P": EYE, "q": [0, 0], "A": [[1, 0], [1, 0]], "b": [-1, 1]}),
        ("infeasible", {"P": EYE, "q": [0, 0], "A": [[1, 1]], "b": [5], "lower": 0, "upper": 1}),
        ("infeasible", {"P": EYE, "q": [0, 0], "A": [[1, 1]], "b": [5], "lower": 0, "upper": 0}),
        ("unbounded", {"P": None, "q": [-1, 0], "lower": 0}),
        ("unbounded", {"P": np.diag([1, 0]), "q": [0, -1]}),
        ("unbounded", {"P": np.diag([1, 0]), "q": [0, -1], "G": [[1, -1]], "h": [0]}),
    ],
)
def test_impossible_is_said(stop, given):
    found = quadratic_program(**given)
    assert found.stop_reason == stop
    assert not found.success


def test_random_linear_programs_against_scipy():
    """Feasible, infeasible and unbounded ones with small integers, hence many degenerate."""
    linprog = pytest.importorskip("scipy.optimize").linprog
    rng, seen = np.random.default_rng(1), set()
    for _ in range(60):
        n, m, k = rng.integers(1, 10), rng.integers(0, 16), rng.integers(0, 4)
        q, h, b = (rng.integers(-4, 9, size=size).astype(float) for size in (n, m, k))
        G, A = (rng.integers(-4, 5, size=(size, n)).astype(float) for size in (m, k))
        lower = np.where(rng.random(n) < 0.5, -rng.integers(0, 4, n), -np.inf)
        given = {"A_ub": G, "b_ub": h, "A_eq": A, "b_eq": b, "bounds": [(low, None) for low in lower]}
        truth = linprog(q, **given)
        feasible = truth.status == 0 or linprog(0 * q, **given).status == 0
        stop = "converged" if truth.status == 0 else "unbounded" if feasible else "infeasible"
        found = quadratic_program(None, q, G=G, h=h, A=A, b=b, lower=lower)
        seen.add(stop)
        assert found.stop_reason == stop
        assert stop != "converged" or found.fun == pytest.approx(truth.fun, rel=1e-7, abs=1e-7)
    assert seen == {"converged", "infeasible", "unbounded"}


@pytest.mark.parametrize(
    ("error", "given"),
    [
        (OptionError, {"P": -EYE, "q": [0, 0]}),
        (OptionError, {"P": [[1, 1], [0, 1]], "q": [0, 0]}),
        (OptionError, {"P": EYE, "q": [0, 0], "lower": 1, "upper": 0}),
        (OptionError, {"P": EYE, "q": [0, 0], "G": [[1, 0]]}),
        (OptionError, {"P": EYE, "q": [0, 0], "tol": 0}),
        (ShapeError, {"P": np.eye(3), "q": [0, 0]}),
        (ShapeError, {"P": EYE, "q": [0, 0], "G": [[1, 0, 0]], "h": [1]}),
        (ShapeError, {"P": EYE, "q": [0, 0], "A": [[1, 0]], "b": [1, 2]}),
        (ShapeError, {"P": EYE, "q": [0, 0], "lower": [0, 0, 0]}),
        (DataError, {"P": EYE * np.nan, "q": [0, 0]}),
        (DataError, {"P": EYE, "q": [0, np.inf]}),
        (DataError, {"P": EYE, "q": [0, 0], "G": [[1, 0]], "h": [-np.inf]}),
    ],
)
def test_wrong_input_is_an_error(error, given):
    with pytest.raises(error):
        quadratic_program(**given)


def test_arrays_of_every_library(bk):
    found = quadratic_program(bk.put(2 * EYE), bk.put(np.array([-2.0, -5.0])), upper=0.5)
    assert np.max(np.abs(bk.get(found.x) - [0.5, 0.5])) < 1e-8

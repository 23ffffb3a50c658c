"""The problems of Moré, Garbow and Hillstrom: minima, and numbers of evaluations beside SciPy's, all with defaults.

Gradients are exact: complex steps through the formulas.
"""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

import gdnet as gd

PATH = Path(__file__).parents[2] / "benchmarks" / "least_squares" / "problems.py"
spec = importlib.util.spec_from_file_location("least_squares_problems", PATH)
problems = importlib.util.module_from_spec(spec)
spec.loader.exec_module(problems)


def row(p, x):
    """Name, calls of the function and its gradient, the value at x, calls of the function."""
    counted = dict(p.calls)
    return p.fit.name, sum(counted.values()), p.f(x), counted["f"]


def scipy_runs(method, **options):
    from scipy.optimize import minimize

    found = []
    for p in problems.sums():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hess = p.hessian if method in ("trust-ncg", "Newton-CG") else None
            result = minimize(p.f, p.fit.x0, jac=p.gradient, hess=hess, method=method, options=options)
        found.append(row(p, result.x))
    return found


def default(method):
    return 1e-6 if "newton" in method else 1e-5


def our_runs(method, tol=None):
    """With SciPy's stop rule, an absolute one: max|gradient| <= tol, 1e-5 by default."""
    found = []
    for p in problems.sums():
        hess = p.hessian if "newton" in method else None
        result = gd.minimize(p.f, p.fit.x0, method=method, jac=p.gradient, hess=hess, tol=tol or default(method))
        assert {"f": result.nfev, "gradient": result.njev} == p.calls
        assert result.success == (np.max(np.abs(p.slope(result.x))) <= (tol or default(method))), p.fit.name
        found.append((*row(p, result.x), result.success))
    return found


def test_formulas_are_those_of_the_file():
    for p in problems.sums():
        assert p.f(p.fit.x0) == pytest.approx(p.f_at_x0, rel=1e-10), p.fit.name


@pytest.mark.parametrize("method", ["bfgs", "lbfgs", "newton", "newton_cg"])
def test_a_known_minimum_of_every_problem(method):
    """Flat valleys end where the gradient is small; a tighter one brings every value to its minimum."""
    for (name, _, value, _, success), p in zip(our_runs(method, tol=1e-8), problems.sums(), strict=True):
        assert success, name
        assert min(abs(value - m) for m in p.fit.minima) <= 1e-8 + 1e-5 * value, (name, value, p.fit.minima)


@pytest.mark.parametrize(
    ("method", "peers"),
    [
        ("bfgs", [("BFGS", {})]),
        ("lbfgs", [("L-BFGS-B", {"ftol": 0.0, "gtol": 1e-5, "maxfun": 100000})]),
        ("newton_cg", [("trust-ncg", {}), ("trust-ncg", {"gtol": 1e-5}), ("Newton-CG", {})]),
        ("cg", [("CG", {})]),
    ],
)  # fmt: skip
def test_no_more_evaluations_than_scipy(method, peers):
    """Calls of f and of the gradient, over all problems, with the same or better values in the end."""
    ours = our_runs(method)
    for peer, options in peers:
        theirs = scipy_runs(peer, **options)
        assert sum(n for _, n, *_ in ours) <= sum(n for _, n, *_ in theirs), (peer, ours, theirs)
        assert sum(row[3] for row in ours) <= sum(row[3] for row in theirs), peer
        worse = [(name, a, b) for (name, _, a, *_), (_, _, b, _) in zip(ours, theirs) if a > b + 1e-8 + 1e-4 * b]
        assert not worse, (peer, worse)


@pytest.mark.parametrize(("method", "part"), [("bfgs", 0.65), ("lbfgs", 0.75)])
def test_staged_differences_save_evaluations(method, part):
    """Forward quotients while they suffice: fewer calls than by central ones alone, and as many problems solved."""
    calls, solved = {}, {}
    for jac in (None, "3-point"):
        calls[jac] = solved[jac] = 0
        for p in problems.sums():
            found = gd.minimize(p.f, p.fit.x0, method=method, jac=jac, tol=1e-5)
            assert found.nfev == p.calls["f"]
            assert found.njev > 0
            calls[jac] += p.calls["f"]
            solved[jac] += min(abs(found.fun - m) for m in p.fit.minima) <= 1e-6 + 1e-3 * found.fun
    assert calls[None] <= part * calls["3-point"], calls
    assert solved[None] >= solved["3-point"], solved


@pytest.mark.parametrize("method", ["bfgs", "lbfgs"])
def test_without_gradients_every_value_is_a_minimum(method):
    for p in problems.sums():
        found = gd.minimize(p.f, p.fit.x0, method=method)
        assert found.success, (p.fit.name, found)
        assert min(abs(found.fun - m) for m in p.fit.minima) <= 1e-6 + 1e-3 * found.fun, p.fit.name

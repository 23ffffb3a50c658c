"""NIST StRD: every start solved with the default settings, to the digits that are certified."""

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


@pytest.mark.parametrize(("exact", "average"), [(True, 10.5), (False, 9.5)])
def test_every_start_is_solved(exact, average):
    digits = {}
    for p in problems.nist():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = gd.least_squares(p.fun, p.x0, jac=p.jac if exact else None)
        assert found.success, (p.name, p.start, found.message)
        digits[p.name, p.start] = p.digits(found.x)
    assert len(digits) == 36
    assert min(digits.values()) >= 6.0, {key: d for key, d in digits.items() if d < 6}
    assert np.mean(list(digits.values())) >= average


def test_mgh_reaches_published_minima_with_fewer_calls_than_scipy():
    from scipy.optimize import least_squares

    calls = {"gdnet": 0, "scipy": 0}
    for p in problems.mgh():
        count = [0]

        def fun(x, p=p, count=count):
            count[0] += 1
            return p.fun(x)

        found = gd.least_squares(fun, p.x0)
        assert p.solved(found.cost), (p.name, found.cost)
        assert found.success, (p.name, found.message)
        assert found.nfev == count[0]
        calls["gdnet"] += count[0]
        count[0] = 0
        least_squares(fun, p.x0)
        calls["scipy"] += count[0]
    assert calls["gdnet"] <= calls["scipy"], calls


@pytest.mark.parametrize(("residuals", "parameters"), [(1e-10, 1.0), (1e10, 1.0), (1.0, 1e-8), (1.0, 1e8)])
def test_units_do_not_matter(residuals, parameters):
    for p in problems.mgh():
        found = gd.least_squares(lambda z, p=p: residuals * p.fun(z / parameters), p.x0 * parameters)
        assert p.solved(found.cost / residuals**2), (p.name, found.cost / residuals**2, found.message)


def test_the_digit_count_can_fail():
    p = next(problems.nist())
    assert p.digits(p.certified * (1 + 1e-4)) == pytest.approx(4.0, abs=0.01)
    assert p.digits(p.certified) == 11.0

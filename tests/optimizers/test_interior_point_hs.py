"""Hock-Schittkowski problems with default settings: every one solved, and nothing called solved that is not."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gdnet.optimizers.constrained.interior_point import interior_point


def helper(name):
    """A module beside this one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


expressions = helper("expressions")
SHARED = expressions.shared_problems()
MORE = [expressions.Problem(entry) for entry in helper("more_problems").entries()]


def without(arguments, derivatives):
    """The arguments less second, or first and second, derivatives."""
    kept = 2 if derivatives == "first" else 1
    found = {k: v for k, v in arguments.items() if k != "hess" and (k != "jac" or kept == 2)}
    return {k: v[:kept] if k in ("g_le", "h_eq") else v for k, v in found.items()}


def table(problems, **options):
    """(solved, falsely called solved), by name."""
    solved, false = [], []
    for p in problems:
        given = p.arguments()
        if "derivatives" in options:
            given = without(given, options["derivatives"])
        found = interior_point(**given, **{k: v for k, v in options.items() if k != "derivatives"})
        x = np.asarray(found.x)
        if p.error(x) <= 1e-6 and p.violation(x) <= 1e-6:
            solved.append(p.id)
        elif found.success:
            false.append(p.id)
        assert found.violation == pytest.approx(max(0.0, p.violation(x)), abs=1e-12)  # what it says is what it did
    return solved, false


def test_the_shared_forty_with_exact_derivatives():
    if SHARED is None:
        pytest.skip("the shared problem set is not here: set GDNET_DATA")
    solved, false = table(SHARED)
    assert len(solved) == 40, sorted({p.id for p in SHARED} - set(solved))
    assert not false


@pytest.mark.parametrize("derivatives", ["first", "none"])
def test_the_shared_forty_with_numerical_derivatives(derivatives):
    if SHARED is None:
        pytest.skip("the shared problem set is not here: set GDNET_DATA")
    chosen = [p for p in SHARED if derivatives == "first" or p.n <= 4]  # 2 n differences of 2 n differences take time
    solved, false = table(chosen, derivatives=derivatives)
    assert len(solved) >= len(chosen) - 1
    assert not false


def test_quasi_newton():
    solved, _ = table(MORE, curvature="bfgs", derivatives="first")
    assert len(solved) >= 26


def test_more_problems():
    solved, false = table(MORE)
    assert len(solved) == len(MORE), sorted({p.id for p in MORE} - set(solved))
    assert not false


@pytest.mark.parametrize("p", MORE[:3] + MORE[9:12], ids=lambda p: p.id)
def test_multipliers_satisfy_the_optimality_conditions(p):
    given = p.arguments()
    found = interior_point(**given)
    x, m = np.asarray(found.x), found.multipliers
    r = given["jac"](x) - m["lower"] + m["upper"]
    for name in ("g_le", "h_eq"):
        if name in given:
            r = r + given[name][1](x).T @ m[name]
    assert np.max(np.abs(r)) <= 1e-6
    assert min(np.min(m[k], initial=0.0) for k in ("g_le", "lower", "upper")) >= 0.0

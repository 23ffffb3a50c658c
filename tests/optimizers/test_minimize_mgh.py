"""The problems of Moré, Garbow and Hillstrom: minima, and numbers of evaluations beside SciPy's, all with defaults.

Gradients are exact: complex steps through the formulas.
"""

import cmath
import json
import math
import os
import warnings
from pathlib import Path

import numpy as np
import pytest

import gdnet as gd

DATA = Path(os.environ.get("GDNET_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
FILE = DATA / "problems" / "mgh_least_squares.json"


class Perturbed(complex):
    """A complex number that compares by its real part, as a formula with `if x < 0` needs."""

    def __lt__(self, other):
        return self.real < other

    def __gt__(self, other):
        return self.real > other


def chebyshev(k, t):
    a, b = 1.0, t
    for _ in range(k - 1):
        a, b = b, 2 * t * b - a
    return b if k else 1.0


class Problem:
    """f = Σ r², its gradient by complex steps, its Hessian by central differences of that; calls are counted."""

    def __init__(self, entry):
        self.name, self.x0 = entry["id"], np.array(entry["x0"])
        self.minima, self.f_at_x0 = [m["f"] for m in entry["minima"]], entry["f_at_x0"]
        names = {name: getattr(cmath, name) for name in ("exp", "log", "sqrt", "sin", "cos", "atan", "pi")}
        self.names = names | entry.get("constants", {})
        self.names |= {"cheb": chebyshev, "prod": math.prod, "n": len(self.x0)}
        self.code = [
            (compile(r["expr"], self.name, "eval"), i)
            for r in entry["residuals"]
            for i in range(r["i_from"], r["i_to"] + 1)
        ]
        self.nf = self.ng = 0

    def residuals(self, x):
        found = []
        for code, i in self.code:
            try:
                found.append(complex(eval(code, self.names | {"x": x, "i": i})))
            except OverflowError:
                found.append(complex(math.inf))
        return np.array(found)

    def slope(self, x):
        columns = []
        for j in range(len(x)):
            z = [Perturbed(v) for v in x]
            z[j] = Perturbed(x[j], 1e-30)
            columns.append(self.residuals(z))
        with np.errstate(all="ignore"):
            return 2 * np.stack(columns).imag / 1e-30 @ columns[0].real

    def f(self, x):
        self.nf += 1
        with np.errstate(all="ignore"):
            return float(np.sum(self.residuals([Perturbed(v) for v in x]).real ** 2))

    def g(self, x):
        self.ng += 1
        return self.slope(x)

    def H(self, x):
        h = 1e-5 * np.maximum(1, np.abs(x))
        columns = [(self.slope(x + e) - self.slope(x - e)) / (2 * w) for e, w in zip(np.diag(h), h)]
        return 0.5 * (np.stack(columns) + np.stack(columns).T)


def problems():
    if not FILE.is_file():
        pytest.skip(f"the problems are neither in GDNET_DATA nor in {DATA}")
    return [Problem(entry) for entry in json.loads(FILE.read_text())["problems"]]


def scipy_runs(method, **options):
    from scipy.optimize import minimize

    found = []
    for p in problems():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hess = p.H if method in ("trust-ncg", "Newton-CG") else None
            result = minimize(p.f, p.x0, jac=p.g, hess=hess, method=method, options=options)
        found.append((p.name, p.nf + p.ng, p.f(result.x), p.nf - 1))
    return found


def our_runs(method, tol=None):
    found = []
    for p in problems():
        result = gd.minimize(p.f, p.x0, method=method, jac=p.g, hess=p.H if "newton" in method else None, tol=tol)
        assert (result.nfev, result.njev) == (p.nf, p.ng)
        assert result.success == (np.max(np.abs(p.slope(result.x))) <= (tol or 1e-5)), p.name
        found.append((p.name, p.nf + p.ng, result.fun, p.nf, result.success))
    return found


def test_formulas_are_those_of_the_file():
    for p in problems():
        assert p.f(p.x0) == pytest.approx(p.f_at_x0, rel=1e-10), p.name


@pytest.mark.parametrize("method", ["bfgs", "lbfgs", "newton", "newton_cg"])
def test_a_known_minimum_of_every_problem(method):
    """Flat valleys end where the gradient is small; a tighter one brings every value to its minimum."""
    for (name, _, value, _, success), p in zip(our_runs(method, tol=1e-8), problems()):
        assert success, name
        assert min(abs(value - m) for m in p.minima) <= 1e-8 + 1e-5 * value, (name, value, p.minima)


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

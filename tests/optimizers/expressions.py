"""Test problems given as Python expressions, with exact first and second derivatives by second-order jets.

A jet carries value, gradient and Hessian through every operation: no differences, no truncation.
"""

import json
import math
import os
from pathlib import Path

import numpy as np

DATA = Path(os.environ.get("GDNET_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


class Jet:
    """f, ∇f and ∇²f at a point."""

    __array_ufunc__ = None

    def __init__(self, f, g, H):
        self.f, self.g, self.H = f, g, H

    def through(self, f, d1, d2):
        """The chain rule for a function of one variable with these derivatives."""
        return Jet(f, d1 * self.g, d1 * self.H + d2 * np.outer(self.g, self.g))

    def __add__(self, o):
        return Jet(self.f + o.f, self.g + o.g, self.H + o.H) if isinstance(o, Jet) else Jet(self.f + o, self.g, self.H)

    def __mul__(self, o):
        if not isinstance(o, Jet):
            return Jet(self.f * o, self.g * o, self.H * o)
        cross = np.outer(self.g, o.g)
        return Jet(self.f * o.f, self.f * o.g + o.f * self.g, self.f * o.H + o.f * self.H + cross + cross.T)

    def __pow__(self, k):
        if isinstance(k, Jet):
            return exp(k * log(self))
        x = np.float64(self.f)
        with np.errstate(all="ignore"):
            d2 = k * (k - 1) * x ** (k - 2) if k * (k - 1) != 0 else 0.0
            return self.through(x**k, k * x ** (k - 1) if k != 0 else 0.0, d2)

    def __rpow__(self, a):
        return exp(self * math.log(a))

    def __neg__(self):
        return self * -1.0

    def __sub__(self, o):
        return self + (-o)

    def __rsub__(self, o):
        return (-self) + o

    def __truediv__(self, o):
        return self * o**-1 if isinstance(o, Jet) else self * (1.0 / o)

    def __rtruediv__(self, o):
        return self**-1 * o

    __radd__, __rmul__ = __add__, __mul__

    def __lt__(self, o):
        return self.f < (o.f if isinstance(o, Jet) else o)

    def __gt__(self, o):
        return self.f > (o.f if isinstance(o, Jet) else o)

    def __abs__(self):
        return self if self.f >= 0 else -self


def unary(f, d1, d2):
    def call(x):
        with np.errstate(all="ignore"):
            if not isinstance(x, Jet):
                return f(np.float64(x))
            v = np.float64(x.f)
            return x.through(f(v), d1(v), d2(v))

    return call


exp = unary(np.exp, np.exp, np.exp)
log = unary(np.log, lambda v: 1 / v, lambda v: -1 / v**2)
NAMES = {
    "exp": exp,
    "log": log,
    "sqrt": unary(np.sqrt, lambda v: 0.5 / np.sqrt(v), lambda v: -0.25 * v**-1.5),
    "sin": unary(np.sin, np.cos, lambda v: -np.sin(v)),
    "cos": unary(np.cos, lambda v: -np.sin(v), lambda v: -np.cos(v)),
    "atan": unary(np.arctan, lambda v: 1 / (1 + v * v), lambda v: -2 * v / (1 + v * v) ** 2),
    "abs": abs, "min": min, "max": max, "sum": sum, "range": range, "prod": math.prod, "pi": math.pi, "len": len,
}  # fmt: skip


class Expressions:
    """A vector of expressions in x, evaluated once a point."""

    def __init__(self, sources, n, constants=None):
        self.n = n
        self.code = [compile(s, s, "eval") for s in sources]
        self.names = {**NAMES, **(constants or {}), "n": n, "__builtins__": {}}
        self.kept = (None, None)

    def __call__(self, x):
        """(values (m,), Jacobian (m, n), Hessians (m, n, n))."""
        key = np.asarray(x, dtype=float).tobytes()
        if self.kept[0] != key:
            zero = np.zeros((self.n, self.n))
            jets = [Jet(float(v), row, zero) for v, row in zip(x, np.eye(self.n))]
            found = []
            with np.errstate(all="ignore"):
                for code in self.code:
                    value = eval(code, {**self.names, "x": jets})
                    found.append(value if isinstance(value, Jet) else Jet(value, np.zeros(self.n), zero))
            m = len(found)
            arrays = (
                np.array([j.f for j in found], dtype=float),
                np.array([j.g for j in found], dtype=float).reshape(m, self.n),
                np.array([j.H for j in found], dtype=float).reshape(m, self.n, self.n),
            )
            self.kept = (key, arrays)
        return self.kept[1]


class Problem:
    """min f s.t. ineq >= 0, eq = 0, bounds; the arguments of `interior_point` with exact derivatives."""

    def __init__(self, entry):
        self.id, self.n, self.entry = entry["id"], entry["n"], entry
        self.best = entry["solution"]["f"]
        constants = entry.get("constants")
        self.f = Expressions([entry["objective"]], self.n, constants)
        self.ineq = Expressions(entry["ineq"], self.n, constants) if entry["ineq"] else None
        self.eq = Expressions(entry["eq"], self.n, constants) if entry["eq"] else None
        self.x0 = np.array(entry["x0"], dtype=float)
        self.bounds = list(zip(entry["lower"], entry["upper"]))

    def arguments(self):
        """Keyword arguments with exact derivatives; ineq >= 0 becomes -ineq <= 0."""
        given = {
            "fun": lambda x: self.f(x)[0][0],
            "x0": self.x0,
            "jac": lambda x: self.f(x)[1][0],
            "hess": lambda x: self.f(x)[2][0],
            "bounds": self.bounds,
        }
        for name, rows, sign in (("g_le", self.ineq, -1.0), ("h_eq", self.eq, 1.0)):
            if rows is not None:
                given[name] = (
                    lambda x, r=rows, s=sign: s * r(x)[0],
                    lambda x, r=rows, s=sign: s * r(x)[1],
                    lambda x, y, r=rows, s=sign: s * np.einsum("m,mij->ij", y, r(x)[2]),
                )
        return given

    def violation(self, x):
        """Of x, absolute."""
        found = [0.0]
        if self.ineq is not None:
            found.append(float(np.max(-self.ineq(x)[0])))
        if self.eq is not None:
            found.append(float(np.max(np.abs(self.eq(x)[0]))))
        for v, (a, b) in zip(x, self.bounds):
            found += [] if a is None else [a - v]
            found += [] if b is None else [v - b]
        return max(found)

    def error(self, x):
        """|f - f*| / max(1, |f*|), for the nearest of the known minima."""
        f = float(self.f(x)[0][0])
        minima = [self.best, *self.entry["solution"].get("local", [])]
        return min(abs(f - best) / max(1.0, abs(best)) for best in minima)


def shared_problems():
    """The forty shared problems, or None where the data is not there."""
    path = DATA / "problems" / "hs_constrained.json"
    return [Problem(entry) for entry in json.loads(path.read_text())["problems"]] if path.exists() else None

"""The nonlinear regressions of NIST StRD and the least-squares problems of Moré, Garbow and Hillstrom, as functions."""

import cmath
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent
CAP = 11.0
"""NIST certifies eleven digits."""


class Regression(NamedTuple):
    """One NIST problem from one start."""

    name: str
    difficulty: str
    start: int
    x0: np.ndarray
    certified: np.ndarray
    fun: Callable[[Any], Any]
    jac: Callable[[Any], np.ndarray]

    def digits(self, x: np.ndarray) -> float:
        """The log relative error of the worst parameter: how many digits agree, 11 at most."""
        error = np.max(np.abs(x - self.certified) / np.abs(self.certified))
        return float(np.clip(-np.log10(max(error, 10.0**-CAP)), 0.0, CAP)) if np.isfinite(error) else 0.0


class Fit(NamedTuple):
    """One problem of Moré, Garbow and Hillstrom; `minima` are sums of squares."""

    name: str
    x0: np.ndarray
    fun: Callable[[Any], np.ndarray]
    minima: list[float]

    def solved(self, cost: float) -> bool:
        """Whether half a sum of squares is one of the published minima."""
        return any(2.0 * cost <= f * (1.0 + 1e-6) + 1e-12 for f in self.minima)


def complex_step(fun: Callable, b: np.ndarray) -> np.ndarray:
    """∂fun/∂b, exact to rounding: Im fun(b + ih) / h."""
    columns = []
    for j in range(b.size):
        z = b.astype(complex)
        z[j] += 1e-30j
        columns.append(fun(z).imag / 1e-30)
    return np.stack(columns, axis=1)


def nist() -> Iterator[Regression]:
    """Both starts of every problem."""
    names = {"exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos, "atan": np.arctan, "pi": np.pi}
    for p in json.loads((HERE / "nist_strd.json").read_text())["problems"]:
        scope = names | {column: np.asarray(values) for column, values in p["columns"].items()}
        model, response = (compile(p[key], p["name"], "eval") for key in ("model", "response"))
        y = eval(response, scope)

        def fun(b: Any, model: Any = model, scope: dict = scope, y: np.ndarray = y) -> Any:
            with np.errstate(all="ignore"):
                return eval(model, scope | {"b": b}) - y

        for k, start in enumerate(p["starts"]):
            yield Regression(
                p["name"], p["difficulty"], k + 1, np.asarray(start), np.asarray(p["certified"]), fun,
                lambda b, fun=fun: complex_step(fun, b),
            )  # fmt: skip


def chebyshev(k: int, t: float) -> float:
    """T_k(t), by the recurrence that holds outside [-1, 1] too."""
    before, now = 1.0, t
    for _ in range(k - 1):
        before, now = now, 2.0 * t * now - before
    return now if k else 1.0


def mgh() -> Iterator[Fit]:
    """The standard starts."""
    names = {name: getattr(math, name) for name in ("exp", "log", "sqrt", "sin", "cos", "atan", "prod", "pi")}
    names |= {"abs": abs, "min": min, "max": max, "sum": sum, "range": range, "cheb": chebyshev}
    for p in json.loads((HERE / "mgh.json").read_text())["problems"]:
        scope = names | p.get("constants", {})
        parts = [(e["i_from"], e["i_to"], compile(e["expr"], p["name"], "eval")) for e in p["residuals"]]

        def fun(x: Any, parts: list = parts, scope: dict = scope) -> np.ndarray:
            x, found = [float(v) for v in x], []
            for first, last, code in parts:
                for i in range(first, last + 1):
                    try:
                        found.append(eval(code, scope | {"x": x, "n": len(x), "i": i}))
                    except (OverflowError, ZeroDivisionError, ValueError):
                        found.append(math.nan)
            return np.asarray(found)

        fit = Fit(p["name"], np.asarray(p["x0"], dtype=float), fun, p["minima"])
        assert math.isclose(float(np.sum(fun(fit.x0) ** 2)), p["f_at_x0"], rel_tol=1e-9)
        yield fit


class Perturbed(complex):
    """A complex number that compares by its real part, as `if x < 0` in a formula needs."""

    def __lt__(self, other: Any) -> bool:
        return self.real < other

    def __gt__(self, other: Any) -> bool:
        return self.real > other


class SumOfSquares:
    """f = Σ r², its gradient by complex steps, its Hessian by central differences of that; calls are counted."""

    def __init__(self, fit: Fit, entry: dict[str, Any]) -> None:
        self.fit, self.f_at_x0, self.calls = fit, entry["f_at_x0"], {"f": 0, "gradient": 0}
        names = {name: getattr(cmath, name) for name in ("exp", "log", "sqrt", "sin", "cos", "atan", "pi")}
        self.names = names | {"cheb": chebyshev, "prod": math.prod, "n": len(fit.x0)} | entry.get("constants", {})
        self.code = [(compile(r["expr"], fit.name, "eval"), i)
                     for r in entry["residuals"] for i in range(r["i_from"], r["i_to"] + 1)]  # fmt: skip

    def residuals(self, x: list[Perturbed]) -> np.ndarray:
        found = []
        for code, i in self.code:
            try:
                found.append(complex(eval(code, self.names | {"x": x, "i": i})))
            except OverflowError:
                found.append(complex(math.inf))
        return np.asarray(found)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """The gradient, not counted."""
        columns = [self.residuals([Perturbed(v, 1e-30 * (i == j)) for i, v in enumerate(x)]) for j in range(x.size)]
        with np.errstate(all="ignore"):
            return 2.0 * np.stack(columns).imag / 1e-30 @ columns[0].real

    def f(self, x: np.ndarray) -> float:
        self.calls["f"] += 1
        with np.errstate(all="ignore"):
            return float(np.sum(self.residuals([Perturbed(v) for v in x]).real ** 2))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        self.calls["gradient"] += 1
        return self.slope(x)

    def hessian(self, x: np.ndarray) -> np.ndarray:
        h = 1e-5 * np.maximum(1.0, np.abs(x))
        H = np.stack([(self.slope(x + e) - self.slope(x - e)) / (2 * w) for e, w in zip(np.diag(h), h, strict=True)])
        return 0.5 * (H + H.T)


def sums() -> list[SumOfSquares]:
    """Every problem of `mgh` as one function of x."""
    entries = json.loads((HERE / "mgh.json").read_text())["problems"]
    return [SumOfSquares(fit, entry) for fit, entry in zip(mgh(), entries, strict=True)]

"""Problems of Moré, Garbow and Hillstrom, default settings: minima found and functions called, beside SciPy's.

    OMP_NUM_THREADS=1 python -m benchmarks.mgh --json benchmarks/results/mgh.json

`least_squares` of both libraries differentiates for itself, and every call of the residuals counts. `minimize` gets the
exact gradient of the sum of squares (complex steps), Newton's methods its Hessian too (differences of that), and the
calls of the function and of the gradient count. SciPy's L-BFGS-B has its rule on the value off, so that all stop by
the same gradient, 1e-5. The last three columns stop nothing: they say how close the end is.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gdnet as gd
from benchmarks.least_squares.problems import SumOfSquares, sums
from gdnet.bench.environment import environment


def ours(method: str) -> Callable[[SumOfSquares], np.ndarray]:
    def solve(s: SumOfSquares) -> np.ndarray:
        hess = s.hessian if "newton" in method else None
        return gd.minimize(s.f, s.fit.x0, method=method, jac=s.gradient, hess=hess).x

    return solve


def scipys(method: str, **options: Any) -> Callable[[SumOfSquares], np.ndarray]:
    from scipy.optimize import minimize

    def solve(s: SumOfSquares) -> np.ndarray:
        hess = s.hessian if method in ("trust-ncg", "Newton-CG") else None
        return minimize(s.f, s.fit.x0, jac=s.gradient, hess=hess, method=method, options=options).x

    return solve


def least_squares(solve: Callable) -> Callable[[SumOfSquares], np.ndarray]:
    """The residuals as the function that counts."""

    def run(s: SumOfSquares) -> np.ndarray:
        def fun(x: np.ndarray) -> np.ndarray:
            s.calls["f"] += 1
            return s.fit.fun(x)

        return solve(fun, s.fit.x0).x

    return run


def solvers() -> dict[str, Callable[[SumOfSquares], np.ndarray]]:
    from scipy import optimize

    return {
        "gdnet least_squares": least_squares(gd.least_squares),
        "SciPy least_squares": least_squares(optimize.least_squares),
        "gdnet minimize bfgs": ours("bfgs"),
        "SciPy BFGS": scipys("BFGS"),
        "gdnet minimize lbfgs": ours("lbfgs"),
        "SciPy L-BFGS-B": scipys("L-BFGS-B", ftol=0.0, gtol=1e-5, maxfun=100_000),
        "gdnet minimize newton_cg": ours("newton_cg"),
        "SciPy Newton-CG": scipys("Newton-CG"),
        "SciPy trust-ncg": scipys("trust-ncg"),
        "gdnet minimize cg": ours("cg"),
        "SciPy CG": scipys("CG"),
    }


def measure(solve: Callable[[SumOfSquares], np.ndarray]) -> list[dict[str, Any]]:
    rows = []
    for s in sums():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x = solve(s)
        calls, value = dict(s.calls), s.f(x)
        above = min(value - f for f in s.fit.minima if value - f > -1e-6 * max(1.0, f))
        solved = s.fit.solved(0.5 * value)
        near = any(abs(value - f) <= 1e-4 * max(f, 1e-4) for f in s.fit.minima)
        rows.append({"name": s.fit.name, "f": value, "above": above, "solved": solved, "near": near, **calls})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {name: measure(solve) for name, solve in solvers().items()}
    print(f"{'':26s} {'f':>6s} {'grad':>6s} {'to 1e-6':>8s} {'to 1e-4':>8s} of {len(sums())}")
    for name, rows in found.items():
        f, gradient, solved, near = (sum(row[key] for row in rows) for key in ("f", "gradient", "solved", "near"))
        missed = ", ".join(row["name"] for row in rows if not row["near"])
        print(f"{name:26s} {f:6d} {gradient:6d} {solved:8d} {near:8d}  {missed}")
    if options.json:
        options.json.write_text(json.dumps({"environment": environment(), "results": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""NIST StRD, both starts, default settings: digits of the worst parameter and calls of the model, beside SciPy's.

    python -m benchmarks.nist --json nist.json

The Jacobian is given exactly (complex steps), then left to each library's own differences. SciPy runs with its
defaults, and once more with its tolerances at 1e-15, which it needs for the last digits.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gdnet as gd
from benchmarks.least_squares.problems import Regression, nist
from gdnet.bench.environment import environment

SOLVED = 6.0


def gdnet(p: Regression, fun: Callable, exact: bool) -> np.ndarray:
    return gd.least_squares(fun, p.x0, jac=p.jac if exact else None).x


def scipy(method: str, tol: float) -> Callable:
    from scipy.optimize import least_squares

    def solve(p: Regression, fun: Callable, exact: bool) -> np.ndarray:
        jac: Any = p.jac if exact else "2-point"
        return least_squares(fun, p.x0, jac=jac, method=method, ftol=tol, xtol=tol, gtol=tol).x

    return solve


def run(solve: Callable, exact: bool) -> list[dict[str, Any]]:
    """One row for each problem and start; a solver that raises has no digits."""
    rows = []
    for p in nist():
        calls = [0]

        def fun(b: Any, p: Regression = p, calls: list[int] = calls) -> Any:
            calls[0] += 1
            return p.fun(b)

        began, error = time.perf_counter(), ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                digits = p.digits(solve(p, fun, exact))
        except ValueError as problem:
            digits, error = 0.0, str(problem)
        rows.append(
            {"name": p.name, "start": p.start, "difficulty": p.difficulty, "digits": round(digits, 2),
             "calls": calls[0], "seconds": time.perf_counter() - began, "error": error}
        )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    solvers = {"gdnet": gdnet}
    for method in ("lm", "trf"):
        solvers[f"scipy {method}"] = scipy(method, 1e-8)
        solvers[f"scipy {method} 1e-15"] = scipy(method, 1e-15)
    found: dict[str, list[dict[str, Any]]] = {}
    for exact in (True, False):
        for name, solve in solvers.items():
            found[f"{name}, {'exact Jacobian' if exact else 'differences'}"] = run(solve, exact)
    ours = found["gdnet, exact Jacobian"]
    print(f"{'problem':10s} start  " + "  ".join(f"{key[:24]:>24s}" for key in found))
    for i, row in enumerate(ours):
        line = "  ".join(f"{rows[i]['digits']:18.2f} {rows[i]['calls']:5d}" for rows in found.values())
        print(f"{row['name']:10s} {row['start']:5d}  {line}")
    for key, rows in found.items():
        digits = [row["digits"] for row in rows]
        solved = sum(d >= SOLVED for d in digits)
        print(
            f"{key:32s} solved {solved}/{len(digits)}, average {np.mean(digits):.2f}, least {min(digits):.2f}, "
            f"calls {sum(row['calls'] for row in rows)}, {sum(row['seconds'] for row in rows):.2f} s"
        )
    if options.json:
        options.json.write_text(json.dumps({"environment": environment(), "results": found}, indent=1))


if __name__ == "__main__":
    main()

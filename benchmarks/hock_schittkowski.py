"""Hock-Schittkowski problems: gdnet's interior point beside SciPy's SLSQP and trust-constr, exact derivatives for all.

    python -m benchmarks.hock_schittkowski [--more] [--json FILE]

A problem counts as solved when the violation is at most 1e-6 and |f - f*| at most 1e-6 max(1, |f*|), whatever the
solver says; it is false when the solver says success and it is not solved. The shared set is read from
$GDNET_DATA/problems, or from ../shared/data beside the repository; --more takes the set of the tests instead.
"""

import argparse
import importlib.util
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from gdnet.bench.environment import environment
from gdnet.optimizers.constrained.interior_point import interior_point


def helper(name):
    """A module of the tests, which own the problems."""
    path = Path(__file__).parents[1] / "tests" / "optimizers" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ours(p):
    found = interior_point(**p.arguments())
    return found.x, found.nit, found.success


def scipys(method, options):
    """SciPy's solver with the same functions; its 'ineq' is g >= 0."""
    from scipy.optimize import Bounds, NonlinearConstraint, minimize

    def solve(p):
        a = p.arguments()
        low, high = (np.array([inf if v is None else v for v in part], dtype=float)
                     for part, inf in zip(zip(*a["bounds"]), (-np.inf, np.inf)))  # fmt: skip
        constraints = []
        for name, lowest in (("g_le", -np.inf), ("h_eq", 0.0)):
            if name in a:
                g, J, H = a[name]
                if method == "SLSQP":
                    kind, sign = ("ineq", -1.0) if name == "g_le" else ("eq", 1.0)
                    constraints.append(
                        {"type": kind, "fun": lambda x, g=g, s=sign: s * g(x), "jac": lambda x, J=J, s=sign: s * J(x)}
                    )
                else:
                    constraints.append(NonlinearConstraint(g, lowest, 0.0, jac=J, hess=H))
        more = {"hess": a["hess"]} if method == "trust-constr" else {}
        found = minimize(a["fun"], a["x0"], jac=a["jac"], method=method, bounds=Bounds(low, high),
                         constraints=constraints, options=options, **more)  # fmt: skip
        return np.clip(found.x, low, high), found.nit, found.success

    return solve


SOLVERS = {
    "gdnet": ours,
    "SLSQP": scipys("SLSQP", {"ftol": 1e-12, "maxiter": 1000}),
    "trust-constr": scipys("trust-constr", {"gtol": 1e-8, "xtol": 1e-12, "maxiter": 1000}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--more", action="store_true", help="the further problems of the tests")
    parser.add_argument("--json", help="write the table to this file")
    given = parser.parse_args()
    expressions = helper("expressions")
    if given.more:
        problems = [expressions.Problem(e) for e in helper("more_problems").entries()]
    elif (problems := expressions.shared_problems()) is None:
        sys.exit("the shared problem set is not here: set GDNET_DATA to its folder, or give --more")
    rows, totals = [], {name: {"solved": 0, "success": 0, "false": 0, "seconds": 0.0} for name in SOLVERS}
    print(f"{'':6s}" + "".join(f"{name:>36s}" for name in SOLVERS))
    print(f"{'':6s}" + f"{'iterations   f error violation':>36s}" * len(SOLVERS))
    for p in problems:
        row = {"problem": p.id}
        for name, solve in SOLVERS.items():
            begun = time.perf_counter()
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                try:
                    x, nit, success = solve(p)
                except Exception as failure:
                    row[name] = {"failure": repr(failure)}
                    continue
            seconds = time.perf_counter() - begun
            f, v = float(p.error(x)), max(0.0, float(p.violation(x)))
            solved = f <= 1e-6 and v <= 1e-6
            row[name] = {"iterations": int(nit), "f_error": f, "violation": v, "success": bool(success)}
            t = totals[name]
            t["solved"] += solved
            t["success"] += bool(success)
            t["false"] += bool(success) and not solved
            t["seconds"] += seconds
        rows.append(row)
        print(f"{p.id:6s}" + "".join(cell(row[name]) for name in SOLVERS), flush=True)
    for name, t in totals.items():
        print(f"{name:13s} solved {t['solved']} of {len(problems)}, says success {t['success']}, "
              f"of these false {t['false']}, {t['seconds']:.2f} s")  # fmt: skip
    if given.json:
        found = {"environment": environment(), "totals": totals, "rows": rows}
        Path(given.json).write_text(json.dumps(found, indent=1) + "\n")


def cell(r):
    """One solver's entry in the table; ! marks a success that is none, - an honest failure."""
    if "failure" in r:
        return f"{'raised an error':>36s}"
    solved = r["f_error"] <= 1e-6 and r["violation"] <= 1e-6
    mark = " " if solved else "!" if r["success"] else "-"
    return f"{r['iterations']:>15d}{r['f_error']:10.1e}{r['violation']:10.1e}{mark}"


if __name__ == "__main__":
    main()

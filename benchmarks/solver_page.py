"""Make docs/solver-figures.md from the results of the solver benchmarks; nothing is measured here.

    python -m benchmarks.solver_page

A file that is missing from benchmarks/results leaves its section out.
"""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gdnet.report.tables import table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
Found = dict[str, Any]

INTRODUCTION = """# Figures of the solvers

Made from the files in `benchmarks/results` by `python -m benchmarks.solver_page`. Each section names the command that
measured it. Digits, minima, errors and numbers of calls are the same on a busy machine as on a quiet one. Times are
not: those given as CPU seconds suffer less, ratios within one run less again, and differences of 20 % mean nothing.
"""

TUNED = """## What was tuned on these sets

- Damping, scaling and acceleration of `LevenbergMarquardt` for networks were settled on the ten fits of
  `benchmarks/least_squares/networks.py`, sinc among them. Its figures are those of a set that was looked at.
- The stopping rules, the polish and the constants of `least_squares` were developed with NIST StRD and the problems of
  Moré, Garbow and Hillstrom in view, which are also its tests. No setting depends on a problem's name, and scaling the
  residuals or the parameters of the latter by up to 1e10 is part of the tests; still, expect less than a full score on
  sets that nobody has looked at.
- The line searches and trust region behind `minimize` were compared with SciPy's on the same problems.
- `InteriorPoint` was developed with the Hock-Schittkowski problems below, and with further ones of the same collection
  that are in the tests.
- On the UCI sets no test row was used for any choice. The number of steps (25, 50, 100, 200), the method and Adam's
  rate (0.001, 0.003, 0.01) were chosen once for all sets, by a tenth of the training rows of the first one to four
  splits (`benchmarks/results/uci_choose.json`).
- The peers run with their defaults, or with the settings named; nobody tuned them.
"""


def machine(found: Found) -> str:
    e = found["environment"]
    named = ("numpy", "scipy", "torch", "jax", "torch-levenberg-marquardt", "optimistix")
    versions = ", ".join(f"{name} {v}" for name, v in e["versions"].items() if name in named)
    more = "".join(f", {name} {v}" for name, v in found.get("peers", {}).items())
    load = f", load {e['load'][0]:.1f}" if e.get("load") else ""
    cores = f"{e['usable_cores']} of {e['cores']} cores"
    return f"*{e['cpu']}, {cores}; Python {e['python']}, {versions}{more}; {e['date']}{load}.*\n"


def short(value: float | None, form: str = ".3g") -> str:
    return "" if value is None else format(value, form)


PAIRS = {
    "least_squares": "SciPy least_squares", "minimize bfgs": "SciPy BFGS", "minimize lbfgs": "SciPy L-BFGS-B",
    "minimize newton_cg": "SciPy trust-ncg",
}  # fmt: skip
"""What counts calls beside what."""


# -- asked against measured --------------------------------------------------------------------------------------------


def summary(files: dict[str, Found]) -> str:
    """One line a figure: what was aimed at, what came out."""
    rows: list[list[str]] = []
    if "nist" in files:
        found = files["nist"]["results"]
        for kind, aim in (("exact Jacobian", "all starts, average 10.5"), ("differences", "all starts")):
            digits = [row["digits"] for row in found[f"gdnet, {kind}"]]
            peer = [row["digits"] for row in found[f"scipy lm, {kind}"]]
            rows.append([f"NIST StRD, {kind}: digits (at most 11)", aim, score(digits), f"SciPy lm: {score(peer)}"])
    if "mgh" in files:
        found = files["mgh"]["results"]
        for ours, theirs in PAIRS.items():
            a, b = (calls(found[name]) for name in (f"gdnet {ours}", theirs))
            solved = sum(row["solved"] for row in found[f"gdnet {ours}"])
            aim, got = f"at most {b} calls", f"{a} calls"
            if ours == "least_squares":
                aim, got = f"every minimum, {aim}", f"{solved} of {len(found[theirs])}, {got}"
            rows.append([f"Moré-Garbow-Hillstrom, {ours}", aim, got, f"{theirs}: {b}"])
    if "hock_schittkowski" in files:
        t = files["hock_schittkowski"]["totals"]
        n = len(files["hock_schittkowski"]["rows"])
        peers = ", ".join(f"{k} {v['solved']}, false {v['false']}" for k, v in t.items() if k != "gdnet")
        rows.append(["Hock-Schittkowski, to 1e-6", "95 %, no false success",
                     f"{t['gdnet']['solved']} of {n}, false {t['gdnet']['false']}", peers])  # fmt: skip
    if "lm" in files:
        sinc, wide = files["lm"]["results"]["fits"][0], files["lm"]["results"]["wide step"]
        rows.append(["sinc(10x), 61 weights, 200 LM steps: loss", "5e-7",
                     f"{short(sinc['default'], '.1e')} (default), {short(sinc['classic'], '.1e')} (classic)",
                     f"torch-levenberg-marquardt: {short(sinc.get('torch-lm'), '.1e')}"])  # fmt: skip
        rows.append(["the same: ms a step", "no more than the peer",
                     f"{sinc['default ms']:.2f} (default), {sinc['classic ms']:.2f} (classic)",
                     short(sinc.get("torch-lm ms"), ".1f")])  # fmt: skip
        if "torch-lm ms" in wide:
            ratio = wide["torch-lm ms"] / wide["ms"]
            rows.append(["LM step, 784-50-10, 1000 residuals: times faster", "30", f"{ratio:.0f}",
                         f"{wide['torch-lm ms']:.0f} ms against {wide['ms']:.1f}"])  # fmt: skip
        rows.append(["the same: difference from dense algebra", "1e-6", short(wide["step difference, dense"], ".0e"),
                     short(wide.get("step difference, torch-lm"), ".0e")])  # fmt: skip
    for r in files.get("uci", {}).get("results", []):
        m = r["methods"]
        rows.append([f"UCI {r['set']}: test RMSE", f"below {r['bar']:g}", mean(m["BayesianRegularization"]),
                     f"Adam: {mean(m['Adam'])}"])  # fmt: skip
    return "## Asked and measured\n\n" + table(["figure", "aim", "gdnet", "peer in the same run"], rows, markdown=True)


def score(digits: list[float]) -> str:
    return f"{sum(d >= 6 for d in digits)} of {len(digits)}, average {np.mean(digits):.2f}"


def calls(rows: list[Found]) -> int:
    return sum(row["f"] + row["gradient"] for row in rows)


def mean(m: Found) -> str:
    return f"{m['mean']:.4g}" + (f" ± {m['error']:.2g}" if m["error"] is not None else "")


# -- sections ----------------------------------------------------------------------------------------------------------


def nist(found: Found) -> str:
    """Totals of all solvers, then gdnet's and SciPy's digits problem by problem."""
    results = found["results"]
    lines = [[key, sum(r["digits"] >= 6 for r in rows), f"{np.mean([r['digits'] for r in rows]):.2f}",
              f"{min(r['digits'] for r in rows):.2f}", sum(r["calls"] for r in rows)]
             for key, rows in results.items()]  # fmt: skip
    count = len(next(iter(results.values())))
    head = table(["solver", f"of {count} starts solved", "average digits", "least", "calls"], lines, markdown=True)
    shown = ["gdnet, exact Jacobian", "scipy trf 1e-15, exact Jacobian", "gdnet, differences",
             "scipy trf 1e-15, differences"]  # fmt: skip
    lines = [[row["name"], row["start"], *(f"{results[key][i]['digits']:.2f} ({results[key][i]['calls']})"
              for key in shown)] for i, row in enumerate(results[shown[0]])]  # fmt: skip
    return (
        "Correct digits of the worst parameter, 11 at most; solved: 6 or more. Default settings, except that SciPy "
        "also runs with its tolerances at 1e-15. The 18 problems at hand, both starts.\n\n" + head
        + "\n\nDigits (calls of the model):\n\n" + table(["problem", "start", *shown], lines, markdown=True)
    )  # fmt: skip


def mgh(found: Found) -> str:
    lines = []
    for name, rows in found["results"].items():
        f, g, solved, near = (sum(row[key] for row in rows) for key in ("f", "gradient", "solved", "near"))
        missed = ", ".join(row["name"] for row in rows if not row["near"])
        lines.append([name, f, g, f + g, solved, near, missed])
    header = ["solver", "calls of f", "of the gradient", "together", "to 1e-6", "to 1e-4", "not to 1e-4"]
    return (
        "19 problems, standard starts, default settings. `least_squares` takes its own differences, and each call of "
        "the residuals counts; the others get exact gradients. Found to 1e-6: f at most f*(1 + 1e-6) + 1e-12; to 1e-4: "
        "|f - f*| at most 1e-4 f*, or 1e-8 where f* is below 1e-4. Methods that stop by the gradient, at 1e-5, end a "
        "little above minima in flat valleys; with `tol=1e-8`, bfgs, lbfgs and newton_cg reach all of them (a test "
        "of its own).\n\n" + table(header, lines, markdown=True)
    )  # fmt: skip


def hock_schittkowski(found: Found) -> str:
    n = len(found["rows"])
    lines = [[name, f"{t['solved']} of {n}", t["success"], t["false"], f"{t['seconds']:.2f}"]
             for name, t in found["totals"].items()]  # fmt: skip
    names = list(found["totals"])

    def cell(r: Found) -> str:
        if "failure" in r:
            return "error"
        solved = r["f_error"] <= 1e-6 and r["violation"] <= 1e-6
        return f"{r['iterations']}" + ("" if solved else " false" if r["success"] else " unsolved")

    each = [[row["problem"], *(cell(row[name]) for name in names)] for row in found["rows"]]
    return (
        "The shared 40 problems, exact derivatives for all. Solved: violation at most 1e-6 and |f - f*| at most "
        "1e-6 max(1, |f*|), whatever the solver says; false: it says success and the problem is not solved. SLSQP runs "
        "with ftol 1e-12, trust-constr with gtol 1e-8 and xtol 1e-12, 1000 iterations for both.\n\n"
        + table(["solver", "solved", "says success", "of these false", "wall seconds"], lines, markdown=True)
        + "\n\nIterations:\n\n" + table(["problem", *names], each, markdown=True)
    )  # fmt: skip


def lm(found: Found) -> str:
    fits = found["results"]["fits"]
    names = ("default", "classic", "torch-lm")
    lines = [[r["fit"], r["steps"], *(short(r.get(k), ".2e") for k in names),
              *(short(r.get(f"{k} ms"), ".2f") for k in names)] for r in fits]  # fmt: skip
    header = ["fit", "steps", "default", "classic", "torch-lm", "ms a step", "classic", "torch-lm"]
    wide = found["results"]["wide step"]
    return (
        f"Loss after the steps, median of the seeds, and {found.get('clock', 'wall')} milliseconds a step. Default: "
        "Nielsen's damping with geodesic acceleration, one more forward pass a step; classic: × 0.1 and × 10, as "
        "torch-levenberg-marquardt (torch-lm) has it, which runs on the first fit alone."
        + (" For this file the benchmark's clock was the process's CPU time." if found.get("clock") else "")
        + "\n\n"
        + table(header, lines, markdown=True)
        + f"\n\nOne step of 784-50-10 on 1000 residuals: {wide['ms']:.1f} ms, without its Jacobian of "
        f"{wide['jacobian_mib']:.0f} MiB; relative difference from the step by dense algebra "
        f"{wide['step difference, dense']:.1e}"
        + (f"; torch-levenberg-marquardt {wide['torch-lm ms']:.0f} ms, difference "
           f"{wide['step difference, torch-lm']:.1e}." if "torch-lm ms" in wide else ".")
    )  # fmt: skip


def uci(found: Found) -> str:
    lines = []
    for r in found["results"]:
        for name, m in r["methods"].items():
            steps = f"{np.mean(m['epochs']):.0f}"
            lines.append([r["set"], r["splits"], name, f"{m['mean']:.4f}", short(m["error"], ".4f"),
                          f"{m['mean_seconds']:.2f}", steps, "yes" if m["mean"] < r["bar"] else "no"])  # fmt: skip
    header = ["set", "splits", "method", "test RMSE", "standard error", "CPU s a fit", "epochs", "below the bar"]
    close = [f"{r['set']} (median {np.median(m['rmse']):.3g}, worst split {max(m['rmse']):.3g})"
             for r in found["results"] if (m := r["methods"]["BayesianRegularization"])["mean"] < r["bar"]
             and r["bar"] - m["mean"] < 2 * (m["error"] or math.inf)]  # fmt: skip
    warning = f"\n\nBelow the bar by less than two standard errors: {', '.join(close)}." if close else ""
    published = []
    for r in found["results"]:
        named = {key.split(" (")[0]: values for key, values in r["published"].items()}
        published.append([r["set"], *(f"{v:g}" for v in r["bars"].values()), f"**{r['bar']:g}**",
                          *(f"{v[0]:g} ± {v[1]:g}" for v in named.values())])  # fmt: skip
        columns = [*r["bars"], "bar", *named]
    recipe = found["recipe"]
    return (
        f"One network, {recipe['hidden']} tanh units in one hidden layer, float64; inputs and target standardised on "
        "the training rows; one recipe for all sets. BayesianRegularization: all training rows, "
        f"{recipe['bayes_steps']} steps. LevenbergMarquardt: a tenth of the training rows held out, at most "
        f"{recipe['lm']['epochs']} steps, patience {recipe['lm']['patience']}. Adam: lr {recipe['adam']['lr']:g}, "
        f"batch {recipe['adam']['batch_size']}, the same tenth held out, at most {recipe['adam']['epochs']} epochs, "
        f"patience {recipe['adam']['patience']}. The ± is the standard error over splits; where a set has fewer than "
        "20, the mean is that of its first splits, not of the published 20.\n\n"
        + table(header, lines, markdown=True)
        + warning
        + "\n\nPublished, 20 splits. The bar is the better of two plain single networks of 50 ReLU units; the others "
        "are ensembles or averages over dropout (for MC dropout 2016 and deep ensembles the ± is, by its size, a "
        "standard deviation).\n\n"
        + table(["set", *columns], published, markdown=True)
    )  # fmt: skip


def solvers(found: Found) -> str:
    parts = [
        f"One start each, float64, one thread, at most {found['limit']:g} CPU seconds, best of {found['rounds']} "
        "rounds. The clock stops at the goal, the same loss for all. Points: where the function was evaluated, with or "
        "without derivatives; Hessian products are not counted. SciPy's solvers are fed by gdnet's derivatives; torch "
        "and Optimistix by their own, Optimistix compiled, which is left out of its time. Below: those that reached "
        "the goal, quickest first, then the others by loss. gdnet's InteriorPoint has its own section above."
    ]
    for name in dict.fromkeys(r["problem"] for r in found["results"]):
        own = [r for r in found["results"] if r["problem"] == name]
        own.sort(key=lambda r: (not r["reached"], r["seconds"] if r["reached"] else r["loss"]))
        lines = [[r["solver"], "" if r["steps"] is None else str(r["steps"]),
                  "" if r["points"] is None else str(r["points"]),
                  f"{r['seconds']:.4f}" if r["reached"] else f"({r['stop']})",
                  f"{r['loss']:.2e}" if math.isfinite(r["loss"]) else "not finite"] for r in own]  # fmt: skip
        goal = own[0]["goal"]
        head = table(["solver", "steps", "points", "CPU seconds", "loss"], lines, markdown=True)
        parts.append(f"### {name}, to {goal:.10g}\n\n{head}")
    return "\n\n".join(parts)


SECTIONS: dict[str, tuple[str, str, Callable[[Found], str]]] = {
    "nist": ("NIST StRD", "benchmarks.nist", nist),
    "mgh": ("Moré, Garbow and Hillstrom", "benchmarks.mgh", mgh),
    "hock_schittkowski": ("Hock and Schittkowski", "benchmarks.hock_schittkowski", hock_schittkowski),
    "lm": ("Levenberg-Marquardt on networks", "benchmarks.least_squares.networks", lm),
    "uci": ("UCI regressions", "benchmarks.uci", uci),
    "solvers": ("All solvers on the same problems", "benchmarks.solvers", solvers),
}


def page(files: dict[str, Found]) -> str:
    parts = [INTRODUCTION, summary(files), TUNED]
    for key, (title, module, show) in SECTIONS.items():
        if key in files:
            one_core = "taskset -c 0 " if key == "solvers" else ""
            command = f"`OMP_NUM_THREADS=1 {one_core}python -m {module}`"
            parts.append(f"## {title}\n\n{command}\n\n{machine(files[key])}\n{show(files[key])}\n")
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def main() -> int:
    files = {}
    for key in SECTIONS:
        path = RESULTS / f"{key}.json"
        if path.is_file():
            files[key] = json.loads(path.read_text(encoding="utf-8"))
        else:
            print(f"{path} is missing: its section is left out", file=sys.stderr)
    out = ROOT / "docs" / "solver-figures.md"
    out.write_text(page(files), encoding="utf-8")
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

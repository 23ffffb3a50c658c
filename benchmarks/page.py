"""Make docs/benchmarks.md and its pictures from results that `gdnet bench --json` has written.

    python -m benchmarks.page [benchmarks/results/bench_cpu.json ...]

Without arguments it takes every results file of benchmarks/results. Nothing is measured here.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gdnet.bench import plots, results
from gdnet.bench.advice import ahead, fastest, micro
from gdnet.bench.scaling import spread
from gdnet.errors import FileError
from gdnet.report.tables import table

ROOT = Path(__file__).parent.parent
Row = dict[str, Any]

INTRODUCTION = """# Benchmarks

This page is made from the results files in `benchmarks/results` by `python -m benchmarks.page`; `gdnet bench` measures
them, on your machine too. All candidates of a table ran in one process, taking turns; a time is the best of several
rounds, after a warm-up, and ends when the device is done. All start from the same weights and data in the same
precision, and the loss after ten steps must agree, else the row says *not comparable*. What matters is the ratios:
"over products" is a step's time over that of its matrix products alone, on the same library.
"""


def page(files: Sequence[dict[str, Any]], pictures: Sequence[Path]) -> str:
    """The whole page as Markdown."""
    images = {path.stem.removeprefix("bench_"): path for path in pictures}
    parts = [INTRODUCTION, "## Machines\n", machines(files)]
    for name, (title, text, show) in SECTIONS.items():
        shown = [(f, show(f["sections"][name])) for f in files if f["sections"].get(name)]
        own = [(f, found) for f, found in shown if found]
        if not own:
            continue
        parts.append(f"## {title}\n\n{text}\n")
        picture = {"grid": "crossover"}.get(name, name)
        if picture in images:
            parts.append(f"![{title}](images/{images[picture].name})\n")
        for f, found in own:
            parts.append(f"{results.hardware(f)}:\n\n{found}\n")
    return "\n".join(parts)


def machines(files: Sequence[dict[str, Any]]) -> str:
    rows = []
    for f in files:
        e = f["environment"]
        versions = ", ".join(f"{name} {v}" for name, v in e["versions"].items() if name in SHOWN_VERSIONS)
        threads = e["threads"]
        pools = [f"{b.get('internal_api', b.get('name'))} {b.get('num_threads', '')}".strip() for b in e["blas"]]
        blas = "; ".join(dict.fromkeys(pools))
        rows.append([results.hardware(f), e["date"], f"Python {e['python']}, {versions}", blas,
                     threads["OMP_NUM_THREADS"], f"{e['load'][0]:.1f}" if e["load"] else ""])  # fmt: skip
    header = ["machine", "date", "versions", "thread pools and threads", "OMP_NUM_THREADS", "load at the end"]
    notes = [f"- {results.hardware(f)}: {note}" for f in files for note in f["settings"].get("notes", ())]
    return table(header, rows, markdown=True) + "\n" + "\n".join(["", *notes, ""] if notes else [])


SHOWN_VERSIONS = ("gdnet", "numpy", "torch", "jax", "optax", "scikit-learn", "cupy-cuda12x", "cupy-cuda13x")


def steps(rows: Sequence[Row]) -> str:
    own = {r["case"]: r["seconds"] for r in rows[::-1] if r["candidate"] == rows[0]["candidate"]}
    lines = []
    for r in rows:
        case = f"{r['case']}: {r['network']} {r['activation']}, {r['batch']}, {r['optimizer']}"
        if not r["seconds"]:
            lines.append([case, r["candidate"], f"not run: {r['skipped'][:60]}", "", "", "", ""])
            continue
        loss = f"{r['loss']:.5f}" + ("" if r["comparable"] else " (not comparable)")
        lines.append([case, r["candidate"], micro(r["seconds"]), f"{r['examples_per_second']:,.0f}",
                      f"{r['over_floor']:.2f}" if "over_floor" in r else "", f"{r['seconds'] / own[r['case']]:.2f}",
                      loss])  # fmt: skip
    first = rows[0]["candidate"]
    header = ["case", "candidate", "step", "examples/s", "over products", f"over {first}", "loss"]
    return table(header, lines, markdown=True)


def others(rows: Sequence[Row]) -> str:
    found = ahead(rows)
    if not found:
        return ""
    batches = sorted({batch for _, _, batch in found})
    lines = []
    for network, optimizer in dict.fromkeys((n, o) for n, o, _ in found):
        cells = [found.get((network, optimizer, batch)) for batch in batches]
        lines.append([network, optimizer, *(f"{c[0]:.2f} {c[1]} / {c[2]}" if c else "" for c in cells)])
    return table(["network", "optimizer", *map(str, batches)], lines, markdown=True)


def grid(rows: Sequence[Row]) -> str:
    batches = sorted({r["batch"] for r in rows})
    lines = []
    for network, optimizer in dict.fromkeys((r["network"], r["optimizer"]) for r in rows):
        own = [r for r in rows if (r["network"], r["optimizer"]) == (network, optimizer)]
        best = fastest(own, own[0]["device"])
        cells = [_grid_cell(best.get(n)) for n in batches]
        lines.append([network, optimizer, *cells])
    return table(["network", "optimizer", *map(str, batches)], lines, markdown=True)


def _grid_cell(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{micro(row['seconds'])}{'*' if row['extrapolated'] else ''} {row['candidate'].removeprefix('gdnet ')}"


def gradient(rows: Sequence[Row]) -> str:
    named = [r for r in rows if "case" in r]
    lines = [[f"{r['case']}: {r['network']}, {r['batch']}", r["candidate"], micro(r["forward_seconds"]),
              micro(r["seconds"]), f"{r['over_forward']:.2f}"] for r in named]  # fmt: skip
    parts = [table(["case", "candidate", "forward", "forward and backward", "ratio"], lines, markdown=True)]
    lines = []
    for r in (r for r in rows if "textbook_seconds" in r):
        star = "*" if r["textbook_extrapolated_from"] else ""
        structured = r["structured_seconds"]
        lines.append([r["network"], r["parameters"], r["batch"], micro(r["forward_seconds"]), micro(r["seconds"]),
                      micro(r["textbook_seconds"]) + star, micro(structured) if structured else "",
                      f"{r['textbook_seconds'] / r['seconds']:,.0f}",
                      f"{r['textbook_seconds'] / structured:.1f}" if structured else ""])  # fmt: skip
    header = ["network", "P", "batch", "forward", "backpropagation", "textbook loop", "structured",
              "loop over backpropagation", "loop over structured"]  # fmt: skip
    parts.append(table(header, lines, markdown=True))
    return "\n\n".join(part for part, shown in zip(parts, (named, lines), strict=True) if shown)


def update(rows: Sequence[Row]) -> str:
    lines = [[r["optimizer"], f"{r['parameters']:,}", r["candidate"], micro(r["seconds"]), micro(r["bound_seconds"]),
              f"{r['over_bound']:.2f}", f"{r['bandwidth'] / 1e9:.1f}"] for r in rows]  # fmt: skip
    header = ["optimizer", "parameters", "candidate", "update", "bound", "over bound", "GB/s"]
    return table(header, lines, markdown=True)


def fit(rows: Sequence[Row]) -> str:
    lines = [[r["candidate"], r["examples"], micro(r["first_seconds"]), micro(r["seconds"]), micro(r["bare_seconds"]),
              micro(r["fed_seconds"]), f"{r['over_bare']:.3f}", f"{r['over_fed']:.3f}"]
             for r in rows]  # fmt: skip
    header = ["candidate", "examples", "first fit, one epoch", "later fit", "bare steps", "on its batches", "over bare",
              "over those"]  # fmt: skip
    return table(header, lines, markdown=True)


def scaling(rows: Sequence[Row]) -> str:
    parts = []
    for varied in ("N", "P"):
        own = [r for r in rows if r["varied"] == varied]
        each, scale = ("µs for each example", 1e6) if varied == "N" else ("ns for each parameter", 1e9)
        lines = [[r["network"], r["batch"], r["parameters"], micro(r["seconds"]), f"{r['seconds_each'] * scale:.2f}"]
                 for r in own]  # fmt: skip
        amount = "batch size" if varied == "N" else "number of parameters"
        heading = f"As the {amount} grows, the time for each stays within ±{100 * spread(own):.0f} % of its middle:"
        header = ["network", "batch", "P", "gradient", each]
        parts.append(f"{heading}\n\n{table(header, lines, markdown=True)}")
    return "\n\n".join(parts)


def memory(rows: Sequence[Row]) -> str:
    lines = []
    for r in rows:
        if r["peak_bytes"] is None:
            continue
        mib = [f"{r[key] / 2**20:.2f}" if r.get(key) is not None else "" for key in MEMORY]
        lines.append([f"{r['case']}: {r['network']}, {r['batch']}", r["candidate"], *mib, f"{r['over_bound']:.2f}"])
    header = ["case", "candidate", "bound MiB", "peak of steps", "first steps too", "resident", "device", "over bound"]
    return table(header, lines, markdown=True)


MEMORY = ("bound_bytes", "peak_bytes", "traced_bytes", "resident_bytes", "device_bytes")


def operations(rows: Sequence[Row]) -> str:
    lines = [[f"{r['case']}: {r['network']}", r["candidate"], "?" if r["operations"] is None else str(r["operations"]),
              str(r.get("eager_operations", "")), r["unit"]] for r in rows]  # fmt: skip
    return table(["case", "candidate", "a step", "as written", "unit"], lines, markdown=True)


def libraries(rows: Sequence[Row]) -> str:
    lines = [[f"`{r['statement']}`", f"{r['seconds']:.2f} s", f"{r['bytes'] / 1e6:,.0f} MB",
              f"{r['own_bytes'] / 1e6:,.1f} MB", len(r["distributions"])] for r in rows]  # fmt: skip
    return table(["import", "seconds", "installed with dependencies", "itself", "distributions"], lines, markdown=True)


SECTIONS = {
    "steps": ("A training step", "The black mark in each bar is the matrix products alone.", steps),
    "others": (
        "Other sizes",
        "The best peer's time over that of the best gdnet backend at each batch size.",
        others,
    ),
    "grid": ("Batch size and device", "The fastest backend at each batch size; \\* extrapolated in proportion.", grid),
    "gradient": ("Backpropagation and numerical gradients", "\\* extrapolated from the first entries.", gradient),
    "update": ("Updates and memory bandwidth", "The bound moves every vector once at the best speed measured.", update),
    "fit": ("`fit` and its steps", "With shuffling, history, callbacks and the progress bar.", fit),
    "scaling": ("Time as the work grows", "A gradient's time for each unit of work.", scaling),
    "memory": ("Peak memory", "The bound is parameters, optimizer state and activations.", memory),
    "operations": ("Calls a step", "What a step costs beside its arithmetic.", operations),
    "import": ("Import and installation", "Best of several new processes, less an empty one.", libraries),
}


def main(arguments: Sequence[str] | None = None, out: Path = ROOT / "docs") -> int:
    named = sys.argv[1:] if arguments is None else list(arguments)
    files = []
    for path in named or sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        try:
            files.append(results.read(path))
        except FileError:
            if named:
                raise
    if not files:
        print("no results: run gdnet bench --json benchmarks/results/bench_cpu.json", file=sys.stderr)
        return 1
    pictures = plots.draw(files, out / "images")
    (out / "benchmarks.md").write_text(page(files, pictures), encoding="utf-8")
    print(f"{out / 'benchmarks.md'}, {len(pictures)} pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main())

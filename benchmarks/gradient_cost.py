"""Numerical gradient against backpropagation: seconds against the number of parameters P.

    python -m benchmarks.gradient_cost --json out.json --plot out.png --max-parameters 1e4

The measurement is that of `gdnet bench --only gradient` (`gdnet/bench/gradient.py`), for one backend and one batch
size, as a table. The network is 64-H-10 with sigmoid and cross-entropy, P = 75 H + 10, in float64.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from gdnet.backend import get_backend
from gdnet.bench import plots, results
from gdnet.bench.gradient import H, against_numerical, problems
from gdnet.bench.timing import Effort

COLUMNS = ("P", "forward", "backprop", "textbook", "structured", "backprop/forward", "textbook/backprop",
           "textbook/structured")  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """One line a P; a star marks an extrapolated time, a dash what would have taken too long."""
    lines = ["  ".join(f"{name:>19}" if i > 4 else f"{name:>11}" for i, name in enumerate(COLUMNS))]
    for r in rows:
        textbook, structured, star = r["textbook_seconds"], r["structured_seconds"], r["textbook_extrapolated_from"]
        cells = (
            f"{r['parameters']:>11,}", f"{r['forward_seconds']:>10.3g}s", f"{r['seconds']:>10.3g}s",
            f"{textbook:>9.3g}s{'*' if star else ' '}", f"{structured:>10.3g}s" if structured else f"{'-':>11}",
            f"{r['over_forward']:>19.2f}", f"{textbook / r['seconds']:>19,.0f}",
            f"{textbook / structured:>19.1f}" if structured else f"{'-':>19}",
        )  # fmt: skip
        lines.append("  ".join(cells))
    if any(r["textbook_extrapolated_from"] for r in rows):
        lines.append("* extrapolated from the first entries of the loop")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write rows, settings and environment to this file")
    parser.add_argument("--plot", type=Path, help="write a picture to this file")
    parser.add_argument("--max-parameters", type=float, default=1e6)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--sample", type=int, default=300, help="entries of the textbook loop that are run")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backend", default=None)
    options = parser.parse_args(argv)
    backend, wanted = get_backend(options.device, options.backend), problems(options.max_parameters, [options.batch])
    rows = []
    for row in against_numerical(wanted, backend, options.device, Effort(), options.sample):
        print(f"P = {row['parameters']:,} done", file=sys.stderr, flush=True)
        rows.append(row)
    settings = {"batch": options.batch, "h": H, "backend": backend.name, "device": str(backend.device)}
    document = results.document({"gradient": rows}, settings)
    if options.json:
        results.write(document, options.json)
    if options.plot:
        plots.gradient([document]).savefig(options.plot, dpi=120)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Numerical gradient against backpropagation: seconds against the number of parameters P.

    python -m benchmarks.gradient_cost --json out.json --plot out.png --max-parameters 1e4

One forward pass takes F seconds. Backpropagation should take about 3 F whatever P is (one product forward, two back);
the textbook loop, central, 2 P F. Both lines are drawn in. Beside them stands gdnet's structured numerical gradient,
which takes the same quotients. The network is 64-H-10 with sigmoid and cross-entropy, P = 75 H + 10, in float64.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gdnet as gd
from benchmarks.environment import environment
from gdnet.backend import Backend, get_backend
from gdnet.network.numerical import numerical_gradient_of

N_IN, N_OUT, H = 64, 10, 1e-4


class Problem:
    """An objective with about `parameters` parameters, and the ways to its gradient."""

    def __init__(self, parameters: float, batch: int = 100, backend: Backend | None = None) -> None:
        self.backend = b = backend or get_backend("cpu")
        hidden = max(1, round((parameters - N_OUT) / (N_IN + 1 + N_OUT)))
        rng = np.random.default_rng(0)
        net = gd.Sequential(gd.Dense(N_IN, hidden), gd.Sigmoid(), gd.Dense(hidden, N_OUT))
        x, t = b.asarray(rng.random((batch, N_IN))), b.asarray(rng.integers(0, N_OUT, batch))
        self.layout, self.batch = net.layout(), batch
        self.theta = b.asarray(net.initial(seed=0))
        self.objective = gd.Objective(net, gd.CrossEntropy(), x, t, backend=b, layout=self.layout)

    def forward(self) -> float:
        return self.backend.read(self.objective(self.theta).value)

    def backpropagation(self) -> Any:
        return self.objective(self.theta).gradient

    def structured(self) -> Any:
        return numerical_gradient_of(self.objective, self.theta, h=H)

    def textbook(self, entries: int | None = None) -> np.ndarray:
        """The loop over elements, for all of them or the first few."""
        count = self.layout.size if entries is None else min(entries, self.layout.size)
        host, b, found = self.backend.to_numpy(self.theta), self.backend, np.empty(count)
        for i in range(count):
            kept = host[i]
            host[i] = kept + H
            ahead = b.read(self.objective(b.asarray(host)).value)
            host[i] = kept - H
            behind = b.read(self.objective(b.asarray(host)).value)
            host[i] = kept
            found[i] = (ahead - behind) / (2 * H)
        return found


def seconds(run: Callable, backend: Backend, repeat: int = 5, at_least: float = 0.02) -> float:
    """The best of some repeats, each of as many calls as take `at_least` seconds together."""
    run()
    backend.synchronize()
    best, calls = float("inf"), 1
    for _ in range(repeat):
        while True:
            start = time.perf_counter()
            for _ in range(calls):
                run()
            backend.synchronize()
            spent = time.perf_counter() - start
            if spent >= at_least or calls >= 1 << 16:
                break
            calls *= 2
        best = min(best, spent / calls)
    return best


def row(parameters: float, batch: int, backend: Backend, sample: int = 300) -> dict[str, Any]:
    """All times for one P. Beyond `sample` entries the textbook loop is extrapolated from that many."""
    problem = Problem(parameters, batch, backend)
    size = problem.layout.size
    forward = seconds(problem.forward, backend)
    backward = seconds(problem.backpropagation, backend)
    start = time.perf_counter()
    loop = problem.textbook(sample)
    textbook = (time.perf_counter() - start) * size / len(loop)
    structured = seconds(problem.structured, backend, repeat=1 if size > 2e4 else 3, at_least=0.0)
    found = backend.to_numpy(problem.structured())[: len(loop)] if size <= 2e4 else None
    return {
        "parameters": size,
        "forward_s": forward,
        "backpropagation_s": backward,
        "textbook_s": textbook,
        "textbook_extrapolated_from": len(loop) if len(loop) < size else None,
        "structured_s": structured,
        "theory_backpropagation_s": 3 * forward,
        "theory_textbook_s": 2 * size * forward,
        "largest_difference": None if found is None else float(np.max(np.abs(found - loop))),
        "rounding": 10 * float(np.finfo(np.float64).eps) * abs(problem.forward()) / H,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """One line a P; a star marks an extrapolated time."""
    head = ("P", "forward", "backprop", "textbook", "structured", "backprop/forward", "textbook/backprop",
            "textbook/structured")  # fmt: skip
    lines = ["  ".join(f"{name:>19}" if i > 4 else f"{name:>11}" for i, name in enumerate(head))]
    for r in rows:
        star = "*" if r["textbook_extrapolated_from"] else " "
        cells = (
            f"{r['parameters']:>11,}", *(f"{r[key]:>10.3g}s" for key in ("forward_s", "backpropagation_s")),
            f"{r['textbook_s']:>9.3g}s{star}", f"{r['structured_s']:>10.3g}s",
            f"{r['backpropagation_s'] / r['forward_s']:>19.2f}", f"{r['textbook_s'] / r['backpropagation_s']:>19,.0f}",
            f"{r['textbook_s'] / r['structured_s']:>19.1f}",
        )  # fmt: skip
        lines.append("  ".join(cells))
    if any(r["textbook_extrapolated_from"] for r in rows):
        lines.append("* extrapolated from the first entries of the loop")
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: str | Path, title: str) -> None:
    """Seconds against P, with the theoretical lines."""
    from gdnet.report.plots import new_figure

    figure = new_figure(6.4, 4.4)
    axes = figure.subplots()
    P = [r["parameters"] for r in rows]
    curves = (
        ("textbook_s", "textbook loop, central", "o-", "C3"),
        ("structured_s", "structured, same quotients", "s-", "C1"),
        ("backpropagation_s", "backpropagation", "^-", "C0"),
        ("theory_textbook_s", "2P forward passes", ":", "C3"),
        ("theory_backpropagation_s", "3 forward passes", ":", "C0"),
    )
    for key, label, style, colour in curves:
        axes.loglog(P, [r[key] for r in rows], style, color=colour, label=label)
    far = [r for r in rows if r["textbook_extrapolated_from"]]
    axes.loglog([r["parameters"] for r in far], [r["textbook_s"] for r in far], "o", mfc="white", color="C3",
                label="extrapolated")  # fmt: skip
    axes.set(xlabel="parameters P", ylabel="seconds a gradient", title=title)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


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
    backend = get_backend(options.device, options.backend)
    rows = []
    for exponent in range(2, 7):
        if 10**exponent > options.max_parameters:
            break
        print(f"P = 1e{exponent} ...", file=sys.stderr, flush=True)
        rows.append(row(10**exponent, options.batch, backend, options.sample))
    settings = {"network": "64-H-10 sigmoid, cross-entropy", "batch": options.batch, "dtype": "float64", "h": H,
                "backend": backend.name, "device": str(backend.device)}  # fmt: skip
    if options.json:
        result = {"settings": settings, "environment": environment(), "rows": rows}
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.plot:
        plot(rows, options.plot, f"64-H-10, batch {options.batch}, float64, {backend.name}")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

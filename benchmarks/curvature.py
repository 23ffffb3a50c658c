"""Gauss-Newton and Hessian products against one gradient; a dense Hessian against as many gradients.

    python -m benchmarks.curvature --json curvature.json            (OMP_NUM_THREADS=1 or 2 before it)

A gradient is counted from scratch, forward pass included. Products are counted at a point whose forward pass and
gradient are kept, as an optimizer has them when it asks for many products. All are timed in turn, round after round,
and the least of each is taken: on a shared machine only such ratios mean anything. On a busy one, with one thread,
`--clock cpu` counts processor time of that thread alone.
"""

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, os.environ.get("OMP_NUM_THREADS", "1"))  # before NumPy is imported

import numpy as np  # noqa: E402

import gdnet as gd  # noqa: E402
from gdnet.backend import Backend, get_backend  # noqa: E402
from gdnet.bench.environment import environment  # noqa: E402

CASES = (
    ((784, 512, 512, 10), 512, "ReLU", "float32"),
    ((784, 512, 512, 10), 512, "Tanh", "float32"),
    ((784, 50, 10), 512, "Sigmoid", "float32"),
    ((784, 512, 512, 10), 8192, "ReLU", "float32"),
)
SMALL = (10, 24, 24, 6)
"""A thousand parameters, whose Hessian is formed whole, in float64."""


def objective(
    sizes: tuple[int, ...], batch: int, activation: str, dtype: str, backend: Backend
) -> tuple[gd.Objective, Any, Any]:
    """Cross-entropy of a fully connected network on random data, a theta and a tangent."""
    layers: list[gd.layers.Layer] = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [gd.Dense(n_in, n_out), getattr(gd, activation)()]
    net, rng = gd.Sequential(*layers[:-1]), np.random.default_rng(0)
    x = backend.asarray(rng.standard_normal((batch, sizes[0])), dtype)
    t = backend.asarray(rng.integers(0, sizes[-1], batch))
    layout = net.layout()
    v = backend.asarray(rng.standard_normal(layout.size), dtype)
    problem = gd.Objective(net, gd.CrossEntropy(), x, t, backend=backend, layout=layout)
    return problem, backend.asarray(net.initial(seed=0), dtype), v


def interleaved(runs: dict[str, Callable], rounds: int, backend: Backend, now: Callable[[], float]) -> dict[str, float]:
    """The least seconds of each, over rounds in which every one runs once."""
    best = dict.fromkeys(runs, float("inf"))
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = now()
            run()
            backend.synchronize()
            if number:  # the first round warms up
                best[name] = min(best[name], now() - start)
    return best


def products(case: tuple, rounds: int, backend: Backend, now: Callable[[], float]) -> dict[str, Any]:
    """One network: seconds of a gradient and of each product, and their ratios."""
    problem, theta, v = objective(*case, backend)
    at = problem(theta)
    _ = at.gradient
    gauss_newton, hessian = at.gauss_newton, at.hessian
    hessian(v)  # keeps the cotangents that all products at this point share
    times = interleaved(
        {"gradient": lambda: problem(theta).gradient, "gauss_newton": lambda: gauss_newton(v),
         "hessian": lambda: hessian(v)}, rounds, backend, now,
    )  # fmt: skip
    sizes, batch, activation, dtype = case
    return {
        "network": "-".join(map(str, sizes)), "activation": activation, "batch": batch, "dtype": dtype,
        "parameters": problem.layout.size, "seconds": times,
        "ratio": {name: seconds / times["gradient"] for name, seconds in times.items()},
    }  # fmt: skip


def dense_hessian(rounds: int, backend: Backend, now: Callable[[], float], batch: int = 100) -> dict[str, Any]:
    """The whole Hessian in one batched pass, beside P gradients, and its distance from complex steps."""
    problem, theta, _ = objective(SMALL, batch, "Tanh", "float64", backend)
    hessian, P = problem(theta).hessian, problem.layout.size
    times = interleaved(
        {"gradient": lambda: problem(theta).gradient, "hessian": lambda: hessian.dense()}, rounds, backend, now
    )
    found = {
        "network": "-".join(map(str, SMALL)), "activation": "Tanh", "batch": batch, "dtype": "float64",
        "parameters": P, "seconds": times, "ratio": times["hessian"] / (P * times["gradient"]),
    }  # fmt: skip
    if backend.name == "numpy":
        H, h = hessian.dense(), 1e-30
        steps = np.stack([problem(theta + 1j * h * unit).gradient.imag / h for unit in np.eye(P)])
        found["largest_difference_from_complex_steps"] = float(np.abs(H - steps).max() / np.abs(H).max())
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write rows and environment to this file")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--cases", type=int, default=len(CASES), help="only the first so many networks")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backend", default=None)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args(argv)
    now = time.perf_counter if options.clock == "wall" else time.thread_time
    backend = get_backend(options.device, options.backend)
    print(f"{'network':>18} {'':8} {'batch':>6} {'gradient':>11} {'Gauss-Newton':>13} {'Hessian':>8}  of a gradient")
    rows = []
    for case in CASES[: options.cases]:
        rounds = max(3, options.rounds * 512 // max(case[1], 512))
        rows.append(row := products(case, rounds, backend, now))
        ratio, seconds = row["ratio"], row["seconds"]["gradient"]
        print(
            f"{row['network']:>18} {row['activation']:8} {row['batch']:>6} {1e3 * seconds:>8.2f} ms "
            f"{ratio['gauss_newton']:>13.2f} {ratio['hessian']:>8.2f}", flush=True,
        )  # fmt: skip
    whole = dense_hessian(max(3, options.rounds // 8), backend, now)
    print(
        f"dense Hessian of {whole['network']} (P = {whole['parameters']}): {1e3 * whole['seconds']['hessian']:.1f} ms, "
        f"{whole['ratio']:.3f} of P gradients"
    )
    if "largest_difference_from_complex_steps" in whole:
        print(f"largest difference from complex steps: {whole['largest_difference_from_complex_steps']:.1e} of max |H|")
    if options.json:
        result = {
            "environment": environment(),
            "clock": options.clock,
            "backend": repr(backend),
            "products": rows,
            "dense_hessian": whole,
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Levenberg-Marquardt on networks: quality after some steps, milliseconds a step, one wide step against dense algebra.

    OMP_NUM_THREADS=1 python -m benchmarks.least_squares.networks --json out.json

sinc(10x), 1-20-1 tanh, 61 weights, 1000 points; then a set of ten fits under the classic damping and the default one;
then 784-50-10 with 1000 residuals, whose Jacobian (1000 x 39,760) the space of samples never forms. Beside them stands
torch-levenberg-marquardt, same weights, same data, float64, where it is installed.
"""

import argparse
import json
import math
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.bench.environment import environment

CLASSIC = gd.LevenbergMarquardt(damping="marquardt", min_grad=0.0, mu_min=1e-10)
DEFAULT = gd.LevenbergMarquardt(min_grad=0.0)


def network(sizes: tuple[int, ...]) -> gd.Sequential:
    layers: list[Any] = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        layers += [gd.Dense(a, b)] + ([gd.Tanh()] if i < len(sizes) - 2 else [])
    return gd.Sequential(*layers)


def weights(sizes: tuple[int, ...], seed: int) -> np.ndarray:
    """torch's default: uniform within 1/√(inputs)."""
    rng, parts = np.random.default_rng(seed), []
    for a, b in pairwise(sizes):
        k = 1.0 / math.sqrt(a)
        parts += [rng.uniform(-k, k, a * b), rng.uniform(-k, k, b)]
    return np.concatenate(parts)


def objective(sizes: tuple[int, ...], x: np.ndarray, t: np.ndarray) -> gd.Objective:
    net = network(sizes)
    return gd.Objective(net, gd.SquaredError(), x, t, backend=get_backend(), layout=net.layout())


def fits() -> list[tuple[str, tuple[int, ...], np.ndarray, np.ndarray, int]]:
    """(name, sizes, x, t, steps): smooth and kinked, noiseless and noisy, one output and two."""
    rng = np.random.default_rng(1)
    line, narrow = np.linspace(-1, 1, 1000)[:, None], np.linspace(-1, 1, 200)[:, None]
    unit = rng.random((400, 5))
    friedman = (
        10 * np.sin(np.pi * unit[:, 0] * unit[:, 1]) + 20 * (unit[:, 2] - 0.5) ** 2 + 10 * unit[:, 3] + 5 * unit[:, 4]
    )
    friedman = ((friedman - friedman.mean()) / friedman.std())[:, None]
    deep = rng.standard_normal((600, 8))
    plane, cube = 2 * rng.random((400, 2)) - 1, 2 * rng.random((300, 3)) - 1
    bits = np.array([[2.0 * (i >> k & 1) - 1.0 for k in range(4)] for i in range(16)])
    return [
        ("sinc", (1, 20, 1), line, np.sinc(10 * line), 200),
        ("friedman", (5, 12, 1), 2 * unit - 1, friedman, 150),
        ("friedman, noise 0.1", (5, 12, 1), 2 * unit - 1, friedman + 0.1 * rng.standard_normal(friedman.shape), 150),
        ("smooth map", (2, 30, 2), plane,
         np.stack([np.exp(-3 * np.sum(plane**2, 1)), np.sin(3 * plane[:, 0]) * plane[:, 1]], 1), 100),
        ("two hidden layers", (8, 20, 20, 2), deep,
         np.tanh(deep @ rng.standard_normal((8, 2)) * 0.4) + 0.1 * deep[:, :2] ** 2, 30),
        ("absolute value", (1, 10, 1), narrow, np.abs(narrow), 150),
        ("steep wave", (1, 8, 8, 1), narrow, np.tanh(20 * narrow) * np.cos(9 * narrow), 150),
        ("product", (3, 10, 10, 1), cube, np.prod(cube, axis=1, keepdims=True), 80),
        ("parity of 4", (4, 8, 1), bits, np.prod(bits, axis=1, keepdims=True), 60),
        ("sine", (1, 5, 1), narrow, np.sin(np.pi * narrow), 100),
    ]  # fmt: skip


def train(optimizer: Any, sizes: tuple[int, ...], x: np.ndarray, t: np.ndarray, steps: int, seed: int) -> Any:
    """(value, seconds a step)."""
    problem, theta = objective(sizes, x, t), weights(sizes, seed)
    state, began = optimizer.init(theta), time.perf_counter()
    for k in range(steps):  # noqa: B007
        theta, state, info = optimizer.step(problem, theta, state)
        if info.stop:
            break
    return info.new_value, (time.perf_counter() - began) / (k + 1)


def torch_lm(sizes: tuple[int, ...], x: np.ndarray, t: np.ndarray, steps: int, seed: int) -> Any:
    """The same by torch-levenberg-marquardt, or None where it is not installed."""
    try:
        import torch
        from torch_levenberg_marquardt import loss, training
    except ImportError:
        return None
    torch.set_num_threads(1)
    layers: list[Any] = []
    theta, start = weights(sizes, seed), 0
    for i, (a, b) in enumerate(pairwise(sizes)):
        layer = torch.nn.Linear(a, b).double()
        layer.weight.data = torch.tensor(theta[start : start + a * b].reshape(a, b).T.copy())
        layer.bias.data = torch.tensor(theta[start + a * b : start + a * b + b].copy())
        start += a * b + b
        layers += [layer] + ([torch.nn.Tanh()] if i < len(sizes) - 2 else [])
    model = torch.nn.Sequential(*layers)
    module = training.LevenbergMarquardtModule(
        model=model, loss_fn=loss.MSELoss(), learning_rate=1.0, attempts_per_step=10, solve_method="cholesky"
    )
    inputs, targets = torch.tensor(x), torch.tensor(t)
    began = time.perf_counter()
    for _ in range(steps):
        module.training_step(inputs, targets)
    seconds = (time.perf_counter() - began) / steps
    with torch.no_grad():
        value = float((model(inputs) - targets).square().sum() / len(x))
    return value, seconds, module.flat_params.detach().numpy().copy()


def quality(seeds: int) -> list[dict[str, Any]]:
    """Median values of the ten fits under both damping rules, and of torch's on the first."""
    rows = []
    for name, sizes, x, t, steps in fits():
        row: dict[str, Any] = {"fit": name, "steps": steps}
        for label, optimizer in (("classic", CLASSIC), ("default", DEFAULT)):
            found = [train(optimizer, sizes, x, t, steps, seed) for seed in range(seeds)]
            row[label] = float(np.median([value for value, _ in found]))
            row[f"{label} ms"] = 1e3 * float(np.median([seconds for _, seconds in found]))
        peer = [torch_lm(sizes, x, t, steps, seed) for seed in range(seeds)] if name == "sinc" else [None]
        if peer[0] is not None:
            row["torch-lm"], row["torch-lm ms"] = (float(np.median([p[i] for p in peer])) for i in (0, 1))
            row["torch-lm ms"] *= 1e3
        rows.append(row)
        print(row, flush=True)
    return rows


def wide(repeats: int) -> dict[str, Any]:
    """One classic step of 784-50-10 on 100 examples: its time, its difference from dense algebra and from torch's."""
    sizes, rng = (784, 50, 10), np.random.default_rng(1)
    x, t = rng.random((100, 784)), np.eye(10)[rng.integers(0, 10, 100)]
    problem, theta = objective(sizes, x, t), weights(sizes, 0)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        new, _, _ = CLASSIC.step(problem, theta, CLASSIC.init(theta))
        times.append(time.perf_counter() - began)
    A = problem(theta).root_jacobian
    rows = A.dense()
    reference = -rows.T @ np.linalg.solve(rows @ rows.T + 2e-3 * np.eye(rows.shape[0]), A.residual)
    size = np.linalg.norm(reference)
    found: dict[str, Any] = {
        "ms": 1e3 * min(times),
        "step difference, dense": float(np.linalg.norm(new - theta - reference) / size),
        "jacobian_mib": rows.nbytes / 2**20,
    }
    peer = torch_lm(sizes, x, t, 1, 0)
    if peer is not None:
        peer = torch_lm(sizes, x, t, 1, 0)  # the first one also loads and traces
        moved = np.concatenate([part for W, b in _layers(sizes, peer[2]) for part in (W.T.reshape(-1), b)]) - theta
        found["torch-lm ms"] = 1e3 * peer[1]
        found["step difference, torch-lm"] = float(np.linalg.norm(moved - reference) / size)
    print(found, flush=True)
    return found


def _layers(sizes: tuple[int, ...], flat: np.ndarray) -> Any:
    """torch's (out, in) weights and biases out of its flat vector."""
    start = 0
    for a, b in pairwise(sizes):
        yield flat[start : start + a * b].reshape(b, a), flat[start + a * b : start + a * b + b]
        start += a * b + b


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    results = {"wide step": wide(5), "fits": quality(options.seeds)}
    if options.json:
        options.json.write_text(json.dumps({"environment": environment(), "results": results}, indent=1))


if __name__ == "__main__":
    main()

"""Every solver on one set of problems, beside SciPy's, torch's L-BFGS, torch-levenberg-marquardt and Optimistix.

    OMP_NUM_THREADS=1 taskset -c 0 python -m benchmarks.solvers --json benchmarks/results/solvers.json
    OMP_NUM_THREADS=1 python -m benchmarks.solvers --quick

Same start, float64, and the same loss at which the clock stops. SciPy's solvers get value, derivatives and products
from gdnet's own objective, so that methods are compared and not differentiation; torch and Optimistix differentiate
for themselves. Times are CPU seconds, the best of some runs: on one thread (`taskset -c 0` keeps JAX to one too) they
are what a quiet machine's clock would show, and other work on the machine disturbs them less. Optimistix is compiled
before the clock starts and then stepped one iteration at a time. Points are the vectors at which a function was
evaluated, with or without derivatives; products with a Hessian are not counted. Peers that are not installed are left
out.
"""

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gdnet as gd
from benchmarks.least_squares.networks import fits, network, weights
from gdnet.bench.environment import environment
from gdnet.network import Evaluation

ROUNDS = 2
PEERS = {"torch-levenberg-marquardt": "torch_levenberg_marquardt", "optimistix": "optimistix", "lineax": "lineax"}
MOST_STEPS = 5000


class Reached(Exception):
    """A peer has come to the goal, or to the end of its time."""


class Problem(NamedTuple):
    """`objective(theta)` has value and gradient; `sizes`, `x`, `t` where a peer builds the network for itself."""

    name: str
    goal: float
    theta: np.ndarray
    objective: Callable[[], Any]
    squares: Callable[[], Any] | None
    sizes: tuple[int, ...] = ()
    x: Any = None
    t: Any = None

    @property
    def binary(self) -> bool:
        return self.name == "logistic"


class Counted(gd.Objective):
    """An objective that counts the points asked for, those of geodesic acceleration too."""

    points = 0

    def __call__(self, theta: Any) -> Evaluation:
        self.points += 1
        return super().__call__(theta)


def rosenbrock(x: np.ndarray) -> np.ndarray:
    """Residuals with f = ½ ||r||²."""
    return math.sqrt(2.0) * np.concatenate([10.0 * (x[1:] - x[:-1] ** 2), 1.0 - x[:-1]])


def rosenbrock_jacobian(x: np.ndarray) -> np.ndarray:
    n = x.size
    upper = 10.0 * (np.eye(n)[1:] - 2.0 * np.diag(x)[:-1])
    return math.sqrt(2.0) * np.concatenate([upper, -np.eye(n)[:-1]])


def rosenbrock_hessian(x: np.ndarray) -> np.ndarray:
    H = np.zeros((x.size, x.size))
    i = np.arange(x.size - 1)
    H[i, i] += 1200.0 * x[:-1] ** 2 - 400.0 * x[1:] + 2.0
    H[i + 1, i + 1] += 200.0
    H[i, i + 1] = H[i + 1, i] = -400.0 * x[:-1]
    return H


def problems() -> list[Problem]:
    """The networks' goals are losses that more than one method reaches; the others are close to the minimum."""
    found = []
    named = {fit[0]: fit for fit in fits()}
    for name, fit, goal in (("sinc 1-20-1", "sinc", 1e-5), ("8-20-20-2", "two hidden layers", 1e-4)):
        _, sizes, x, t, _ = named[fit]
        make = maker(network(sizes), gd.SquaredError(), x, t)
        found.append(Problem(name, goal, weights(sizes, 0), make, make, sizes, x, t))

    def scalar() -> Any:
        return gd.FunctionObjective(
            lambda x: 0.5 * float(np.sum(rosenbrock(x) ** 2)),
            lambda x: rosenbrock_jacobian(x).T @ rosenbrock(x), hess=rosenbrock_hessian,
        )  # fmt: skip

    def squares() -> Any:
        return gd.FunctionObjective(residual=rosenbrock, jacobian=rosenbrock_jacobian)

    found.append(Problem("Rosenbrock-10", 1e-12, np.array([1.3, 0.7, 0.8, 1.9, 1.2] * 2), scalar, squares))
    rng = np.random.default_rng(3)
    x = rng.standard_normal((500, 10)) * np.logspace(-1, 1, 10)
    t = (rng.random((500, 1)) < 1 / (1 + np.exp(-x @ rng.standard_normal((10, 1))))).astype(float)
    make = maker(gd.Sequential(gd.Dense(10, 1)), gd.BinaryCrossEntropy(), x, t)
    least = gd.Newton(min_grad=1e-13).run(make(), np.zeros(11)).fun
    found.append(Problem("logistic", least * (1 + 1e-9), np.zeros(11), make, make, (10, 1), x, t))
    return found


def maker(net: Any, loss: Any, x: Any, t: Any) -> Callable[[], Counted]:
    return lambda: Counted(net, loss, x, t, backend=gd.get_backend(), layout=net.layout())


class Run(NamedTuple):
    """What one solver did: `points` and `steps` are None where a peer does not tell."""

    steps: int | None
    points: int | None
    seconds: float
    loss: float
    stop: str


# -- gdnet -------------------------------------------------------------------------------------------------------------


def ours(optimizer: Any) -> Callable[[Problem, float], Run]:
    def solve(p: Problem, limit: float) -> Run:
        least_squares = isinstance(optimizer, gd.LevenbergMarquardt)
        objective = p.squares() if least_squares and p.squares else p.objective()
        began = time.process_time()
        state, theta, stop = optimizer.init(p.theta), p.theta, None
        while stop is None and state.iteration < MOST_STEPS:
            theta, state, info = optimizer.step(objective, theta, state)
            stop = info.stop
            if info.new_value <= p.goal:
                stop = "goal"
            elif stop is None and time.process_time() - began > limit:
                stop = "time"
        seconds = time.process_time() - began
        points = objective.points if isinstance(objective, Counted) else objective.nfev
        return Run(state.iteration, points, seconds, info.new_value, stop or "steps")

    return solve


RULES = ("fletcher_reeves", "polak_ribiere", "hestenes_stiefel", "dai_yuan", "hager_zhang")
OURS: dict[str, Any] = {
    "GradientDescent": gd.GradientDescent(min_grad=0.0),
    **{f"ConjugateGradient {rule}": gd.ConjugateGradient(rule=rule, min_grad=0.0) for rule in RULES},
    "ScaledConjugateGradient": gd.ScaledConjugateGradient(min_grad=0.0),
    "BFGS": gd.BFGS(min_grad=0.0),
    "LBFGS": gd.LBFGS(min_grad=0.0),
    "Newton": gd.Newton(min_grad=0.0),
    "Newton saddle-free": gd.Newton(modification="saddle_free", min_grad=0.0),
    "NewtonCG": gd.NewtonCG(min_grad=0.0),
    "NewtonCG Gauss-Newton": gd.NewtonCG(curvature="gauss_newton", min_grad=0.0),
    "HessianFree": gd.HessianFree(min_grad=0.0),
    "LevenbergMarquardt": gd.LevenbergMarquardt(min_grad=0.0),
    "LevenbergMarquardt classic": gd.LevenbergMarquardt(damping="marquardt", min_grad=0.0),
}


# -- SciPy -------------------------------------------------------------------------------------------------------------


class Watched:
    """gdnet's objective for SciPy: one evaluation a point, and an end at the goal."""

    def __init__(self, objective: Any, p: Problem, limit: float) -> None:
        self.objective, self.p, self.limit = objective, p, limit
        self.best, self.points, self.steps = math.inf, 0, 0
        self.at: Any = None
        self.key = b""
        self.began = time.process_time()

    def __call__(self, x: np.ndarray) -> Any:
        if x.tobytes() != self.key:
            x = np.array(x)
            self.at, self.key, self.points = self.objective(x), x.tobytes(), self.points + 1
            self.best = min(self.best, float(self.at.value))
            if self.best <= self.p.goal or time.process_time() - self.began > self.limit:
                raise Reached
        return self.at

    def count(self, *_: Any, **__: Any) -> None:
        self.steps += 1


def scipys(method: str) -> Callable[[Problem, float], Run]:
    from scipy import optimize

    def solve(p: Problem, limit: float) -> Run:
        w, stop = Watched(p.objective(), p, limit), "own rule"
        options = {"maxiter": MOST_STEPS, "gtol": 0.0}
        if method == "L-BFGS-B":
            options |= {"ftol": 0.0, "maxfun": 10 * MOST_STEPS}
        if method == "Newton-CG":
            options = {"maxiter": MOST_STEPS, "xtol": 0.0}
        more: dict[str, Any] = {"hessp": lambda x, v: w(x).hessian.forward(v)} if "ewton" in method else {}
        more |= {"hessp": lambda x, v: w(x).hessian.forward(v)} if method == "trust-ncg" else {}
        try:
            optimize.minimize(lambda x: float(w(x).value), p.theta, jac=lambda x: np.array(w(x).gradient),
                              method=method, options=options, callback=w.count, **more)  # fmt: skip
        except Reached:
            stop = "goal" if w.best <= p.goal else "time"
        return Run(w.steps, w.points, time.process_time() - w.began, w.best, stop)

    return solve


def scipy_least_squares(method: str) -> Callable[[Problem, float], Run]:
    from scipy import optimize

    def solve(p: Problem, limit: float) -> Run:
        assert p.squares is not None
        w, stop = Watched(p.squares(), p, limit), "own rule"

        def jacobian(x: np.ndarray) -> np.ndarray:
            at = w(x)
            return at.root_jacobian.dense() if hasattr(at, "root_jacobian") else at.jacobian.dense()

        def residual(x: np.ndarray) -> np.ndarray:
            at = w(x)
            return np.array(at.root_jacobian.residual if hasattr(at, "root_jacobian") else at.residual)

        more = {} if method == "lm" else {"callback": w.count}
        tolerance = 1e-15
        try:
            optimize.least_squares(residual, p.theta, jac=jacobian, method=method, max_nfev=MOST_STEPS, x_scale="jac",
                                   ftol=tolerance, xtol=tolerance, gtol=tolerance, **more)  # fmt: skip
        except Reached:
            stop = "goal" if w.best <= p.goal else "time"
        steps = None if method == "lm" else w.steps
        return Run(steps, w.points, time.process_time() - w.began, w.best, stop)

    return solve


# -- torch -------------------------------------------------------------------------------------------------------------


def torch_module(p: Problem) -> Any:
    import torch

    torch.set_num_threads(1)
    layers, start = [], 0
    for i, (a, b) in enumerate(zip(p.sizes, p.sizes[1:])):
        layer = torch.nn.Linear(a, b).double()
        layer.weight.data = torch.tensor(p.theta[start : start + a * b].reshape(a, b).T.copy())
        layer.bias.data = torch.tensor(p.theta[start + a * b : start + a * b + b].copy())
        start += a * b + b
        layers += [layer] + ([torch.nn.Tanh()] if i < len(p.sizes) - 2 else [])
    return torch.nn.Sequential(*layers)


def torch_lbfgs(p: Problem, limit: float) -> Run:
    import torch

    if p.sizes:
        model = torch_module(p)
        x, t, n = torch.tensor(p.x), torch.tensor(p.t), len(p.x)
        variables = list(model.parameters())

        def loss() -> Any:
            if p.binary:
                return torch.nn.functional.binary_cross_entropy_with_logits(model(x), t)
            return (model(x) - t).square().sum() / n

    else:
        torch.set_num_threads(1)
        v = torch.tensor(p.theta, requires_grad=True)
        variables = [v]

        def loss() -> Any:
            return (100.0 * (v[1:] - v[:-1] ** 2) ** 2 + (1.0 - v[:-1]) ** 2).sum()

    optimizer = torch.optim.LBFGS(variables, lr=1.0, max_iter=MOST_STEPS, max_eval=10 * MOST_STEPS, history_size=10,
                                  tolerance_grad=0.0, tolerance_change=0.0, line_search_fn="strong_wolfe")  # fmt: skip
    best, points, began = math.inf, 0, time.process_time()

    def closure() -> Any:
        nonlocal best, points
        optimizer.zero_grad()
        value = loss()
        value.backward()
        best, points = min(best, float(value)), points + 1
        if best <= p.goal or time.process_time() - began > limit:
            raise Reached
        return value

    stop = "own rule"
    try:
        optimizer.step(closure)
    except Reached:
        stop = "goal" if best <= p.goal else "time"
    steps = optimizer.state[variables[0]].get("n_iter")
    return Run(steps, points, time.process_time() - began, best, stop)


def torch_lm(p: Problem, limit: float) -> Run:
    """MSELoss is the mean over outputs too: its loss times their number is ours."""
    import torch
    from torch_levenberg_marquardt import loss, training

    module = training.LevenbergMarquardtModule(
        model=torch_module(p), loss_fn=loss.MSELoss(), learning_rate=1.0, attempts_per_step=10,
        solve_method="cholesky",
    )  # fmt: skip
    x, t, outputs = torch.tensor(p.x), torch.tensor(p.t), p.sizes[-1]
    began, value, stop, steps = time.process_time(), math.inf, "steps", 0
    while steps < MOST_STEPS:
        # The loss that a step returns is the one before it, known without another evaluation.
        value = outputs * float(module.training_step(x, t)[1])
        if not math.isfinite(value) or value <= p.goal or time.process_time() - began > limit:
            stop = "goal" if value <= p.goal else "time" if math.isfinite(value) else "not finite"
            break
        steps += 1
    return Run(steps, None, time.process_time() - began, value, stop)


# -- Optimistix --------------------------------------------------------------------------------------------------------


def optimistixs(name: str) -> Callable[[Problem, float], Run]:
    import jax

    jax.config.update("jax_enable_x64", True)
    import equinox
    import jax.numpy as jnp
    import optimistix

    def residuals(p: Problem) -> Callable:
        x, t = jnp.asarray(p.x) if p.sizes else None, jnp.asarray(p.t) if p.sizes else None

        def predict(v: Any) -> Any:
            h, start = x, 0
            for i, (a, b) in enumerate(zip(p.sizes, p.sizes[1:])):
                h = h @ v[start : start + a * b].reshape(a, b) + v[start + a * b : start + a * b + b]
                start += a * b + b
                h = jnp.tanh(h) if i < len(p.sizes) - 2 else h
            return h

        def of(v: Any, _: Any) -> Any:
            if not p.sizes:
                return math.sqrt(2.0) * jnp.concatenate([10.0 * (v[1:] - v[:-1] ** 2), 1.0 - v[:-1]])
            return math.sqrt(2.0 / len(p.x)) * (predict(v) - t).reshape(-1)

        def cross_entropy(v: Any, _: Any) -> Any:
            z = predict(v)
            return jnp.mean(jnp.logaddexp(0.0, z) - t * z)

        return cross_entropy if p.binary else of

    def solve(p: Problem, limit: float) -> Run:
        of, least_squares = residuals(p), name == "LevenbergMarquardt"
        solver = getattr(optimistix, name)(rtol=1e-15, atol=1e-15)

        def fn(v: Any, args: Any) -> Any:
            found = of(v, args)
            return (found if least_squares or found.ndim == 0 else 0.5 * jnp.sum(found**2)), None

        tags: frozenset = frozenset()
        theta = jnp.asarray(p.theta)
        out, aux = jax.eval_shape(lambda v: fn(v, None), theta)
        options: dict[str, Any] = {} if least_squares else {"autodiff_mode": "bwd"}
        fresh = solver.init(fn, theta, None, options, out, aux, tags)

        @equinox.filter_jit
        def step(y: Any, state: Any) -> Any:
            y, state, _ = solver.step(fn, y, None, options, state, tags)
            info = state.f_info
            return y, state, (info.as_min() if least_squares else info.f)

        jax.block_until_ready(step(theta, fresh)[2])
        y, state, value, stop, steps = theta, fresh, math.inf, "steps", 0
        began = time.process_time()
        while steps < MOST_STEPS:
            y, state, seen = step(y, state)
            value, steps = float(seen), steps + 1
            if not math.isfinite(value) or value <= p.goal or time.process_time() - began > limit:
                stop = "goal" if value <= p.goal else "time" if math.isfinite(value) else "not finite"
                break
        return Run(steps, steps, time.process_time() - began, value, stop)

    return solve


# -- the table ---------------------------------------------------------------------------------------------------------


def candidates(p: Problem) -> dict[str, Callable[[Problem, float], Run]]:
    """Those that can take this problem; a peer that is not installed is named on stderr."""
    found = {f"gdnet {name}": ours(optimizer) for name, optimizer in OURS.items()}
    if not p.sizes:  # a plain function has no Gauss-Newton matrix but that of its residuals
        found = {k: v for k, v in found.items() if "Gauss-Newton" not in k and "HessianFree" not in k}
    squares = not p.binary
    peers: list[tuple[str, Callable[[], Any], bool]] = [
        ("SciPy BFGS", lambda: scipys("BFGS"), True),
        ("SciPy L-BFGS-B", lambda: scipys("L-BFGS-B"), True),
        ("SciPy CG", lambda: scipys("CG"), True),
        ("SciPy Newton-CG", lambda: scipys("Newton-CG"), True),
        ("SciPy trust-ncg", lambda: scipys("trust-ncg"), True),
        ("SciPy least_squares lm", lambda: scipy_least_squares("lm"), squares),
        ("SciPy least_squares trf", lambda: scipy_least_squares("trf"), squares),
        ("torch LBFGS", lambda: installed("torch") and torch_lbfgs, True),
        ("torch-levenberg-marquardt", lambda: installed("torch_levenberg_marquardt") and torch_lm,
         squares and bool(p.sizes)),
        ("Optimistix BFGS", lambda: optimistixs("BFGS"), True),
        ("Optimistix LevenbergMarquardt", lambda: optimistixs("LevenbergMarquardt"), squares),
    ]  # fmt: skip
    for name, make, fits_in in peers:
        try:
            if fits_in:
                found[name] = make()
        except ImportError as missing:
            note(f"{name} is left out: {missing}")
    return found


def installed(module: str) -> bool:
    __import__(module)
    return True


def measure(p: Problem, limit: float, rounds: int) -> list[dict[str, Any]]:
    """All candidates take turns; the best time of those that ended within a third of the limit is kept."""
    runs: dict[str, list[Run]] = {}
    solvers = candidates(p)
    for k in range(rounds):
        for name, solve in solvers.items():
            if k and runs[name][0].seconds > limit / 3:
                continue
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                runs.setdefault(name, []).append(solve(p, limit))
            if not k:
                r = runs[name][0]
                note(f"{p.name}: {name} {r.steps} steps, {r.points} points, {r.seconds:.3f} s, {r.loss:.3e}, {r.stop}")
    rows = []
    for name, found in runs.items():
        r = min(found, key=lambda r: r.seconds)
        rows.append({"problem": p.name, "goal": p.goal, "solver": name, "reached": r.loss <= p.goal, **r._asdict()})
    return rows


def peers() -> dict[str, str]:
    """Versions of the peers that `environment` does not list."""
    return {name: metadata.version(name) for name, module in PEERS.items() if find_spec(module)}


def note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one short round of each, to see that they run")
    parser.add_argument("--limit", type=float, default=2.5, help="CPU seconds for one run")
    parser.add_argument("--only", help="one of the problems, by its name")
    options = parser.parse_args()
    limit, rounds = (0.2, 1) if options.quick else (options.limit, ROUNDS)
    rows = [row for p in problems() if options.only in (None, p.name) for row in measure(p, limit, rounds)]
    print(f"{'problem':14s} {'solver':32s} {'steps':>6s} {'points':>6s} {'seconds':>9s} {'loss':>11s}  stop")
    for r in rows:
        steps, points = ("-" if r[key] is None else str(r[key]) for key in ("steps", "points"))
        print(f"{r['problem']:14s} {r['solver']:32s} {steps:>6s} {points:>6s} {r['seconds']:9.4f} {r['loss']:11.3e}  "
              f"{r['stop']}")  # fmt: skip
    if options.json:
        found = {"environment": environment(), "peers": peers(), "limit": limit, "rounds": rounds, "results": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""JAX with its autograd and optax: one jitted call a step, its buffers donated."""

import importlib
from typing import Any

import numpy as np

from gdnet.bench.candidates import Unavailable
from gdnet.bench.problems import Problem


class Step:
    """`value_and_grad`, `optax.update`, `apply_updates` in one compiled function."""

    def __init__(self, problem: Problem, device: str) -> None:
        self.jax = jax = importlib.import_module("jax")
        optax, jnp = importlib.import_module("optax"), importlib.import_module("jax.numpy")
        self.device, self.problem = find_device(jax, device), problem
        self.weights = problem.weights()
        self.batches = [self._put((x, t)) for x, t in problem.batches()]
        self.rule = {"sgd": optax.sgd, "adam": optax.adam}[problem.optimizer](problem.lr)
        f = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu, "tanh": jnp.tanh}[problem.activation]

        def objective(params: Any, x: Any, t: Any) -> Any:
            for W, b in params[:-1]:
                x = f(x @ W + b)
            y = x @ params[-1][0] + params[-1][1]
            if problem.classes:
                return optax.softmax_cross_entropy_with_integer_labels(y, t).mean()
            return ((y - t) ** 2).sum() / len(t)

        def step(params: Any, state: Any, x: Any, t: Any) -> Any:
            with jax.default_matmul_precision("highest"):  # on a GPU the default is TF32
                value, gradient = jax.value_and_grad(objective)(params, x, t)
            updates, state = self.rule.update(gradient, state, params)
            return optax.apply_updates(params, updates), state, value

        self.step = jax.jit(step, donate_argnums=(0, 1))
        self.reset()

    def _put(self, tree: Any) -> Any:
        """Copies, for what is donated is overwritten."""
        return self.jax.device_put(self.jax.tree.map(np.array, tree), self.device)

    def reset(self) -> None:
        self.params = self._put(self.weights)
        self.state = self.jax.device_put(self.rule.init(self.params), self.device)

    def run(self, steps: int) -> None:
        params, state, step, batches = self.params, self.state, self.step, self.batches
        for i in range(steps):
            params, state, value = step(params, state, *batches[i % len(batches)])
        self.params, self.state, self.value = params, state, value
        self.jax.block_until_ready((params, value))

    def loss(self) -> float:
        return float(self.value)


class Update:
    """The optimizer alone on one vector."""

    def __init__(self, name: str, size: int, lr: float, device: str) -> None:
        self.jax = jax = importlib.import_module("jax")
        optax = importlib.import_module("optax")
        place = find_device(jax, device)
        rule = {"sgd": optax.sgd, "adam": optax.adam}[name](lr)
        self.theta = jax.device_put(np.ones(size, np.float32), place)
        self.gradient = jax.device_put(np.full(size, 1e-3, np.float32), place)
        self.state = rule.init(self.theta)

        def update(theta: Any, state: Any, gradient: Any) -> Any:
            updates, state = rule.update(gradient, state, theta)
            return optax.apply_updates(theta, updates), state

        self.update = jax.jit(update, donate_argnums=(0, 1))

    def reset(self) -> None:
        pass

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.theta, self.state = self.update(self.theta, self.state, self.gradient)
        self.jax.block_until_ready(self.theta)


def find_device(jax: Any, device: str) -> Any:
    try:
        return jax.devices("cpu" if device == "cpu" else "cuda")[int(device.partition(":")[2] or 0)]
    except (RuntimeError, IndexError) as error:
        raise Unavailable(f"jax finds no device {device!r}") from error

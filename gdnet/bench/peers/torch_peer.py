"""PyTorch with its autograd, as its tutorials write a training step; fused optimizers where it has them."""

import importlib
from typing import Any

import numpy as np

from gdnet.bench.candidates import Unavailable
from gdnet.bench.problems import Problem


class Eager:
    """`nn.Sequential`, `backward()`, `optimizer.step()`."""

    compiled = False

    def __init__(self, problem: Problem, device: str) -> None:
        self.torch = torch = importlib.import_module("torch")
        if device != "cpu" and not torch.cuda.is_available():
            raise Unavailable("torch finds no CUDA device")
        nn, self.device, self.problem = torch.nn, torch.device(device), problem
        activation = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}[problem.activation]
        self.weights = [(torch.tensor(W.T.copy()), torch.tensor(b)) for W, b in problem.weights()]
        layers: list[Any] = []
        for W, _ in self.weights:
            layers += [nn.Linear(W.shape[1], W.shape[0]), activation()]
        self.net = nn.Sequential(*layers[:-1]).to(self.device)
        self.batches = [self._batch(x, t) for x, t in problem.batches()]
        net, functional = self.net, nn.functional

        def classes(x: Any, t: Any) -> Any:
            return functional.cross_entropy(net(x), t)

        def numbers(x: Any, t: Any) -> Any:  # mean over examples of the sum over outputs
            return functional.mse_loss(net(x), t, reduction="sum") / len(t)

        objective = classes if problem.classes else numbers
        self.objective = torch.compile(objective) if self.compiled else objective
        self.reset()

    def _batch(self, x: np.ndarray, t: np.ndarray) -> tuple[Any, Any]:
        labels = t.astype(np.int64) if self.problem.classes else t
        return self.torch.tensor(x, device=self.device), self.torch.tensor(labels, device=self.device)

    def reset(self) -> None:
        with self.torch.no_grad():
            for (W, b), layer in zip(self.weights, self.net[::2], strict=True):
                layer.weight.copy_(W)
                layer.bias.copy_(b)
        self.optimizer = optimizer(self.torch, self.problem.optimizer, self.net.parameters(), self.problem.lr)

    def run(self, steps: int) -> None:
        objective, optimizer, batches = self.objective, self.optimizer, self.batches
        for i in range(steps):
            x, t = batches[i % len(batches)]
            optimizer.zero_grad(set_to_none=True)
            value = objective(x, t)
            value.backward()
            optimizer.step()
        self.value = value.detach()
        if self.device.type == "cuda":
            self.torch.cuda.synchronize(self.device)

    def loss(self) -> float:
        return float(self.value)


class Compiled(Eager):
    """The same, its forward and backward passes compiled by `torch.compile`."""

    compiled = True


class Update:
    """The optimizer alone on one vector."""

    def __init__(self, name: str, size: int, lr: float, device: str) -> None:
        self.torch = torch = importlib.import_module("torch")
        self.cuda = device != "cpu"
        if self.cuda and not torch.cuda.is_available():
            raise Unavailable("torch finds no CUDA device")
        theta = torch.nn.Parameter(torch.ones(size, device=device))
        theta.grad = torch.full((size,), 1e-3, device=device)
        self.optimizer = optimizer(torch, name, [theta], lr)

    def reset(self) -> None:
        pass

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.optimizer.step()
        if self.cuda:
            self.torch.cuda.synchronize()


def optimizer(torch: Any, name: str, parameters: Any, lr: float) -> Any:
    """torch's own, fused where this version and device can."""
    rule, parameters = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[name], list(parameters)
    try:
        return rule(parameters, lr=lr, fused=True)
    except (RuntimeError, TypeError, ValueError):
        return rule(parameters, lr=lr)

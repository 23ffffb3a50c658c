"""PyTorch with its autograd, as its tutorials write a training step; fused optimizers where it has them."""

import importlib
from collections.abc import Callable
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
        self._load_weights()
        self.optimizer = optimizer(self.torch, self.problem.optimizer, self.net.parameters(), self.problem.lr)

    def _load_weights(self) -> None:
        with self.torch.no_grad():
            for (W, b), layer in zip(self.weights, self.net[::2], strict=True):
                layer.weight.copy_(W)
                layer.bias.copy_(b)

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


class Graphed(Eager):
    """The whole step, optimizer included, as one CUDA graph, as PyTorch's notes on CUDA graphs do it."""

    graph: Any = None

    def __init__(self, problem: Problem, device: str) -> None:
        if device == "cpu":
            raise Unavailable("CUDA graphs need a CUDA device")
        try:
            super().__init__(problem, device)
        except RuntimeError as error:
            raise Unavailable(f"torch could not capture the step: {error}") from error

    def reset(self) -> None:
        if self.graph is None:
            super().reset()
            self._capture()
        self._load_weights()
        with self.torch.no_grad():
            for state in self.optimizer.state.values():
                for tensor in filter(self.torch.is_tensor, state.values()):
                    tensor.zero_()

    def _capture(self) -> None:
        cuda = self.torch.cuda
        with cuda.device(self.device):
            self.places = [array.clone() for array in self.batches[0]]
            side = cuda.Stream()
            side.wait_stream(cuda.current_stream())
            with cuda.stream(side):
                for _ in range(3):
                    self.optimizer.zero_grad(set_to_none=True)
                    self._step(*self.places)
            cuda.current_stream().wait_stream(side)
            self.optimizer.zero_grad(set_to_none=True)
            self.graph = cuda.CUDAGraph()
            with cuda.graph(self.graph):
                self.value = self._step(*self.places)

    def _step(self, x: Any, t: Any) -> Any:
        value = self.objective(x, t)
        value.backward()
        self.optimizer.step()
        return value.detach()

    def run(self, steps: int) -> None:
        for i in range(steps):
            for place, array in zip(self.places, self.batches[i % len(self.batches)], strict=True):
                place.copy_(array)
            self.graph.replay()
        self.torch.cuda.synchronize(self.device)


def graphed(work: Callable[[], Any], device: Any) -> Callable[[], Any]:
    """Calls of a function without arguments as launches of one CUDA graph of PyTorch's; they give nothing back."""
    torch = importlib.import_module("torch")
    with torch.cuda.device(device), torch.no_grad():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
    return graph.replay


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
    on_cuda = {"capturable": True} if name == "adam" and parameters[0].is_cuda else {}  # steps are counted there
    try:
        return rule(parameters, lr=lr, fused=True, **on_cuda)
    except (RuntimeError, TypeError, ValueError):
        return rule(parameters, lr=lr)

"""scikit-learn's multi-layer perceptron: one `partial_fit` a step."""

import importlib
from typing import Any

import numpy as np

from gdnet.bench.candidates import Unavailable
from gdnet.bench.problems import Problem

ACTIVATIONS = {"sigmoid": "logistic", "relu": "relu", "tanh": "tanh"}


class Step:
    """`MLPClassifier` or `MLPRegressor` without penalty, one batch a call, from the problem's weights."""

    def __init__(self, problem: Problem, device: str) -> None:
        if device != "cpu":
            raise Unavailable("scikit-learn's networks run on the processor alone")
        module = importlib.import_module("sklearn.neural_network")
        self.problem, self.weights, self.batches = problem, problem.weights(), problem.batches()
        # Its squared error is half of gdnet's: twice the rate makes the same step of gradient descent (Adam's step
        # does not depend on the scale), and the loss is doubled where it is reported.
        half = not problem.classes
        self.scale = 2.0 if half else 1.0
        lr = problem.lr * (2.0 if half and problem.optimizer == "sgd" else 1.0)
        kind = module.MLPClassifier if problem.classes else module.MLPRegressor
        self.model: Any = kind(
            hidden_layer_sizes=problem.sizes[1:-1], activation=ACTIVATIONS[problem.activation],
            solver=problem.optimizer, alpha=0.0, batch_size=problem.batch, learning_rate_init=lr, momentum=0.0,
            nesterovs_momentum=False, shuffle=False,
        )  # fmt: skip
        self.known = {"classes": np.arange(problem.sizes[-1])} if problem.classes else {}
        if not problem.classes:
            self.batches = [(x, t[:, 0]) for x, t in self.batches]
        elif problem.sizes[-1] == 2:
            raise Unavailable("scikit-learn has one output for two classes")
        self.model.partial_fit(*self.batches[0], **self.known)
        self.reset()

    def reset(self) -> None:
        self.model.coefs_ = [W.copy() for W, _ in self.weights]
        self.model.intercepts_ = [b.copy() for _, b in self.weights]
        self.model.__dict__.pop("_optimizer", None)  # it is made again, with moments of zero

    def run(self, steps: int) -> None:
        fit, batches = self.model.partial_fit, self.batches
        for i in range(steps):
            fit(*batches[i % len(batches)])

    def loss(self) -> float:
        return float(self.model.loss_) * self.scale

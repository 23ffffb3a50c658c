"""The table of losses: run by every test of losses, and by `gdnet check`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdnet.losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Huber,
    LogCosh,
    Loss,
    Poisson,
    SquaredError,
)


@dataclass(frozen=True)
class LossCase:
    """A loss, what it predicts, how to draw targets, and torch's counterpart.

    `torch(F, y, t)` gives torch's sum over outputs and examples; divided by N it is gdnet's value.
    """

    name: str
    loss: Loss
    out_shape: tuple[int, ...]
    target: Callable[[np.random.Generator, int], np.ndarray]
    torch: Callable[[Any, Any, Any], Any]

    def draw(self, n: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(prediction, target) on the host."""
        rng = np.random.default_rng(seed)
        return 2.0 * rng.standard_normal((n, *self.out_shape)), self.target(rng, n)


def _distribution(rng: np.random.Generator, n: int) -> np.ndarray:
    p = rng.uniform(0.1, 1.0, (n, 4))
    return p / p.sum(axis=1, keepdims=True)


def _signs(rng: np.random.Generator, n: int) -> np.ndarray:
    return 2.0 * rng.integers(0, 2, (n, 3)) - 1.0


def _log_cosh(F: Any, y: Any, t: Any) -> Any:
    import torch

    d = y - t  # torch has no such loss; log cosh d = log((e^d + e^-d) / 2)
    return (torch.logaddexp(d, -d) - float(np.log(2.0))).sum()


LOSSES = (
    LossCase(
        "squared_error", SquaredError(), (3,), lambda rng, n: rng.standard_normal((n, 3)),
        lambda F, y, t: F.mse_loss(y, t, reduction="sum"),
    ),
    LossCase(
        "squared_error_image", SquaredError(), (2, 3), lambda rng, n: rng.standard_normal((n, 2, 3)),
        lambda F, y, t: F.mse_loss(y, t, reduction="sum"),
    ),
    LossCase(
        "absolute_error", AbsoluteError(), (3,), lambda rng, n: rng.standard_normal((n, 3)),
        lambda F, y, t: F.l1_loss(y, t, reduction="sum"),
    ),
    LossCase(
        "huber", Huber(), (3,), lambda rng, n: rng.standard_normal((n, 3)),
        lambda F, y, t: F.huber_loss(y, t, reduction="sum", delta=1.0),
    ),
    LossCase(
        "huber_delta", Huber(0.3), (3,), lambda rng, n: rng.standard_normal((n, 3)),
        lambda F, y, t: F.huber_loss(y, t, reduction="sum", delta=0.3),
    ),
    LossCase("log_cosh", LogCosh(), (3,), lambda rng, n: rng.standard_normal((n, 3)), _log_cosh),
    LossCase(
        "hinge", Hinge(), (3,), _signs,
        lambda F, y, t: F.hinge_embedding_loss(t * y, -(t * t), margin=1.0, reduction="sum"),
    ),
    LossCase(
        "poisson", Poisson(), (3,), lambda rng, n: rng.poisson(2.0, (n, 3)),
        lambda F, y, t: F.poisson_nll_loss(y, t, log_input=True, full=False, reduction="sum"),
    ),
    LossCase(
        "binary_cross_entropy", BinaryCrossEntropy(), (1,), lambda rng, n: rng.integers(0, 2, (n, 1)),
        lambda F, y, t: F.binary_cross_entropy_with_logits(y, t.to(y.dtype), reduction="sum"),
    ),
    LossCase(
        "binary_cross_entropy_smooth", BinaryCrossEntropy(label_smoothing=0.1), (3,),
        lambda rng, n: rng.uniform(0.0, 1.0, (n, 3)),
        lambda F, y, t: F.binary_cross_entropy_with_logits(y, 0.9 * t + 0.05, reduction="sum"),
    ),
    LossCase(
        "cross_entropy_labels", CrossEntropy(), (4,), lambda rng, n: rng.integers(0, 4, n),
        lambda F, y, t: F.cross_entropy(y, t, reduction="sum"),
    ),
    LossCase(
        "cross_entropy_one_hot", CrossEntropy(), (4,), lambda rng, n: np.eye(4)[rng.integers(0, 4, n)],
        lambda F, y, t: F.cross_entropy(y, t, reduction="sum"),
    ),
    LossCase(
        "cross_entropy_probabilities", CrossEntropy(label_smoothing=0.2), (4,), _distribution,
        lambda F, y, t: F.cross_entropy(y, t, reduction="sum", label_smoothing=0.2),
    ),
    LossCase(
        "cross_entropy_labels_smooth", CrossEntropy(label_smoothing=0.1), (4,), lambda rng, n: rng.integers(0, 4, n),
        lambda F, y, t: F.cross_entropy(y, t, reduction="sum", label_smoothing=0.1),
    ),
    LossCase(
        "cross_entropy_sequence", CrossEntropy(), (3, 4), lambda rng, n: rng.integers(0, 4, (n, 3)),
        lambda F, y, t: F.cross_entropy(y.reshape(-1, 4), t.reshape(-1), reduction="sum"),
    ),
)  # fmt: skip

"""Cross-entropy of a softmax, from logits."""

from functools import cached_property
from typing import Any

from gdnet.backend import Array, Backend
from gdnet.errors import OptionError
from gdnet.losses.base import Loss, LossAt, shares
from gdnet.maps import Map, symmetric


class CrossEntropy(Loss):
    """-(1/N) Σₙ Σₖ tₙₖ log pₙₖ with p = softmax(y); y are logits.

    Parameters
    ----------
    label_smoothing : float
        Between 0 and 1: the target becomes (1 - s) t + s / K.

    Notes
    -----
    Prediction (n, k). Target: integer labels (n,), or probabilities (one-hot included) (n, k).
    Gradient share (p Σt - t); Hessian share (diag p - p pᵀ) Σt. torch's `CrossEntropyLoss` has the same value.

    >>> import numpy as np
    >>> at = CrossEntropy()(np.zeros((1, 2)), np.asarray([1]))
    >>> round(float(at.value), 6), at.gradient.tolist()
    (0.693147, [[0.5, -0.5]])
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        if not 0.0 <= label_smoothing < 1.0:
            raise OptionError(f"CrossEntropy: label_smoothing must be in [0, 1), got {label_smoothing}")
        self.label_smoothing = float(label_smoothing)

    def target_shape(self, out_shape: tuple[int, ...], target_ndim: int) -> tuple[int, ...]:
        return () if target_ndim == 1 else out_shape

    def at(self, backend: Backend, y: Array, t: Array, weight: Array | None) -> LossAt:
        return CrossEntropyAt(self, backend, y, t, weight)

    def config(self) -> dict[str, Any]:
        return {"label_smoothing": self.label_smoothing}


class CrossEntropyAt(LossAt):
    """Cross-entropy at one prediction; its Hessian is softmax's Jacobian times each example's share."""

    def __init__(self, rule: CrossEntropy, backend: Backend, y: Array, t: Array, weight: Array | None) -> None:
        xp, k, s = backend.xp, y.shape[-1], rule.label_smoothing
        self.backend, self.xp, self.y = backend, xp, y
        self.share = shares(xp, y, weight)
        if t.ndim == 1:  # integer labels: one-hot rows, which sum to one
            t = xp.expand_dims(t, axis=1) == xp.arange(k, dtype=t.dtype, device=backend.device)
            self.t, self.total = xp.astype(t, y.dtype), 1.0
        else:
            self.t = xp.astype(t, y.dtype) if t.dtype != y.dtype else t
            self.total = xp.sum(self.t, axis=-1, keepdims=True)
        if s:
            self.t = (1.0 - s) * self.t + (s / k) * self.total
        self.shifted = y - xp.max(y, axis=-1, keepdims=True)
        e = xp.exp(self.shifted)
        self.norm = xp.sum(e, axis=-1, keepdims=True)
        self.p = e / self.norm

    @cached_property
    def value(self) -> Array:  # type: ignore[override]
        logs = self.shifted - self.xp.log(self.norm)
        return -self.xp.sum(self.share * self.t * logs)

    @cached_property
    def gradient(self) -> Array:  # type: ignore[override]
        return self.share * (self.total * self.p - self.t)

    @property
    def hessian(self) -> Map:  # type: ignore[override]
        xp, p, c = self.xp, self.p, self.share * self.total
        return symmetric(
            self.backend, tuple(self.y.shape), self.y.dtype,
            lambda v: c * p * (v - xp.sum(p * v, axis=-1, keepdims=True)), "psd", "per_example",
        )  # fmt: skip

    @property
    def root(self) -> Map:  # type: ignore[override]
        # diag p - p pᵀ = Rᵀ R with R = diag √p - √p pᵀ
        xp, p, shape = self.xp, self.p, tuple(self.y.shape)
        c, s = (self.share * self.total) ** 0.5, xp.sqrt(self.p)
        return Map(
            self.backend, shape, shape, self.y.dtype,
            lambda v: c * s * (v - xp.sum(p * v, axis=-1, keepdims=True)),
            lambda u: c * (s * u - p * xp.sum(s * u, axis=-1, keepdims=True)), {"per_example"},
        )  # fmt: skip

"""Cross-entropy of a softmax, from logits."""

from functools import cached_property
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, backend_of, overridable
from gdnet.checks import check_fraction
from gdnet.errors import DataError
from gdnet.losses.base import Loss, LossAt, forbid, shares
from gdnet.losses.metric import ACCURACY
from gdnet.maps import Map, symmetric


class CrossEntropy(Loss, name="CrossEntropy"):
    """-(1/N) Σₙ Σₖ tₙₖ log pₙₖ with p = softmax(y); y are logits.

    torch `CrossEntropyLoss` and Keras `CategoricalCrossentropy(from_logits=True)` (or its sparse form) have the same
    value.

    Parameters
    ----------
    label_smoothing : float
        Between 0 and 1: the target becomes (1 - s) t + s / K.

    Notes
    -----
    Prediction (n, ..., k). Target: integer labels 0 .. k-1 of shape (n, ...), or probabilities (one-hot included) of
    shape (n, ..., k). Gradient share (p Σt - t); Hessian share Σt (diag p - p pᵀ), with share = wₙ / Σw.

    >>> import numpy as np
    >>> at = CrossEntropy()(np.zeros((1, 2)), np.asarray([1]))
    >>> round(float(at.value), 6), at.gradient.tolist()
    (0.693147, [[0.5, -0.5]])
    """

    metric = ACCURACY

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = check_fraction("CrossEntropy: label_smoothing", label_smoothing)

    def target_shape(self, out_shape: tuple[int, ...], target_ndim: int) -> tuple[int, ...]:
        return out_shape[:-1] if target_ndim == len(out_shape) else out_shape

    def at(self, backend: Backend, y: Array, t: Array, weight: Array | None) -> LossAt:
        return CrossEntropyAt(self, backend, y, t, weight)

    def __call__(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> LossAt:
        """The loss at a prediction, after a check of shapes and of the kind of labels."""
        if target.ndim < prediction.ndim and not backend_of(target).xp.isdtype(target.dtype, "integral"):
            raise DataError(self._float_labels(target.dtype))
        return super().__call__(prediction, target, sample_weight)

    def check_values(self, t: np.ndarray, out_shape: tuple[int, ...]) -> None:
        k = out_shape[-1] if out_shape else 0
        if k < 2:
            raise DataError(
                f"{self!r} needs at least 2 outputs, one for each class, got {k}: "
                "use BinaryCrossEntropy() for one output"
            )
        if t.ndim == len(out_shape):
            if t.dtype.kind not in "iu":
                raise DataError(self._float_labels(t.dtype))
            remedy = f"number the classes from 0, or give the last layer {max(int(t.max()) + 1, 2)} outputs"
            forbid((t < 0) | (t >= k), t, self, f"labels in 0..{k - 1} for {k} outputs", remedy)
            return
        forbid(t < 0, t, self, "probabilities of at least 0", "every row is a distribution over the classes")
        total = np.asarray(np.sum(t, axis=-1, dtype=np.float64))
        wrong = np.abs(total - 1.0) > 1e-4 if t.dtype.kind == "f" else total != 1
        forbid(wrong, total, self, "rows of probabilities that sum to 1", "divide each row by its sum")

    def shape_hint(self, shape: tuple[int, ...], out_shape: tuple[int, ...]) -> str:
        return f", or integer labels of shape {(shape[0], *out_shape[:-1])}"

    def _float_labels(self, dtype: Any) -> str:
        return (
            f"{self!r} needs integer labels, or one row of class probabilities an example, got labels of dtype "
            f"{dtype}: convert them, t.astype('int64'), or use SquaredError() for regression"
        )

    def config(self) -> dict[str, Any]:
        return {"label_smoothing": self.label_smoothing}


def target_rows(xp: Any, y: Array, t: Array, smoothing: float, device: Any) -> tuple[Array, Any]:
    """(t, Σt) with one row of smoothed targets, (1 - s) t + s Σt / k, for each row of logits; labels sum to 1."""
    k, total = y.shape[-1], 1.0
    if t.ndim < y.ndim:
        narrow = str(t.dtype).endswith(("int8", "int16", "bool"))  # the numbers of many classes would wrap in them
        t = xp.astype(t, xp.int32) if narrow else t
        t = xp.astype(xp.expand_dims(t, axis=-1) == xp.arange(k, dtype=t.dtype, device=device), y.dtype)
    else:
        t = xp.astype(t, y.dtype) if t.dtype != y.dtype else t
        total = xp.sum(t, axis=-1, keepdims=True)
    return (1.0 - smoothing) * t + (smoothing / k) * total if smoothing else t, total


@overridable
def softmax_cross_entropy(
    xp: Any, z: Array, t: Array, smoothing: float, share: Any, device: Any
) -> tuple[Array, Array, Array, Any]:
    """(p, share (p Σt - t), -share Σ t log p, Σt) for each row of logits z, with p = softmax(z).

    `t` are labels or rows of targets, before smoothing; the last two results keep their axis, (n, 1).
    """
    t, total = target_rows(xp, z, t, smoothing, device)
    shifted = z - xp.max(z, axis=-1, keepdims=True)  # exp cannot overflow, and one term of the sum is 1
    e = xp.exp(shifted)
    norm = xp.sum(e, axis=-1, keepdims=True)
    p = e / norm
    slope = p - t if isinstance(total, float) else total * p - t
    return p, share * slope, share * xp.sum(t * (xp.log(norm) - shifted), axis=-1, keepdims=True), total


class CrossEntropyAt(LossAt):
    """Cross-entropy at one prediction; its Hessian is softmax's Jacobian times each example's share."""

    def __init__(self, rule: CrossEntropy, backend: Backend, y: Array, t: Array, weight: Array | None) -> None:
        self.backend, self.xp, self.y = backend, backend.xp, y
        self.share, self._target, self._smoothing = shares(backend.xp, y, weight), t, rule.label_smoothing
        self.p, self.gradient, self._entropies, self.total = softmax_cross_entropy(
            backend, y, t, rule.label_smoothing, self.share, backend.device
        )

    @cached_property
    def t(self) -> Array:
        """The targets as rows, smoothed."""
        return target_rows(self.xp, self.y, self._target, self._smoothing, self.backend.device)[0]

    @cached_property
    def value(self) -> Array:  # type: ignore[override]
        return self.xp.sum(self._entropies)

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

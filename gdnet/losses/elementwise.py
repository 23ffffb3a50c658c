"""Losses that are sums over the outputs: each is a row l, l', l'' by the prediction y.

Prediction and target have one shape (n, ...); the value is (1/N) Σₙ Σₖ l(yₙₖ, tₙₖ), a mean over examples of a sum over
outputs. torch (`reduction="mean"`) and Keras (its sum over the batch, and its mean over the last axis) also divide by
the number of outputs K: where a docstring says "theirs / K", theirs is this value divided by K.
"""

import math
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend
from gdnet.checks import check_fraction, check_real
from gdnet.losses.base import ElementwiseLoss, ElementwiseLossAt, LossAt, forbid
from gdnet.losses.metric import ACCURACY_OF_LOGITS, ACCURACY_OF_SIGNS, RMSE, RMSE_OF_RATES


class SquaredError(ElementwiseLoss, name="SquaredError"):
    """(1/N) Σₙ ||tₙ - yₙ||²: l = (y - t)², l' = 2 (y - t), l'' = 2.

    torch `MSELoss`, Keras `MeanSquaredError`: theirs / K.

    >>> import numpy as np
    >>> at = SquaredError()(np.asarray([[1.0, 2.0]]), np.asarray([[0.0, 0.0]]))
    >>> float(at.value), at.gradient.tolist()
    (5.0, [[2.0, 4.0]])
    """

    kernel = "SquaredError"
    metric = RMSE

    def l(self, xp: Any, y: Array, t: Array) -> Array:
        d = y - t
        return d * d

    def dl(self, xp: Any, y: Array, t: Array) -> Array:
        return 2.0 * (y - t)

    def d2l(self, xp: Any, y: Array, t: Array) -> Array:
        return xp.full_like(y, 2.0)

    def at(self, backend: Backend, y: Array, t: Array, weight: Array | None) -> LossAt:
        return SquaredErrorAt(self, backend, y, t, weight)


class SquaredErrorAt(ElementwiseLossAt):
    """r = √(2 share) (y - t)."""

    @property
    def residual(self) -> Array:  # type: ignore[override]
        return self.xp.sqrt(self._curvature) * (self.y - self.t)


class AbsoluteError(ElementwiseLoss, name="AbsoluteError"):
    """(1/N) Σₙ Σₖ |tₙₖ - yₙₖ|: l = |y - t|, l' = sign(y - t) (0 at the kink, as in torch), l'' = 0.

    torch `L1Loss`, Keras `MeanAbsoluteError`: theirs / K.

    >>> import numpy as np
    >>> at = AbsoluteError()(np.asarray([[1.0, -2.0]]), np.asarray([[0.0, 0.0]]))
    >>> float(at.value), at.gradient.tolist()
    (3.0, [[1.0, -1.0]])
    """

    kernel = "AbsoluteError"
    metric = RMSE

    def l(self, xp: Any, y: Array, t: Array) -> Array:
        return xp.abs(y - t)

    def dl(self, xp: Any, y: Array, t: Array) -> Array:
        return xp.sign(y - t)

    def d2l(self, xp: Any, y: Array, t: Array) -> Array:
        return xp.zeros_like(y)


class Huber(ElementwiseLoss, name="Huber"):
    """Quadratic near the target, linear far from it; d = y - t.

    |d| <= δ: l = ½ d², l' = d, l'' = 1;  |d| > δ: l = δ (|d| - ½ δ), l' = δ sign d, l'' = 0.

    torch `HuberLoss`, Keras `Huber`: theirs / K.

    Parameters
    ----------
    delta : float
        Where the line begins, in the target's units.

    Source: P. J. Huber, Ann. Math. Statist. 35 (1964) 73-101.

    >>> import numpy as np
    >>> at = Huber()(np.asarray([[0.5, -3.0]]), np.asarray([[0.0, 0.0]]))
    >>> float(at.value), at.gradient.tolist()
    (2.625, [[0.5, -1.0]])
    """

    kernel = "Huber"
    metric = RMSE

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = check_real("Huber: delta", delta, "positive and finite", lambda v: 0.0 < v < math.inf)

    def l(self, xp: Any, y: Array, t: Array) -> Array:
        a = xp.abs(y - t)
        near = xp.minimum(a, self.delta)  # a² of a far target could overflow
        return near * (a - 0.5 * near)

    def dl(self, xp: Any, y: Array, t: Array) -> Array:
        return xp.minimum(xp.maximum(y - t, -self.delta), self.delta)

    def d2l(self, xp: Any, y: Array, t: Array) -> Array:
        return xp.astype(xp.abs(y - t) <= self.delta, y.dtype)

    def config(self) -> dict[str, Any]:
        return {"delta": self.delta}


class LogCosh(ElementwiseLoss, name="LogCosh"):
    """(1/N) Σₙ Σₖ log cosh(yₙₖ - tₙₖ): with d = y - t, l' = tanh d, l'' = 1 - tanh² d.

    Keras `LogCosh`: theirs / K; torch has none.

    >>> import numpy as np
    >>> at = LogCosh()(np.asarray([[1e4]]), np.asarray([[0.0]]))
    >>> round(float(at.value), 6), at.gradient.tolist()
    (9999.306853, [[1.0]])
    """

    kernel = "LogCosh"
    metric = RMSE

    def l(self, xp: Any, y: Array, t: Array) -> Array:
        # Near 0, cosh d = 1 + 2 sinh²(d/2) keeps all digits of ½ d²; far from it, cosh d = e^|d| (1 + e^(-2|d|)) / 2.
        a = xp.abs(y - t)
        s = xp.sinh(0.5 * xp.minimum(a, 1.0))
        return xp.where(a < 1.0, xp.log1p(2.0 * s * s), a + xp.log1p(xp.exp(-2.0 * a)) - math.log(2.0))

    def dl(self, xp: Any, y: Array, t: Array) -> Array:
        return xp.tanh(y - t)

    def d2l(self, xp: Any, y: Array, t: Array) -> Array:
        e = xp.exp(-2.0 * xp.abs(y - t))  # 1 - tanh² d = 4 e / (1 + e)², without cancellation
        return 4.0 * e / ((1.0 + e) * (1.0 + e))


class BinaryCrossEntropy(ElementwiseLoss, name="BinaryCrossEntropy"):
    """-(1/N) Σₙ Σₖ [t log p + (1 - t) log(1 - p)] with p = σ(y); y are logits.

    l = max(y, 0) - t y + log(1 + e^(-|y|)), l' = σ(y) - t, l'' = σ(y) (1 - σ(y)).

    torch `BCEWithLogitsLoss`, Keras `BinaryCrossentropy(from_logits=True)`: theirs / K.

    Parameters
    ----------
    label_smoothing : float
        Between 0 and 1: the target becomes (1 - s) t + s / 2, as in Keras.

    Notes
    -----
    Targets lie in [0, 1]: labels 0 and 1, or probabilities.

    >>> import numpy as np
    >>> at = BinaryCrossEntropy()(np.asarray([[0.0], [1e4]]), np.asarray([[1], [1]]))
    >>> round(2 * float(at.value), 6), at.gradient.tolist()
    (0.693147, [[-0.25], [0.0]])
    """

    kernel = "BinaryCrossEntropy"
    metric = ACCURACY_OF_LOGITS

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = check_fraction("BinaryCrossEntropy: label_smoothing", label_smoothing)

    def _smooth(self, t: Array) -> Array:
        s = self.label_smoothing
        return (1.0 - s) * t + 0.5 * s if s else t

    def l(self, xp: Any, y: Array, t: Array) -> Array:
        return xp.maximum(y, 0.0) - self._smooth(t) * y + xp.log1p(xp.exp(-xp.abs(y)))

    def dl(self, xp: Any, y: Array, t: Array) -> Array:
        e = xp.exp(-xp.abs(y))  # never overflows
        return xp.where(y >= 0, 1.0, e) / (1.0 + e) - self._smooth(t)

    def d2l(self, xp: Any, y: Array, t: Array) -> Array:
        e = xp.exp(-xp.abs(y))
        return e / ((1.0 + e) * (1.0 + e))

    def check_values(self, t: np.ndarray, out_shape: tuple[int, ...]) -> None:
        forbid((t < 0) | (t > 1), t, self, "targets in [0, 1]", "labels are 0 and 1, or probabilities between them")

    def config(self) -> dict[str, Any]:
        return {"label_smoothing": self.label_smoothing}


class Hinge(ElementwiseLoss, name="Hinge"):
    """(1/N) Σₙ Σₖ max(0, 1 - t y) with targets -1 and 1: l' = -t where t y < 1, else 0; l'' = 0.

    Keras `Hinge`: theirs / K (and theirs turns targets 0 into -1); torch has none of this form.

    >>> import numpy as np
    >>> at = Hinge()(np.asarray([[0.5], [-3.0]]), np.asarray([[1], [-1]]))
    >>> float(at.value), at.gradient.tolist()
    (0.25, [[-0.5], [0.0]])
    """

    kernel = "Hinge"
    metric = ACCURACY_OF_SIGNS

    def l(self, xp: Any, y: Array, t: Array) -> Array:
        return xp.maximum(1.0 - t * y, 0.0)

    def dl(self, xp: Any, y: Array, t: Array) -> Array:
        return xp.where(t * y < 1.0, -t, xp.zeros_like(t))

    def d2l(self, xp: Any, y: Array, t: Array) -> Array:
        return xp.zeros_like(y)

    def check_values(self, t: np.ndarray, out_shape: tuple[int, ...]) -> None:
        forbid((t != 1) & (t != -1), t, self, "targets -1 and 1", "turn labels 0 and 1 into 2 * t - 1")


class Poisson(ElementwiseLoss, name="Poisson"):
    """(1/N) Σₙ Σₖ (e^y - t y): y is the log of the expected count, t the count; l' = e^y - t, l'' = e^y.

    torch `PoissonNLLLoss` (log_input=True, full=False): theirs / K. Keras `Poisson` takes the rate e^y: theirs / K.

    Notes
    -----
    Above y = 60, a rate of 10²⁶, the exponential goes on as its tangent: e⁶⁰ (1 + y - 60). So a step that overshoots
    gives a large but finite value and gradient in float32 as well.

    >>> import numpy as np
    >>> at = Poisson()(np.asarray([[0.0]]), np.asarray([[3]]))
    >>> float(at.value), at.gradient.tolist()
    (1.0, [[-2.0]])
    """

    kernel = "Poisson"
    metric = RMSE_OF_RATES

    _LINEAR_FROM = 60.0

    def l(self, xp: Any, y: Array, t: Array) -> Array:
        low = xp.minimum(y, self._LINEAR_FROM)
        rate = xp.exp(low)
        return rate - t * low + (rate - t) * (y - low)  # no difference of two infinite numbers, however large y

    def dl(self, xp: Any, y: Array, t: Array) -> Array:
        return xp.exp(xp.minimum(y, self._LINEAR_FROM)) - t

    def d2l(self, xp: Any, y: Array, t: Array) -> Array:
        low = xp.minimum(y, self._LINEAR_FROM)
        return xp.where(y <= self._LINEAR_FROM, xp.exp(low), xp.zeros_like(y))

    def check_values(self, t: np.ndarray, out_shape: tuple[int, ...]) -> None:
        forbid(t < 0, t, self, "targets of at least 0", "targets are counts")

"""Losses that are sums over the outputs: each is a row l, l', l'' by the prediction y."""

from typing import Any

from gdnet.backend import Array, Backend
from gdnet.losses.base import ElementwiseLoss, ElementwiseLossAt, LossAt


class SquaredError(ElementwiseLoss):
    """(1/N) Σₙ ||tₙ - yₙ||²: l = (y - t)², l' = 2 (y - t), l'' = 2.

    torch's `MSELoss` and Keras's `MeanSquaredError` also divide by the number of outputs K: theirs is this value / K.

    >>> import numpy as np
    >>> at = SquaredError()(np.asarray([[1.0, 2.0]]), np.asarray([[0.0, 0.0]]))
    >>> float(at.value), at.gradient.tolist()
    (5.0, [[2.0, 4.0]])
    """

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

"""The contract of a loss: (prediction, target) -> value, gradient, Hessian map and its square root.

    at = loss(prediction, target, sample_weight=None)
    at.value        the weighted mean over examples of the sum over outputs: a scalar on the device
    at.gradient     ∂value/∂prediction
    at.hessian      the Map v -> H v over arrays of the prediction's shape
    at.root         a Map R with Rᵀ R = H where H is positive semidefinite: what Levenberg-Marquardt multiplies J with
    at.residual     r with value = ½ Σ r² and root = ∂r/∂prediction, for losses that are sums of squares, else None

Weights: an example's share is wₙ / Σ w, so weight 2 counts as the example given twice.
"""

from functools import cached_property
from typing import Any

from gdnet.backend import Array, Backend, backend_of
from gdnet.errors import ShapeError
from gdnet.maps import Map, symmetric


class LossAt:
    """A loss at one prediction and target. `share` is each example's part of the mean, ready to broadcast."""

    value: Array
    gradient: Array
    hessian: Map
    root: Map
    residual: Array | None = None


class Loss:
    """Base class of all losses."""

    def at(self, backend: Backend, y: Array, t: Array, weight: Array | None) -> LossAt:
        """The loss at prediction `y`, without checks; inside a training step nothing is read on the host."""
        raise NotImplementedError(f"{type(self).__name__} has no rule")

    def target_shape(self, out_shape: tuple[int, ...], target_ndim: int) -> tuple[int, ...]:
        """The shape that a target of this many axes must have, without the axis of examples."""
        return out_shape

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, of JSON types."""
        return {}

    def __call__(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> LossAt:
        """The loss at a prediction, after a check of shapes.

        Raises
        ------
        ShapeError
            If prediction, target and weights do not fit together.
        """
        arrays = [prediction, target] if sample_weight is None else [prediction, target, sample_weight]
        backend = backend_of(*arrays, names=("prediction", "target", "sample_weight"))
        expected = (prediction.shape[0], *self.target_shape(tuple(prediction.shape[1:]), target.ndim))
        if tuple(target.shape) != expected:
            raise ShapeError(
                f"{self!r}: a prediction of shape {tuple(prediction.shape)} needs a target of shape {expected}, "
                f"got {tuple(target.shape)}"
            )
        if sample_weight is not None and tuple(sample_weight.shape) != (prediction.shape[0],):
            raise ShapeError(
                f"sample_weight must have shape ({prediction.shape[0]},), got {tuple(sample_weight.shape)}"
            )
        return self.at(backend, prediction, target, sample_weight)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config().items())})"


def shares(xp: Any, y: Array, weight: Array | None) -> Array | float:
    """wₙ / Σ w with axes to broadcast against y, or 1 / N."""
    if weight is None:
        return 1.0 / y.shape[0]
    weight = xp.astype(weight, y.dtype)
    return xp.reshape(weight / xp.sum(weight), (y.shape[0], *([1] * (y.ndim - 1))))


class ElementwiseLoss(Loss):
    """A loss that sums l(y, t) over the outputs. Subclasses give the row l, l', l'' by y."""

    def l(self, xp: Any, y: Array, t: Array) -> Array:
        raise NotImplementedError

    def dl(self, xp: Any, y: Array, t: Array) -> Array:
        raise NotImplementedError

    def d2l(self, xp: Any, y: Array, t: Array) -> Array:
        raise NotImplementedError

    def at(self, backend: Backend, y: Array, t: Array, weight: Array | None) -> LossAt:
        return ElementwiseLossAt(self, backend, y, t, weight)


class ElementwiseLossAt(LossAt):
    """Every derivative of an elementwise loss is a diagonal."""

    def __init__(self, rule: ElementwiseLoss, backend: Backend, y: Array, t: Array, weight: Array | None) -> None:
        self.rule, self.backend, self.xp = rule, backend, backend.xp
        self.y, self.t = y, t if t.dtype == y.dtype else backend.xp.astype(t, y.dtype)
        self.share = shares(backend.xp, y, weight)

    @cached_property
    def value(self) -> Array:  # type: ignore[override]
        return self.xp.sum(self.share * self.rule.l(self.xp, self.y, self.t))

    @cached_property
    def gradient(self) -> Array:  # type: ignore[override]
        return self.share * self.rule.dl(self.xp, self.y, self.t)

    @cached_property
    def _curvature(self) -> Array:
        return self.share * self.rule.d2l(self.xp, self.y, self.t)

    @property
    def hessian(self) -> Map:  # type: ignore[override]
        h = self._curvature
        return symmetric(self.backend, tuple(self.y.shape), self.y.dtype, lambda v: h * v, "diagonal", "psd")

    @property
    def root(self) -> Map:  # type: ignore[override]
        r = self.xp.sqrt(self._curvature)
        return symmetric(self.backend, tuple(self.y.shape), self.y.dtype, lambda v: r * v, "diagonal")

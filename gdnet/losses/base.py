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
from typing import Any, ClassVar

import numpy as np

from gdnet.backend import Array, Backend, backend_of
from gdnet.errors import DataError, ShapeError
from gdnet.layers.configured import Configured
from gdnet.maps import Map, symmetric


class LossAt:
    """A loss at one prediction and target: what `loss(prediction, target)` returns.

    Attributes
    ----------
    value : scalar
    gradient : like the prediction
    hessian : Map
        Symmetric.
    root : Map
        R with Rᵀ R = `hessian`.
    residual : array or None
        r with value = ½ Σ r², where the loss is a sum of squares.

    A loss of your own fills in those that are asked for: first-order methods read value and gradient alone.

    >>> import numpy as np
    >>> from gdnet.losses import SquaredError
    >>> at = SquaredError()(np.asarray([[3.0]]), np.asarray([[1.0]]))
    >>> float(at.value), at.gradient.tolist(), at.hessian.dense().tolist(), at.residual.round(6).tolist()
    (4.0, [[4.0]], [[2.0]], [[2.828427]])
    """

    value: Array
    gradient: Array
    hessian: Map
    root: Map
    residual: Array | None = None


class Loss(Configured):
    """Base class of all losses: the weighted mean over examples of the sum over outputs, Σₙ (wₙ / Σ w) Σₖ l(yₙₖ, tₙₖ).

    `loss(prediction, target, sample_weight=None)` gives a `LossAt` with `value`, `gradient`, `hessian`, `root` and
    `residual`. Prediction (n, ...); target the same, or what `target_shape` says; weights (n,), by default all equal.
    A loss of your own writes `at`, or is an `ElementwiseLoss`. Losses of one class made with equal arguments are equal,
    and `spec()` describes one for a file.

    Raises
    ------
    ShapeError
        When it is called with shapes that do not fit together.

    >>> import numpy as np
    >>> from gdnet.losses import SquaredError
    >>> at = SquaredError()(np.asarray([[1.0], [3.0]]), np.zeros((2, 1)), sample_weight=np.asarray([3.0, 1.0]))
    >>> float(at.value), at.gradient.tolist()
    (3.0, [[1.5], [1.5]])
    """

    known: ClassVar[dict[str, type["Loss"]]] = {}
    """Every class of losses by the name that stands for it in a file."""
    family = "loss"
    mixes_examples = False
    """Whether the value is not the mean of values that each example has alone."""
    metric: ClassVar[tuple[Any, ...] | None] = None
    """What `Model.evaluate` reports beside the loss: a `Metric`, or a pair (name, rule); None for the loss alone."""

    def at(self, backend: Backend, y: Array, t: Array, weight: Array | None) -> LossAt:
        """The loss at prediction `y`, without checks; inside a training step nothing is read on the host."""
        raise NotImplementedError(f"{type(self).__name__} has no rule")

    def target_shape(self, out_shape: tuple[int, ...], target_ndim: int) -> tuple[int, ...]:
        """The shape that a target of this many axes must have, without the axis of examples."""
        return out_shape

    def __call__(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> LossAt:
        """The loss at a prediction, after a check of shapes.

        Raises
        ------
        ShapeError
            If prediction, target and weights do not fit together.
        """
        arrays = [prediction, target] if sample_weight is None else [prediction, target, sample_weight]
        backend = backend_of(*arrays, names=("prediction", "target", "sample_weight"))
        if prediction.ndim == 0 or prediction.shape[0] == 0:
            raise ShapeError(f"a prediction needs at least one example on axis 0, got shape {tuple(prediction.shape)}")
        self.check_shape(tuple(target.shape), tuple(prediction.shape[1:]), prediction.shape[0])
        if sample_weight is not None and tuple(sample_weight.shape) != (prediction.shape[0],):
            raise ShapeError(
                f"sample_weight must have shape ({prediction.shape[0]},), got {tuple(sample_weight.shape)}"
            )
        return self.at(backend, prediction, target, sample_weight)

    # -- what the public edge checks, once, on host data ---------------------------------------------------------------

    def check_target(self, t: np.ndarray, out_shape: tuple[int, ...]) -> None:
        """An error if these targets (on the host, all examples) cannot be those of outputs of this shape.

        Raises
        ------
        ShapeError
            If the shape does not fit; the message tells how to reshape.
        DataError
            If they are empty, not numbers, not finite, or outside the loss's domain.

        >>> import numpy as np
        >>> from gdnet.losses import SquaredError
        >>> try:
        ...     SquaredError().check_target(np.ones(3), (1,))
        ... except ShapeError as error:
        ...     print(error)
        SquaredError() with outputs of shape (1,) needs targets of shape (3, 1), got (3,): reshape them, t.reshape(3, 1)
        """
        t = np.asarray(t)
        if t.ndim == 0 or t.shape[0] == 0:
            raise DataError(f"targets must hold at least one example, got shape {t.shape}")
        if t.dtype.kind not in "biuf":
            raise DataError(f"targets must be numbers, got dtype {t.dtype}: encode classes as 0, 1, 2, ...")
        self.check_shape(t.shape, tuple(out_shape), t.shape[0])
        if t.dtype.kind == "f":
            forbid(~np.isfinite(t), t, self, "finite targets", "remove or fill such examples")
        self.check_values(t, tuple(out_shape))

    def check_values(self, t: np.ndarray, out_shape: tuple[int, ...]) -> None:
        """A `DataError` if finite targets of the right shape lie outside the loss's domain."""

    def check_shape(self, shape: tuple[int, ...], out_shape: tuple[int, ...], n: int) -> None:
        """A `ShapeError` if targets of this shape do not fit n outputs of that one."""
        expected = (n, *self.target_shape(out_shape, len(shape)))
        if shape == expected:
            return
        same = np.prod(shape) == np.prod(expected)
        raise ShapeError(
            f"{self!r} with outputs of shape {out_shape} needs targets of shape {expected}, got {shape}"
            + (f": reshape them, t.reshape{expected}" if same else self.shape_hint(shape, out_shape))
        )

    def shape_hint(self, shape: tuple[int, ...], out_shape: tuple[int, ...]) -> str:
        """What to do about targets of the wrong shape, to end the message with."""
        return ""


def forbid(bad: np.ndarray, t: np.ndarray, loss: Loss, wanted: str, remedy: str) -> None:
    """A `DataError` that names the first of the bad targets, if there is one."""
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        where = index[0] if len(index) == 1 else index
        raise DataError(f"{loss!r} needs {wanted}, got {t[index]} at index {where}: {remedy}")


def shares(xp: Any, y: Array, weight: Array | None) -> Array | float:
    """wₙ / Σ w with axes to broadcast against y, or 1 / N. A batch whose weights are all 0 has shares of 0."""
    if weight is None:
        return 1.0 / y.shape[0]
    weight = xp.astype(weight, y.dtype)
    return xp.reshape(weight / xp.maximum(xp.sum(weight), 1e-30), (y.shape[0], *([1] * (y.ndim - 1))))


class ElementwiseLoss(Loss):
    """A loss that sums l(y, t) over the outputs. Subclasses give the row l, l', l'' by y, with l'' >= 0.

    >>> import numpy as np
    >>> class Quartic(ElementwiseLoss):
    ...     def l(self, xp, y, t):
    ...         return (y - t) ** 4
    ...     def dl(self, xp, y, t):
    ...         return 4.0 * (y - t) ** 3
    ...     def d2l(self, xp, y, t):
    ...         return 12.0 * (y - t) ** 2
    >>> float(Quartic()(np.asarray([[2.0]]), np.asarray([[0.0]])).value)
    16.0
    """

    kernel = ""
    """Where a backend's `kernels` has this name, it is called as `kernel(backend, y, t, share, **config)` and gives
    (share l, share l') in one pass over memory. It is not inherited: a subclass may have another rule."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kernel = vars(cls).get("kernel", "")

    def l(self, xp: Any, y: Array, t: Array) -> Array:
        """The loss of each output."""
        raise NotImplementedError(f"{type(self).__name__} has no rule l: an ElementwiseLoss states l, dl and d2l")

    def dl(self, xp: Any, y: Array, t: Array) -> Array:
        """∂l/∂y."""
        raise NotImplementedError(f"{type(self).__name__} has no rule dl: an ElementwiseLoss states l, dl and d2l")

    def d2l(self, xp: Any, y: Array, t: Array) -> Array:
        """∂²l/∂y²."""
        raise NotImplementedError(f"{type(self).__name__} has no rule d2l: an ElementwiseLoss states l, dl and d2l")

    def at(self, backend: Backend, y: Array, t: Array, weight: Array | None) -> LossAt:
        return ElementwiseLossAt(self, backend, y, t, weight)


class ElementwiseLossAt(LossAt):
    """Every derivative of an elementwise loss is a diagonal: each example's share times l', l'', √l''."""

    def __init__(self, rule: ElementwiseLoss, backend: Backend, y: Array, t: Array, weight: Array | None) -> None:
        self.rule, self.backend, self.xp = rule, backend, backend.xp
        self.y, self.t = y, t if t.dtype == y.dtype else backend.xp.astype(t, y.dtype)
        self.share = shares(backend.xp, y, weight)

    @cached_property
    def _fused(self) -> tuple[Array, Array] | None:
        kernel = self.backend.kernels.get(self.rule.kernel)
        return None if kernel is None else kernel(self.backend, self.y, self.t, self.share, **self.rule.config())

    @cached_property
    def value(self) -> Array:  # type: ignore[override]
        return self.xp.sum(self._fused[0] if self._fused else self.share * self.rule.l(self.xp, self.y, self.t))

    @cached_property
    def gradient(self) -> Array:  # type: ignore[override]
        return self._fused[1] if self._fused else self.share * self.rule.dl(self.xp, self.y, self.t)

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
        return symmetric(self.backend, tuple(self.y.shape), self.y.dtype, lambda v: r * v, "diagonal", "psd")

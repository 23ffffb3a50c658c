"""The objective answers, the optimizer asks: value and derivatives of loss(net(theta, x), t) by theta."""

from functools import cached_property
from typing import Any

from gdnet.backend import Array, Backend, Key
from gdnet.layers import Context
from gdnet.losses import Loss
from gdnet.maps import Map, symmetric
from gdnet.network.composite import Network
from gdnet.network.curvature import GaussNewton, PredictionJacobian, RootJacobian, given, working_size
from gdnet.vector import Layout


class Objective:
    """J(theta) = loss(net(theta, x), t): one batch of data, any vector of parameters.

    `objective(theta)` returns an `Evaluation`, which computes what is asked for and keeps it. Nothing is read on the
    host, so the whole of it may be traced or captured.

    Parameters
    ----------
    net, loss : Network, Loss
    x, t : (N, ...)
        The batch, on the backend's device.
    sample_weight : (N,), optional
    backend, layout
        The library at hand, and which part of theta (P,) is which parameter.
    training, key
        Whether layers such as `Dropout` are active, and their random numbers.

    >>> import gdnet as gd
    >>> import numpy as np
    >>> net, x, t = gd.Sequential(gd.Dense(2, 1)), np.asarray([[3.0, 4.0]]), np.asarray([[0.0]])
    >>> J = Objective(net, gd.SquaredError(), x, t, backend=gd.get_backend("cpu"), layout=net.layout())
    >>> at = J(np.asarray([1.0, 2.0, 0.0]))  # W and b
    >>> float(at.value), at.gradient.tolist()
    (121.0, [66.0, 88.0, 22.0])
    """

    def __init__(
        self,
        net: Network,
        loss: Loss,
        x: Array,
        t: Array,
        sample_weight: Array | None = None,
        *,
        backend: Backend,
        layout: Layout,
        training: bool = False,
        key: Key | None = None,
    ) -> None:
        self.net, self.loss, self.backend, self.layout = net, loss, backend, layout
        self.x, self.t, self.sample_weight = x, t, sample_weight
        self.context = Context(backend, training, key, need_dx=False)
        self.stochastic, self.mixed = training and net.stochastic, net.mixes_examples

    def __call__(self, theta: Array) -> "Evaluation":
        return Evaluation(self, theta)


class Evaluation:
    """The objective at one `theta`.

    Attributes
    ----------
    value : scalar
    gradient : (P,)
    prediction : (N, ...)
    residual : (M,)
        r with value = ½ ||r||², for losses that are sums of squares; else None.
    jacobian : PredictionJacobian, a Map (P,) -> (N, ...)
        Of the prediction by theta; also `gram()`, `normal()` and `normal_diagonal()`: J Jᵀ, JᵀJ and its diagonal.
    root_jacobian : RootJacobian, a Map (P,) -> (M,)
        A with Aᵀ A = gauss_newton, with the same forms.
    gauss_newton : GaussNewton, a Map (P,) -> (P,)
        Jᵀ H J with the loss's Hessian H: positive semidefinite for convex losses; `diagonal()` without rows.
    hessian : Map (P,) -> (P,)
        The whole second derivative: the Gauss-Newton part and the curvature of the network.
    input_jacobian : Map (N, ...) -> (N, ...)
        Of the prediction by x; `blocks()` gives one matrix an example, where no layer mixes examples.

    >>> import gdnet as gd
    >>> import numpy as np
    >>> model = gd.Model(gd.Sequential(gd.Dense(2, 1)), loss=gd.SquaredError(), dtype="float64")
    >>> at = model.objective(np.asarray([[3.0, 4.0]]), np.asarray([[0.0]]))(np.asarray([1.0, 2.0, 0.0]))
    >>> at.prediction, at.hessian(np.asarray([0.0, 0.0, 1.0]))
    (array([[11.]]), array([6., 8., 2.]))
    """

    def __init__(self, objective: Objective, theta: Array) -> None:
        self.objective, self.theta = objective, theta

    @cached_property
    def _forward(self) -> tuple[Array, Any]:
        o = self.objective
        return o.net.forward(o.layout.split(self.theta, o.backend.xp), o.x, o.context)

    @cached_property
    def _loss(self) -> Any:
        o = self.objective
        return o.loss.at(o.backend, self.prediction, o.t, o.sample_weight)

    @property
    def prediction(self) -> Array:
        return self._forward[0]

    @property
    def value(self) -> Array:
        return self._loss.value

    @cached_property
    def gradient(self) -> Array:
        return self._pull(self._loss.gradient)

    def _pull(self, dy: Array) -> Array:
        """Jᵀ dy as one vector: written window by window where the library allows it, else joined."""
        o, J = self.objective, self._forward[1]
        xp = o.backend.xp
        if o.backend.mutable and dy.ndim == self.prediction.ndim:
            gradient = xp.empty_like(self.theta)
            J.vjp_into(dy, o.layout.split(gradient, xp))
            return gradient
        return o.layout.join(J.vjp(dy)[0], o.backend)

    @property
    def residual(self) -> Array | None:
        r = self._loss.residual
        return None if r is None else self.objective.backend.xp.reshape(r, (-1,))

    @property
    def jacobian(self) -> PredictionJacobian:
        return PredictionJacobian(self)

    @cached_property
    def root_jacobian(self) -> RootJacobian:
        """A with Aᵀ A = gauss_newton, for Levenberg-Marquardt: products, rows, A Aᵀ without A."""
        return RootJacobian(self)

    @property
    def gauss_newton(self) -> GaussNewton:
        return GaussNewton(self)

    @property
    def hessian(self) -> Map:
        """H v = Jᵀ H_loss J v, the Gauss-Newton part, plus the curvature of every layer times the loss's gradient."""
        o, J = self.objective, self._forward[1]
        xp = o.backend.xp
        gy, H = self._loss.gradient, given(self, "hessian")

        def product(v: Array) -> Array:
            dparams, _ = J.hvp(o.layout.split(v, xp), None, gy, H)
            return o.layout.join(dparams, o.backend)

        work = working_size(J, o.layout.size)
        return symmetric(o.backend, (o.layout.size,), self.theta.dtype, product, work=work)

    @cached_property
    def _forward_with_x(self) -> tuple[Array, Any]:
        """As `_forward`, for those who ask for derivatives by x too."""
        o = self.objective
        context = Context(o.backend, o.context.training, o.context.key, need_dx=True)
        return o.net.forward(o.layout.split(self.theta, o.backend.xp), o.x, context)

    @property
    def input_jacobian(self) -> Map:
        o, (y, J) = self.objective, self._forward_with_x
        return Map(
            o.backend, tuple(o.x.shape), tuple(y.shape), self.theta.dtype, lambda v: J.jvp({}, v), J.vjp_x,
            set() if o.mixed else {"per_example"}, working_size(J, 0),
        )  # fmt: skip

    def rows(self) -> Array:
        """The gradients of each example's share of the loss: (N, P); their sum is the gradient."""
        o, J = self.objective, self._forward[1]
        found = J.rows(o.backend.xp.expand_dims(self._loss.gradient, axis=0))
        return o.layout.join(found, o.backend)[0, ...]

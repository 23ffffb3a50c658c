"""An objective of gdnet, and constraints on a network's outputs, as functions for the interior point method."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend
from gdnet.derivatives import numerical_jacobian
from gdnet.errors import DataError, OptionError, ShapeError
from gdnet.optimizers.constrained.constraints import Constraint

DENSE_LIMIT = 2000
"""Above so many parameters "auto" approximates the Hessian by BFGS instead of making it dense."""


def jacobian_by_differences(f: Callable[[Array], Array], x: Array, backend: Backend) -> Array:
    """(*f(x).shape, *x.shape) by central differences; NaN where f is not finite near x."""
    try:
        return numerical_jacobian(f, x)
    except DataError:
        return backend.xp.full((*f(x).shape, *x.shape), np.nan, dtype=x.dtype, device=backend.device)


def vector(backend: Backend, found: Any) -> Array:
    """What a constraint function returned, as a vector."""
    return backend.xp.reshape(backend.xp.asarray(found), (-1,))


class Kept:
    """Evaluations at the last few vectors, so that value, gradient and Hessian share one forward pass."""

    def __init__(self, objective: Any, backend: Backend) -> None:
        self.objective, self.backend = objective, backend
        self.last: dict[bytes, Any] = {}

    def __call__(self, theta: Array) -> Any:
        key = self.backend.to_numpy(theta).tobytes()
        if key not in self.last:
            while len(self.last) >= 3:
                self.last.pop(next(iter(self.last)))
            self.last[key] = self.objective(theta)
        return self.last[key]


class ObjectiveFunctions:
    """`fun`, `jac` and `hess` of anything that evaluates itself at a vector; None where only differences would answer.

    Differences are then taken by the method itself, which knows the bounds.
    """

    def __init__(self, objective: Any, backend: Backend, dtype: str, curvature: str) -> None:
        self.source, self.backend, self.dtype = objective, backend, dtype
        self.at = Kept(objective, backend)
        user = hasattr(objective, "gradient_formula")  # a plain function of the user's
        exact = not user or objective.both or callable(objective.jac) or callable(objective.jacobian)
        self.jac: Callable | None = (lambda x: self.at(x).gradient) if exact else None
        self.hess = self._hess(curvature, user)
        self.convex: Callable | None = None
        if not user and curvature in ("auto", "gauss_newton"):
            self.convex = lambda x: self.at(x).gauss_newton.dense()
        self.mode = "bfgs" if curvature == "bfgs" else "auto" if curvature == "auto" else "exact"

    def fun(self, x: Array) -> Any:
        return self.at(x).value

    def _hess(self, curvature: str, user: bool) -> Callable | None:
        o = self.source
        if curvature == "gauss_newton":
            return lambda x: self.at(x).gauss_newton.dense()
        if user:
            return (lambda x: self.at(x).hessian.dense()) if o.hess is not None or o.hessp is not None else None
        small = getattr(getattr(o, "layout", None), "size", 0) <= DENSE_LIMIT
        if curvature == "bfgs" or not small:
            return None
        return self._network_hessian

    def _network_hessian(self, x: Array) -> Any:
        """The exact Hessian where the evaluation has one, else differences of its gradient."""
        found = getattr(self.at(x), "hessian", None)
        if found is not None:
            return found.dense()
        H = jacobian_by_differences(lambda v: self.source(v).gradient, x, self.backend)
        return 0.5 * (H + self.backend.xp.matrix_transpose(H))

    def bind(self, constraints: list[Any]) -> list[Any]:
        """Constraints on outputs become constraints on parameters."""
        return [c.bound_to(self.source, self.backend, self.dtype) if hasattr(c, "bound_to") else c for c in constraints]


@dataclass(frozen=True)
class OutputConstraint:
    """A constraint on what a network puts out, for `InteriorPoint(g_le=...)` or `h_eq=...`.

    c(θ) = fun(y),  y = network(θ, x);  its Jacobian by θ is fun'(y) ∂y/∂θ.

    Parameters
    ----------
    fun : y -> (m,)
        Of the outputs, of shape (N, ...), in the array library of the data.
    jac : y -> (m, N, ...), optional
        Numerical where it is None, which suits few outputs only.
    x : array, optional
        The inputs at which it must hold; the training inputs by default.

    >>> conserved = OutputConstraint(lambda y: y[:, 0] + y[:, 1] - 1.0)      # y_0 + y_1 = 1 at every training input
    """

    fun: Callable[[Any], Any]
    jac: Callable[[Any], Any] | None = None
    x: Any = None

    def bound_to(self, objective: Any, backend: Backend, dtype: str) -> Constraint:
        """The same constraint as a function of the parameters of this objective's network."""
        if not (hasattr(objective, "net") and hasattr(objective, "x")):
            raise OptionError("OutputConstraint needs a network: use it with Model.fit, not with a plain function")
        there = copy.copy(objective)
        if self.x is not None:
            there.x = self.x
        at = Kept(there, backend)

        def slopes(y: Array) -> np.ndarray:
            """(m, outputs): the Jacobian of fun."""
            if self.jac is not None:
                J = np.asarray(backend.to_numpy(self.jac(y)), dtype=np.float64)
                return J.reshape(J.shape[0], -1)
            found = jacobian_by_differences(lambda v: vector(backend, self.fun(v)), y, backend)
            J = np.asarray(backend.to_numpy(found), dtype=np.float64)
            return J.reshape(J.shape[0], -1)

        def value(theta: Array) -> Any:
            found = self.fun(at(theta).prediction)
            if found.ndim > 1:
                raise ShapeError(f"OutputConstraint: fun must return a vector, got shape {tuple(found.shape)}")
            return found

        def jacobian(theta: Array) -> Any:
            e = at(theta)
            S = slopes(e.prediction)
            cotangents = backend.asarray(S.reshape(S.shape[0], *e.prediction.shape), dtype)
            return e.jacobian.T(cotangents)

        def hessian(theta: Array, weights: Array) -> np.ndarray:
            weight = np.asarray(backend.to_numpy(weights), dtype=np.float64)

            def pull(v: Array) -> Array:
                e = there(v)
                S = (weight @ slopes(e.prediction)).reshape(e.prediction.shape)
                return e.jacobian.T(backend.asarray(S, dtype))

            H = np.asarray(backend.to_numpy(jacobian_by_differences(pull, theta, backend)), dtype=np.float64)
            return 0.5 * (H + H.T)

        return Constraint(value, jacobian, hessian)


def output_bounds(lower: Any = None, upper: Any = None, x: Any = None) -> OutputConstraint:
    """lower <= y <= upper for every output at the inputs `x`, to be given as `g_le=`.

    g = (y - upper, lower - y).

    >>> import numpy as np
    >>> output_bounds(lower=0.0, upper=1.0).fun(np.array([[0.25]])).tolist()
    [-0.75, -0.25]
    """
    if lower is None and upper is None:
        raise OptionError("output_bounds needs lower, upper or both")

    def parts(y: Array) -> tuple[Any, list[Array]]:
        from gdnet.backend import backend_of

        xp = backend_of(y).xp
        found = ([] if upper is None else [y - upper]) + ([] if lower is None else [lower - y])
        return xp, [xp.reshape(part, (-1,)) for part in found]

    def fun(y: Array) -> Array:
        xp, found = parts(y)
        return xp.concat(found)

    def jac(y: Array) -> Array:
        from gdnet.backend import backend_of

        backend = backend_of(y)
        size = int(np.prod(y.shape))
        eye = np.eye(size)
        rows = ([] if upper is None else [eye]) + ([] if lower is None else [-eye])
        return backend.asarray(np.concatenate(rows).reshape(-1, *y.shape))

    return OutputConstraint(fun, jac, x)

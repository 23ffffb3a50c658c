"""A plain function of a vector as an objective: counted, checked, with missing derivatives by differences."""

import contextlib
import math
import numbers
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, backend_of
from gdnet.derivatives import numerical_jacobian
from gdnet.derivatives.steps import typical
from gdnet.errors import ArrayError, DataError, OptionError, ShapeError
from gdnet.maps import Map, symmetric
from gdnet.maps.solve import Matrix
from gdnet.optimizers.point import half_square
from gdnet.optimizers.scipy_api.differences import Differences

METHODS = {
    "2-point": "forward", "3-point": "central", "forward": "forward", "central": "central", "staged": "staged",
}  # fmt: skip
"""Names of difference formulas: SciPy's and gdnet's."""


class FunctionObjective:
    """J(x) = fun(x, *args), or J(x) = ½ ||residual(x, *args)||², on arrays of any library.

    `objective(x)` gives a `FunctionEvaluation` which computes what is asked for, once, and keeps it. `nfev`, `njev` and
    `nhev` count the calls of the user's functions, those made by difference formulas among them.

    Parameters
    ----------
    fun : x -> scalar
        Or None where `residual` is given.
    jac : x -> (n,), True, or a difference formula
        The gradient. True: `fun` returns (value, gradient). By differences: "2-point", "3-point" (the default), or
        "staged", forward ones until a solver asks for central ones (`refined`).
    hess : x -> (n, n) array or `Map`
    hessp : (x, v) -> (n,)
        The Hessian times v. Without either, products are differences of the gradient.
    residual : x -> (M,)
    jacobian : x -> (M, n) array or `Map`, or a difference formula
        Of the residual.
    args : tuple
        Handed to each of them after x.

    Raises
    ------
    ShapeError, ArrayError
        At the first evaluation for which a function returns something of the wrong shape or kind.

    >>> import numpy as np
    >>> f = FunctionObjective(lambda x: float(x @ x), lambda x: 2 * x)
    >>> at = f(np.array([1.0, 2.0]))
    >>> at.value, at.gradient, f.nfev
    (5.0, array([2., 4.]), 1)
    """

    stochastic = False

    def __init__(
        self,
        fun: Callable | None = None,
        jac: Any = None,
        hess: Any = None,
        hessp: Callable | None = None,
        *,
        residual: Callable | None = None,
        jacobian: Any = None,
        args: tuple = (),
    ) -> None:
        if (fun is None) == (residual is None):
            raise OptionError("give one of fun (returns a scalar) and residual (returns a vector)")
        self.args = args if isinstance(args, tuple) else (args,)
        self.fun, self.residual = fun, residual
        self.both = jac is True
        self.jac, self.gradient_formula = _callable_or_formula(None if jac is True else jac, "jac")
        self.differences = Differences(self.gradient_formula)
        self.jacobian, self.jacobian_formula = _callable_or_formula(jacobian, "jacobian")
        self.hess, _ = _callable_or_formula(hess, "hess")
        self.hessp = hessp
        self.nfev = self.njev = self.nhev = 0

    def __call__(self, theta: Array) -> "FunctionEvaluation":
        return FunctionEvaluation(self, theta)


class FunctionEvaluation:
    """The objective at one x: `value`, `gradient`, `hessian`, `residual`, `jacobian`, `gauss_newton`."""

    def __init__(self, objective: FunctionObjective, x: Array) -> None:
        self.objective, self.theta = objective, x

    @cached_property
    def _backend(self) -> Backend:
        return backend_of(self.theta, names=("x",))

    def _own(self, array: Array) -> Array:
        """A copy where arrays can be written to: the user's function may do so with x, and use its result again."""
        return 1.0 * array if self._backend.mutable else array

    @cached_property
    def _call(self) -> Any:
        o = self.objective
        assert o.fun is not None
        o.nfev += 1
        found = o.fun(self._own(self.theta), *o.args)
        if o.both:
            if not (isinstance(found, (tuple, list)) and len(found) == 2):
                raise ShapeError(f"with jac=True, fun must return (value, gradient), got {type(found).__name__}")
            o.njev += 1
            return found[0], self._own(_vector(self._backend, found[1], self.theta, "jac"))
        return found

    @cached_property
    def value(self) -> Any:
        """The function: a Python number or an array of shape ()."""
        if self.objective.fun is not None:
            return _scalar(self._call[0] if self.objective.both else self._call)
        r: Array = self.residual
        return half_square(self._backend.xp, r)

    @cached_property
    def gradient(self) -> Array:
        o, backend = self.objective, self._backend
        if o.fun is None:
            return self.jacobian.T(self.residual)
        if o.both:
            return self._call[1]
        if o.jac is not None:
            o.njev += 1
            return self._own(_vector(backend, o.jac(self._own(self.theta), *o.args), self.theta, "jac"))
        o.njev += 1
        found, self.gradient_error = o.differences(lambda x: o(x).value, self.value, self.theta)
        return found

    gradient_error: Any = None
    """The rounding errors of a gradient that was found by differences, (n,); else None."""

    def refined(self) -> "FunctionEvaluation | None":
        """The same point with a more accurate gradient, or None where there is none."""
        o = self.objective
        if o.fun is None or o.both or o.jac is not None or not o.differences.refine():
            return None
        finer = FunctionEvaluation(o, self.theta)
        finer.__dict__["_call"] = self._call
        return finer

    @cached_property
    def residual(self) -> Array | None:
        """r with value = ½ ||r||², or None where the objective is a scalar function."""
        o = self.objective
        if o.residual is None:
            return None
        o.nfev += 1
        r = self._own(_real(self._backend, o.residual(self._own(self.theta), *o.args), self.theta, "fun"))
        if r.ndim == 0:
            r = self._backend.xp.reshape(r, (1,))
        if r.ndim != 1:
            raise ShapeError(f"the residuals must be one vector of shape (M,), got shape {tuple(r.shape)}")
        return r

    @cached_property
    def jacobian(self) -> Map:
        """∂r/∂x as a map (n,) -> (M,)."""
        o, backend, n = self.objective, self._backend, self.theta.shape[0]
        if o.residual is None:
            raise OptionError("this objective is a scalar function: it has no residual and no Jacobian")
        if o.jacobian is None:
            o.njev += 1
            found = _differences(lambda x: o(x).residual, self.residual, self.theta, o.jacobian_formula)
            return Matrix(backend, found)
        o.njev += 1
        found = o.jacobian(self._own(self.theta), *o.args)
        shape = (self.residual.shape[0], n)  # type: ignore[union-attr]
        if isinstance(found, Map):
            if found.shape != shape:
                raise ShapeError(f"the Jacobian must have shape (residuals, parameters) = {shape}, got {found.shape}")
            return found
        found = _real(backend, found, self.theta, "jac")
        if found.ndim < 2 and n * shape[0] == math.prod(found.shape) and 1 in shape:
            found = backend.xp.reshape(found, shape)
        if tuple(found.shape) != shape:
            raise ShapeError(
                f"the Jacobian must have shape (residuals, parameters) = {shape}, got {tuple(found.shape)}: "
                "entry [i, j] is the derivative of residual i by parameter j"
            )
        return Matrix(backend, found)

    @cached_property
    def gauss_newton(self) -> Map:
        """JᵀJ of the residual; of a scalar function, nothing: an error."""
        J = self.jacobian
        return symmetric(self._backend, J.in_shape, self.theta.dtype, (J.T @ J).forward, "psd")

    @cached_property
    def hessian(self) -> Map:
        """∂²J/∂x² as a map: the user's matrix or product, else differences of the gradient."""
        o, backend, n = self.objective, self._backend, self.theta.shape[0]
        if o.hess is not None:
            o.nhev += 1
            found = o.hess(self._own(self.theta), *o.args)
            if isinstance(found, Map):
                return found
            found = _real(backend, found, self.theta, "hess")
            if n == 1 and found.ndim < 2:
                found = backend.xp.reshape(found, (1, 1))
            if tuple(found.shape) != (n, n):
                raise ShapeError(f"hess must return an array of shape ({n}, {n}), got {tuple(found.shape)}")
            return Matrix(backend, 0.5 * (found + backend.xp.matrix_transpose(found)), "symmetric")
        if o.hessp is not None:
            return symmetric(backend, (n,), self.theta.dtype, self._each(self._product))
        return _DifferenceHessian(self)

    def _product(self, v: Array) -> Array:
        o = self.objective
        assert o.hessp is not None
        o.nhev += 1
        found = o.hessp(self._own(self.theta), self._own(v), *o.args)
        return self._own(_vector(self._backend, found, self.theta, "hessp"))

    def _each(self, product: Callable[[Array], Array]) -> Callable[[Array], Array]:
        """A product with one vector, made to take any number of leading axes."""
        xp = self._backend.xp

        def apply(v: Array) -> Array:
            if v.ndim == 1:
                return product(v)
            rows = xp.reshape(v, (-1, v.shape[-1]))
            return xp.reshape(xp.stack([product(rows[i, :]) for i in range(rows.shape[0])]), tuple(v.shape))

        return apply


class _DifferenceHessian(Map):
    """The Hessian by differences of the gradient: one gradient a product, `2 n` for the symmetrised matrix.

    A gradient that is itself a difference has an error of about eps^(2/3), so the step is longer then.
    """

    def __init__(self, at: FunctionEvaluation) -> None:
        self.at, self.exact = at, at.objective.jac is not None or at.objective.both or at.objective.fun is None
        apply = at._each(self._product)
        super().__init__(
            at._backend, tuple(at.theta.shape), tuple(at.theta.shape), at.theta.dtype, apply, apply, {"symmetric"}
        )

    def _product(self, v: Array) -> Array:
        at, xp = self.at, self.backend.xp
        eps = float(xp.finfo(at.theta.dtype).eps)
        # No parameter moves by more than this part of its size.
        size = typical(xp, at.theta)
        if not self.exact and (learned := at.objective.differences.size) is not None:
            size = self.backend.asarray(learned, "float64" if eps < 1e-10 else "float32")
        moved = xp.max(xp.abs(v) / size)
        h = (eps**0.5 if self.exact else eps**0.25) / xp.where(moved > 0.0, moved, xp.ones_like(moved))
        return (at.objective(at.theta + h * v).gradient - at.gradient) / h

    def dense(self, max_bytes: int = 1 << 30) -> Array:
        at, backend = self.at, self.backend
        if self.exact:
            H = _differences(lambda x: at.objective(x).gradient, at.gradient, at.theta, "central")
        else:
            H = super().dense(max_bytes)
        return 0.5 * (H + backend.xp.matrix_transpose(H))


def _callable_or_formula(given: Any, name: str) -> tuple[Callable | None, str]:
    if given is None:
        return None, "central"
    if callable(given):
        return given, "central"
    if isinstance(given, str) and given in METHODS:
        return None, METHODS[given]
    raise OptionError(f"{name} must be a function, one of {', '.join(METHODS)}, or None, got {given!r}")


def _scalar(found: Any) -> Any:
    """One real number, on the host or as an array of shape ()."""
    if isinstance(found, numbers.Real):
        return found
    if isinstance(found, numbers.Complex):
        raise ArrayError(f"fun must return a real number, got the complex number {found}")
    shape = getattr(found, "shape", None)
    if shape is None:
        raise ArrayError(f"fun must return one real number, got {type(found).__name__}")
    if math.prod(shape) != 1:
        raise ShapeError(f"fun must return one number, got an array of shape {tuple(shape)}")
    backend = backend_of(found, names=("the value of fun",))
    if backend.xp.isdtype(found.dtype, "complex floating"):
        raise ArrayError("fun must return a real number, got a complex array")
    return backend.xp.reshape(found, ())


def _real(backend: Backend, found: Any, like: Array, name: str) -> Array:
    """What the user's function returned, as a real array of x's library and dtype."""
    xp = backend.xp
    if backend.name == "numpy" and not hasattr(found, "__array_namespace__"):
        found = np.asarray(found)
        if found.dtype == object:
            raise ArrayError(f"{name} must return an array of real numbers, got an object array")
    elif isinstance(found, numbers.Real):
        found = xp.asarray(float(found), dtype=like.dtype, device=backend.device)
    elif (other := backend_of(found, names=(f"the result of {name}",))) is not backend:
        raise ArrayError(
            f"{name} returned a {other.name} array on {other.device} for a {backend.name} array on {backend.device}"
        )
    if xp.isdtype(found.dtype, "complex floating"):
        raise ArrayError(f"{name} must return real numbers, got {found.dtype}")
    return found if found.dtype == like.dtype else xp.astype(found, like.dtype)


def _vector(backend: Backend, found: Any, like: Array, name: str) -> Array:
    found = _real(backend, found, like, name)
    if found.ndim == 0 and like.shape[0] == 1:
        found = backend.xp.reshape(found, (1,))
    if tuple(found.shape) != tuple(like.shape):
        raise ShapeError(f"{name} must return an array of shape {tuple(like.shape)}, as x, got {tuple(found.shape)}")
    return found


def _differences(f: Callable[[Array], Any], known: Any, x: Array, formula: str) -> Array:
    """∂f/∂x, (*f(x).shape, n), with steps chosen from the dtype; `known` is f(x).

    At the edge of f's domain a one-sided formula is tried; where each meets NaN, the result is NaN.
    """
    for method in dict.fromkeys((formula, "forward", "backward")):
        with contextlib.suppress(DataError):
            return numerical_jacobian(_knowing(known, f), x, method=method)
    backend = backend_of(x)
    shape = (*getattr(known, "shape", ()), *x.shape)
    return backend.xp.full(shape, math.nan, dtype=x.dtype, device=backend.device)


def _knowing(value: Any, f: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """f, whose first value is known already: `numerical_jacobian` begins at the point itself."""
    first = [value]
    return lambda x: first.pop() if first else f(x)

"""The user's functions at the edge: any library's arrays in, checked float64 host arrays out, derivatives found.

The constraints' linear algebra is small and dense and runs on the host; the functions themselves run where x0 lives.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gdnet.backend import Backend
from gdnet.errors import ArrayError, OptionError, ShapeError

EPS = float(np.finfo(np.float64).eps)
DIFFERENCE_LIMIT, NUMERICAL_LIMIT = 100, 30
"""Up to so many variables a missing Hessian is found by differences of exact, or of numerical, gradients."""


SCIPY_FORM = (
    'for {"type": "ineq", "fun": c}, which wants c(x) >= 0, write g_le=lambda x: -c(x), which wants g(x) <= 0; '
    'for {"type": "eq", "fun": c} write h_eq=c; derivatives go along as Constraint(fun, jac, hess)'
)
"""What to write in place of SciPy's dictionaries."""


class Constraint(NamedTuple):
    """A vector of constraint functions with its derivatives.

    Parameters
    ----------
    fun : x -> (m,), or a scalar for m = 1
    jac : x -> (m, n), optional
        Numerical differences where it is None.
    hess : (x, y) -> (n, n), optional
        Σ y_i ∇²c_i(x). Differences of the Jacobian where it is None.

    >>> circle = Constraint(lambda x: x @ x - 1.0, lambda x: 2.0 * x)
    """

    fun: Callable[[Any], Any]
    jac: Callable[[Any], Any] | None = None
    hess: Callable[[Any, Any], Any] | None = None


def as_constraints(given: Any, name: str) -> list[Any]:
    """`g_le=` or `h_eq=` as a list: a callable, a `Constraint`, a tuple (fun, jac, hess), or a list of these."""
    if given is None:
        return []
    if isinstance(given, list):
        return [one for part in given for one in as_constraints(part, name)]
    if isinstance(given, Constraint) or hasattr(given, "bound_to"):
        return [given]
    if isinstance(given, tuple) and 1 <= len(given) <= 3 and callable(given[0]):
        return [Constraint(*given)]
    if callable(given):
        return [Constraint(given)]
    if isinstance(given, Mapping):
        raise OptionError(f"{name} is no dictionary in SciPy's form: {SCIPY_FORM}")
    raise OptionError(
        f"{name} must be a function, a Constraint(fun, jac, hess), a tuple of these three, or a list of such; "
        f"got {type(given).__name__}"
    )


def check_functions_of_x(given: Any, name: str) -> None:
    """An `OptionError` for a constraint that wants more than x: `args` belong to the objective, as in SciPy."""
    for c in as_constraints(given, name):
        for f in filter(None, (c.fun, c.jac) if isinstance(c, Constraint) else ()):
            try:
                signature = inspect.signature(f)
            except (TypeError, ValueError):  # a function that tells nothing of itself
                continue
            try:
                signature.bind(None)
            except TypeError as error:
                raise OptionError(
                    f"{name} is called with x alone ({error}): args go to fun, jac, hess and hessp only, as in SciPy; "
                    f"write {name}=lambda x: c(x, *args)"
                ) from None


def difference(
    f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, lower: np.ndarray, upper: np.ndarray, step: float
) -> np.ndarray:
    """The Jacobian (m, n) of f by central differences within the bounds; one-sided, of second order, near one."""
    columns, base = [], None
    for i in range(x.size):
        h = step * max(1.0, abs(x[i]))

        def at(t: float, i: int = i) -> np.ndarray:
            moved = x.copy()
            moved[i] += t
            found = np.atleast_1d(np.asarray(f(moved), dtype=np.float64))
            return np.where(np.isfinite(found), found, np.nan)  # no differences of infinities, which warn

        below, above = x[i] - lower[i], upper[i] - x[i]
        if below >= h and above >= h:
            columns.append((at(h) - at(-h)) / ((x[i] + h) - (x[i] - h)))
        elif max(below, above) <= 0:
            columns.append(np.zeros_like(at(0.0)))
        else:
            h = min(h, 0.5 * max(below, above)) * (1.0 if above >= below else -1.0)
            base = at(0.0) if base is None else base
            columns.append((4.0 * at(h) - at(2.0 * h) - 3.0 * base) / (2.0 * h))
    return np.stack(columns, axis=1) if columns else np.zeros((np.atleast_1d(f(x)).size, 0))


class UserFunctions:
    """f, g and h with all derivatives, over the whole x, unscaled; implements `problem.Functions`."""

    def __init__(
        self,
        backend: Backend,
        dtype: str,
        n: int,
        objective: Any,
        g_le: Sequence[Any],
        h_eq: Sequence[Any],
        lower: np.ndarray,
        upper: np.ndarray,
        hessian: str,
        x0: np.ndarray,
    ) -> None:
        self.backend, self.dtype, self.n = backend, dtype, n
        self.objective, self.lower, self.upper = objective, lower, upper
        self.rows = [(c, "h_eq") for c in h_eq] + [(c, "g_le") for c in g_le]
        self.nfev = self.njev = self.nhev = 0
        self.failure: Exception | None = None
        """The last exception that was taken for "not defined there"; raised again where there is no way round it."""
        self.sizes = [self._constraint(c, x0, name).size for c, name in self.rows]
        if self.failure is not None:
            raise self.failure
        self.equalities = sum(self.sizes[: len(h_eq)])
        self.inequalities = sum(self.sizes) - self.equalities
        self.mode = self._choose(hessian)
        self.secant: dict[bool, Secant] = {}
        self._checked = False

    def _choose(self, hessian: str) -> str:
        if hessian != "auto":
            return hessian
        numerical = self.objective.jac is None or any(c.jac is None for c, _ in self.rows)
        missing = self.objective.hess is None or any(c.hess is None for c, _ in self.rows)
        return "bfgs" if missing and self.n > (NUMERICAL_LIMIT if numerical else DIFFERENCE_LIMIT) else "exact"

    # -- the edge ----------------------------------------------------------------------------------------------------

    def _there(self, x: np.ndarray) -> Any:
        return self.backend.asarray(x.copy(), self.dtype)  # the user's function may write into it

    def _here(self, value: Any) -> np.ndarray:
        """A host float64 array; complex numbers, which real powers of negative numbers give, are no values."""
        if hasattr(value, "dense") and not isinstance(value, np.ndarray):
            value = value.dense()
        if hasattr(value, "shape") and not isinstance(value, (np.ndarray, np.generic)):
            value = self.backend.to_numpy(value)
        try:
            value = np.asarray(value)
        except ValueError as error:  # rows of different lengths
            raise ArrayError(f"functions must return real numbers: {error}") from error
        if value.dtype.kind not in "biufc":
            raise ArrayError(f"functions must return real numbers, got an array of type {value.dtype}")
        if value.dtype.kind == "c":
            value = np.where(value.imag == 0, value.real, np.nan)
        return np.array(value, dtype=np.float64)  # a copy: the user's function may use its result again

    def _call(self, f: Callable[..., Any], x: np.ndarray, *more: Any) -> np.ndarray:
        """f(x) on the host; where it is not defined (division by zero, log(-1)), NaN, and the exception is kept."""
        with np.errstate(all="ignore"):
            try:
                return self._here(f(self._there(x), *more))
            except ArithmeticError as failure:
                self.failure = failure
                return np.asarray(np.nan)
            except ValueError as failure:
                if "math domain error" in str(failure) or "expected a p" in str(failure):
                    self.failure = failure
                    return np.asarray(np.nan)
                raise

    def _constraint(self, c: Any, x: np.ndarray, name: str, size: int | None = None) -> np.ndarray:
        found = self._call(c.fun, x)
        if found.ndim > 1:
            raise ShapeError(f"{name} must return a scalar or a vector, got shape {found.shape}")
        found = np.atleast_1d(found)
        if size is not None and found.size != size:
            if found.size == 1 and np.isnan(found[0]):
                return np.full(size, np.nan)
            raise ShapeError(f"{name} returned {found.size} values where it returned {size} before")
        return found

    # -- what the method asks ----------------------------------------------------------------------------------------

    def value(self, x: np.ndarray) -> float:
        self.nfev += 1
        found = self._call(self.objective.fun, x)
        if found.size != 1:
            raise ShapeError(f"the objective must return a scalar, got shape {found.shape}")
        return float(found.reshape(()))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        if self.objective.jac is None:
            return difference(lambda v: np.asarray(self.value(v)), x, self.lower, self.upper, EPS ** (1 / 3))[0]
        self.njev += 1
        found = self._call(self.objective.jac, x)
        if found.shape != (self.n,):
            if found.ndim == 0 and np.isnan(found):
                return np.full(self.n, np.nan)
            raise ShapeError(f"jac must return the gradient, of shape ({self.n},), got {found.shape}")
        return found

    def constraints(self, x: np.ndarray) -> np.ndarray:
        parts = [self._constraint(c, x, name, size) for (c, name), size in zip(self.rows, self.sizes)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _rows_jacobian(self, k: int, x: np.ndarray) -> np.ndarray:
        (c, name), m = self.rows[k], self.sizes[k]
        if c.jac is None:
            return difference(lambda v: self._constraint(c, v, name, m), x, self.lower, self.upper, EPS ** (1 / 3))
        found = self._call(c.jac, x)
        if found.ndim == 0 and np.isnan(found):
            return np.full((m, self.n), np.nan)
        if found.shape == (self.n,) and m == 1:
            found = found[None, :]
        if found.shape != (m, self.n):
            raise ShapeError(f"the Jacobian of {name} must have shape ({m}, {self.n}), got {found.shape}")
        return found

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        parts = [self._rows_jacobian(k, x) for k in range(len(self.rows))]
        return np.concatenate(parts) if parts else np.zeros((0, self.n))

    def hessian(self, x: np.ndarray, sigma: float, y: np.ndarray) -> np.ndarray:
        if self.mode == "bfgs":
            memory = self.secant.setdefault(sigma != 0.0, Secant(self.n))
            return memory.update(x, sigma, y, self.gradient(x) if sigma else np.zeros(self.n), self.jacobian(x))
        self.nhev += 1
        total = sigma * self._objective_hessian(x) if sigma else np.zeros((self.n, self.n))
        start = 0
        for k, size in enumerate(self.sizes):
            part, start = y[start : start + size], start + size
            if np.any(part != 0):
                total = total + self._constraint_hessian(k, x, part)
        return total

    def convex_hessian(self, x: np.ndarray) -> np.ndarray | None:
        """The Gauss-Newton matrix of the objective, where it has one; constraints are linearised."""
        convex = getattr(self.objective, "convex", None)
        return None if convex is None or self.mode == "bfgs" else self._square(self._call(convex, x), "gauss_newton")

    def _square(self, found: np.ndarray, name: str) -> np.ndarray:
        if found.ndim == 0 and np.isnan(found):
            return np.full((self.n, self.n), np.nan)
        if found.shape != (self.n, self.n):
            raise ShapeError(f"{name} must return a matrix of shape ({self.n}, {self.n}), got {found.shape}")
        return found

    def _objective_hessian(self, x: np.ndarray) -> np.ndarray:
        o = self.objective
        if o.hess is not None:
            return self._square(self._call(o.hess, x), "hess")
        return self._differences(self.gradient, x, o.jac is None)

    def _constraint_hessian(self, k: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        c, name = self.rows[k]
        if c.hess is not None:
            return self._square(self._call(c.hess, x, self._there(y)), f"the Hessian of {name}")
        return self._differences(lambda v: self._rows_jacobian(k, v).T @ y, x, c.jac is None)

    def _differences(self, gradient: Callable[[np.ndarray], np.ndarray], x: np.ndarray, twice: bool) -> np.ndarray:
        """The Jacobian of a gradient; a numerical gradient is noisy and needs a longer step."""
        H = difference(gradient, x, self.lower, self.upper, 1e-4 if twice else EPS ** (1 / 3))
        return 0.5 * (H + H.T)


class Secant:
    """Damped BFGS approximation of the Hessian of the Lagrangian (Powell 1978): always positive definite.

    Bs is replaced by y + (1 - t) (Bs - y), with t so that the curvature along s is at least a fifth of that of B.
    """

    def __init__(self, n: int) -> None:
        self.B: np.ndarray = np.eye(n)
        self.last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self.fresh = True

    def update(self, x: np.ndarray, sigma: float, y: np.ndarray, gradient: np.ndarray, J: np.ndarray) -> np.ndarray:
        if self.last is not None and not np.array_equal(x, self.last[0]):
            s = x - self.last[0]
            d = sigma * (gradient - self.last[1]) + (J - self.last[2]).T @ y
            if np.all(np.isfinite(d)):
                self._pair(s, d)
        self.last = (x.copy(), gradient, J)
        return self.B

    def _pair(self, s: np.ndarray, d: np.ndarray) -> None:
        if self.fresh and (sd := float(s @ d)) > 0:
            self.B = min(max(float(d @ d) / sd, 1e-8), 1e8) * np.eye(s.size)
        self.fresh = False
        Bs = self.B @ s
        curvature = float(s @ Bs)
        if curvature <= EPS * float(s @ s):
            return
        sd = float(s @ d)
        t = 1.0 if sd >= 0.2 * curvature else 0.8 * curvature / (curvature - sd)
        d = t * d + (1.0 - t) * Bs
        self.B = self.B - np.outer(Bs, Bs) / curvature + np.outer(d, d) / float(s @ d)

"""The user's functions at the edge: any library's arrays in, checked float64 host arrays out, derivatives found.

The constraints' linear algebra is small and dense and runs on the host; the functions themselves run where x0 lives.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gdnet.backend import Backend
from gdnet.errors import ArrayError, GdnetError, ShapeError
from gdnet.optimizers.constrained.differences import (
    CENTRAL,
    FORWARD,
    SECOND,
    at,
    difference,
    forward,
    moved,
    one_sided,
    second,
)
from gdnet.optimizers.constrained.secant import Secant

KEPT = 24
"""Results of functions and derivatives that are remembered."""
NOISE = 1e-6
"""Entries of a numerical derivative that change f by less than this part of the largest change count as 0."""
VISIBLE, LONGER, MOST_LONGER = 1e-10, 1e3, 5
"""A difference step is too short if no function changes by more than `VISIBLE` times its value. It then becomes longer
by the factor `LONGER`, at most `MOST_LONGER` times."""
DIFFERENCE_LIMIT, NUMERICAL_LIMIT = 100, 30
"""Up to so many variables a missing Hessian is found by differences of exact, or of numerical, gradients."""


class UserFunctions:
    """f, g and h with all derivatives, over the whole x, unscaled; implements `problem.Functions`.

    Missing derivatives are differences within the bounds: forward ones until `central` is set. What was computed at
    the last few x is kept, so that nobody needs to hand it around.
    """

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
        self.eps = float(np.finfo(dtype).eps)
        self.objective, self.lower, self.upper = objective, lower, upper
        self.rows = [(c, "h_eq") for c in h_eq] + [(c, "g_le") for c in g_le]
        self.njev = self.nhev = self._values = 0
        self.failure: Exception | None = None
        """The last exception that was taken for "not defined there"; raised again where there is no way round it."""
        self._kept: dict[tuple[Any, ...], Any] = {}
        self.central = False
        """Whether gradients and Jacobians by differences are central ones: twice as dear, and accurate to the end."""
        self.weights = hasattr(getattr(objective, "source", None), "net")
        """Whether x are the weights of a network: their size is one, whatever they start from."""
        sizes = np.ones(n) if self.weights else typical_sizes(x0, lower, upper)
        self.known = np.isfinite(sizes)
        self.unit = np.where(self.known, sizes, 1.0)
        """(n,), the sizes to which difference steps are relative, where |x| is smaller."""
        parts = [self._constraint(c, x0, name) for c, name in self.rows]
        self.sizes = [part.size for part in parts]
        if self.failure is not None:
            raise self.failure
        self._keep(("constraints", x0.tobytes()), np.concatenate(parts) if parts else np.zeros(0))
        self.equalities = sum(self.sizes[: len(h_eq)])
        self.inequalities = sum(self.sizes) - self.equalities
        self.mode = self._choose(hessian)
        self.secant: dict[bool, Secant] = {}

    def _choose(self, hessian: str) -> str:
        if hessian != "auto":
            return hessian
        missing = self.objective.hess is None or any(c.hess is None for c, _ in self.rows)
        return "bfgs" if missing and self.n > (NUMERICAL_LIMIT if self.numerical else DIFFERENCE_LIMIT) else "exact"

    @property
    def numerical(self) -> bool:
        """Whether a gradient or a Jacobian is found by differences."""
        return self.objective.jac is None or any(c.jac is None for c, _ in self.rows)

    @property
    def nfev(self) -> int:
        """How often the objective was called, by whomever."""
        source = getattr(self.objective, "source", None)
        return getattr(source, "nfev", self._values)

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

    def _keep(self, key: tuple[Any, ...], found: Any) -> Any:
        while len(self._kept) >= KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[key] = found
        return found

    def _once(self, name: Any, x: np.ndarray, compute: Callable[[np.ndarray], Any]) -> Any:
        """compute(x), or what it gave at this x before."""
        key = (name, x.tobytes())
        return self._kept[key] if key in self._kept else self._keep(key, compute(x))

    # -- what the method asks ----------------------------------------------------------------------------------------

    def value(self, x: np.ndarray) -> float:
        return self._once("value", x, self._value)

    def _value(self, x: np.ndarray) -> float:
        self._values += 1
        found = self._call(self.objective.fun, x)
        if found.size != 1:
            raise ShapeError(f"the objective must return a scalar, got shape {found.shape}")
        return float(found.reshape(()))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        return self._once(("gradient", self.central), x, self._gradient)

    def _gradient(self, x: np.ndarray) -> np.ndarray:
        self.njev += 1
        if self.objective.jac is None:
            return self._first(self._value_vector, x, np.atleast_1d(self.value(x)))[0]
        found = self._call(self.objective.jac, x)
        if found.shape != (self.n,):
            if found.ndim == 0 and np.isnan(found):
                return np.full(self.n, np.nan)
            raise ShapeError(f"jac must return the gradient, of shape ({self.n},), got {found.shape}")
        return found

    def _value_vector(self, x: np.ndarray) -> np.ndarray:
        return np.asarray([self._value(x)])

    def constraints(self, x: np.ndarray) -> np.ndarray:
        return self._once("constraints", x, self._constraints).copy()

    def _constraints(self, x: np.ndarray) -> np.ndarray:
        parts = [self._constraint(c, x, name, size) for (c, name), size in zip(self.rows, self.sizes)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _row_values(self, k: int, x: np.ndarray) -> np.ndarray:
        """The values of the k-th constraint function at an x where all were asked for."""
        start = sum(self.sizes[:k])
        return self.constraints(x)[start : start + self.sizes[k]]

    def _rows_jacobian(self, k: int, x: np.ndarray) -> np.ndarray:
        (c, name), m = self.rows[k], self.sizes[k]
        if c.jac is None:
            return self._first(lambda v: self._constraint(c, v, name, m), x, self._row_values(k, x))
        found = self._call(c.jac, x)
        if found.ndim == 0 and np.isnan(found):
            return np.full((m, self.n), np.nan)
        if found.shape == (self.n,) and m == 1:
            found = found[None, :]
        if found.shape != (m, self.n):
            raise ShapeError(f"the Jacobian of {name} must have shape ({m}, {self.n}), got {found.shape}")
        return found

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        return self._once(("jacobian", self.central), x, self._jacobian)

    def _jacobian(self, x: np.ndarray) -> np.ndarray:
        parts = [self._rows_jacobian(k, x) for k in range(len(self.rows))]
        return np.concatenate(parts) if parts else np.zeros((0, self.n))

    def hessian(self, x: np.ndarray, sigma: float, y: np.ndarray) -> np.ndarray:
        if self.mode == "bfgs":
            memory = self.secant.setdefault(sigma != 0.0, Secant(self.n))
            return memory.update(x, sigma, y, self.gradient(x) if sigma else np.zeros(self.n), self.jacobian(x))
        self.nhev += 1
        total = sigma * self.objective_hessian(x) if sigma else np.zeros((self.n, self.n))
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

    def objective_hessian(self, x: np.ndarray) -> np.ndarray:
        """∇²f, given or by differences."""
        return self._once("hessian", x, self._objective_hessian)

    def _objective_hessian(self, x: np.ndarray) -> np.ndarray:
        o = self.objective
        if o.hess is not None:
            return self._square(self._call(o.hess, x), "hess")
        if o.jac is not None:
            return self._slopes(self.gradient, x, self.gradient(x))
        return self._second(self._value_vector, x, np.atleast_1d(self.value(x)))[0]

    def _constraint_hessian(self, k: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        c, name = self.rows[k]
        if c.hess is not None:
            return self._square(self._call(c.hess, x, self._there(y)), f"the Hessian of {name}")
        if c.jac is not None:
            return self._slopes(lambda v: self._rows_jacobian(k, v).T @ y, x, self._rows_jacobian(k, x).T @ y)
        m = self.sizes[k]
        each = self._once(
            ("second", k), x,
            lambda v: self._second(lambda u: self._constraint(c, u, name, m), v, self._row_values(k, v)),
        )  # fmt: skip
        return np.tensordot(y, each, axes=1)

    def rough_hessian(self, x: np.ndarray) -> np.ndarray:
        """∇²f, without what may be noise; of many variables only a diagonal, from the slopes at one more point."""
        if self.mode != "bfgs":
            H = self.objective_hessian(x)
            if self.objective.hess is not None:
                return H
            size = np.abs(H) * self.unit * self.unit[:, None]
            noise = NOISE * float(np.max(size, initial=0.0))
            if self.objective.jac is None:
                noise = max(noise, 1e2 * self.eps ** (1.0 - 2.0 * SECOND) * abs(self.value(x)))
            return np.where(size > noise, H, 0.0)
        steps = one_sided(x, self.lower, self.upper, self._steps(x, 1 / 5), 1.0)
        moving = steps != 0
        change = self.gradient(x + steps) - self.gradient(x)
        return np.diag(np.divide(change, steps, out=np.zeros(self.n), where=moving))

    # -- differences -------------------------------------------------------------------------------------------------

    def _steps(self, x: np.ndarray, power: float) -> np.ndarray:
        return self.eps**power * np.maximum(self.unit, np.abs(x))

    def find_sizes(self, x: np.ndarray) -> None:
        """Lengthen the steps of variables that change neither f nor a constraint visibly, a few thousandfold each."""
        if not self.numerical:
            return
        here = np.append(self.constraints(x), self.value(x))
        if not np.all(np.isfinite(here)):
            return
        for i in range(self.n):
            for _ in range(MOST_LONGER):
                step = one_sided(x, self.lower, self.upper, self._steps(x, SECOND), 1.0)[i]
                there = moved(x, (i, step))
                if there[i] == x[i]:
                    break
                found = np.append(self._constraints(there), self._value(there))
                if not np.all(np.isfinite(found)) or np.any(np.abs(found - here) > VISIBLE * np.abs(here)):
                    break
                self.unit[i] *= LONGER

    def without_noise(self, J: np.ndarray, value: np.ndarray) -> np.ndarray:
        """A numerical Jacobian, or gradient, with zeros for what may be noise of the differences."""
        size = np.abs(J) * self.unit
        return np.where(size > NOISE * np.maximum(np.max(size, axis=-1, initial=0.0), np.abs(value))[..., None], J, 0.0)

    def slopes_of_fixed(self, x: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """∂f and (m, k) ∂c by variables that their bounds fix; NaN where a function is not defined beside them.

        No x within the bounds tells these: differences look outside, but only here, and by the fixed variables alone.
        """
        gradient, parts = (
            self.gradient(x)[which] if self.objective.jac else self._outside(self._value_vector, x, which)[0],
            [],
        )
        for k, (c, name) in enumerate(self.rows):

            def rows(v: np.ndarray, c: Any = c, name: str = name, k: int = k) -> np.ndarray:
                return self._constraint(c, v, name, self.sizes[k])

            parts.append(self._rows_jacobian(k, x)[:, which] if c.jac else self._outside(rows, x, which))
        return gradient, np.concatenate(parts) if parts else np.zeros((0, which.size))

    def _outside(self, f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Central differences by some variables, whatever their bounds."""
        free = np.full(self.n, np.inf)
        lower, upper = x.copy(), x.copy()
        lower[which], upper[which] = -free[which], free[which]
        failure = self.failure
        try:
            return difference(f, x, lower, upper, self._steps(x, CENTRAL))[:, which]
        except GdnetError:
            raise
        except Exception:  # whatever a function does where it was never meant to be called
            return np.full((at(f, x).size, which.size), np.nan)
        finally:
            self.failure = failure

    def adopt_units(self, free: np.ndarray, units: np.ndarray) -> bool:
        """Shorten steps to the units of variables of which nothing was known. Whether that changes much.

        `find_sizes` makes steps longer, for only it knows that they must be.
        """
        if not self.numerical and self.objective.hess is not None:
            return False
        unknown = free[~self.known[free]]
        found = units[~self.known[free]]
        far = found < self.unit[unknown] / LONGER**0.5
        self.unit[unknown[far]] = found[far]
        if np.any(far):
            self._kept.clear()
        return bool(np.any(far))

    def _first(self, f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, value: np.ndarray) -> np.ndarray:
        """A Jacobian by differences."""
        if self.central:
            return difference(f, x, self.lower, self.upper, self._steps(x, CENTRAL), value)
        return forward(f, x, self.lower, self.upper, self._steps(x, FORWARD), value)

    def _second(self, f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Second derivatives by differences of values."""
        return second(f, x, self.lower, self.upper, self._steps(x, SECOND), value)

    def _slopes(self, gradient: Callable[[np.ndarray], np.ndarray], x: np.ndarray, value: np.ndarray) -> np.ndarray:
        """A Hessian by differences of an exact gradient."""
        H = forward(gradient, x, self.lower, self.upper, self._steps(x, FORWARD), value)
        return 0.5 * (H + H.T)


def typical_sizes(x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """A size for each variable: |x|, else the nearest bound other than zero, else NaN.

    >>> typical_sizes(np.array([3e-6, 0.0, 0.0]), np.array([0.0, 0.0, -np.inf]), np.array([1.0, 1e-9, np.inf])).tolist()
    [3e-06, 1e-09, nan]
    """
    bounds = [np.where(np.isfinite(b) & (b != 0), np.abs(b), np.inf) for b in (lower, upper)]
    nearest = np.minimum(*bounds)
    return np.where(x != 0, np.abs(x), np.where(np.isfinite(nearest), nearest, np.nan))

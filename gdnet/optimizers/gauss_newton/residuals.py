"""Residuals given as plain functions: r(x) with a dense Jacobian, exact or by differences that adapt to the problem."""

import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend
from gdnet.errors import ArrayError, OptionError, ShapeError
from gdnet.optimizers.point import half_square, read

FORMULAS = (None, "2-point", "3-point", "cs")
COMPLEX_STEP = 1e-30
LONGER = 1e3
"""How much longer the next step is where one changed nothing."""
SEARCH = 8
"""Steps tried in the first Jacobian, until one suits the unit of its parameter."""
WINDOW = 1e3
"""A step from zero suits where it changes r by `part` ||r||, to this factor."""


class DenseRoot:
    """∂r/∂x as a matrix (M, n): the small counterpart of a network's `root_jacobian`.

    `again(x)` gives r at another x; `accuracy` is the relative error of the entries, 0 where they are exact.
    """

    def __init__(
        self,
        backend: Backend,
        matrix: Array,
        residual: Array,
        x: Array,
        again: Callable[[Array], Array],
        accuracy: float = 0.0,
    ) -> None:
        self.backend, self.xp, self.matrix, self.residual, self.x = backend, backend.xp, matrix, residual, x
        self.again, self.accuracy = again, accuracy
        self.shape, self.dtype = tuple(matrix.shape), matrix.dtype

    @cached_property
    def gradient(self) -> Array:
        return self.residual @ self.matrix

    def matvec(self, v: Array) -> Array:
        return self.matrix @ v

    def rmatvec(self, u: Array) -> Array:
        return u @ self.matrix

    def bend(self, v: Array, h: float) -> Array:
        """The second derivative of r along v, from one evaluation at x + h v."""
        return (2.0 / h) * ((self.again(self.x + h * v) - self.residual) / h - self.matrix @ v)

    def dense(self, max_bytes: int = 0) -> Array:
        return self.matrix

    def normal(self, max_bytes: int = 0) -> Array:
        return self.xp.matrix_transpose(self.matrix) @ self.matrix

    def gram(self) -> Array:
        return self.matrix @ self.xp.matrix_transpose(self.matrix)

    def diagonal(self, max_bytes: int = 0) -> Array:
        return self.xp.sum(self.matrix * self.matrix, axis=0)

    @property
    def gram_flops(self) -> float:
        return float(self.shape[0]) ** 2 * self.shape[1]

    @property
    def product_flops(self) -> float:
        return 4.0 * self.shape[0] * self.shape[1]


class BudgetSpent(Exception):
    """The largest number of evaluations is used up."""


class ResidualObjective:
    """J(x) = ½ ||fun(x, *args)||² with the Jacobian of `fun`: given, or by differences.

    Without a Jacobian (`jac=None`) forward differences are taken on the way and central ones at the end, where their
    error would limit the digits. Steps are eps^(1/2) or eps^(1/3) of the larger of |x_j| and the change of x_j that
    would change r by its own size, which the last Jacobian tells, but no more than of the largest |x_j| so far; for an
    x_j that starts at zero the first Jacobian finds a size. No parameter needs a unit of its own. eps is the spacing
    of numbers at 1 in the dtype of x or of what `fun` returns, whichever is coarser.

    Attributes
    ----------
    nfev : int
        All calls of `fun`, those for differences and for the curvature along a step too; never more than `max_nfev`.
    njev : int
        Jacobians, given or by differences.
    """

    stochastic = False

    def __init__(
        self, backend: Backend, fun: Callable, jac: Any = None, args: tuple = (), kwargs: dict | None = None,
        max_nfev: float = math.inf, box: Any = None,
    ) -> None:  # fmt: skip
        if not callable(fun):
            raise OptionError(f"fun must be a function x -> residuals, got {fun!r}")
        if not callable(jac) and jac not in FORMULAS:
            raise OptionError(f"jac must be a function, '2-point', '3-point', 'cs' or None, got {jac!r}")
        self.backend, self.fun, self.jac, self.args, self.kwargs = backend, fun, jac, tuple(args), kwargs or {}
        self.max_nfev, self.box = max_nfev, box
        self.nfev = self.njev = 0
        self.m: int | None = None
        self.eps = 0.0
        """The rounding of what `fun` returns, where it is coarser than that of x."""
        self.best: ResidualEvaluation | None = None
        """The point of the least value."""
        self.known: DenseRoot | None = None
        """The last Jacobian."""
        self.sensitivity: np.ndarray | None = None
        """|J_j| of it."""
        self.typical: np.ndarray | None = None
        """The largest |x_j| so far; for an x_j that starts at zero, the size that its first step was made for."""

    def __call__(self, theta: Array) -> "ResidualEvaluation":
        return ResidualEvaluation(self, theta)

    def residual(self, x: Array) -> Array:
        """fun(x, *args), checked: a real vector, always of the same length."""
        self._count()
        r = self._array(self.fun(self._own(x), *self.args, **self.kwargs), x, "fun")
        if r.ndim == 0:
            r = self.backend.xp.reshape(r, (1,))
        if r.ndim != 1 or r.shape[0] == 0:
            raise ShapeError(f"fun must return one vector of residuals (M,), got shape {tuple(r.shape)}")
        if self.m is None:
            self.m = r.shape[0]
        if r.shape[0] != self.m:
            raise ShapeError(f"fun returned {r.shape[0]} residuals after {self.m}: their number must not change")
        return r

    def _count(self) -> None:
        if self.nfev >= self.max_nfev:
            raise BudgetSpent
        self.nfev += 1

    def rounding(self, x: Array) -> float:
        """The relative rounding of x or of fun(x), whichever is coarser."""
        return max(self.eps, float(self.backend.xp.finfo(x.dtype).eps))

    def _array(self, found: Any, x: Array, name: str) -> Array:
        """What a user's function returned, as a real array of x's library and dtype."""
        xp, backend = self.backend.xp, self.backend
        if backend.name == "numpy" or not hasattr(found, "shape"):
            try:
                found = np.asarray(found)
            except ValueError as error:  # rows of different lengths
                raise ArrayError(f"{name} must return real numbers of equal-length rows: {error}") from error
            if found.dtype.kind not in "biufc":
                raise ArrayError(
                    f"{name} must return real numbers of equal-length rows, got an array of type {found.dtype}"
                )
            if backend.name != "numpy":
                found = backend.asarray(np.asarray(found, dtype=np.float64))
        if xp.isdtype(found.dtype, "complex floating"):
            raise ArrayError(f"{name} must return real numbers, got {found.dtype}")
        if name == "fun" and xp.isdtype(found.dtype, "real floating"):
            self.eps = float(xp.finfo(found.dtype).eps)
        found = self._own(found) if found.dtype == x.dtype else xp.astype(found, x.dtype)
        # Infinite entries count as NaN: their differences would be that anyway, with a warning at each.
        return xp.where(xp.isfinite(found), found, math.nan * xp.ones_like(found))

    def _own(self, array: Array) -> Array:
        """A copy where arrays can be written to: the user's function may do so with x, and use its result again."""
        return 1.0 * array if self.backend.mutable else array

    # -- the Jacobian --------------------------------------------------------------------------------------------------

    def jacobian(self, x: Array, r: Array, central: bool) -> DenseRoot:
        """J at x, where the residuals are r."""
        self.njev += 1
        eps, xp, to_numpy = self.rounding(x), self.backend.xp, self.backend.to_numpy
        if callable(self.jac):
            J, error = self._given(x, r), 0.0
        elif self.jac == "cs":
            J, error = self._complex(x, r), 0.0
        elif central or self.jac == "3-point":
            J, error = self._differences(x, r, eps ** (1 / 3), central=True), 30.0 * eps ** (2 / 3)
        else:
            J, error = self._differences(x, r, eps**0.5, central=False), 7.0 * eps**0.5
        self.sensitivity = to_numpy(xp.sqrt(xp.sum(J * J, axis=0)))
        self.known = DenseRoot(self.backend, J, r, x, self.residual, error)
        return self.known

    def _given(self, x: Array, r: Array) -> Array:
        xp, shape = self.backend.xp, (r.shape[0], x.shape[0])
        found = self.jac(self._own(x), *self.args, **self.kwargs)
        found = self._array(found.todense() if hasattr(found, "todense") else found, x, "jac")
        if found.ndim < 2 and math.prod(found.shape) == math.prod(shape) and 1 in shape:
            found = xp.reshape(found, shape)
        if tuple(found.shape) != shape:
            raise ShapeError(
                f"jac must return an array of shape (residuals, parameters) = {shape}, got {tuple(found.shape)}: "
                "entry [i, j] is the derivative of residual i by parameter j"
            )
        return found

    def _sizes(self, x: np.ndarray, r: float) -> np.ndarray:
        """What difference steps are relative to; 0 for an x_j of which nothing is known yet. `r` is ||r||."""
        size = np.abs(x)
        self.typical = typical = size if self.typical is None else np.maximum(self.typical, size)
        if self.sensitivity is None:
            return size
        seen = self.sensitivity > 0.0
        reach = np.where(seen, r / np.where(seen, self.sensitivity, 1.0), math.inf)
        found = np.maximum(size, np.minimum(reach, typical))
        return np.where(found > 0.0, found, typical)

    def _differences(self, x: Array, r: Array, part: float, central: bool) -> Array:
        """Differences that stay within the bounds; near one, one-sided and of the same order."""
        xp, put, host = self.backend.xp, self.backend.asarray, self.backend.to_numpy(x)
        (length,) = read(self.backend, xp.sqrt(xp.sum(r * r)))
        below = above = np.full(host.shape, math.inf)
        if self.box is not None:
            below = host - self.backend.to_numpy(self.box.lower)
            above = self.backend.to_numpy(self.box.upper) - host

        def at(j: int, move: float) -> tuple[Array, float]:
            moved = host.copy()
            moved[j] += move
            return self.residual(put(moved, host.dtype.name)), float(moved[j]) - float(host[j])  # as rounded

        def column(j: int, step: float) -> Array:
            size, room = step, max(below[j], above[j])
            side = 1.0 if above[j] >= below[j] else -1.0
            if not central:
                ahead = -1.0 if host[j] < 0.0 else 1.0
                fits = size <= (above[j] if ahead > 0.0 else below[j])
                up, width = at(j, ahead * size if fits else side * min(size, room))
                return (up - r) / width
            if size <= below[j] and size <= above[j]:
                (up, plus), (down, minus) = at(j, size), at(j, -size)
                return (up - down) / (plus - minus)
            size = side * min(size, 0.5 * room)
            (one, a), (two, b) = at(j, size), at(j, 2.0 * size)
            return (b * b * (one - r) - a * a * (two - r)) / (a * b * (b - a))

        first, sizes, columns = self.sensitivity is None, self._sizes(host, length), []
        for j, size in enumerate(sizes.tolist()):
            if max(below[j], above[j]) <= 0.0:  # both bounds are equal: it cannot move
                columns.append(0.0 * r)
            elif first or size == 0.0:
                found, size = self._first_column(partial(column, j), size, part, length)
                self.typical[j] = max(self.typical[j], size)  # type: ignore[index]
                columns.append(found)
            else:
                columns.append(column(j, part * size))
        return xp.stack(columns, axis=1)

    def _first_column(
        self, column: Callable[[float], Array], size: float, part: float, length: float
    ) -> tuple[Array, float]:
        """A column of the Jacobian and the size that its step was made for: longer where the difference is rounding.

        An x_j of zero tells no size: there, it is also made shorter or longer until the change of r fits.
        """
        xp, zero, tries = self.backend.xp, size == 0.0, 1
        size = 1.0 if zero else size
        found = column(part * size)
        while tries < SEARCH and length > 0.0:
            (slope,) = read(self.backend, xp.max(xp.abs(found)))
            change = part * size * slope / length
            if not math.isfinite(change):
                if not zero:
                    break
                size = size / LONGER**2
            elif change <= 64.0 * self.rounding(found):
                size = size * LONGER
            elif zero and not part / WINDOW <= change <= part * WINDOW:
                size = length / slope
            else:
                break
            found, tries = column(part * size), tries + 1
        return found, size

    def _complex(self, x: Array, r: Array) -> Array:
        """Im fun(x + i h e_j) / h: no difference is taken, so h can be tiny and the error is rounding."""
        xp, n = self.backend.xp, x.shape[0]
        kind = xp.complex128 if "64" in str(x.dtype) else xp.complex64
        tiny = COMPLEX_STEP if "64" in str(x.dtype) else 1e-20
        z, index = xp.astype(x, kind), xp.arange(n, device=self.backend.device)
        columns = []
        for j in range(n):
            self._count()
            found = self.fun(z + xp.astype(index == j, kind) * (tiny * 1j), *self.args, **self.kwargs)
            found = np.asarray(found) if self.backend.name == "numpy" else found
            if not xp.isdtype(found.dtype, "complex floating"):
                raise ArrayError(f"jac='cs' needs a fun that keeps complex numbers, got {found.dtype} back")
            columns.append(xp.reshape(xp.imag(found), tuple(r.shape)) / tiny)
        return xp.astype(xp.stack(columns, axis=1), x.dtype)


class ResidualEvaluation:
    """The residuals at one x, and what follows from them."""

    def __init__(self, objective: ResidualObjective, x: Array) -> None:
        self.objective, self.theta, self.central = objective, x, False

    @cached_property
    def residual(self) -> Array:
        return self.objective.residual(self.theta)

    @property
    def root_residual(self) -> Array:
        """The residual in the order of the matrix's rows."""
        return self.residual

    @cached_property
    def value(self) -> Array:
        o, found = self.objective, half_square(self.objective.backend.xp, self.residual)
        if o.best is None or read(o.backend, found - o.best.value)[0] < 0.0:
            o.best = self
        return found

    @cached_property
    def root_jacobian(self) -> DenseRoot:
        return self.objective.jacobian(self.theta, self.residual, self.central)

    @property
    def gradient(self) -> Array:
        return self.root_jacobian.gradient

    def refine(self) -> None:
        """Central differences in place of forward ones, where the choice was left open."""
        if self.objective.jac is None and not self.central:
            self.central = True
            self.__dict__.pop("root_jacobian", None)

    def adopt(self, other: "ResidualEvaluation") -> None:
        """Keep the Jacobian of a point so close that differences here would show nothing new."""
        known = other.__dict__.get("root_jacobian")
        if known is not None and known.accuracy > 0.0 and "root_jacobian" not in self.__dict__:
            o = self.objective
            self.__dict__["root_jacobian"] = DenseRoot(
                o.backend, known.matrix, self.residual, self.theta, o.residual, known.accuracy
            )

"""Residuals given as plain functions: r(x) with a dense Jacobian, exact or by differences that adapt to the problem."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend
from gdnet.errors import ArrayError, OptionError, ShapeError
from gdnet.optimizers.point import half_square, read

FORMULAS = (None, "2-point", "3-point", "cs")
COMPLEX_STEP = 1e-30
LONGER = (1e3, 1e6, 1e9)
"""Steps tried where the first one changed nothing."""


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
    would change r by its own size, which the last Jacobian tells: an x_j near zero needs no unit of its own.

    Attributes
    ----------
    nfev : int
        Points at which a step was tried, the start among them (as SciPy counts them).
    njev : int
        Jacobians.
    ncalls : int
        All calls of `fun`: those for differences and for the curvature along a step too.
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
        self.nfev = self.njev = self.ncalls = 0
        self.m: int | None = None
        self.sensitivity: Array | None = None
        """|J_j| of the last Jacobian."""

    def __call__(self, theta: Array) -> "ResidualEvaluation":
        return ResidualEvaluation(self, theta)

    def residual(self, x: Array) -> Array:
        """fun(x, *args), checked: a real vector, always of the same length."""
        self.ncalls += 1
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
        found = self._own(found) if found.dtype == x.dtype else xp.astype(found, x.dtype)
        # Infinite entries count as NaN: their differences would be that anyway, with a warning at each.
        return xp.where(xp.isfinite(found), found, math.nan * xp.ones_like(found))

    def _own(self, array: Array) -> Array:
        """A copy where arrays can be written to: the user's function may do so with x, and use its result again."""
        return 1.0 * array if self.backend.mutable else array

    # -- the Jacobian --------------------------------------------------------------------------------------------------

    def jacobian(self, x: Array, r: Array, central: bool) -> tuple[Array, float]:
        """(J, the relative error of its entries)."""
        self.njev += 1
        xp = self.backend.xp
        eps = float(xp.finfo(x.dtype).eps)
        if callable(self.jac):
            J, error = self._given(x, r), 0.0
        elif self.jac == "cs":
            J, error = self._complex(x, r), 0.0
        elif central or self.jac == "3-point":
            J, error = self._differences(x, r, eps ** (1 / 3), central=True), 30.0 * eps ** (2 / 3)
        else:
            J, error = self._differences(x, r, eps**0.5, central=False), 7.0 * eps**0.5
        self.sensitivity = xp.sqrt(xp.sum(J * J, axis=0))
        return J, error

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

    def _steps(self, x: Array, r: Array, part: float) -> Array:
        xp, size = self.backend.xp, self.backend.xp.abs(x)
        one = xp.ones_like(x)
        if self.sensitivity is None:
            return part * xp.where(size > 0.0, size, one)
        known = self.sensitivity > 0.0
        reach = xp.sqrt(xp.sum(r * r)) / xp.where(known, self.sensitivity, one)
        limit = xp.maximum(size, one)
        size = xp.maximum(size, xp.where(known, xp.minimum(reach, limit), limit))
        return part * xp.where(size > 0.0, size, one)

    def _differences(self, x: Array, r: Array, part: float, central: bool) -> Array:
        xp, n = self.backend.xp, x.shape[0]
        h = self._steps(x, r, part)
        if not central:
            h = xp.where(x < 0.0, -h, h)
        if self.box is not None:
            return self._inside(x, r, h, central)
        index, zero = xp.arange(n, device=self.backend.device), xp.zeros_like(x)
        unknown = self.sensitivity is None

        def change(j: int, size: float = 1.0) -> tuple[Array, Array]:
            move = xp.where(index == j, size * h, zero)
            up, down = x + move, x - move if central else x
            return self.residual(up) - (self.residual(down) if central else r), xp.sum(up - down)  # as rounded

        columns = []
        for j in range(n):
            difference, width = change(j)
            if unknown and self._lost(difference, r):
                for size in LONGER:
                    difference, width = change(j, size)
                    if not self._lost(difference, r):
                        break
            columns.append(difference / width)
        return xp.stack(columns, axis=1)

    def _lost(self, difference: Array, r: Array) -> bool:
        """Whether a difference is rounding and no more: the parameter's unit is larger than its step supposed."""
        xp = self.backend.xp
        eps = float(xp.finfo(r.dtype).eps)
        (ratio,) = read(self.backend, xp.sum(difference * difference) - (64.0 * eps) ** 2 * xp.sum(r * r))
        return ratio <= 0.0

    def _inside(self, x: Array, r: Array, steps: Array, central: bool) -> Array:
        """Differences that stay within the bounds; near one, one-sided and of the same order."""
        to_numpy, put = self.backend.to_numpy, self.backend.asarray
        host, h = to_numpy(x), to_numpy(steps)
        below, above = host - to_numpy(self.box.lower), to_numpy(self.box.upper) - host

        def at(j: int, move: float) -> tuple[Array, float]:
            moved = host.copy()
            moved[j] += move
            return self.residual(put(moved, host.dtype.name)), float(moved[j]) - float(host[j])

        columns = []
        for j, step in enumerate(h.tolist()):
            size, room = abs(step), max(below[j], above[j])
            side = 1.0 if above[j] >= below[j] else -1.0
            if room <= 0.0:  # both bounds are equal: it cannot move
                columns.append(0.0 * r)
            elif not central:
                reach = above[j] if step > 0 else below[j]
                up, width = at(j, step if size <= reach else side * min(size, room))
                columns.append((up - r) / width)
            elif size <= below[j] and size <= above[j]:
                (up, plus), (down, minus) = at(j, size), at(j, -size)
                columns.append((up - down) / (plus - minus))
            else:
                size = side * min(size, 0.5 * room)
                (one, a), (two, b) = at(j, size), at(j, 2.0 * size)
                columns.append((b * b * (one - r) - a * a * (two - r)) / (a * b * (b - a)))
        return self.backend.xp.stack(columns, axis=1)

    def _complex(self, x: Array, r: Array) -> Array:
        """Im fun(x + i h e_j) / h: no difference is taken, so h can be tiny and the error is rounding."""
        xp, n = self.backend.xp, x.shape[0]
        kind = xp.complex128 if "64" in str(x.dtype) else xp.complex64
        tiny = COMPLEX_STEP if "64" in str(x.dtype) else 1e-20
        z, index = xp.astype(x, kind), xp.arange(n, device=self.backend.device)
        columns = []
        for j in range(n):
            self.ncalls += 1
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
        o = self.objective
        if o.nfev >= o.max_nfev:
            raise BudgetSpent
        o.nfev += 1
        return o.residual(self.theta)

    @property
    def root_residual(self) -> Array:
        """The residual in the order of the matrix's rows."""
        return self.residual

    @cached_property
    def value(self) -> Array:
        return half_square(self.objective.backend.xp, self.residual)

    @cached_property
    def root_jacobian(self) -> DenseRoot:
        o = self.objective
        J, error = o.jacobian(self.theta, self.residual, self.central)
        return DenseRoot(o.backend, J, self.residual, self.theta, o.residual, error)

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

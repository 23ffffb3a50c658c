"""The problem as the interior point method sees it: slacks on the inequalities, scaled functions, no fixed variables.

    min f(x)  s.t.  h(x) = 0,  g(x) + s = 0,  s >= 0,  lower <= x <= upper        w = (x, s),  c = (h, g + s)

The method sees variables, constraints and objective in units of their own (`scaling`), found at the start: the numbers
that it compares with constants are of the size of one whatever the user's units are. Units are powers of two, so that
nothing is rounded and bounds are met to the last bit.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np

from gdnet.optimizers.constrained import scaling
from gdnet.optimizers.constrained.bounds import free_variables
from gdnet.optimizers.constrained.form import Form, Point

KNOWN = 1e2
"""The weight of a size of a variable that is known, where one coefficient of a derivative has weight 1."""
ROUNDS = 4
"""How often at most the units of variables of unknown size are looked for."""
NO_SLOPE = 1e-6
"""A constraint with less slope than this part of its value is stationary at the start: its value gives its unit."""
SLOPE = 100.0
"""The size that the objective's and the constraints' slopes get at the start."""
LEAST_SIZE, LEAST_VALUE, LEAST_CHANGE = 1e-2, 1e-3, 1e-10
"""The least sizes, see `sizes`: of a variable, as a part of its unit; of |f|, as a part of the change of f; of that
change, as a part of the slopes at the start."""


class Functions(Protocol):
    """What the user gives, on the host in float64, unscaled, for the whole x. The rows of c are h, then g."""

    n: int
    equalities: int
    inequalities: int
    mode: str
    failure: Exception | None
    central: bool
    unit: np.ndarray

    @property
    def numerical(self) -> bool: ...

    known: np.ndarray
    weights: bool

    def find_sizes(self, x: np.ndarray) -> None: ...
    def adopt_units(self, free: np.ndarray, units: np.ndarray) -> bool: ...
    def rough_hessian(self, x: np.ndarray) -> np.ndarray: ...
    def without_noise(self, J: np.ndarray, value: np.ndarray) -> np.ndarray: ...
    def slopes_of_fixed(self, x: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...

    def value(self, x: np.ndarray) -> float: ...
    def gradient(self, x: np.ndarray) -> np.ndarray: ...
    def constraints(self, x: np.ndarray) -> np.ndarray: ...
    def jacobian(self, x: np.ndarray) -> np.ndarray: ...
    def convex_hessian(self, x: np.ndarray) -> np.ndarray | None: ...
    def objective_hessian(self, x: np.ndarray) -> np.ndarray: ...
    def hessian(self, x: np.ndarray, sigma: float, y: np.ndarray) -> np.ndarray:
        """σ ∇²f + Σ y_i ∇²c_i."""
        ...


class Residuals(NamedTuple):
    """How far a point is from the optimality conditions, in the user's units."""

    violation: float
    """max(|h|, g⁺)."""
    stationarity: float
    """max |∇f + Jᵀy - z_lower + z_upper|."""
    complementarity: float
    """max of |multiplier * constraint|, over equalities, inequalities and bounds."""
    relative: tuple[float, float, float]
    """The three conditions without units: each divided by the size of the terms whose sum it is, see `sizes`."""
    scale: float
    """The size that complementarity is divided by, in the method's units."""

    def within(self, tol: float, factors: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> bool:
        """Whether all three are small; a NaN is not."""
        return all(r <= tol * factor for r, factor in zip(self.relative, factors))


UNKNOWN = Residuals(np.nan, np.nan, np.nan, (np.nan, np.nan, np.nan), 1.0)


class SlackProblem(Form):
    """The user's problem over its free variables, with slacks, in units of its own."""

    slope: float = SLOPE
    source: Any = None
    """The objective from which this was made."""

    def __init__(self, functions: Functions, x0: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        self.functions, self.x0 = functions, x0
        free = free_variables(lower, upper)
        self.free = np.flatnonzero(free)
        self.full = np.where(free, x0, lower)
        self.n, p = self.free.size, functions.inequalities
        self.m = functions.equalities + p
        self.row, self.sign = np.arange(functions.equalities, self.m), np.ones(p)
        self.users_lower, self.users_upper = lower[self.free], upper[self.free]
        self.measure(1.0, np.ones(self.m), np.ones(self.n))
        self.curvature = np.zeros(self.n)
        """|diagonal| of the last Hessian of f, or of the Lagrangian's approximation by BFGS."""
        self.first_jacobian = np.ones((self.m, self.n))

    def measure(self, f: float, c: np.ndarray, x: np.ndarray) -> None:
        """Set the units: factors of f and of the constraints, and the unit of each variable."""
        self.f_scale, self.c_scale, self.unit = f, c, x
        p = self.row.size
        self.lower = np.concatenate([self.users_lower / x, np.zeros(p)])
        self.upper = np.concatenate([self.users_upper / x, np.full(p, np.inf)])
        self.finish()

    def start(self, push: float, scaling: bool, slope: float = SLOPE) -> np.ndarray:
        """The first w, strictly inside; sets the units, for slopes of this size."""
        f, self.slope = self.functions, slope
        if scaling:
            self.measure(1.0, np.ones(self.m), power_of_two(f.unit[self.free]))
            f.find_sizes(self.full)
            for _ in range(ROUNDS):
                if not self._find_units(self.full):
                    self._find_units(self.whole(self.inside(self._first(), push)))
                if not f.adopt_units(self.free, self.unit):
                    break
        w = self.inside(self._first(), push)
        c = self.c_scale * f.constraints(self.whole(w))
        w[self.n :] = np.maximum(np.nan_to_num(-c[self.row]), push)
        return w

    def _first(self) -> np.ndarray:
        return np.concatenate([self.full[self.free] / self.unit, np.ones(self.row.size)])

    def _find_units(self, x: np.ndarray) -> bool:
        """Units from what is known of the sizes of variables, and from slopes, curvature and constraints at x.

        False where these are not finite at x.
        """
        f, free = self.functions, self.free
        g, J, c, H = f.gradient(x)[free], f.jacobian(x)[:, free], f.constraints(x), f.rough_hessian(x)
        if not all(np.all(np.isfinite(v)) for v in (g, J, c, H)):
            return False
        H = H[np.ix_(free, free)]
        if f.numerical:
            g, J = (
                f.without_noise(f.gradient(x), np.asarray(f.value(x)))[free],
                f.without_noise(f.jacobian(x), c)[:, free],
            )
        found = f.unit[free]
        if not f.weights:
            found = scaling.units(H, g, J, c, [np.where(f.known, f.unit, np.nan)[free]], KNOWN).variables
        box = np.maximum(np.abs(self.users_lower), np.abs(self.users_upper))
        unit = power_of_two(np.minimum(found, np.where(box > 0, box, np.inf)))
        slopes = np.max(np.abs(J) * unit, axis=1, initial=0.0)
        change = max(
            float(np.max(np.abs(g) * unit, initial=0.0)), float(np.max(np.abs(np.diagonal(H)) * unit**2, initial=0.0))
        )
        f_scale = float(power_of_two(np.asarray(self.slope / change if change > 0 else 1.0)))
        with np.errstate(divide="ignore"):
            rows = np.where(slopes > NO_SLOPE * np.abs(c), slopes, np.where(c != 0, np.abs(c), 1.0))
        self.measure(f_scale, power_of_two(self.slope / rows), unit)
        self.curvature = f_scale * unit**2 * np.abs(np.diagonal(H))
        self.first_jacobian = J * unit * self.c_scale[:, None]
        return True

    def units(self) -> np.ndarray:
        """(1 + m + 2 n,): all that `resume` needs."""
        return np.concatenate([[self.f_scale], self.c_scale, self.unit, self.curvature])

    def resume(self, units: np.ndarray, steps: np.ndarray, central: bool) -> None:
        """Take the units of an earlier run."""
        m, n = self.m, self.n
        self.measure(float(units[0]), units[1 : 1 + m], units[1 + m : 1 + m + n])
        self.curvature = units[1 + m + n :].copy()
        self.functions.unit, self.functions.central = steps.copy(), central

    def start_value(self, tol: float) -> float:
        """The user's f at the start, or infinity where the start violates a constraint."""
        c = self.c_scale * self.functions.constraints(self.full)
        k = self.functions.equalities
        worst = max(float(np.max(np.abs(c[:k]), initial=0.0)), float(np.max(c[k:], initial=0.0)))
        value = self.functions.value(self.full)
        return value if worst <= tol and np.isfinite(value) else np.inf

    def first_point(self) -> np.ndarray:
        """w at the user's start itself, which may lie on bounds."""
        w = self._first()
        w[self.n :] = np.maximum(-(self.c_scale * self.functions.constraints(self.full))[self.row], 0.0)
        return w

    def use_central_differences(self) -> bool:
        """Take central differences from now on; False where they are in use already, or no differences are."""
        if self.functions.central or not self.functions.numerical:
            return False
        self.functions.central = True
        self._points.clear()
        return True

    def whole(self, w: np.ndarray) -> np.ndarray:
        """The user's x."""
        full = self.full.copy()
        full[self.free] = np.clip(w[: self.n] * self.unit, self.users_lower, self.users_upper)
        return full

    def evaluate(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        x = self.whole(w)
        c = self.c_scale * self.functions.constraints(x)
        c[self.row] += w[self.n :]
        return self.f_scale * self.functions.value(x), c

    def gradient(self, w: np.ndarray) -> np.ndarray:
        g = self.f_scale * self.functions.gradient(self.whole(w))[self.free] * self.unit
        return np.concatenate([g, np.zeros(self.row.size)])

    def jacobian(self, w: np.ndarray) -> np.ndarray:
        return self.c_scale[:, None] * self.functions.jacobian(self.whole(w))[:, self.free] * self.unit

    def _matrix(self, H: np.ndarray) -> np.ndarray:
        """The block of the free variables, in their units."""
        H = H[np.ix_(self.free, self.free)] * self.unit * self.unit[:, None]
        return 0.5 * (H + H.T)

    def hessian(self, w: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The Hessian of the Lagrangian: the block of x and the diagonal of v."""
        x = self.whole(w)
        H = self._matrix(self.functions.hessian(x, self.f_scale, self.c_scale * y))
        own = H if self.functions.mode == "bfgs" else self._matrix(self.f_scale * self.functions.objective_hessian(x))
        self.curvature = np.abs(np.diagonal(own))
        return H, np.zeros(self.row.size)

    def convex_hessian(self, w: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        # the curvature of constraints must not be left out: with them the exact Hessian is the better one
        H = self.functions.convex_hessian(self.whole(w)) if self.m == 0 else None
        return None if H is None else self._matrix(self.f_scale * H)

    def constraint_hessian(self, w: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Σ y_i ∇²c_i alone, for the restoration phase."""
        return self._matrix(self.functions.hessian(self.whole(w), 0.0, self.c_scale * y))

    def multipliers(self, y: np.ndarray, zl: np.ndarray, zu: np.ndarray) -> tuple[np.ndarray, ...]:
        """(y_h, y_g, z_lower, z_upper) of the user's problem, for the whole x; y_g is never negative."""
        k, n = self.functions.equalities, self.n
        z = self.spread(zl, np.zeros(self.has_upper.size)) / self.f_scale
        zup = self.spread(np.zeros(self.has_lower.size), zu) / self.f_scale
        lower, upper = np.zeros(self.full.size), np.zeros(self.full.size)
        lower[self.free], upper[self.free] = z[:n] / self.unit, zup[:n] / self.unit
        return self.c_scale[:k] * y[:k] / self.f_scale, self.c_scale[k:] * z[n:], lower, upper

    def gradient_and_multipliers(
        self, w: np.ndarray, y: np.ndarray, zl: np.ndarray, zu: np.ndarray, complete: bool
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The user's ∇f, and the multipliers by name; where `complete`, also at variables that their bounds fix.

        A fixed variable has the multiplier that makes it stationary.
        """
        yh, yg, lower, upper = self.multipliers(y, zl, zu)
        x, fixed = self.whole(w), np.setdiff1d(np.arange(self.full.size), self.free)
        p = self.at(w)
        gradient = np.full(x.size, np.nan)
        if p.finite:
            gradient[self.free] = p.gradient[: self.n] / self.f_scale / self.unit
        if complete and fixed.size:
            gradient[fixed], J = self.functions.slopes_of_fixed(x, fixed)
            slope = gradient[fixed] + J.T @ np.concatenate([yh, yg])
            lower[fixed], upper[fixed] = np.maximum(slope, 0.0), np.maximum(-slope, 0.0)
        return gradient, {"h_eq": yh, "g_le": yg, "lower": lower, "upper": upper}

    def sizes(self, p: Point) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Sizes, in the method's units, of variables, constraints, changes of f, and of f itself, at p.

        A variable has the size |x|, but not less than a hundredth of its unit, for it may end at zero. A constraint has
        that of the largest change which a variable of such a size makes; f likewise, by slope or by curvature. The last
        one is |f| where that lies between a thousandth of the changes and all of them.
        """
        x = np.maximum(np.abs(p.w[: self.n]), LEAST_SIZE)
        rows = np.max(np.abs(p.J) * x, axis=1, initial=0.0)
        rows = np.where(rows > 0, rows, 1.0)
        slopes, curves = np.abs(p.gradient[: self.n]) * x, self.curvature * x * x
        change = max(float(np.max(slopes, initial=0.0)), float(np.max(curves, initial=0.0)))
        change = max(change, LEAST_CHANGE * self.slope) if change > 0 else 1.0
        return x, rows, change, min(change, max(abs(p.f), LEAST_VALUE * change))

    def residuals(self, w: np.ndarray, y: np.ndarray, zl: np.ndarray, zu: np.ndarray) -> Residuals:
        """The check on which success rests. Fixed variables are exact by construction and have no condition."""
        p, k, n = self.at(w), self.functions.equalities, self.n
        lower, upper = self.spread(zl, 0.0 * zu), self.spread(0.0 * zl, zu)
        c = p.c - np.concatenate([np.zeros(k), w[n:]])
        short = np.concatenate([np.abs(c[:k]), np.maximum(c[k:], 0.0)])
        multipliers = np.concatenate([y[:k], lower[n:]])
        r = np.abs(p.gradient[:n] + p.J.T @ multipliers - lower[:n] + upper[:n])
        dl, du = self.distances(w)
        products = [multipliers * c, zl[self.has_lower < n] * dl[self.has_lower < n], zu * du]
        gap = max(float(np.max(np.abs(q), initial=0.0)) for q in products)
        x, rows, change, value = self.sizes(p)

        def largest(v: np.ndarray) -> float:
            return float(np.max(v, initial=0.0))

        relative = (largest(short / rows), largest(r * x) / change, gap / value)
        return Residuals(
            largest(short / self.c_scale), largest(r / self.unit) / self.f_scale, gap / self.f_scale, relative, value
        )


def power_of_two(v: np.ndarray) -> np.ndarray:
    """The power of two that is nearest to each positive number, on a logarithmic scale.

    >>> power_of_two(np.array([0.001, 1.0, 3.0])).tolist()
    [0.0009765625, 1.0, 4.0]
    """
    return np.exp2(np.clip(np.round(np.log2(np.maximum(v, 1e-300))), -500, 500))

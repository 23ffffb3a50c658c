"""The derivative of a layer at one point, as a linear map with two products and some faster forms of them."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from gdnet.backend import Array, backend_of
from gdnet.backend.base import itemsize

Shape = tuple[int, ...]
Params = Mapping[str, Array]
Pull = tuple[dict[str, Array], Any]
"""What a transposed product gives: (dparams, dx). A `dx` of None is a zero, or one that nobody asked for."""


ROWS_BYTES = 1 << 26
"""What the cotangents that `rows` sends through together may take."""


class Jacobian:
    """The derivative of y = f(params, x) at one point, as a linear map.

    Either subclass it or hand it the products: `Jacobian(jvp, vjp)`. The other methods are faster forms of what
    the two can do already; a layer overrides those for which it knows a better way.

    In every method `dparams` may be empty: the parameters do not move.

    Attributes
    ----------
    needs_dx : bool
        False if `jvp` accepts `dx=None` for an input that does not change, and `vjp` may return None for `dx`.

    Raises
    ------
    NotImplementedError
        By a product that nobody has written.

    >>> import numpy as np
    >>> a, x = np.asarray(3.0), np.asarray([[1.0, 2.0]])  # of y = a x
    >>> J = Jacobian(lambda dp, dx: a * dx + dp.get("a", 0.0) * x, lambda dy: ({"a": (dy * x).sum()}, a * dy))
    >>> J.jvp({"a": 1.0}, np.ones((1, 2)))
    array([[4., 5.]])
    >>> J.vjp_x(np.ones((1, 2)))
    array([[3., 3.]])
    """

    needs_dx = True

    def __init__(
        self,
        jvp: Callable[[Params, Array], Array] | None = None,
        vjp: Callable[[Array], Pull] | None = None,
        curve: Callable[[Params, Array, Array], Pull] | None = None,
    ) -> None:
        if jvp is not None:
            self.jvp = jvp  # type: ignore[method-assign, assignment]
        if vjp is not None:
            self.vjp = vjp  # type: ignore[method-assign, assignment]
        if curve is not None:
            self.curve = curve  # type: ignore[method-assign, assignment]

    def jvp(self, dparams: Params, dx: Array) -> Array:
        """dy = ∂f/∂params · dparams + ∂f/∂x · dx. Axes before n, in `dparams` and `dx` alike, are batch axes."""
        raise NotImplementedError(f"{type(self).__name__} has no jvp")

    def vjp(self, dy: Array) -> Pull:
        """(∂f/∂paramsᵀ · dy, ∂f/∂xᵀ · dy). `dy` may carry any number of axes before n, and so do the results."""
        raise NotImplementedError(f"{type(self).__name__} has no vjp")

    def curve(self, dparams: Params, dx: Array, gy: Array) -> Pull:
        """The second-derivative term: how `vjp(gy)` changes when params and x move by (dparams, dx).

        All parameters are named in the result; its dx may be None for zero. Batch axes of tangents and `gy` broadcast.
        """
        raise NotImplementedError(f"{type(self).__name__} has no second-derivative term")

    @property
    def has_curve(self) -> bool:
        """Whether somebody has written `curve`."""
        return "curve" in self.__dict__ or type(self).curve is not Jacobian.curve

    # -- faster forms, each with a default derived from the products -------------------------------------------------

    def vjp_x(self, dy: Array) -> Array:
        """The second half of `vjp` alone."""
        return self.vjp(dy)[1]

    def vjp_into(self, dy: Array, windows: dict[str, Array]) -> Array:
        """`vjp` with the parameter derivatives written into `windows` (of a gradient vector just created)."""
        dparams, dx = self.vjp(dy)
        for name, value in dparams.items():
            windows[name][...] = value
        return dx

    def dvjp(self, dparams: Params, dx: Array, gy: Array, dgy: Array | None) -> Pull:
        """How `vjp(gy)` changes when params and x move by (dparams, dx) and gy by dgy (None: it stays)."""
        bent = self.curve(dparams, dx, gy)
        return bent if dgy is None else added(self.vjp(dgy), bent)

    def hvp(self, dparams: Params, dx: Array, gy: Array, hessian: Callable[[Array], Array]) -> Pull:
        """The Hessian product of g(f(params, x)) for any g with gradient `gy` and Hessian map `hessian` at y.

        Jᵀ H J v, the Gauss-Newton part, plus `curve(v, gy)`, in one sweep where the layer knows how.
        """
        return self.dvjp(dparams, dx, gy, hessian(self.jvp(dparams, dx)))

    def rows(self, dy: Array) -> dict[str, Array]:
        """Parameter derivatives of each example's output: `dy` (v, n, ...) gives (v, n, *shape) by name.

        By default one transposed product an example, with the other examples' cotangents set to zero: that is right for
        every rule, also for one that mixes examples. As many go through at once as fit into `ROWS_BYTES`.
        """
        backend, (v, n) = backend_of(dy), dy.shape[:2]
        xp, found = backend.xp, []
        size = v * n * math.prod(dy.shape[2:]) * itemsize(dy.dtype)
        some = max(1, min(n, ROWS_BYTES // max(size, 1)))
        for start in range(0, n, some):
            m = min(some, n - start)
            # only[m, v, n] keeps one example and silences the others, so that its derivative comes out alone.
            only = xp.eye(m, n, k=start, dtype=dy.dtype, device=backend.device)
            only = xp.reshape(only, (m, 1, n, *([1] * (dy.ndim - 2))))
            found.append(self.vjp(xp.expand_dims(dy, axis=0) * only)[0])
        return {
            name: xp.moveaxis(xp.concat([own[name] for own in found], axis=0) if found[1:] else value, 0, 1)
            for name, value in (found[0] if found else {}).items()
        }

    def squares(self, dy: Array) -> dict[str, Array]:
        """The squares of `rows(dy)`, summed over cotangents and examples: the diagonal of JᵀJ by name."""
        xp, found = backend_of(dy).xp, {}
        for name, row in self.rows(dy).items():
            found[name] = xp.sum(row * row, axis=(0, 1))
        return found

    def gram(self, dy: Array) -> Array:
        """This layer's share of J Jᵀ: (v, n, v, n) for `dy` (v, n, ...), by default through `rows`."""
        backend, (v, n) = backend_of(dy), dy.shape[:2]
        xp, total = backend.xp, None
        for row in self.rows(dy).values():
            flat = xp.reshape(row, (v * n, math.prod(row.shape[2:])))
            product = flat @ xp.matrix_transpose(flat)
            total = product if total is None else total + product
        if total is None:
            return xp.zeros((v, n, v, n), dtype=dy.dtype, device=backend.device)
        return xp.reshape(total, (v, n, v, n))


def accumulate(total: Array, more: Array) -> Array:
    """total + more, in place where both have one shape: `total` must be an array that the caller has just made."""
    if total.shape != more.shape:
        return total + more
    total += more
    return total


def plus(a: Array | None, b: Array | None) -> Array | None:
    """a + b, where None stands for zero."""
    return b if a is None else a if b is None else a + b


def added(a: Pull, b: Pull) -> Pull:
    """The sum of two results of transposed products; a name or a dx that is missing is zero."""
    (p, x), (q, z) = a, b
    return {name: plus(p.get(name), q.get(name)) for name in p | q}, plus(x, z)

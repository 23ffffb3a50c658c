"""Layers that act on each element alone, and their diagonal Jacobians."""

from typing import Any

from gdnet.backend import Array, Backend
from gdnet.layers.base import Context, Layer
from gdnet.layers.jacobian import Jacobian, Params, Pull


class DiagonalJacobian(Jacobian):
    """dy = d dx, one element at a time: its own transpose. `d` may be a number."""

    def __init__(self, d: Any) -> None:
        self._d = d

    @property
    def d(self) -> Any:
        return self._d

    def jvp(self, dparams: Params, dx: Array) -> Array:
        return dx * self.d

    def vjp(self, dy: Array) -> Pull:
        return {}, dy * self.d

    def vjp_x(self, dy: Array) -> Array:
        return dy * self.d

    def vjp_into(self, dy: Array, windows: dict[str, Array]) -> Array:
        return dy * self.d

    def curve(self, dparams: Params, dx: Array, gy: Array) -> Pull:
        return {}, None

    def rows(self, dy: Array) -> dict[str, Array]:
        return {}


class ElementwiseJacobian(DiagonalJacobian):
    """The Jacobian of y = f(x): d = f'(x), computed when first asked for.

    Where one kernel has made y and d of z + b, for z (n, o) and b (o,), that sum was never written to memory: then x is
    z, and `bias` is b. Such a kernel always gives d, so `df`, which would need z + b, is never called with `bias` set.
    """

    def __init__(
        self, rule: "Elementwise", backend: Backend, x: Array, y: Array, d: Array | None, bias: Array | None = None
    ) -> None:
        super().__init__(d)
        self.rule, self.backend, self.x, self.y, self.bias = rule, backend, x, y, bias

    @property
    def d(self) -> Array:
        if self._d is None:
            self._d = self.rule.df(self.backend, self.x, self.y)
        return self._d

    def curve(self, dparams: Params, dx: Array, gy: Array) -> Pull:
        x = self.x if self.bias is None else self.x + self.bias
        return {}, gy * dx * self.rule.d2f(self.backend, x, self.y)


class Elementwise(Layer):
    """A layer y = f(x) on each element. Subclasses give the row f, f', f''.

    >>> import numpy as np
    >>> class Square(Elementwise):
    ...     def f(self, backend, x):
    ...         return x * x
    ...     def df(self, backend, x, y):
    ...         return 2.0 * x
    ...     def d2f(self, backend, x, y):
    ...         return backend.xp.full_like(x, 2.0)
    >>> y, J = Square()({}, np.asarray([[3.0]]))
    >>> y, J.vjp(np.ones((1, 1)))[1]
    (array([[9.]]), array([[6.]]))
    """

    keeps_shape = True
    kernel = ""
    """The rule's name in a backend's `kernels`, where it may have two functions that make value and slope in one pass:

    - under this name, `kernel(backend, x, **config) -> (f(x), f'(x))`, called in place of `f` and `df`;
    - under `bias_` and this name, `kernel(backend, z, b, **config)`, the same of x = z + b.

    It is not inherited: a subclass may have another rule."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kernel = vars(cls).get("kernel", "")

    def f(self, backend: Backend, x: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} has no f")

    def df(self, backend: Backend, x: Array, y: Array) -> Array:
        """f' in terms of x and y = f(x)."""
        raise NotImplementedError(f"{type(self).__name__} has no df")

    def d2f(self, backend: Backend, x: Array, y: Array) -> Array:
        """f'' in terms of x and y = f(x)."""
        raise NotImplementedError(f"{type(self).__name__} has no d2f")

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        backend = context.backend
        fused = backend.kernels.get(self.kernel)
        y, d = (self.f(backend, x), None) if fused is None else fused(backend, x, **self.config())
        return y, ElementwiseJacobian(self, backend, x, y, d)

"""Activations: each is a row f, f', f'' in terms of the input x and the output y.

No row overflows or loses its value at large |x|: exponentials are only taken of numbers that are not positive. At a
kink the derivative is that of torch.
"""

import math
from typing import Any

from gdnet.backend import Array, Backend
from gdnet.checks import check_real
from gdnet.layers.elementwise import Elementwise


def sigmoid(xp: Any, x: Array) -> Array:
    """1 / (1 + exp(-x)), also written exp(x) / (1 + exp(x)): whichever exponential cannot overflow."""
    e = xp.exp(-xp.abs(x))
    return xp.maximum(xp.astype(x >= 0, x.dtype), e) / (1.0 + e)  # the numerator is 1 for x >= 0, else e


def gate(xp: Any, x: Array, y: Array) -> Array:
    """s of y = x s(x), got back by division; s(0) = 1/2 for the two rules that use it."""
    tiny = xp.abs(x) < 1e-30
    half = xp.full_like(x, 0.5)
    return xp.where(tiny, half, y / xp.where(tiny, half, x))


class Identity(Elementwise, name="Identity"):
    """y = x.

    >>> import numpy as np
    >>> Identity()({}, np.asarray([[2.0]]))[0]
    array([[2.]])
    """

    kernel = "Identity"

    def f(self, backend: Backend, x: Array) -> Array:
        return x

    def df(self, backend: Backend, x: Array, y: Array) -> Array:
        return backend.xp.ones_like(x)

    def d2f(self, backend: Backend, x: Array, y: Array) -> Array:
        return backend.xp.zeros_like(x)


class Step(Elementwise, name="Step"):
    """y = 1 for x > 0, else 0; y' = 0. The perceptron's activation: nothing can be learned through it.

    >>> import numpy as np
    >>> Step()({}, np.asarray([[-2.0, 0.0, 3.0]]))[0]
    array([[0., 0., 1.]])
    """

    kernel = "Step"
    kinks = (0.0,)

    def f(self, backend: Backend, x: Array) -> Array:
        return backend.xp.astype(x > 0, x.dtype)

    def df(self, backend: Backend, x: Array, y: Array) -> Array:
        return backend.xp.zeros_like(x)

    def d2f(self, backend: Backend, x: Array, y: Array) -> Array:
        return backend.xp.zeros_like(x)


class Sigmoid(Elementwise, name="Sigmoid"):
    """y = 1 / (1 + exp(-x)), y' = y (1 - y), y'' = y' (1 - 2 y).

    >>> import numpy as np
    >>> Sigmoid()({}, np.asarray([[0.0, 1e4]]))[0]
    array([[0.5, 1. ]])
    """

    kernel = "Sigmoid"

    def f(self, backend: Backend, x: Array) -> Array:
        return sigmoid(backend.xp, x)

    def df(self, backend: Backend, x: Array, y: Array) -> Array:
        return y * (1.0 - y)

    def d2f(self, backend: Backend, x: Array, y: Array) -> Array:
        return y * (1.0 - y) * (1.0 - 2.0 * y)


class Tanh(Elementwise, name="Tanh"):
    """y = tanh(x), y' = 1 - y², y'' = -2 y y'.

    >>> import numpy as np
    >>> Tanh()({}, np.asarray([[0.0, 1e4]]))[0]
    array([[0., 1.]])
    """

    kernel = "Tanh"

    def f(self, backend: Backend, x: Array) -> Array:
        return backend.xp.tanh(x)

    def df(self, backend: Backend, x: Array, y: Array) -> Array:
        return 1.0 - y * y

    def d2f(self, backend: Backend, x: Array, y: Array) -> Array:
        return -2.0 * y * (1.0 - y * y)


class ReLU(Elementwise, name="ReLU"):
    """y = max(x, 0), y' = 1 for x > 0, else 0.

    >>> import numpy as np
    >>> ReLU()({}, np.asarray([[-2.0, 3.0]]))[0]
    array([[0., 3.]])
    """

    kernel = "ReLU"
    kinks = (0.0,)

    def f(self, backend: Backend, x: Array) -> Array:
        return backend.xp.maximum(x, 0.0)

    def df(self, backend: Backend, x: Array, y: Array) -> Array:
        return backend.xp.astype(y > 0, y.dtype)

    def d2f(self, backend: Backend, x: Array, y: Array) -> Array:
        return backend.xp.zeros_like(x)


class LeakyReLU(Elementwise, name="LeakyReLU"):
    """y = x for x > 0, else slope x; y' = 1 or slope.

    >>> import numpy as np
    >>> LeakyReLU()({}, np.asarray([[-2.0, 3.0]]))[0]
    array([[-0.02,  3.  ]])
    """

    kernel = "LeakyReLU"
    kinks = (0.0,)

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = _finite("LeakyReLU", "slope", slope)

    def config(self) -> dict[str, Any]:
        return {"slope": self.slope}

    def f(self, backend: Backend, x: Array) -> Array:
        return backend.xp.where(x > 0, x, self.slope * x)

    def df(self, backend: Backend, x: Array, y: Array) -> Array:
        xp = backend.xp
        return xp.where(x > 0, xp.ones_like(x), xp.full_like(x, self.slope))

    def d2f(self, backend: Backend, x: Array, y: Array) -> Array:
        return backend.xp.zeros_like(x)


class ELU(Elementwise, name="ELU"):
    """y = x for x > 0, else α (exp(x) - 1); there y' = y'' = y + α (Clevert et al. 2016).

    >>> import numpy as np
    >>> ELU()({}, np.asarray([[-1e4, 3.0]]))[0]
    array([[-1.,  3.]])
    """

    kernel = "ELU"
    kinks = (0.0,)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = _finite("ELU", "alpha", alpha)

    def config(self) -> dict[str, Any]:
        return {"alpha": self.alpha}

    def f(self, backend: Backend, x: Array) -> Array:
        xp = backend.xp
        return xp.where(x > 0, x, self.alpha * xp.expm1(xp.minimum(x, 0.0)))

    def df(self, backend: Backend, x: Array, y: Array) -> Array:
        return backend.xp.where(x > 0, backend.xp.ones_like(x), y + self.alpha)

    def d2f(self, backend: Backend, x: Array, y: Array) -> Array:
        return backend.xp.where(x > 0, backend.xp.zeros_like(x), y + self.alpha)


class SELU(Elementwise, name="SELU"):
    """y = λ x for x > 0, else λ α (exp(x) - 1); there y' = y'' = y + λ α.

    λ and α keep mean 0 and variance 1 from layer to layer (Klambauer et al. 2017).

    >>> import numpy as np
    >>> SELU()({}, np.asarray([[-1e4, 1.0]]))[0].round(4)
    array([[-1.7581,  1.0507]])
    """

    kernel = "SELU"
    kinks = (0.0,)
    scale = 1.0507009873554804934193349852946
    alpha = 1.6732632423543772848170429916717

    def f(self, backend: Backend, x: Array) -> Array:
        xp = backend.xp
        return self.scale * xp.where(x > 0, x, self.alpha * xp.expm1(xp.minimum(x, 0.0)))

    def df(self, backend: Backend, x: Array, y: Array) -> Array:
        return backend.xp.where(x > 0, backend.xp.full_like(x, self.scale), y + self.scale * self.alpha)

    def d2f(self, backend: Backend, x: Array, y: Array) -> Array:
        return backend.xp.where(x > 0, backend.xp.zeros_like(x), y + self.scale * self.alpha)


class Softplus(Elementwise, name="Softplus"):
    """y = log(1 + exp(x)); y' = sigmoid(x) = 1 - exp(-y), y'' = y' (1 - y').

    torch's goes over to y = x at x = 20; this one does not.

    >>> import numpy as np
    >>> Softplus()({}, np.asarray([[0.0, 1e4]]))[0].round(6)
    array([[6.93147e-01, 1.00000e+04]])
    """

    kernel = "Softplus"

    def f(self, backend: Backend, x: Array) -> Array:
        xp = backend.xp
        return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))

    def df(self, backend: Backend, x: Array, y: Array) -> Array:
        return -backend.xp.expm1(-y)

    def d2f(self, backend: Backend, x: Array, y: Array) -> Array:
        return -backend.xp.expm1(-y) * backend.xp.exp(-y)


class GELU(Elementwise, name="GELU"):
    """y = x Φ(x), the exact form, with Φ(x) = (1 + erf(x / √2)) / 2 and φ = Φ' the normal density.

    y' = Φ + x φ, y'' = (2 - x²) φ (Hendrycks and Gimpel 2016).

    >>> import numpy as np
    >>> GELU()({}, np.asarray([[-1e4, 1.0]]))[0].round(6)
    array([[-0.      ,  0.841345]])
    """

    kernel = "GELU"

    def f(self, backend: Backend, x: Array) -> Array:
        return 0.5 * x * (1.0 + backend.erf(x * math.sqrt(0.5)))

    def df(self, backend: Backend, x: Array, y: Array) -> Array:
        return gate(backend.xp, x, y) + x * _normal_density(backend.xp, x)

    def d2f(self, backend: Backend, x: Array, y: Array) -> Array:
        xp = backend.xp
        x = xp.minimum(xp.maximum(x, -40.0), 40.0)  # where φ is 0 already, x² must not become infinite
        return (2.0 - x * x) * _normal_density(xp, x)


class SiLU(Elementwise, name="SiLU"):
    """y = x s with s = sigmoid(x), also called swish; y' = s + y (1 - s), y'' = s (1 - s) (2 + x (1 - 2 s)).

    >>> import numpy as np
    >>> SiLU()({}, np.asarray([[-1e4, 1.0]]))[0].round(6)
    array([[-0.      ,  0.731059]])
    """

    kernel = "SiLU"

    def f(self, backend: Backend, x: Array) -> Array:
        return x * sigmoid(backend.xp, x)

    def df(self, backend: Backend, x: Array, y: Array) -> Array:
        s = gate(backend.xp, x, y)
        return s + y * (1.0 - s)

    def d2f(self, backend: Backend, x: Array, y: Array) -> Array:
        s = gate(backend.xp, x, y)
        return s * (1.0 - s) * (2.0 + x * (1.0 - 2.0 * s))


class HardTanh(Elementwise, name="HardTanh"):
    """y = min(max(x, -1), 1), y' = 1 for |x| < 1, else 0.

    >>> import numpy as np
    >>> HardTanh()({}, np.asarray([[-2.0, 0.5]]))[0]
    array([[-1. ,  0.5]])
    """

    kernel = "HardTanh"
    kinks = (-1.0, 1.0)

    def f(self, backend: Backend, x: Array) -> Array:
        return backend.xp.minimum(backend.xp.maximum(x, -1.0), 1.0)

    def df(self, backend: Backend, x: Array, y: Array) -> Array:
        return backend.xp.astype(backend.xp.abs(x) < 1, x.dtype)

    def d2f(self, backend: Backend, x: Array, y: Array) -> Array:
        return backend.xp.zeros_like(x)


def _normal_density(xp: Any, x: Array) -> Array:
    return xp.exp(-0.5 * x * x) * (1.0 / math.sqrt(2.0 * math.pi))


def _finite(layer: str, name: str, value: float) -> float:
    return check_real(f"{layer}: {name}", value, "a finite number", math.isfinite)

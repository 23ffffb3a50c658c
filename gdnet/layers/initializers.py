"""Initial weights, drawn on the host.

fan_in and fan_out are the first and the last size of the shape: the number of inputs and outputs of a dense layer.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gdnet.checks import check_count, check_real
from gdnet.errors import OptionError

Rule = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""What draws initial values: an `Initializer`, or a function of the user's own."""

__all__ = [
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "initializer",
    "lecun_normal",
    "normal",
    "orthogonal",
    "uniform",
    "zeros",
]


@dataclass(frozen=True)
class Initializer:
    """A named rule for initial values: `init(rng, shape)` draws a float64 array.

    fan_in and fan_out are how many inputs an output has, and outputs an input. By default they are the first and the
    last size of the shape, as in a dense layer; a layer whose weights are otherwise, as in a convolution, gives them.

    >>> weights = he_normal()(np.random.default_rng(0), (3, 64, 32), fan_in=3 * 64, fan_out=3 * 32)
    >>> weights.shape, round(float(weights.std()), 2)
    ((3, 64, 32), 0.1)
    """

    name: str
    options: dict[str, float] = field(default_factory=dict)

    def __call__(
        self, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int | None = None, fan_out: int | None = None
    ) -> np.ndarray:
        if self.name not in _BY_FANS:
            return _RULES[self.name](rng, shape, **self.options)
        first, last = (shape[0], shape[-1]) if shape else (1, 1)
        fan_in = first if fan_in is None else check_count("fan_in", fan_in)
        fan_out = last if fan_out is None else check_count("fan_out", fan_out)
        variance, draw = _BY_FANS[self.name]
        return draw(rng, shape, variance(max(fan_in, 1), max(fan_out, 1)))

    def config(self) -> dict[str, Any]:
        """The rule as JSON values, from which `initializer` makes it again."""
        return {"name": self.name, "options": dict(self.options)}

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v}' for k, v in self.options.items())})"

    def __hash__(self) -> int:
        return hash(repr(self))


def _uniform_variance(rng: np.random.Generator, shape: tuple[int, ...], variance: float) -> np.ndarray:
    limit = math.sqrt(3.0 * variance)  # U(-a, a) has variance a²/3
    return rng.uniform(-limit, limit, shape)


def _normal_variance(rng: np.random.Generator, shape: tuple[int, ...], variance: float) -> np.ndarray:
    return math.sqrt(variance) * rng.standard_normal(shape)


def _orthogonal(rng: np.random.Generator, shape: tuple[int, ...], gain: float) -> np.ndarray:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))  # else not uniform over the orthogonal matrices (Mezzadri 2007)
    return gain * (q if rows >= columns else q.T).reshape(shape)


_RULES: dict[str, Callable[..., np.ndarray]] = {
    "zeros": lambda rng, shape: np.zeros(shape),
    "constant": lambda rng, shape, value: np.full(shape, float(value)),
    "normal": lambda rng, shape, std: std * rng.standard_normal(shape),
    "uniform": lambda rng, shape, low, high: rng.uniform(low, high, shape),
    "orthogonal": _orthogonal,
}
_BY_FANS: dict[str, tuple[Callable[[int, int], float], Callable[..., np.ndarray]]] = {
    "glorot_uniform": (lambda fan_in, fan_out: 2.0 / (fan_in + fan_out), _uniform_variance),
    "glorot_normal": (lambda fan_in, fan_out: 2.0 / (fan_in + fan_out), _normal_variance),
    "he_uniform": (lambda fan_in, fan_out: 2.0 / fan_in, _uniform_variance),
    "he_normal": (lambda fan_in, fan_out: 2.0 / fan_in, _normal_variance),
    "lecun_normal": (lambda fan_in, fan_out: 1.0 / fan_in, _normal_variance),
}
"""The variance by the fans, and how it is drawn."""


def zeros() -> Initializer:
    """All 0. Fine for biases; as weights it keeps every unit of a layer equal for ever.

    >>> import numpy as np
    >>> zeros()(np.random.default_rng(0), (2, 3))
    array([[0., 0., 0.],
           [0., 0., 0.]])
    """
    return Initializer("zeros")


def constant(value: float) -> Initializer:
    """All `value`.

    Raises
    ------
    OptionError
        If value is not finite.

    >>> import numpy as np
    >>> constant(0.5)(np.random.default_rng(0), (3,))
    array([0.5, 0.5, 0.5])
    """
    return Initializer("constant", {"value": check_real("constant: value", value, "finite", math.isfinite)})


def normal(std: float = 0.01) -> Initializer:
    """N(0, std²): independent normal numbers with mean 0.

    Raises
    ------
    OptionError
        If std is negative or not finite.

    >>> import numpy as np
    >>> W = normal(0.01)(np.random.default_rng(0), (784, 50))
    >>> W.shape, round(float(W.std()), 4)
    ((784, 50), 0.01)
    """
    wanted = "finite and at least 0"
    return Initializer("normal", {"std": check_real("normal: std", std, wanted, lambda v: 0 <= v < math.inf)})


def uniform(low: float = -0.05, high: float = 0.05) -> Initializer:
    """U(low, high): independent numbers, low <= w < high.

    Raises
    ------
    OptionError
        If low is greater than high, or one of them is not finite.

    >>> import numpy as np
    >>> W = uniform(-0.1, 0.1)(np.random.default_rng(0), (100, 50))
    >>> bool(W.min() >= -0.1) and bool(W.max() < 0.1)
    True
    """
    low, high = (check_real(f"uniform: {k}", v, "finite", math.isfinite) for k, v in (("low", low), ("high", high)))
    if low > high:
        raise OptionError(f"uniform: needs finite numbers low <= high, got {low} and {high}")
    return Initializer("uniform", {"low": low, "high": high})


def glorot_uniform() -> Initializer:
    """U(-a, a) with a = √(6 / (fan_in + fan_out)): variance 2 / (fan_in + fan_out), for tanh and sigmoid.

    fan_in and fan_out are the first and the last size of the shape. The default of `Dense`.

    Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010.

    >>> import numpy as np
    >>> W = glorot_uniform()(np.random.default_rng(0), (400, 200))  # a = 0.1
    >>> round(float(abs(W).max()), 3)
    0.1
    """
    return Initializer("glorot_uniform")


def glorot_normal() -> Initializer:
    """N(0, 2 / (fan_in + fan_out)), for tanh and sigmoid; the fans are the first and the last size of the shape.

    Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010.

    >>> import numpy as np
    >>> W = glorot_normal()(np.random.default_rng(0), (600, 200))  # variance 2 / 800
    >>> round(float(W.std()), 3)
    0.05
    """
    return Initializer("glorot_normal")


def he_uniform() -> Initializer:
    """U(-a, a) with a = √(6 / fan_in): variance 2 / fan_in, for ReLU; fan_in is the first size of the shape.

    Source: K. He et al., "Delving deep into rectifiers", ICCV 2015.

    >>> import numpy as np
    >>> W = he_uniform()(np.random.default_rng(0), (600, 100))  # a = 0.1
    >>> round(float(abs(W).max()), 3)
    0.1
    """
    return Initializer("he_uniform")


def he_normal() -> Initializer:
    """N(0, 2 / fan_in), for ReLU; fan_in is the first size of the shape.

    Source: K. He et al., "Delving deep into rectifiers", ICCV 2015.

    >>> import numpy as np
    >>> W = he_normal()(np.random.default_rng(0), (800, 100))  # variance 2 / 800
    >>> round(float(W.std()), 3)
    0.05
    """
    return Initializer("he_normal")


def lecun_normal() -> Initializer:
    """N(0, 1 / fan_in), for SELU; fan_in is the first size of the shape.

    Source: Y. LeCun, L. Bottou, G. Orr and K.-R. Müller, "Efficient backprop", 1998.

    >>> import numpy as np
    >>> W = lecun_normal()(np.random.default_rng(0), (400, 100))  # variance 1 / 400
    >>> round(float(W.std()), 3)
    0.05
    """
    return Initializer("lecun_normal")


def orthogonal(gain: float = 1.0) -> Initializer:
    """A random matrix with orthonormal columns (or rows, if it has fewer of them), times `gain`.

    W = gain Q with QᵀQ = I or QQᵀ = I, uniform over all such Q. A shape of more than two sizes is drawn as a matrix of
    (all but the last, the last); it needs at least one axis.

    Source: A. Saxe, J. McClelland and S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", ICLR 2014.

    Raises
    ------
    OptionError
        If gain is not finite.

    >>> import numpy as np
    >>> W = orthogonal()(np.random.default_rng(0), (4, 2))
    >>> np.allclose(W.T @ W, np.eye(2))
    True
    """
    return Initializer("orthogonal", {"gain": check_real("orthogonal: gain", gain, "finite", math.isfinite)})


def from_config(config: dict[str, Any]) -> Initializer:
    """The initializer that a model file names."""
    if config.get("name") not in {*_RULES, *_BY_FANS}:
        known = sorted({*_RULES, *_BY_FANS})
        raise OptionError(f"unknown initializer {config.get('name')!r}: expected one of {known}")
    return Initializer(config["name"], dict(config.get("options", {})))


def initializer(given: Any, layer: str = "initializer") -> Rule:
    """The rule that a layer's `init` means: a rule itself, the dictionary of a model file, or None for the default.

    `layer` is the name that errors begin with.

    Raises
    ------
    OptionError
        If it is none of these.

    >>> initializer({"name": "normal", "options": {"std": 0.5}}), initializer(None), initializer(he_normal())
    (normal(std=0.5), glorot_uniform(), he_normal())
    """
    if given is None:
        return glorot_uniform()
    if isinstance(given, dict):
        return from_config(given)
    if getattr(given, "__module__", "") == __name__ and not isinstance(given, Initializer):
        raise OptionError(f"{layer}: init must be an initializer: write {given.__name__}(), not {given.__name__}")
    if not callable(given):
        raise OptionError(f"{layer}: init must be an initializer such as he_normal() or a function, got {given!r}")
    return given

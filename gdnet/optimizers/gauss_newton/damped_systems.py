"""The damped Gauss-Newton system (AᵀA + μ D²) v = -g, solved where it is smallest.

    parameters   the P x P matrix AᵀA, summed over blocks of rows
    samples      the M x M matrix A Aᵀ, formed without A; (AᵀA + μd)⁻¹ Aᵀ = Aᵀ (A Aᵀ + μd)⁻¹
    cg           products A v and Aᵀ u alone

In the space of samples D is one number, for the layers' products A D⁻² Aᵀ exist only then.
"""

from collections.abc import Callable
from typing import Any, Protocol

from gdnet.backend import Array, Backend
from gdnet.backend.base import itemsize
from gdnet.backend.linalg import cholesky_factor, cholesky_solve
from gdnet.errors import OptionError
from gdnet.optimizers.point import read

SPACES = ("parameters", "samples", "cg")
CG_STEPS = 100
"""Products counted for one step by conjugate gradients, where the choice of a space is made."""
CG_HANDICAP = 15.0
"""How much dearer a counted operation of conjugate gradients is than one of a direct solve: a product reads as many
numbers as it multiplies, and a step may take five times `CG_STEPS` of them and still be inexact. Measured on networks:
where the direct solve counts 2 to 6 times as much it ends 4 to 40,000 times lower in the same time; where it counts 29
times as much, 4 times higher."""


class Root(Protocol):
    """A with AᵀA the Gauss-Newton matrix, (M, P): what an evaluation's `root_jacobian` is, of a network or a function.

    `residual` is r with value = ½ ||r||² and gradient = Aᵀr, or None for a loss that is no sum of squares. `accuracy`
    is the relative error of the entries beyond rounding. `gram_flops` and `product_flops` are what A Aᵀ and one product
    with AᵀA cost. `max_bytes` bounds the rows held at a time.
    """

    backend: Backend
    xp: Any
    dtype: Any
    shape: tuple[int, int]
    accuracy: float

    @property
    def gradient(self) -> Array: ...
    @property
    def residual(self) -> Array | None: ...
    @property
    def gram_flops(self) -> float: ...
    @property
    def product_flops(self) -> float: ...

    def matvec(self, v: Array) -> Array:
        """A v."""
        ...

    def rmatvec(self, u: Array) -> Array:
        """Aᵀ u."""
        ...

    def bend(self, v: Array, h: float) -> Array:
        """The second derivative of r along v (R y'' for other losses), from one evaluation at theta + h v."""
        ...

    def dense(self, max_bytes: int) -> Array:
        """A itself."""
        ...

    def normal(self, max_bytes: int) -> Array:
        """AᵀA, (P, P)."""
        ...

    def gram(self) -> Array:
        """A Aᵀ, (M, M)."""
        ...

    def diagonal(self, max_bytes: int) -> Array:
        """diag(AᵀA), (P,)."""
        ...


def flops(space: str, A: Any) -> float:
    """What one step costs: forming the matrix and factoring it, or the products."""
    m, p = A.shape
    if space == "parameters":
        return m * p * p + p**3 / 3.0
    if space == "samples":
        return A.gram_flops + m**3 / 3.0
    return min(m, p, CG_STEPS) * A.product_flops


def needed_bytes(space: str, A: Any) -> int:
    """The matrix, its damped copy and its factor; the rows of A come in blocks."""
    m, p = A.shape
    side = {"parameters": p, "samples": m, "cg": 0}[space]
    return (4 * side * side + 8 * (m + p)) * itemsize(A.dtype)


def choose_space(A: Any, max_memory: int) -> str:
    """The cheapest space that fits; conjugate gradients only where direct solves count `CG_HANDICAP` times as much.

    >>> from types import SimpleNamespace as Shape
    >>> tall = Shape(shape=(1000, 61), gram_flops=1e8, product_flops=5e5, dtype="float64")
    >>> wide = Shape(shape=(1000, 39760), gram_flops=2e8, product_flops=3e7, dtype="float64")
    >>> choose_space(tall, 1 << 31), choose_space(wide, 1 << 31), choose_space(wide, 1 << 20)
    ('parameters', 'samples', 'cg')
    """
    fitting = [space for space in SPACES if needed_bytes(space, A) <= max_memory or space == "cg"]
    return min(fitting, key=lambda space: flops(space, A) * (CG_HANDICAP if space == "cg" else 1.0))


class Damped:
    """The system at one point. `scale` is D²: an array (P,) or one number; `factor(mu)` comes before `step`.

    `curvature` is diag(AᵀA), or its mean in the space of samples.
    """

    scale: Any
    curvature: Array

    def __init__(self, backend: Backend, A: Any) -> None:
        self.backend, self.xp, self.A = backend, backend.xp, A

    def factor(self, mu: float) -> bool:
        """Prepare for this damping; False where the matrix is not positive definite in this precision."""
        raise NotImplementedError

    def step(self) -> Array:
        """v = -(AᵀA + μD²)⁻¹ g."""
        raise NotImplementedError

    def pull(self, u: Array) -> Array:
        """-(AᵀA + μD²)⁻¹ Aᵀ u."""
        raise NotImplementedError

    def promise(self, v: Array, size: float, slope: float, mu: float) -> float:
        """What the model says that v gains, -(gᵀv + ½ vᵀAᵀA v), from ||D v||² and gᵀv where v solves the system."""
        return 0.5 * (mu * size - slope)

    def weighted(self, v: Array) -> Array:
        """||D v||², on the device."""
        return self.xp.sum(self.scale * v * v)


class ParameterSpace(Damped):
    """Cholesky of D⁻¹ AᵀA D⁻¹ + μ I, whose diagonal is at most 1 + μ whatever the units of the parameters."""

    def __init__(self, backend: Backend, A: Any, scale: Callable[[Array], Any], max_memory: int) -> None:
        super().__init__(backend, A)
        xp = self.xp
        H = A.normal(max_memory)
        self.curvature = xp.linalg.diagonal(H)
        self.scale = scale(self.curvature)
        one = isinstance(self.scale, float) or self.scale.ndim == 0
        self.d = self.scale**0.5
        self.H = H / self.scale if one else H / (self.d[:, None] * self.d[None, :])
        self.eye = xp.eye(A.shape[1], dtype=H.dtype, device=backend.device)
        self.L: Any = None

    def factor(self, mu: float) -> bool:
        self.L = cholesky_factor(self.backend, self.H + mu * self.eye)
        return self.L is not None

    def _solve(self, g: Array) -> Array:
        return -cholesky_solve(self.backend, self.L, g / self.d) / self.d

    def step(self) -> Array:
        return self._solve(self.A.gradient)

    def pull(self, u: Array) -> Array:
        return self._solve(self.A.rmatvec(u))


class SampleSpace(Damped):
    """Cholesky of A Aᵀ + μ d I; A itself is never formed."""

    def __init__(self, backend: Backend, A: Any, scale: Callable[[Array], Any], max_memory: int) -> None:
        super().__init__(backend, A)
        xp, (m, p) = self.xp, A.shape
        self.K = A.gram()
        self.curvature = xp.sum(xp.linalg.diagonal(self.K)) / p  # the mean of diag(AᵀA)
        self.scale = scale(self.curvature)
        self.eye = xp.eye(m, dtype=self.K.dtype, device=backend.device)
        self.mu, self.L = 0.0, None

    def factor(self, mu: float) -> bool:
        self.mu = mu
        self.L = cholesky_factor(self.backend, self.K + (mu * self.scale) * self.eye)
        return self.L is not None

    def step(self) -> Array:
        if self.A.residual is not None:
            return self.pull(self.A.residual)
        # g need not be Aᵀ u for any u (Huber's tails have a gradient and no curvature): the other form of the inverse.
        g = self.A.gradient
        inner = self.A.rmatvec(cholesky_solve(self.backend, self.L, self.A.matvec(g)))
        return (inner - g) / (self.mu * self.scale)

    def pull(self, u: Array) -> Array:
        return -self.A.rmatvec(cholesky_solve(self.backend, self.L, u))


class ProductSpace(Damped):
    """Conjugate gradients on D⁻¹ AᵀA D⁻¹ + μ I, stopped by the progress of the quadratic model.

    The residual of the linear system says little about a step; the model's decrease does (Nash and Sofer 1990).
    """

    def __init__(
        self, backend: Backend, A: Any, scale: Callable[[Array], Any], max_memory: int, tol: float, limit: int
    ) -> None:
        super().__init__(backend, A)
        self.curvature = A.diagonal(max_memory)
        self.scale = scale(self.curvature)
        self.d = self.scale**0.5
        self.mu, self.tol, self.limit = 0.0, tol, limit

    def factor(self, mu: float) -> bool:
        self.mu = mu
        return True

    def _product(self, w: Array) -> Array:
        return self.A.rmatvec(self.A.matvec(w / self.d)) / self.d + self.mu * w

    def _solve(self, g: Array) -> Array:
        """Minimise q(w) = ½ wᵀBw + gᵀw/d; stop when the last k steps gained less than k tol of all that was gained."""
        xp, limit = self.xp, min(self.limit, 2 * min(self.A.shape) + 10)
        r = -g / self.d
        w, p, rr = xp.zeros_like(r), r, xp.sum(r * r)
        gains, gained, first = [], 0.0, 0.0
        for _ in range(limit):
            Bp = self._product(p)
            curvature, size = read(self.backend, xp.sum(p * Bp), rr)
            first = first or size
            if not curvature > 0.0 or size <= 1e-28 * first:
                break
            alpha = size / curvature
            w, r = w + alpha * p, r - alpha * Bp
            gains.append(0.5 * alpha * size)
            gained += gains[-1]
            window = max(10, len(gains) // 10)
            if len(gains) > window and sum(gains[-window:]) < window * self.tol * gained:
                break
            rr = xp.sum(r * r)
            p = r + (rr / size) * p
        return w / self.d

    def step(self) -> Array:
        return self._solve(self.A.gradient)

    def pull(self, u: Array) -> Array:
        return self._solve(self.A.rmatvec(u))


def damped_system(
    backend: Backend,
    A: Any,
    space: str,
    scale: Callable[[Array], Any],
    max_memory: int,
    cg_tol: float = 5e-4,
    cg_limit: int = 500,
) -> Damped:
    """The system in the space asked for; an error where its matrix would not fit into `max_memory`."""
    if space == "auto":
        space = choose_space(A, max_memory)
    if (needed := needed_bytes(space, A)) > max_memory and space != "cg":
        raise OptionError(
            f"space={space!r} needs {needed / 2**30:.2f} GiB for {A.shape[0]} residuals and {A.shape[1]} parameters, "
            f"more than max_memory = {max_memory / 2**30:.2f} GiB: raise it, or take space='auto'"
        )
    if space == "parameters":
        return ParameterSpace(backend, A, scale, max_memory)
    if space == "samples":
        return SampleSpace(backend, A, scale, max_memory)
    return ProductSpace(backend, A, scale, max_memory, cg_tol, cg_limit)

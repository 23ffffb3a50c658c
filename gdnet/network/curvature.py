"""The Gauss-Newton factor of a network's objective: A = R J, with Aᵀ A the Gauss-Newton matrix, row by row or whole.

J is the Jacobian of the prediction by theta and R the loss's root (Rᵀ R is the loss's Hessian), so one rule serves the
squared error and every other convex loss. Rows are ordered by output, then by example: row (k, n) is number k N + n.
"""

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from gdnet.backend import Array
from gdnet.errors import OptionError

BLOCK_BYTES = 1 << 26
"""Rows of A made at once where the whole is larger than that: 64 MiB stay near the processor."""


class RootJacobian:
    """A = R J at one evaluation, of shape (M, P): products, A Aᵀ without A, AᵀA in row blocks, the diagonal of AᵀA.

    Attributes
    ----------
    shape : (M, P)
        M = examples times outputs.
    residual : (M,) or None
        r with value = ½ ||r||² and A = ∂r/∂theta, for losses that are sums of squares.
    gradient : (P,)
        Of the value; Aᵀ r where there is a residual.
    gram_flops, product_flops : float
        What A Aᵀ and one product with AᵀA cost.

    >>> import numpy as np, gdnet as gd
    >>> net, x, t = gd.Sequential(gd.Dense(2, 1)), np.eye(2), np.ones((2, 1))
    >>> objective = gd.Objective(net, gd.SquaredError(), x, t, backend=gd.backend.get_backend(), layout=net.layout())
    >>> A = objective(np.zeros(3)).root_jacobian
    >>> A.dense()
    array([[1., 0., 1.],
           [0., 1., 1.]])
    >>> bool(np.all(A.gram() == A.dense() @ A.dense().T))
    True
    """

    own_units = False
    """Whether parameters are measured in units of their own: weights are not."""
    accuracy = 0.0
    """Relative error of the entries beyond rounding: none, for every rule is exact."""

    def __init__(self, evaluation: Any) -> None:
        o = evaluation.objective
        self.evaluation, self.objective, self.backend, self.xp = evaluation, o, o.backend, o.backend.xp
        y = evaluation.prediction
        self.n, self.out, self.k = y.shape[0], tuple(y.shape[1:]), math.prod(y.shape[1:])
        self.dtype = y.dtype
        self.shape = (self.n * self.k, o.layout.size)
        self.root = evaluation._loss.root
        if not self.root.tags & {"diagonal", "per_example"}:
            raise OptionError(f"{o.loss!r} mixes examples: its Gauss-Newton matrix has no rows by example")

    # -- order of rows -------------------------------------------------------------------------------------------------

    def _rows_of(self, dy: Array) -> Array:
        """(N, *out) -> (M,)"""
        return self.xp.reshape(self.xp.matrix_transpose(self.xp.reshape(dy, (self.n, self.k))), (-1,))

    def _outputs_of(self, u: Array) -> Array:
        """(M,) -> (N, *out)"""
        return self.xp.reshape(self.xp.matrix_transpose(self.xp.reshape(u, (self.k, self.n))), (self.n, *self.out))

    # -- vectors -------------------------------------------------------------------------------------------------------

    @cached_property
    def residual(self) -> Array | None:
        r = self.evaluation._loss.residual
        return None if r is None else self._rows_of(r)

    @property
    def gradient(self) -> Array:
        return self.evaluation.gradient

    def matvec(self, v: Array) -> Array:
        """A v: one forward pass of tangents."""
        return self._rows_of(self.root.forward(self.evaluation.jacobian.forward(v)))

    def rmatvec(self, u: Array) -> Array:
        """Aᵀ u: one backward pass."""
        return self.evaluation.jacobian.adjoint(self.root.adjoint(self._outputs_of(u)))

    def bend(self, v: Array, h: float) -> Array:
        """R y'' where y'' is the prediction's second derivative along v, from one forward pass at theta + h v."""
        at = self.evaluation
        moved = self.objective(at.theta + h * v).prediction
        second = (2.0 / h) * ((moved - at.prediction) / h - at.jacobian.forward(v))
        return self._rows_of(self.root.forward(second))

    # -- matrices ------------------------------------------------------------------------------------------------------

    @cached_property
    def _cotangents(self) -> Array:
        """Rᵀ applied to each output of all examples: (K, N, *out)."""
        xp, k = self.xp, self.k
        eye = xp.eye(k, dtype=self.dtype, device=self.backend.device)
        basis = xp.broadcast_to(xp.reshape(eye, (k, 1, *self.out)), (k, self.n, *self.out))
        return self.root.adjoint(basis)

    def gram(self) -> Array:
        """A Aᵀ, (M, M), layer by layer without forming A."""
        m = self.shape[0]
        return self.xp.reshape(self.evaluation._forward[1].gram(self._cotangents), (m, m))

    def _blocks(self, max_bytes: int) -> Iterator[Array]:
        """A in blocks of whole examples; a block of fewer than all repeats their forward pass."""
        o, xp = self.objective, self.xp
        example = self.k * self.shape[1] * (8 if "64" in str(self.dtype) else 4)
        step = max(1, min(self.n, int(max_bytes // (3 * example))))  # a block, its parts and a product of it
        if step < self.n:
            step = max(1, min(step, BLOCK_BYTES // example))
            params = o.layout.split(self.evaluation.theta, xp)
        for start in range(0, self.n, step):
            if step >= self.n:
                J, dy = self.evaluation._forward[1], self._cotangents
            else:
                J = o.net.forward(params, o.x[start : start + step, ...], o.context)[1]
                dy = self._cotangents[:, start : start + step, ...]
            rows = o.layout.join(J.rows(dy), xp)
            yield xp.reshape(rows, (-1, self.shape[1]))

    def dense(self, max_bytes: int = 1 << 31) -> Array:
        """A itself, (M, P); refused where it would not fit."""
        m, p = self.shape
        if m * p * (8 if "64" in str(self.dtype) else 4) * 3 > max_bytes:
            raise OptionError(f"the matrix of {m} x {p} derivatives does not fit into {max_bytes} bytes")
        return next(self._blocks(max_bytes))

    def normal(self, max_bytes: int = 1 << 31) -> Array:
        """AᵀA, (P, P), summed over blocks of rows."""
        total: Any = None
        for block in self._blocks(max_bytes - 2 * self.shape[1] ** 2 * 8):
            product = self.xp.matrix_transpose(block) @ block
            total = product if total is None else total + product
        return total

    def diagonal(self, max_bytes: int = 1 << 31) -> Array:
        """diag(AᵀA), (P,)."""
        total: Any = None
        for block in self._blocks(max_bytes):
            squares = self.xp.sum(block * block, axis=0)
            total = squares if total is None else total + squares
        return total

    # -- costs ---------------------------------------------------------------------------------------------------------

    @property
    def gram_flops(self) -> float:
        """Σ over weight matrices (i, o) of 2 N² i + 2 M² o; other parameters by their rows, 2 M² each."""
        m = self.shape[0]
        total = 0.0
        for shape in self.objective.layout.shapes.values():
            if len(shape) == 2:
                total += 2.0 * self.n**2 * shape[0] + 2.0 * m**2 * shape[1]
            elif len(shape) > 2:
                total += 2.0 * m**2 * math.prod(shape)
        return total

    @property
    def product_flops(self) -> float:
        """A v and Aᵀ u: each about two passes of 2 N P."""
        return 8.0 * self.n * self.shape[1]

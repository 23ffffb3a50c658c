"""Jacobians of a network's objective as maps that know more than products: rows, J Jᵀ, JᵀJ, diagonals.

J is the Jacobian of the prediction by theta and R the loss's root (Rᵀ R is the loss's Hessian), so that A = R J is the
factor of the Gauss-Newton matrix Aᵀ A, of the squared error and of every other convex loss.
"""

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from gdnet.backend import Array
from gdnet.backend.base import itemsize
from gdnet.errors import OptionError
from gdnet.layers import Jacobian
from gdnet.maps import MAX_BYTES, Map

BLOCK_BYTES = 1 << 26
"""Rows made at once where the whole is larger than that: 64 MiB stay near the processor."""
FEW_OUTPUTS = 8
"""Up to here JᵀHJ from rows, 2 K N P² operations, is cheaper than from products with P vectors."""


class PredictionJacobian(Map):
    """J = ∂prediction/∂theta, from (P,) to (N, *outputs).

    Beside the products it gives J Jᵀ layer by layer without J, JᵀJ in blocks of rows, diag(JᵀJ) without rows.

    >>> import numpy as np, gdnet as gd
    >>> net, x, t = gd.Sequential(gd.Dense(2, 1)), np.eye(2), np.ones((2, 1))
    >>> objective = gd.Objective(net, gd.SquaredError(), x, t, backend=gd.backend.get_backend(), layout=net.layout())
    >>> J = objective(np.zeros(3)).jacobian
    >>> J.dense(), J.normal_diagonal()
    (array([[1., 0., 1.],
           [0., 1., 1.]]), array([1., 1., 2.]))
    >>> bool(np.all(J.gram() == J.dense() @ J.dense().T))
    True
    """

    def __init__(self, evaluation: Any) -> None:
        o, (y, J) = evaluation.objective, evaluation._forward
        self.objective, self.theta, self.J = o, evaluation.theta, J
        self.xp, self.n, self.out = o.backend.xp, y.shape[0], tuple(y.shape[1:])
        self.k = math.prod(self.out)
        layout, xp = o.layout, o.backend.xp
        super().__init__(
            o.backend, (layout.size,), tuple(y.shape), y.dtype,
            lambda v: J.jvp(layout.split(v, xp), None), evaluation._pull, work=working_size(J, layout.size),
        )  # fmt: skip

    # -- what R J does otherwise ---------------------------------------------------------------------------------------

    def _rooted(self, dy: Array) -> Array:
        """Rᵀ dy; here R is the identity."""
        return dy

    def _ordered(self, rows: Array) -> Array:
        """Rows (K, N, ...) in the order of the map's outputs: by example."""
        return self.xp.reshape(self.xp.moveaxis(rows, 0, 1), (self.shape[0], *rows.shape[2:]))

    # -- matrices ------------------------------------------------------------------------------------------------------

    def _outputs(self, start: int, stop: int) -> Array:
        """Cotangents of these outputs of all examples: (outputs, N, *out)."""
        xp, m = self.xp, stop - start
        eye = xp.eye(m, self.k, k=start, dtype=self.dtype, device=self.backend.device)
        return self._rooted(xp.broadcast_to(xp.reshape(eye, (m, 1, *self.out)), (m, self.n, *self.out)))

    @cached_property
    def _cotangents(self) -> Array:
        """Those of all outputs."""
        return self._outputs(0, self.k)

    def gram(self) -> Array:
        """J Jᵀ, (M, M) with M = N K, layer by layer without forming J.

        For a dense layer with inputs X and cotangents Δ its share is (X Xᵀ + 1) ∘ Δ Δᵀ.
        """
        found = self._ordered(self.J.gram(self._cotangents))
        return self.xp.matrix_transpose(self._ordered(self.xp.moveaxis(found, 0, -1)))

    def _blocks(self, max_bytes: int) -> Iterator[Array]:
        """Rows in blocks (rows, P), each ordered by output, then example; parts of the batch repeat their forward pass.

        A third of `max_bytes` is one block's; its parts and a product of it take the rest.
        """
        o, xp, p = self.objective, self.xp, self.in_shape[0]
        row = p * itemsize(self.dtype)
        limit = max_bytes // 3
        if self.n * self.k * row <= limit:
            yield xp.reshape(o.layout.join(self.J.rows(self._cotangents), o.backend), (-1, p))
            return
        rows = max(1, min(limit, BLOCK_BYTES) // row)
        outputs = min(rows, self.k)
        whole = o.stochastic or o.mixed
        examples = self.n if whole else max(1, rows // self.k)
        params = o.layout.split(self.theta, xp)
        for first in range(0, self.k, outputs):
            dy = self._outputs(first, min(first + outputs, self.k))
            if (
                whole
            ):  # a draw, or a layer that mixes examples, knows the whole batch: single rows are pulled through it
                yield from self._single_rows(dy, rows)
                continue
            for start in range(0, self.n, examples):
                some = slice(start, start + examples)
                J = o.net.forward(params, o.x[some, ...], o.context)[1]
                yield xp.reshape(o.layout.join(J.rows(dy[:, some, ...]), o.backend), (-1, p))

    def _single_rows(self, dy: Array, rows: int) -> Iterator[Array]:
        """Rows for cotangents (outputs, N, *out), each by a pass of its own that silences the other examples."""
        xp = self.xp
        for i in range(self.n):
            alone = xp.eye(1, self.n, k=i, dtype=self.dtype, device=self.backend.device)
            pulled = self.J.vjp(dy * xp.reshape(alone, (1, self.n, *([1] * len(self.out)))))[0]
            yield self.objective.layout.join(pulled, self.objective.backend)

    def dense(self, max_bytes: int = MAX_BYTES) -> Array:
        """The matrix, (M, P), from the layers' rows.

        Raises
        ------
        OptionError
            If three times its size is more than `max_bytes`.
        """
        m, p = self.shape
        if m * p * itemsize(self.dtype) * 3 > max_bytes:
            raise OptionError(
                f"the matrix of {m} x {p} derivatives does not fit into {max_bytes} bytes with what makes it: use "
                "products, rows or gram(), or raise max_bytes"
            )
        return self._ordered(self.xp.reshape(next(self._blocks(max_bytes)), (self.k, self.n, p)))

    def normal(self, max_bytes: int = 1 << 31) -> Array:
        """JᵀJ, (P, P), summed over blocks of rows.

        Raises
        ------
        OptionError
            If the result and one product of its size are more than `max_bytes`.
        """
        p = self.in_shape[0]
        left = max_bytes - 2 * p * p * itemsize(self.dtype)
        if left < 0:
            raise OptionError(
                f"a matrix of {p} x {p} does not fit twice into {max_bytes} bytes: use products, or raise the limit"
            )
        total: Any = None
        for block in self._blocks(left):
            product = self.xp.matrix_transpose(block) @ block
            total = product if total is None else total + product
        return total

    def normal_diagonal(self, max_bytes: int = 1 << 31) -> Array:
        """diag(JᵀJ), (P,): for dense layers (X²)ᵀ (Δ²), without rows; cotangents of as many outputs as fit at once."""
        o, total = self.objective, None
        step = max(1, min(self.k, min(max_bytes, BLOCK_BYTES) // (self.work * itemsize(self.dtype))))
        for start in range(0, self.k, step):
            dy = self._cotangents if step == self.k else self._outputs(start, min(start + step, self.k))
            squares = o.layout.join(self.J.squares(dy), o.backend)
            total = squares if total is None else total + squares
        return total


class RootJacobian(PredictionJacobian):
    """A = R J at one evaluation, from (P,) to (M,): Aᵀ A is the Gauss-Newton matrix.

    Rows are ordered by output, then by example: row (k, n) is number k N + n.

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

    accuracy = 0.0
    """Relative error of the entries beyond rounding: none, for every rule is exact."""

    def __init__(self, evaluation: Any) -> None:
        super().__init__(evaluation)
        self.evaluation, self.root = evaluation, given(evaluation, "root")
        if not self.root.tags & {"diagonal", "per_example"}:
            raise OptionError(f"{self.objective.loss!r} mixes examples: its Gauss-Newton matrix has no rows by example")
        push, pull, root, n, k, out, xp = self.forward, self.adjoint, self.root, self.n, self.k, self.out, self.xp

        def flat(dy: Array) -> Array:
            lead = tuple(dy.shape[: dy.ndim - len(out) - 1])
            return xp.reshape(xp.matrix_transpose(xp.reshape(dy, (*lead, n, k))), (*lead, n * k))

        def outputs(u: Array) -> Array:
            lead = tuple(u.shape[:-1])
            return xp.reshape(xp.matrix_transpose(xp.reshape(u, (*lead, k, n))), (*lead, n, *out))

        self._flat = flat
        Map.__init__(
            self, self.backend, self.in_shape, (n * k,), self.dtype,
            lambda v: flat(root.forward(push(v))), lambda u: pull(root.adjoint(outputs(u))), work=self.work,
        )  # fmt: skip

    def _rooted(self, dy: Array) -> Array:
        return self.root.adjoint(dy)

    def _ordered(self, rows: Array) -> Array:
        return self.xp.reshape(rows, (self.shape[0], *rows.shape[2:]))

    def dense(self, max_bytes: int = 1 << 31) -> Array:
        return super().dense(max_bytes)

    # -- vectors -------------------------------------------------------------------------------------------------------

    @cached_property
    def residual(self) -> Array | None:
        r = self.evaluation._loss.residual
        return None if r is None else self._flat(r)

    @property
    def gradient(self) -> Array:
        return self.evaluation.gradient

    def matvec(self, v: Array) -> Array:
        """A v: one forward pass of tangents."""
        return self.forward(v)

    def rmatvec(self, u: Array) -> Array:
        """Aᵀ u: one backward pass."""
        return self.adjoint(u)

    def bend(self, v: Array, h: float) -> Array:
        """R y'' where y'' is the prediction's second derivative along v, from one forward pass at theta + h v."""
        at = self.evaluation
        moved = self.objective(at.theta + h * v).prediction
        second = (2.0 / h) * ((moved - at.prediction) / h - at.jacobian.forward(v))
        return self._flat(self.root.forward(second))

    def diagonal(self, max_bytes: int = 1 << 31) -> Array:
        """diag(AᵀA), (P,): the diagonal of the Gauss-Newton matrix, not of A itself, which is not square."""
        return self.normal_diagonal(max_bytes)

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


class GaussNewton(Map):
    """JᵀHJ with the loss's Hessian H: symmetric, and positive semidefinite where the loss is convex.

    >>> import numpy as np, gdnet as gd
    >>> net, x, t = gd.Sequential(gd.Dense(2, 1)), np.eye(2), np.ones((2, 1))
    >>> objective = gd.Objective(net, gd.SquaredError(), x, t, backend=gd.backend.get_backend(), layout=net.layout())
    >>> objective(np.zeros(3)).gauss_newton.diagonal().round(12)
    array([1., 1., 2.])
    """

    def __init__(self, evaluation: Any) -> None:
        J, H = evaluation.jacobian, given(evaluation, "hessian")
        self.evaluation, push, pull = evaluation, J.forward, J.adjoint

        def product(v: Array) -> Array:
            return pull(H.forward(push(v)))

        tags = {"symmetric"} | (H.tags & {"psd"})
        super().__init__(J.backend, J.in_shape, J.in_shape, J.dtype, product, product, tags, J.work)

    @property
    def _by_rows(self) -> bool:
        root = getattr(self.evaluation._loss, "root", None)
        return root is not None and bool(root.tags & {"diagonal", "per_example"})

    def dense(self, max_bytes: int = MAX_BYTES) -> Array:
        """The matrix, (P, P): from blocks of rows of R J where the network has few outputs, else by products."""
        if self._by_rows and self.evaluation.root_jacobian.k <= FEW_OUTPUTS:
            return self.evaluation.root_jacobian.normal(max_bytes)
        return super().dense(max_bytes)

    def diagonal(self, max_bytes: int = MAX_BYTES) -> Array:
        """Its diagonal, (P,), without rows and without products with basis vectors."""
        if self._by_rows:
            return self.evaluation.root_jacobian.normal_diagonal(max_bytes)
        return super().diagonal(max_bytes)


def given(evaluation: Any, name: str) -> Map:
    """The loss's `hessian` or `root`; an `OptionError` where the loss has none."""
    found = getattr(evaluation._loss, name, None)
    if found is None:
        what = "no Hessian" if name == "hessian" else "no root R with RᵀR = its Hessian"
        raise OptionError(
            f"{evaluation.objective.loss!r} has {what}, which this method asks for: add `{name}` to what its `at` "
            "returns, or choose a first-order optimizer such as gd.Adam()"
        )
    return found


def working_size(J: Jacobian, parameters: int) -> int:
    """How many numbers a product with one vector holds: tangents of every layer's input and of the parameters."""

    def held(J: Any) -> int:
        total = sum(math.prod(x.shape) for _, _, x, _ in getattr(J, "calls", ()))
        inner = [*getattr(J, "jacobians", ()), *([J.J] if hasattr(J, "J") else [])]
        return total + sum(held(one) for one in inner)

    return 2 * (parameters + held(J))

"""The numerical gradient of a network, from the same quotients as the plain loop and a fraction of its work.

The plain loop runs the whole network for every parameter, twice. But a parameter of layer l leaves the layers before
it as they are; and a weight W[i, j] of a dense layer, moved by h, moves one column of its output, by h xᵢ:

    zⱼ -> zⱼ + h xᵢ,    aⱼ -> aⱼ + d with d = f(zⱼ + h xᵢ) - f(zⱼ),    next z -> z + d Wⱼ   (an outer product)

so that no matrix product is left until the layer after the next. Many parameters go through the rest at once. The
results differ from the plain loop's by rounding alone, at most a few ε |f| / h.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gdnet.backend import Array, overridable
from gdnet.backend.base import itemsize
from gdnet.derivatives.evaluate import MAX_MEMORY, Around
from gdnet.derivatives.numerical import numerical_gradient
from gdnet.derivatives.steps import difference, steps
from gdnet.layers import Context, Dense, Elementwise, Layer, Params
from gdnet.losses.base import ElementwiseLossAt
from gdnet.losses.cross_entropy import CrossEntropyAt
from gdnet.network.composite import Composite
from gdnet.network.objective import Objective
from gdnet.network.sequential import Sequential

CACHE = 1_000_000
"""Bytes that a batch may take on a processor, whatever the memory budget. What leaves the cache is slow, and the C
library gives larger blocks back to the system each time, only to fault them in again (seen: three times slower)."""


def numerical_gradient_of(
    objective: Any, theta: Array, method: str = "central", h: float | None = None, *, max_memory: int = MAX_MEMORY
) -> Array:
    """∂J/∂theta of a network's objective by difference quotients, reusing what a perturbation leaves unchanged.

    Parameters
    ----------
    objective : Objective, or any function of theta that returns a number
        For an `Objective` whose network is a `Sequential` the structure of the layers is used, unless a layer stands in
        two places or mixes examples.
    theta : (P,)
    method, h
        As in `numerical_gradient`, without `"complex"`.
    max_memory : int
        Bytes that a batch of perturbed activations may take.

    Returns
    -------
    (P,), equal to `numerical_gradient(lambda v: objective(v).value, theta, method, h)` within rounding.

    Raises
    ------
    OptionError, ArrayError, DataError
        As `numerical_gradient`.

    >>> import numpy as np
    >>> import gdnet as gd
    >>> from gdnet.backend import get_backend
    >>> net, x, t = gd.Sequential(gd.Dense(3, 4), gd.Tanh(), gd.Dense(2)), np.ones((5, 3)), np.zeros((5, 2))
    >>> objective = gd.Objective(net, gd.SquaredError(), x, t, backend=get_backend("cpu"), layout=net.layout())
    >>> theta = net.initial(seed=0)
    >>> bool(np.allclose(numerical_gradient_of(objective, theta), objective(theta).gradient, atol=1e-8))
    True
    """
    if not isinstance(objective, Objective):
        return numerical_gradient(objective, theta, method, h, max_memory=max_memory)
    if not apart(objective):
        return numerical_gradient(lambda v: objective(v).value, theta, method, h, max_memory=max_memory)
    rule = difference(method)
    around = Around(lambda v: objective(v).value, theta, max_memory=max_memory, scalar=True)
    xp, step = around.xp, steps(around, h, 1.0 / (rule.order + 1))
    high, low = theta + float(rule.up) * step, theta + float(rule.down) * step
    up, down, distance = high - theta, low - theta, high - low
    perturbed = Perturbed(objective, theta, max_memory)
    parts = []
    for name, part in objective.layout.slices.items():
        largest = perturbed.batch(name)
        for start in range(part.start, part.stop, largest):
            block = slice(start, min(start + largest, part.stop))
            entries = np.arange(block.start, block.stop) - part.start
            top = perturbed.values(name, entries, up[block]) if rule.up else around.value
            bottom = perturbed.values(name, entries, down[block]) if rule.down else around.value
            parts.append((top - bottom) / distance[block])
    return around.finite(xp.concat(parts), np.arange(around.size))


def apart(objective: Objective) -> bool:
    """Whether a parameter belongs to one place of the network alone, and no example influences another."""
    o = objective
    tied = isinstance(o.net, Composite) and o.net.plan(tuple(o.x.shape[1:])).tied
    return not (tied or o.mixed or o.loss.mixes_examples)


class Link(NamedTuple):
    """A layer of the chain at the unperturbed theta: its own parameters, its input and its output."""

    layer: Layer
    params: Params
    context: Context
    x: Array
    y: Array


def links(net: Layer, prefix: str, params: Params, x: Array, context: Context) -> list[tuple[str, Link]]:
    """The chain with nested chains unrolled: (prefix of the parameters' names, link) for each layer."""
    if type(net) is not Sequential:
        own = {name: params[prefix + name] for name in net.shapes(tuple(x.shape[1:]))}
        return [(prefix, Link(net, own, context, x, net.forward(own, x, context)[0]))]
    found: list[tuple[str, Link]] = []
    for i, layer in enumerate(net.layers):
        found += links(layer, f"{prefix}{i}.", params, x, context.child(i, True))
        x = found[-1][1].y
    return found


class Perturbed:
    """The objective's value at many perturbed parameters at once.

    Perturbed activations are kept with features first, (features, b, n) for b perturbations: sums over features, and
    products with weights, then run along whole rows. Layers that must see examples first get (b n, features).
    """

    def __init__(self, objective: Objective, theta: Array, max_memory: int) -> None:
        o = self.objective = objective
        self.backend, self.xp = o.backend, o.backend.xp
        chain = links(o.net, "", o.layout.split(theta, self.xp), o.x, o.context)
        self.chain = [link for _, link in chain]
        self.where = {prefix + name: (k, name) for k, (prefix, link) in enumerate(chain) for name in link.params}
        self.loss: Any = o.loss.at(o.backend, self.chain[-1].y, o.t, o.sample_weight)
        on_cpu = "cpu" in str(self.backend.device).lower()
        self.memory = min(max_memory, CACHE) if on_cpu else max_memory
        total = getattr(self.loss, "total", 1.0)
        self.total = total if isinstance(total, float) else flipped(self.xp, total)
        self.t: Any = flipped(self.xp, self.loss.t) if hasattr(self.loss, "t") else None
        # Transposes, for columns are read as rows.
        self.xT = [flipped(self.xp, link.x) for link in self.chain]
        self.yT = [flipped(self.xp, link.y) for link in self.chain]
        self.itemsize = itemsize(theta.dtype)
        self.dtype, self.eps = theta.dtype, float(self.xp.finfo(theta.dtype).eps)

    def batch(self, name: str) -> int:
        """How many entries of this parameter go through at once: 1 where examples influence each other."""
        k, own = self.where[name]
        size = math.prod(self.chain[k].params[own].shape)
        whole = self.columns_end(k) if type(self.chain[k].layer) is Dense else k
        widest = max(math.prod(link.y.shape) for link in self.chain[min(whole, len(self.chain) - 1) :])
        if self.ends_in_rank_one(whole) and "rank_one_cross_entropy" in self.backend.kernels:
            widest = 2 * self.chain[-1].x.shape[0]  # the kernel never holds the outputs of all
        fits = max(1, min(size, self.memory // (4 * self.itemsize * widest)))
        if fits == 1:
            return 1
        # Three copies of the batch, of which the middle one alone is moved. Where the value of the others changes with
        # it, or from one to the other, layers mix examples or draw numbers: then only one entry goes through at once.
        moves = self.xp.asarray([0.0, 1.0, 0.0], dtype=self.dtype, device=self.backend.device)
        values = self.backend.to_numpy(self.values(name, np.zeros(3, dtype=np.int64), moves))
        plain = self.backend.read(self.loss.value)
        return fits if np.all(np.abs(values[[0, 2]] - plain) <= 1e3 * self.eps * max(abs(plain), self.eps)) else 1

    def columns_end(self, k: int) -> int:
        """The first layer after dense layer k that is not elementwise: before it, W[i, j] moves column j alone."""
        k += 1
        while k < len(self.chain) and isinstance(self.chain[k].layer, Elementwise):
            k += 1
        return k

    def values(self, name: str, entries: np.ndarray, moves: Array) -> Array:
        """The objective with `entries[b]` of this parameter moved by `moves[b]`, one at a time: (b,)."""
        k, own = self.where[name]
        link = self.chain[k]
        if type(link.layer) is Dense:
            return self.dense(k, own, entries, moves)
        xp, value = self.xp, link.params[own]
        every = xp.arange(math.prod(value.shape), dtype=xp.int64, device=self.backend.device)
        moved = []
        for b, entry in enumerate(entries.tolist()):
            change = xp.reshape(xp.where(every == entry, moves[b], xp.zeros_like(moves[b])), value.shape)
            params = {**link.params, own: value + change}
            moved.append(link.layer.forward(params, link.x, link.context)[0])
        return self.rest(features_first(xp, xp.stack(moved)), k + 1)

    def dense(self, k: int, own: str, entries: np.ndarray, moves: Array) -> Array:
        """`values` for W[i, j] or b[j] of dense layer k: column j of its output moves by h xᵢ or h."""
        xp, n_out = self.xp, self.chain[k].y.shape[1]
        i, j = (self.backend.asarray(index) for index in np.divmod(entries, n_out))
        d = moves[:, None] * xp.take(self.xT[k], i, axis=0) if own == "W" else moves[:, None] + 0.0 * self.xT[k][:1, :]
        between, k = range(k + 1, self.columns_end(k)), self.columns_end(k)
        for m in between:  # activations move column j alone
            a = self.chain[m].layer.forward({}, xp.take(self.xT[m], j, axis=0) + d, self.chain[m].context)[0]
            d = a - xp.take(self.yT[m], j, axis=0)
        if k == len(self.chain) or type(self.chain[k].layer) is not Dense:
            # The column itself is the change: an outer product with a row of the identity.
            identity_rows = j[:, None] == xp.arange(n_out, dtype=j.dtype, device=self.backend.device)
            return self.rest(rank_one(xp, self.yT[k - 1], xp.astype(identity_rows, d.dtype), d), k)
        w = xp.take(self.chain[k].params["W"], j, axis=0)
        if self.ends_in_rank_one(k):
            return self.mean(rank_one_cross_entropy(self.backend, self.yT[k], w, d, self.t, self.total))
        return self.rest(rank_one(xp, self.yT[k], w, d), k + 1)

    def ends_in_rank_one(self, k: int) -> bool:
        """Whether layer k is a last dense one under a cross-entropy."""
        return k == len(self.chain) - 1 and type(self.chain[k].layer) is Dense and isinstance(self.loss, CrossEntropyAt)

    def rest(self, y: Array, k: int) -> Array:
        """The objective from perturbed inputs (features, b, n) of layer k: (b,)."""
        xp, (b, n) = self.xp, y.shape[-2:]
        for link in self.chain[k:]:
            if isinstance(link.layer, Elementwise):
                y = link.layer.forward({}, y, link.context)[0]
            elif type(link.layer) is Dense:
                W = link.params["W"]
                y = W.T @ xp.reshape(y, (W.shape[0], b * n))
                y = y + link.params["b"][:, None] if "b" in link.params else y
                y = xp.reshape(y, (W.shape[1], b, n))
            else:
                x = xp.reshape(examples_first(xp, y), (b * n, *link.x.shape[1:]))
                out = link.layer.forward(link.params, x, link.context)[0]
                y = features_first(xp, xp.reshape(out, (b, n, *out.shape[1:])))
        return self.losses(y)

    def losses(self, y: Array) -> Array:
        """The loss of each of b perturbed predictions (features, b, n): (b,)."""
        xp, at = self.xp, self.loss
        if y.ndim == 3 and isinstance(at, CrossEntropyAt):
            return self.mean(cross_entropies(xp, y, self.t, self.total))
        if y.ndim == 3 and isinstance(at, ElementwiseLossAt) and type(at).value is ElementwiseLossAt.value:
            return self.mean(xp.sum(at.rule.l(xp, y, self.t[:, None, :]), axis=0))
        o, y = self.objective, examples_first(xp, y)
        return xp.stack([o.loss.at(o.backend, y[b, ...], o.t, o.sample_weight).value for b in range(y.shape[0])])

    def mean(self, each: Array) -> Array:
        """(b, n) losses of examples to (b,) means, weighted as the loss weights them."""
        share = self.loss.share
        return self.xp.sum((share if isinstance(share, float) else flipped(self.xp, share)) * each, axis=-1)


def rank_one(xp: Any, z: Array, w: Array, d: Array) -> Array:
    """z + w ⊗ d for each of b: z (k, n), w (b, k), d (b, n) give (k, b, n)."""
    y = xp.matrix_transpose(w)[:, :, None] * d[None, :, :]
    y += z[:, None, :]
    return y


def cross_entropies(xp: Any, y: Array, t: Array, total: Array | float) -> Array:
    """-Σₖ tₖ log softmax(y)ₖ for logits y (k, b, n) and targets t (k, n) that sum to `total`: (b, n)."""
    largest = xp.max(y, axis=0)
    right = xp.sum(t[:, None, :] * y, axis=0)
    return total * (xp.log(xp.sum(xp.exp(y - largest[None, ...]), axis=0)) + largest) - right


@overridable
def rank_one_cross_entropy(xp: Any, z: Array, w: Array, d: Array, t: Array, total: Array | float) -> Array:
    """The cross-entropies (b, n) of logits z + w ⊗ d: almost all of the work for a network with one hidden layer."""
    return cross_entropies(xp, rank_one(xp, z, w, d), t, total)


def flipped(xp: Any, a: Array) -> Array:
    """(n, k) as a (k, n) array of its own; other shapes as they are."""
    return xp.asarray(xp.matrix_transpose(a), copy=True) if a.ndim == 2 else a


def features_first(xp: Any, y: Array) -> Array:
    """(b, n, ...) -> (..., b, n)."""
    return xp.moveaxis(y, (0, 1), (-2, -1))


def examples_first(xp: Any, y: Array) -> Array:
    """(..., b, n) -> (b, n, ...)."""
    return xp.moveaxis(y, (-2, -1), (0, 1))

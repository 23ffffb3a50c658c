"""A training step on JAX whose long vectors stay cut into parts from one call to the next.

Written over one flat vector, a compiled step copies: the windows of theta are copied out to feed the products, and the
gradient is put together from its parts. XLA does not take such cuts apart by itself. Here the step is traced once over
flat vectors, as it is written, and the trace is carried out on cut ones: what acts on every element acts part by part,
a window of theta is a part, and joining the gradient joins nothing. A part has the shape in which the step uses it, for
XLA is slow at updates of matrices that it sees as vectors. All else gets the whole vector: right, only slower.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from gdnet.backend.base import check_donated
from gdnet.backend.jax.cut import Cut, is_cut, whole
from gdnet.backend.side_effects import pure

WORTHWHILE = 1000
"""Elements a part, on the average, from which on cutting pays: every part costs a kernel or more and an argument."""
CALLS = {"jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call"}
_NAMES = (
    "abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp convert_element_type copy copy_p cos "
    "cosh device_put digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite le lgamma log "
    "log1p logistic lt max min mul ne neg nextafter not or pow reduce_precision rem round rsqrt select_n sign sin sinh "
    "sqrt square sub tan tanh xor"
)
ELEMENTWISE = frozenset(_NAMES.split())
REDUCTIONS: dict[str, Callable] = {
    "reduce_sum": lax.add, "reduce_max": lax.max, "reduce_min": lax.min, "reduce_prod": lax.mul,
    "reduce_and": lax.bitwise_and, "reduce_or": lax.bitwise_or,
}  # fmt: skip
INNER_PRODUCT = (((0,), (0,)), ((), ()))


# -- cutting ---------------------------------------------------------------------------------------------------------

Shapes = tuple[tuple[int, ...], ...]
"""Of the parts that make up a vector."""


def spans(shapes: Shapes) -> list[tuple[int, int]]:
    """(start, limit) of each part."""
    return list(itertools.pairwise(itertools.accumulate(map(math.prod, shapes), initial=0)))


def window(vectors: Sequence[Any], start: int, limit: int) -> Any:
    """The elements from `start` up to `limit` of these vectors laid one after the other."""
    found, offset = [], 0
    for vector in vectors:
        lo, hi = max(start - offset, 0), min(limit - offset, vector.shape[0])
        if lo < hi:
            found.append(vector if hi - lo == vector.shape[0] else lax.slice(vector, (lo,), (hi,)))
        offset += vector.shape[0]
    return found[0] if len(found) == 1 else jnp.concatenate(found)


def recut(vector: Any, shapes: Shapes) -> Cut:
    """`vector`, whole or cut in another way, in parts of these shapes."""
    if isinstance(vector, Cut) and vector.shapes == shapes:
        return vector
    vectors = vector.flat if isinstance(vector, Cut) else (vector,)
    return Cut([window(vectors, a, b).reshape(shape) for (a, b), shape in zip(spans(shapes), shapes, strict=True)])


def cut_host(vector: Any, shapes: Shapes) -> Cut:
    """As `recut`, through the host, whose memory it is: there is nothing to compile."""
    return Cut([jax.device_put(part.copy(), vector.sharding) for part in host_parts(np.asarray(vector), shapes)])


def host_parts(host: np.ndarray, shapes: Shapes) -> list[np.ndarray]:
    """Views of a vector on the host, of these shapes one after the other."""
    return [host[a:b].reshape(shape) for (a, b), shape in zip(spans(shapes), shapes, strict=True)]


def choose_shapes(closed: ClosedJaxpr, size: int) -> Shapes:
    """How to cut vectors of this size, by the windows that a step takes of them; () where it does not pay."""
    windows: dict[tuple[int, int], tuple[int, ...]] = {}
    for span, shape in _windows(closed.jaxpr, size):
        windows[span] = max(windows.get(span, ()), shape, key=len)  # a matrix may also be looked at as a vector
    bounds = sorted({0, size}.union(*windows))
    if size < WORTHWHILE * (len(bounds) - 1):
        return ()
    return tuple(windows.get((a, b), (b - a,)) for a, b in itertools.pairwise(bounds))


def _windows(jaxpr: Jaxpr, size: int) -> Iterator[tuple[tuple[int, int], tuple[int, ...]]]:
    """((start, limit), shape) of each window of a vector of this size, in the shape that it is given at once."""
    reshapes = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "reshape" and not isinstance(eqn.invars[0], Literal)]
    shaped = {eqn.invars[0]: eqn.outvars[0].aval.shape for eqn in reshapes}
    for eqn in jaxpr.eqns:
        if is_window(eqn) and eqn.invars[0].aval.shape == (size,):
            start, limit = eqn.params["start_indices"][0], eqn.params["limit_indices"][0]
            yield (start, limit), shaped.get(eqn.outvars[0], (limit - start,))
        if eqn.primitive.name in CALLS:
            yield from _windows(_called(eqn).jaxpr, size)


def is_window(eqn: Any) -> bool:
    """Whether it takes elements that stand next to each other."""
    return eqn.primitive.name == "slice" and eqn.params["strides"] in (None, (1,))


def _called(eqn: Any) -> ClosedJaxpr:
    return eqn.params["jaxpr"] if "jaxpr" in eqn.params else eqn.params["call_jaxpr"]


# -- carrying out a trace on cut vectors -----------------------------------------------------------------------------


class Interpreter:
    """Carries out a trace with every vector as long as these parts cut into them, as far as the rules go."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes, self.spans = shapes, spans(shapes)
        self.shape = self.spans[-1][1:]

    def run(self, closed: ClosedJaxpr, args: Sequence[Any]) -> list[Any]:
        jaxpr = closed.jaxpr
        known = dict(zip(jaxpr.constvars, map(self.constant, closed.consts), strict=True))
        known.update(zip(jaxpr.invars, args, strict=True))

        def read(variable: Any) -> Any:
            return self.constant(variable.val) if isinstance(variable, Literal) else known[variable]

        for eqn in jaxpr.eqns:
            known.update(zip(eqn.outvars, self.equation(eqn, [read(v) for v in eqn.invars]), strict=True))
        return [read(v) for v in jaxpr.outvars]

    def cut(self, value: Any) -> Cut:
        return recut(value, self.shapes)

    def constant(self, value: Any) -> Any:
        """A constant as long as theta is cut as well; where it is the same in a whole part, as one number broadcast.

        A weight decay of some parameters only is such a constant: 1 in the windows that it acts on and 0 in others.
        """
        if np.shape(value) != self.shape or isinstance(value, jax.core.Tracer):
            return value
        parts = host_parts(np.asarray(value), self.shapes)
        return Cut([jnp.full(p.shape, p.flat[0]) if (p == p.flat[0]).all() else jnp.asarray(p) for p in parts])

    def equation(self, eqn: Any, args: list[Any]) -> list[Any]:
        name = eqn.primitive.name
        if any(map(is_cut, args)) or any(getattr(v.aval, "shape", None) == self.shape for v in eqn.outvars):
            if name in CALLS:
                return self.run(_called(eqn), args)
            found = self.by_parts(eqn, name, args)
            if found is not None:
                return [found]
        return bind(eqn, [whole(a) for a in args])

    def by_parts(self, eqn: Any, name: str, args: list[Any]) -> Any:
        """The result where the rule of this operation applies to cut vectors, else None."""
        rule = RULES.get(name)
        return None if rule is None else rule(self, eqn, args)

    def _elementwise(self, eqn: Any, args: list[Any]) -> Cut | None:
        shapes = [np.shape(a) for a in args]
        if not any(map(is_cut, args)) or any(s not in ((), self.shape) for s in shapes):
            return None
        n = len(self.spans)
        rows = [[a] * n if s == () else self.cut(a).parts for a, s in zip(args, shapes, strict=True)]
        return Cut([bind(eqn, row)[0] for row in zip(*rows, strict=True)])

    def _reduced(self, eqn: Any, args: list[Any]) -> Any:
        if not is_cut(args[0]) or np.shape(args[0]) != self.shape or eqn.params["axes"] != (0,):
            return None
        parts = [bind(eqn, [part])[0] for part in self.cut(args[0]).flat]
        return functools.reduce(REDUCTIONS[eqn.primitive.name], parts)

    def _broadcast(self, eqn: Any, args: list[Any]) -> Cut | None:
        return Cut([lax.broadcast(args[0], shape) for shape in self.shapes]) if np.shape(args[0]) == () else None

    def _window(self, eqn: Any, args: list[Any]) -> Any:
        if not is_window(eqn) or not is_cut(args[0]):
            return None
        return window(args[0].flat, eqn.params["start_indices"][0], eqn.params["limit_indices"][0])

    def _updated(self, eqn: Any, args: list[Any]) -> Cut | None:
        if np.shape(args[0]) != self.shape or not isinstance(eqn.invars[2], Literal):
            return None
        return self.updated(self.cut(args[0]), whole(args[1]), int(args[2]))

    def _joined(self, eqn: Any, args: list[Any]) -> Cut | None:
        return self.cut(Cut([whole(a) for a in args])) if eqn.outvars[0].aval.shape == self.shape else None

    def _inner_product(self, eqn: Any, args: list[Any]) -> Any:
        if eqn.params["dimension_numbers"] != INNER_PRODUCT or any(np.shape(a) != self.shape for a in args):
            return None
        pairs = zip(self.cut(args[0]).flat, self.cut(args[1]).flat, strict=True)
        return functools.reduce(lax.add, [bind(eqn, pair)[0] for pair in pairs])

    def updated(self, vector: Cut, update: Any, start: int) -> Cut:
        """`vector` with `update` from `start` on."""
        size, vectors = update.shape[0], vector.flat
        start = min(max(start, 0), self.shape[0] - size)  # as lax does it
        for i, (a, b) in enumerate(self.spans):
            lo, hi = max(a, start), min(b, start + size)
            if lo < hi:
                piece = window([update], lo - start, hi - start)
                vectors[i] = piece if hi - lo == b - a else lax.dynamic_update_slice(vectors[i], piece, (lo - a,))
        return Cut([v.reshape(shape) for v, shape in zip(vectors, self.shapes, strict=True)])


RULES: dict[str, Callable[[Interpreter, Any, list[Any]], Any]] = {
    **dict.fromkeys(ELEMENTWISE, Interpreter._elementwise),
    **dict.fromkeys(REDUCTIONS, Interpreter._reduced),
    "broadcast_in_dim": Interpreter._broadcast,
    "slice": Interpreter._window,
    "dynamic_update_slice": Interpreter._updated,
    "concatenate": Interpreter._joined,
    "dot_general": Interpreter._inner_product,
}
"""What is done to cut vectors, by the name of the operation; a rule that does not apply gives None."""


def bind(eqn: Any, args: Sequence[Any]) -> list[Any]:
    """The results of one traced operation on other arguments."""
    params = eqn.primitive.get_bind_params(eqn.params)
    functions, params = params if isinstance(params, tuple) else ((), params)  # a pair before JAX 0.9
    found = eqn.primitive.bind(*functions, *args, **params)
    return list(found) if eqn.primitive.multiple_results else [found]


# -- the step --------------------------------------------------------------------------------------------------------


def watched(step: Callable) -> Callable:
    """`step`, which says so where an array of its trace would outlive it, before JAX finds that out at a later call."""
    return pure(step, lambda value: isinstance(value, jax.core.Tracer), "JAX")


class CutStep:
    """`jax.jit(step)` with donated arguments, of which vectors as long as the first one stay cut between calls.

    `donate` numbers the leading arguments; the results in their places, such as theta and the optimizer's state, hold
    `Cut`s, which look like jax arrays. Where cutting does not pay, it is `jax.jit` itself.
    """

    unwatched: ClassVar[bool] = True
    reason: ClassVar[None] = None
    """JAX compiles every step, or raises what stands against it."""

    def __init__(self, step: Callable, donate: Sequence[int]) -> None:
        self.step, self.donated = watched(step), check_donated(donate)
        self.plain = jax.jit(self.step, donate_argnums=tuple(donate))
        self.by_parts = jax.jit(self._by_parts, donate_argnums=tuple(donate))
        self.shapes: dict[tuple[int, ...], Shapes] = {}
        self.settled: set[Any] = set()
        self.traced: tuple = (None, None, None)
        functools.update_wrapper(self, step)

    def __call__(self, *args: Any) -> Any:
        k = self.donated
        if not is_cut(args[0]):
            if self.shapes.get(getattr(args[0], "shape", ())) == ():
                return self.plain(*args)
        elif (args[0].shapes, jax.tree.structure(args[:k])) in self.settled:  # they come from here
            return self.by_parts(*args)
        run, ready = self._prepare(args)
        results = run(*ready)
        if run is self.by_parts:
            self.settled.add((ready[0].shapes, jax.tree.structure(ready[:k])))
            for old, new in zip(leaves_of(args[:k]), leaves_of(ready[:k]), strict=True):
                if is_cut(new) and isinstance(old, jax.Array):
                    old.delete()  # what is donated is gone
        return results

    def lower(self, *args: Any) -> Any:
        """As of `jax.jit`."""
        run, ready = self._prepare(args)
        return run.lower(*ready)

    def _prepare(self, args: tuple) -> tuple[Any, tuple]:
        """The function that serves these arguments, and the arguments as it wants them."""
        shape: tuple[int, ...] = getattr(args[0], "shape", ())
        traced = any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves(args))  # then the program is another's
        if len(shape) == 1 and not traced:
            if shape not in self.shapes:
                self.shapes[shape] = choose_shapes(self._trace(args)[0], shape[0])
            if shapes := self.shapes[shape]:

                def ready(a: Any) -> Any:
                    if np.shape(a) != shape or (is_cut(a) and a.shapes == shapes):
                        return a
                    return cut_host(jnp.asarray(whole(a)), shapes)

                return self.by_parts, (*map_leaves(ready, args[: self.donated]), *args[self.donated :])
        return self.plain, map_leaves(whole, args)

    def _trace(self, args: tuple) -> tuple[ClosedJaxpr, Any]:
        """The step over flat vectors, and the form of its results; the latest one is kept."""
        flat = map_leaves(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype) if is_cut(a) else a, args)
        leaves, form = jax.tree.flatten(flat)
        key = form, [(np.shape(a), getattr(a, "dtype", type(a)), getattr(a, "weak_type", False)) for a in leaves]
        if self.traced[0] != key:
            closed, results = jax.make_jaxpr(self.step, return_shape=True)(*flat)
            self.traced = key, closed, jax.tree.structure(results)
        return self.traced[1:]

    def _by_parts(self, *args: Any) -> Any:
        closed, form = self._trace(args)
        trace = Interpreter(args[0].shapes)
        found = jax.tree.unflatten(form, trace.run(closed, leaves_of(args)))
        if not isinstance(found, tuple):
            return map_leaves(whole, found)
        kept = map_leaves(lambda a: trace.cut(a) if np.shape(a) == trace.shape else a, found[: self.donated])
        return (*kept, *map_leaves(whole, found[self.donated :]))


map_leaves = functools.partial(jax.tree.map, is_leaf=is_cut)
leaves_of = functools.partial(jax.tree.leaves, is_leaf=is_cut)

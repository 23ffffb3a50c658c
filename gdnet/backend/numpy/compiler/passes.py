"""What is done to the calls on a tape before they are written down: fewer calls, the same results bit for bit."""

import operator
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gdnet.backend.numpy.compiler.chain import OPERATIONS, SPREADS, pays, scaled, shortest, spread
from gdnet.backend.numpy.compiler.trace import Call, Value, is_astype

LONGEST = 20
"""Calls of one chain; an optimizer's update has 4 to 14."""


def simplified(calls: list[Call], outputs: list[Value]) -> tuple[list[Call], list[Value]]:
    """The calls on which `outputs` depend, and the values that now stand for them."""
    calls = _merged(_needed(calls, outputs))
    calls, outputs = _renamed(calls, outputs)  # so that a call can be told from its like, and moved
    calls = _needed(_without_repeats(calls, outputs), outputs)  # arrays that were only made to be written are gone
    return _chained(_converted(calls, outputs), outputs), outputs


def values(thing: Any) -> list[Value]:
    """All values inside nested tuples and lists."""
    if isinstance(thing, Value):
        return [thing]
    if isinstance(thing, (tuple, list)):
        return [v for item in thing for v in values(item)]
    return []


def reads(call: Call) -> list[Value]:
    return values(call.args) + values(tuple(call.kwargs.values()))


def takes_out(function: Any) -> bool:
    """Whether the function can be told where its result goes."""
    owner = getattr(function, "__self__", None)
    is_reduction = getattr(function, "__name__", "") == "reduce" and isinstance(owner, np.ufunc)
    return isinstance(function, np.ufunc) or function is np.dot or is_reduction


def is_elementwise(function: Any) -> bool:
    """Whether each element of the result is made of the elements that stand at its place."""
    return isinstance(function, np.ufunc) and function.signature is None


def with_typed_numbers(call: Call, function: Any) -> tuple:
    """Python's numbers as arrays without axes, of the dtype that they would become: NumPy converts them faster."""
    arrays = values(call.args)
    dtypes = {v.dtype for v in (*arrays, *call.results)}
    if (
        not (isinstance(function, np.ufunc) or function in OPERATIONS)
        or len(dtypes) != 1
        or not any(v.shape for v in arrays)
    ):
        return call.args
    (dtype,) = dtypes
    return tuple(np.asarray(a, dtype) if type(a) in (int, float) and dtype.kind == "f" else a for a in call.args)


def direct(call: Call) -> tuple[Any, dict[str, Any]]:
    """The function and options that do the very same with less ceremony."""
    plain = len(call.args) == 1 and not set(call.kwargs) - {"axis", "keepdims", "out"}
    if call.function in (np.sum, np.max) and plain:
        ufunc = np.add if call.function is np.sum else np.maximum
        return ufunc.reduce, {"axis": None, **call.kwargs}
    matrices = all(isinstance(a, Value) and len(a.shape) == 2 and a.shape != (1, 1) for a in call.args)
    if call.function is np.matmul and matrices:  # one number times a row has a rule of its own for 0 times infinity
        return np.dot, call.kwargs
    if call.function is np.reshape and set(call.kwargs) <= {"copy"} and call.kwargs.get("copy") is None:
        return np.ndarray.reshape, {}
    if call.function in _SCALAR and call.results and call.results[0].shape == () and not call.kwargs:
        return _SCALAR[call.function], {}
    return call.function, call.kwargs


_SCALAR = {  # NumPy's scalars have operators of their own: faster, and their power rounds differently
    np.add: operator.add, np.subtract: operator.sub, np.multiply: operator.mul, np.true_divide: operator.truediv,
    np.negative: operator.neg, np.power: operator.pow,
}  # fmt: skip


def _substituted(item: Any, now: dict[Value, Value]) -> Any:
    if isinstance(item, Value):
        return now.get(item, item)
    return type(item)(_substituted(i, now) for i in item) if isinstance(item, (tuple, list)) else item


def _with(call: Call, now: dict[Value, Value]) -> Call:
    """The call on the values that stand for its own now."""
    return replace(
        call, args=_substituted(call.args, now), kwargs={k: _substituted(v, now) for k, v in call.kwargs.items()}
    )


def _needed(calls: list[Call], outputs: list[Value]) -> list[Call]:
    """The calls on which the outputs depend."""
    roots, kept = {v.root for v in outputs}, []
    for call in reversed(calls):
        changed = (call.writes,) if call.writes else call.results
        if any(v.root in roots for v in changed):
            roots.update(v.root for v in reads(call))
            kept.append(call)
    return kept[::-1]


def _merged(calls: list[Call]) -> list[Call]:
    """`v = f(...)` followed by `target[...] = v` alone is `f(..., out=target)`."""
    uses = Counter(v for call in calls for v in reads(call))
    found: list[Call] = []
    for call in calls:
        if call.function is np.ndarray.__setitem__ and call.args[1] is Ellipsis and found:
            (target, _, item), before = call.args, found[-1]
            fits = isinstance(item, Value) and before.results == (item,) and takes_out(direct(before)[0])
            if fits and uses[item] == 1 and (item.shape, item.dtype) == (target.shape, target.dtype):
                found[-1] = Call(before.function, before.args, {**before.kwargs, "out": target}, (), target)
                continue
        found.append(call)
    return found


def _renamed(calls: list[Call], outputs: list[Value]) -> tuple[list[Call], list[Value]]:
    """Rename in-place updates, as in static single assignment: `z += b` becomes `z2 = z + b`.

    Then a call can be told from its like, and moved. Where z2 lies is decided when the program is written. Only arrays
    of the step's own are renamed, and only those that are not also seen through views.
    """
    seen = {v.root for call in calls for v in call.results if v.root is not v}
    made = {v for call in calls for v in call.results if v.root is v} - seen
    now: dict[Value, Value] = {}
    found: list[Call] = []
    for call in calls:
        target = call.writes
        call = _with(call, now)
        if target in made and _fills(call, target):
            now[target] = Value(f"{target.name}_{len(found)}", None, target.shape, target.dtype)
            call = Call(call.function, call.args, {}, (now[target],))
        found.append(call)
    return found, [now.get(v, v) for v in outputs]


def _fills(call: Call, target: Value) -> bool:
    """Whether the call without `out` would make an array like `target`: of its shape, dtype and order."""
    if not target.in_rows or not is_elementwise(call.function) or set(call.kwargs) != {"out"}:
        return False
    arrays = [a for a in call.args if isinstance(a, Value)]
    numbers = [a for a in call.args if type(a) in (int, float)]
    return (
        len(arrays) + len(numbers) == len(call.args)
        and all(a.dtype == target.dtype for a in arrays)
        and (not numbers or target.dtype.kind == "f")
        and any(a.shape == target.shape for a in arrays)
        and _gives(call.function, target.dtype)
    )


def _gives(function: np.ufunc, dtype: np.dtype) -> bool:
    """Whether operands of this dtype give a result of this dtype."""
    try:
        return function.resolve_dtypes((dtype,) * function.nin + (None,) * function.nout)[-1] == dtype
    except TypeError:
        return False


_VIEWS = (np.ndarray.__getitem__, np.ndarray.transpose, np.ndarray.reshape)


def _without_repeats(calls: list[Call], outputs: list[Value]) -> list[Call]:
    """Leave out a call whose like has been made before, if nothing that it reads was written since.

    A result that is written later, shown by views or given back must stay itself, and so must its twin.
    """
    views = {v.root for call in calls for v in call.results if v.root is not v}
    own = {*outputs, *views, *(call.writes.root for call in calls if call.writes is not None)}
    same: dict[Value, Value] = {}
    written: Counter[Value] = Counter()
    seen: dict[Any, tuple[Call, list[int]]] = {}
    found = []

    def versions(call: Call) -> list[int]:
        return [written[v.root] for v in reads(call)]

    for call in calls:
        call = _with(call, same)
        if call.writes is not None:
            written[call.writes.root] += 1
        elif (isinstance(call.function, np.ufunc) or call.function in _VIEWS) and not own.intersection(call.results):
            key = (call.function, _key(call.args), _key(tuple(sorted(call.kwargs.items()))))
            twin, before = seen.get(key, (call, []))
            if twin is not call and before == versions(twin):
                same[call.results[0]] = twin.results[0]
                continue
            seen[key] = (call, versions(call))
        found.append(call)
    return found


def _key(item: Any) -> Any:
    if isinstance(item, (tuple, list)):
        return tuple(map(_key, item))
    return repr(item) if isinstance(item, (slice, int, float, str)) else id(item)


def _converted(calls: list[Call], outputs: list[Value]) -> list[Call]:
    """`(x > 0).astype(x.dtype)`, where nobody else reads the comparison, is one operation that gives 1.0 and 0.0."""
    uses = Counter(v for call in calls for v in reads(call))
    uses.update(outputs)
    given = {v.root for v in outputs}
    written = {call.writes.root for call in calls if call.writes is not None}
    comparisons: dict[Value, Call] = {}
    found: list[Call] = []
    for call in calls:
        compare = comparisons.get(call.args[0]) if is_astype(call.function) else None
        if compare is not None and call.results[0] not in given and _is_of(call.results[0].dtype, compare):
            found.remove(compare)
            call = replace(compare, results=call.results)
        elif _compares(call) and uses[call.results[0]] == 1 and written.isdisjoint(v.root for v in reads(call)):
            comparisons[call.results[0]] = call
        found.append(call)
    return found


def _compares(call: Call) -> bool:
    """Whether it compares arrays, element by element, by an operation of chains."""
    result = call.results[0] if call.results else None
    return (
        call.function in OPERATIONS
        and not call.kwargs
        and result is not None
        and result.dtype == bool
        and result.shape != ()
    )


def _is_of(dtype: np.dtype, call: Call) -> bool:
    """Whether all that the call reads is of this dtype."""
    return all(v.dtype == dtype for v in reads(call))


@dataclass(eq=False)
class Chain(Call):
    """Elementwise calls on arrays of one shape, one after the other; `results` are those that others need."""

    calls: tuple[Call, ...] = ()


def _chained(calls: list[Call], outputs: list[Value]) -> list[Call]:
    """Join elementwise calls on arrays of one shape to chains.

    A chain stays open while calls come that neither need its results nor write what it reads: those go before it.
    """
    uses = Counter(v for call in calls for v in reads(call))
    uses.update(outputs)
    found: list[Call] = []
    chains: dict[Any, list[Call]] = {}

    def close(kind: Any) -> None:
        links = chains.pop(kind)
        if len(links) < shortest():
            found.append(links[0])
            return
        links = _with_scaled_sums(links, uses)
        inner = Counter(v for link in links for v in reads(link))
        made = [link.results[0] for link in links]
        given = tuple(v for v in made if uses[v] > inner[v])
        needed = tuple(v for v in inner if v not in made)
        found.append(Chain(function=None, args=needed, kwargs={}, results=given, calls=tuple(links)))

    for call in calls:
        kind = _shape_and_dtype(call)
        read, written = {v.root for v in reads(call)}, call.writes.root if call.writes is not None else None
        for other, links in list(chains.items()):
            needs = other != kind and any(link.results[0] in read for link in links)
            spoils = written is not None and any(written is v.root for link in links for v in reads(link))
            full = other == kind and (len(links) == LONGEST or len(_spread_operands([*links, call], kind[0])) > SPREADS)
            if needs or spoils or full:
                close(other)
        if kind is None:
            found.append(call)
        else:
            chains.setdefault(kind, []).append(call)
    for kind in list(chains):
        close(kind)
    return found


def _with_scaled_sums(links: list[Call], uses: Counter[Value]) -> list[Call]:
    """Fuse a product with a number s into the one sum or difference that uses it, to `c + a s` or `c - a s`.

    Both roundings stay: the product is rounded, then the sum.
    """
    products: dict[Value, tuple[Value, Any]] = {}
    found: list[Call] = []
    for link in links:
        for place, a in enumerate(link.args):
            joined = scaled(link.function, place) if a in products else None
            if joined is not None and _shaped(link.args[1 - place]):
                found.remove(next(before for before in found if a in before.results))
                link = replace(link, function=joined, args=(*products[a], link.args[1 - place]))
                break
        if link.function is np.multiply and uses[link.results[0]] == 1:
            x, y = link.args
            if _shaped(x) != _shaped(y):
                products[link.results[0]] = (x, y) if _shaped(x) else (y, x)
        found.append(link)
    return found


def _shaped(item: Any) -> bool:
    return isinstance(item, Value) and item.shape != ()


def _spread_operands(links: list[Call], shape: tuple[int, ...]) -> set[Value]:
    """The operands of a chain that are spread over the shape of the others."""
    return {v for link in links for v in reads(link) if v.shape not in (shape, ())}


def _shape_and_dtype(call: Call) -> Any:
    """(shape, dtype) of an elementwise call that may stand in a chain; None for others."""
    if call.function not in OPERATIONS or call.kwargs or len(call.results) != 1:
        return None
    (result,) = call.results
    shape, dtype = result.shape, result.dtype
    if shape == () or dtype not in (np.float32, np.float64) or not result.in_rows or not pays(shape):
        return None
    whole = 0
    for a in call.args:
        if isinstance(a, Value) and a.dtype == dtype:
            whole += a.shape == shape
            plain = a.root is a and a.shape in (shape, ())
            if not plain and (a.shape == shape or spread(a.shape, shape) is None):
                return None
        elif type(a) not in (int, float):
            return None
    return (shape, dtype) if whole else None

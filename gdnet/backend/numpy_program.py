"""From the calls on a tape to the source of one function that makes them."""

import math
import operator
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gdnet.backend.numpy_trace import Call, Tape, Value


def write_program(
    tape: Tape, outputs: list[Value], in_forms: list[Any], out_form: Any
) -> tuple[Callable, str]:  # fmt: skip
    """The function that makes the noted calls on which `outputs` depend, and its source.

    Its arguments and results are nested as `in_forms` and `out_form` say (see `gdnet.backend.tree`).
    """
    calls = _merged(_needed(_without_repeats(tape.calls, outputs), outputs))
    return Writer(calls, outputs, tape.inputs).program(in_forms, out_form)


def _values(thing: Any) -> list[Value]:
    if isinstance(thing, Value):
        return [thing]
    if isinstance(thing, (tuple, list)):
        return [v for item in thing for v in _values(item)]
    return []


def _reads(call: Call) -> list[Value]:
    return _values(call.args) + _values(tuple(call.kwargs.values()))


def _needed(calls: list[Call], outputs: list[Value]) -> list[Call]:
    """The calls on which the outputs depend."""
    roots, kept = {v.root for v in outputs}, []
    for call in reversed(calls):
        changed = (call.writes,) if call.writes else call.results
        if any(v.root in roots for v in changed):
            roots.update(v.root for v in _reads(call))
            kept.append(call)
    return kept[::-1]


class Writer:
    """Turns noted calls into the source of one function, with buffers for results that stay inside."""

    def __init__(self, calls: list[Call], outputs: list[Value], inputs: list[Value]) -> None:
        self.calls, self.outputs, self.inputs = calls, outputs, inputs
        self.escaping = {v.root for v in outputs}
        self.donors = [v for v in inputs if v.donated and v not in self.escaping]  # whose memory no result has taken
        self.last = {v.root: i for i, call in enumerate(calls) for v in [*_reads(call), *call.results]}
        self.names: dict[str, Any] = {"held": None}
        self.known: dict[int, str] = {}
        self.made: dict[Value, np.ndarray] = {}  # values that stand in a buffer: the array that shows them
        self.buffers: dict[Value, np.ndarray] = {}  # roots that hold a buffer at this point
        self.free: dict[tuple[np.dtype, int], list[np.ndarray]] = {}
        seen = Counter(v.root for call in calls if _is_view(call) for v in call.results if v.root in self.donors)
        self.parent = max(seen, key=seen.__getitem__, default=None)  # the donated vector that is seen through windows
        self.windows: dict[Value, str] = {}  # its windows: made again only when another array comes

    def program(self, in_forms: list[Any], out_form: Any) -> tuple[Callable, str]:
        lines = [line for i, call in enumerate(self.calls) if (line := self._line(i, call))]
        names, given = iter([v.name for v in self.inputs]), [f"a{k}" for k in range(len(in_forms))]
        unpacked = [f"{_pattern(form, names)} = {a}" for form, a in zip(in_forms, given, strict=True) if form]
        source = ""
        if self.parent is not None:
            parent = self.parent.name
            head = [f"global {', '.join(v.name for v in self.windows)}, held", f"held = {parent}"]
            source = _function("look", [parent], [*head, *self.windows.values()])
            unpacked.append(f"if {parent} is not held: look({parent})")
        returned = self._packed(out_form, iter(self.outputs))
        source += _function("program", given, [*unpacked, *lines, f"return {returned}"])
        exec(compile(source, "<gdnet step>", "exec"), self.names)  # made of nothing but the names that stand in `names`
        return self.names["program"], source

    def _packed(self, form: Any, values: Iterator[Value]) -> str:
        """The expression for nested tuples of values."""
        if form is None:
            return "None"
        if form == "leaf":
            return self._text(next(values))
        kind, forms = form
        inside = "".join(f"{self._packed(f, values)}, " for f in forms)
        return f"{'' if kind is tuple else self._constant(kind.__name__, kind)}({inside})"

    def _line(self, i: int, call: Call) -> str:
        """The source line of one call; empty where the call is made here, once and for all."""
        if self._is_view_of_buffer(call):
            options = {k: self._array(v) for k, v in call.kwargs.items()}
            self.made[call.results[0]] = call.function(*map(self._array, call.args), **options)
            return ""
        if _is_view(call) and all(v is self.parent or v in self.windows for v in _reads(call)):
            self.windows[call.results[0]] = self._plain_line(call)
            return ""
        function, kwargs = _direct(call)
        elementwise = isinstance(function, np.ufunc) and function.signature is None
        arguments = [self._text(a) for a in _with_typed_numbers(call, function)]
        arguments += [f"{k}={self._text(v)}" for k, v in kwargs.items()]
        if elementwise:  # the result may take the place of an argument that is not needed again
            self._release(i, call)
        target = "".join(f"{v.name}, " for v in call.results) if len(call.results) > 1 else ""
        if len(call.results) == 1:
            result = call.results[0]
            if self._fits_buffer(result, function):
                self._take_buffer(result)
                arguments.append(f"out={self._text(result)}")
            else:
                target = result.name
                if elementwise and (donor := self._donor(i, result, _reads(call))):
                    arguments.append(f"out={donor}")
        if taken := self._donors_of_kernel(i, call):
            arguments.append(f"out=({', '.join(taken)},)")
        self._release(i, call)
        if function is np.empty_like and call.results[0] in self.made:
            return ""
        return f"{target + ' = ' if target else ''}{self._constant(_label(function), function)}({', '.join(arguments)})"

    def _donor(self, i: int, result: Value, candidates: list[Value]) -> str:
        """The donated argument, not needed after this call, whose memory the result takes; empty if there is none."""
        for v in candidates:
            fits = (v.shape, v.dtype) == (result.shape, result.dtype) and result.shape != ()
            if v in self.donors and self.last[v] == i and fits and result in self.escaping:
                self.donors.remove(v)
                return v.name
        return ""

    def _donors_of_kernel(self, i: int, call: Call) -> list[str]:
        """The same for the results of a kernel, all or none."""
        chosen = [call.args[1 + k] for k in getattr(call.function, "reuses", ())]
        kept = list(self.donors)
        taken = [self._donor(i, r, [v]) for r, v in zip(call.results, chosen, strict=False)]
        if taken and all(taken):
            return taken
        self.donors = kept
        return []

    def _plain_line(self, call: Call) -> str:
        function, kwargs = _direct(call)
        arguments = [*map(self._text, call.args), *(f"{k}={self._text(v)}" for k, v in kwargs.items())]
        return f"{call.results[0].name} = {self._constant(_label(function), function)}({', '.join(arguments)})"

    def _is_view_of_buffer(self, call: Call) -> bool:
        return _is_view(call) and all(v in self.made for v in _reads(call))

    def _fits_buffer(self, result: Value, function: Any) -> bool:
        takes_out = _takes_out(function) or function is np.empty_like
        return takes_out and result.root is result and result not in self.escaping and result.shape != ()

    def _take_buffer(self, result: Value) -> None:
        spare = self.free.get((result.dtype, math.prod(result.shape)))
        buffer = spare.pop().reshape(result.shape) if spare else np.empty(result.shape, result.dtype)
        self.buffers[result] = self.made[result] = buffer

    def _release(self, i: int, call: Call) -> None:
        for root in {v.root for v in _reads(call)}:
            if self.last[root] == i and root in self.buffers:
                buffer = self.buffers.pop(root)
                self.free.setdefault((buffer.dtype, buffer.size), []).append(buffer)

    def _array(self, item: Any) -> Any:
        if isinstance(item, Value):
            return self.made[item]
        return type(item)(map(self._array, item)) if isinstance(item, (tuple, list)) else item

    def _text(self, item: Any) -> str:
        if isinstance(item, Value):
            return self._constant("b", self.made[item]) if item in self.made else item.name
        if isinstance(item, (tuple, list)):
            inside = ", ".join(map(self._text, item))
            return f"[{inside}]" if isinstance(item, list) else f"({inside},)"
        literal = item is None or isinstance(item, (bool, int)) or (type(item) is float and math.isfinite(item))
        return repr(item) if literal else self._constant("c", item)

    def _constant(self, prefix: str, item: Any) -> str:
        """The name under which the program knows this object."""
        if id(item) not in self.known:
            self.known[id(item)] = f"{prefix}{len(self.names)}"
            self.names[self.known[id(item)]] = item
        return self.known[id(item)]


def _with_typed_numbers(call: Call, function: Any) -> tuple:
    """Python's numbers as arrays without axes, of the dtype that they would become: NumPy converts them faster."""
    arrays = _values(call.args)
    dtypes = {v.dtype for v in (*arrays, *call.results)}
    if not isinstance(function, np.ufunc) or len(dtypes) != 1 or not any(v.shape for v in arrays):
        return call.args
    (dtype,) = dtypes
    return tuple(np.asarray(a, dtype) if type(a) in (int, float) and dtype.kind == "f" else a for a in call.args)


def _is_view(call: Call) -> bool:
    return len(call.results) == 1 and call.results[0].root is not call.results[0]


def _function(name: str, arguments: list[str], lines: list[str]) -> str:
    return f"def {name}({', '.join(arguments)}):\n    " + "\n    ".join(lines) + "\n"


def _pattern(form: Any, names: Iterator[str]) -> str:
    """The left side that takes nested tuples apart."""
    if form is None:
        return "_"
    if form == "leaf":
        return next(names)
    return f"({''.join(_pattern(f, names) + ', ' for f in form[1])})"


_SCALAR = {  # NumPy's scalars have operators of their own: faster, and their power rounds differently
    np.add: operator.add, np.subtract: operator.sub, np.multiply: operator.mul, np.true_divide: operator.truediv,
    np.negative: operator.neg, np.power: operator.pow,
}  # fmt: skip


def _label(function: Any) -> str:
    """A readable name: `add_`, `add_reduce_`."""
    owner = getattr(function, "__self__", None)
    words = [owner.__name__] if isinstance(owner, np.ufunc) else []
    return "_".join([*words, getattr(function, "__name__", "call").strip("_"), ""])


def _merged(calls: list[Call]) -> list[Call]:
    """`v = f(...)` followed by `target[...] = v` alone is `f(..., out=target)`."""
    uses = Counter(v for call in calls for v in _reads(call))
    found: list[Call] = []
    for call in calls:
        if call.function is np.ndarray.__setitem__ and call.args[1] is Ellipsis and found:
            (target, _, item), before = call.args, found[-1]
            fits = isinstance(item, Value) and before.results == (item,) and _takes_out(_direct(before)[0])
            if fits and uses[item] == 1 and (item.shape, item.dtype) == (target.shape, target.dtype):
                found[-1] = Call(before.function, before.args, {**before.kwargs, "out": target}, (), target)
                continue
        found.append(call)
    return found


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

    def earlier(item: Any) -> Any:
        if isinstance(item, Value):
            return same.get(item, item)
        return type(item)(map(earlier, item)) if isinstance(item, (tuple, list)) else item

    def versions(call: Call) -> list[int]:
        return [written[v.root] for v in _reads(call)]

    for call in calls:
        call = replace(call, args=earlier(call.args), kwargs={k: earlier(v) for k, v in call.kwargs.items()})
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


_VIEWS = (np.ndarray.__getitem__, np.ndarray.transpose, np.ndarray.reshape)


def _key(item: Any) -> Any:
    if isinstance(item, (tuple, list)):
        return tuple(map(_key, item))
    return repr(item) if isinstance(item, (slice, int, float, str)) else id(item)


def _takes_out(function: Any) -> bool:
    return isinstance(function, np.ufunc) or function is np.dot or _is_reduction(function)


def _is_reduction(function: Any) -> bool:
    return getattr(function, "__name__", "") == "reduce" and isinstance(getattr(function, "__self__", None), np.ufunc)


def _direct(call: Call) -> tuple[Any, dict[str, Any]]:
    """The call that does the very same with less ceremony."""
    plain = len(call.args) == 1 and not set(call.kwargs) - {"axis", "keepdims", "out"}
    if call.function in (np.sum, np.max) and plain:
        ufunc = np.add if call.function is np.sum else np.maximum
        return ufunc.reduce, {"axis": None, **call.kwargs}
    if call.function is np.matmul and all(isinstance(a, Value) and len(a.shape) == 2 for a in call.args):
        return np.dot, call.kwargs
    if call.function is np.reshape and set(call.kwargs) <= {"copy"} and call.kwargs.get("copy") is None:
        return np.ndarray.reshape, {}
    if call.function in _SCALAR and call.results and call.results[0].shape == () and not call.kwargs:
        return _SCALAR[call.function], call.kwargs
    return call.function, call.kwargs

"""From the calls on a tape to the source of one function that makes them."""

import math
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gdnet.backend.numpy.compiler.links import ChainLine
from gdnet.backend.numpy.compiler.passes import (
    Chain,
    direct,
    is_elementwise,
    reads,
    simplified,
    takes_out,
    with_typed_numbers,
)
from gdnet.backend.numpy.compiler.trace import Call, Tape, Value


def write_program(
    tape: Tape, outputs: list[Value], in_forms: list[Any], out_form: Any
) -> tuple[Callable, str]:  # fmt: skip
    """The function that makes the noted calls on which `outputs` depend, and its source.

    Its arguments and results are nested as `in_forms` and `out_form` say (see `gdnet.backend.tree`). It is written
    twice: the first time tells how much memory its buffers need at most.
    """
    calls, outputs = simplified(tape.calls, outputs)
    rehearsal = Writer(calls, outputs, tape.inputs, Arena(sum(map(_upper_bound, calls))))
    rehearsal.lines()
    return Writer(calls, outputs, tape.inputs, Arena(rehearsal.arena.peak)).program(in_forms, out_form)


ALIGNED = 64
"""Bytes: a buffer begins where a cache line does."""


def _upper_bound(call: Call) -> int:
    inner = call.calls if isinstance(call, Chain) else (call,)
    return sum(math.prod(v.shape) * v.dtype.itemsize + ALIGNED for c in inner for v in c.results)


class Arena:
    """One block of memory from which buffers are cut and to which they are given back while a program is written."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.memory = np.empty(size + ALIGNED, np.uint8)
        self.first = -self.memory.ctypes.data % ALIGNED
        self.free = [(0, size)]  # (start, stop), in order, none next to each other
        self.peak = 0

    def take(self, size: int) -> tuple[int, int]:
        """(start, stop) of the smallest free piece that holds `size` bytes; the end of the memory comes last.

        So the pieces do not depend on how much memory there is, and what a rehearsal needs is enough.
        """
        size = -(-max(size, 1) // ALIGNED) * ALIGNED
        fitting = [piece for piece in self.free if piece[1] - piece[0] >= size]
        start, stop = min(fitting, key=lambda piece: (piece[1] == self.size, piece[1] - piece[0]))
        self.free.remove((start, stop))
        if start + size < stop:
            insort(self.free, (start + size, stop))
        self.peak = max(self.peak, start + size)
        return start, start + size

    def give(self, piece: tuple[int, int]) -> None:
        start, stop = piece
        for other in list(self.free):
            if other[1] == start or other[0] == stop:
                self.free.remove(other)
                start, stop = min(start, other[0]), max(stop, other[1])
        insort(self.free, (start, stop))

    def array(self, piece: tuple[int, int], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        start = self.first + piece[0]
        return self.memory[start : start + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)


class Writer:
    """Turns noted calls into the source of one function, with buffers for results that stay inside."""

    def __init__(self, calls: list[Call], outputs: list[Value], inputs: list[Value], arena: Arena) -> None:
        self.calls, self.outputs, self.inputs, self.arena = calls, outputs, inputs, arena
        self.escaping = {v.root for v in outputs}
        self.donors = [v for v in inputs if v.donated and v not in self.escaping]  # whose memory no result has taken
        self.last = {v.root: i for i, call in enumerate(calls) for v in [*reads(call), *call.results]}
        self.names: dict[str, Any] = {"held": None}
        self.known: dict[int, str] = {}
        self.made: dict[Value, np.ndarray] = {}  # values that stand in a buffer: the array that shows them
        self.pieces: dict[Value, tuple[int, int]] = {}  # roots that hold a piece of the arena at this point
        seen = Counter(v.root for call in calls if _is_view(call) for v in call.results if v.root in self.donors)
        self.parent = max(seen, key=seen.__getitem__, default=None)  # the donated vector that is seen through windows
        self.windows: dict[Value, str] = {}  # its windows: made again only when another array comes

    def program(self, in_forms: list[Any], out_form: Any) -> tuple[Callable, str]:
        lines = self.lines()
        names, given = iter([v.name for v in self.inputs]), [f"a{k}" for k in range(len(in_forms))]
        unpacked = [f"{_pattern(form, names)} = {a}" for form, a in zip(in_forms, given, strict=True) if form]
        source = ""
        if self.parent is not None:
            parent = self.parent.name
            names_of = ", ".join(v.name for v in self.windows)
            # `held` comes last: an interrupt in between leaves windows that are looked up again.
            source = _function(
                "look", [parent], [f"global {names_of}, held", *self.windows.values(), f"held = {parent}"]
            )
            unpacked.append(f"if {parent} is not held: look({parent})")
        returned = self._packed(out_form, iter(self.outputs))
        source += _function("program", given, [*unpacked, *lines, f"return {returned}"])
        exec(compile(source, "<gdnet step>", "exec"), self.names)  # made of nothing but the names that stand in `names`
        return self.names["program"], source

    def lines(self) -> list[str]:
        """The calls, a line each; buffers are cut from the arena on the way."""
        return [line for i, call in enumerate(self.calls) for line in self._lines(i, call)]

    def _packed(self, form: Any, values: Iterator[Value]) -> str:
        """The expression for nested tuples of values."""
        if form is None:
            return "None"
        if form == "leaf":
            return self.text(next(values))
        kind, forms = form
        inside = "".join(f"{self._packed(f, values)}, " for f in forms)
        return f"{'' if kind is tuple else self.constant(kind.__name__, kind)}({inside})"

    # -- one call -----------------------------------------------------------------------------------------------------

    def _lines(self, i: int, call: Call) -> list[str]:
        """The source of one call; nothing where the call is made here, once and for all."""
        lines = ChainLine(self, i, call).lines() if isinstance(call, Chain) else self._line(i, call)
        for root in {v.root for v in reads(call)}:
            if self.last[root] == i and root in self.pieces:
                self.arena.give(self.pieces.pop(root))
        return lines

    def _line(self, i: int, call: Call) -> list[str]:
        if self._is_view_of_buffer(call):
            options = {k: self._array(v) for k, v in call.kwargs.items()}
            self.made[call.results[0]] = call.function(*map(self._array, call.args), **options)
            return []
        if _is_view(call) and all(v is self.parent or v in self.windows for v in reads(call)):
            self.windows[call.results[0]] = f"{call.results[0].name} = {self._called(call)}"
            return []
        target, more = "".join(f"{v.name}, " for v in call.results), []
        if len(call.results) == 1:
            result = call.results[0]
            target = result.name
            place = self.place(i, result, reads(call) if is_elementwise(call.function) else [], direct(call)[0])
            if place and call.function is np.empty_like:
                return []
            if place:
                more, target = [f"out={place}"], "" if result in self.made else target
        line = self._called(call, more)
        return [f"{target} = {line}" if target else line]

    def _called(self, call: Call, more: list[str] | None = None) -> str:
        function, kwargs = direct(call)
        arguments = [*map(self.text, with_typed_numbers(call, function))]
        arguments += [f"{name}={self.text(item)}" for name, item in kwargs.items()]
        return f"{self.constant(_label(function), function)}({', '.join([*arguments, *(more or [])])})"

    def place(self, i: int, result: Value, operands: list[Value], function: Any) -> str:
        """Where the result of call i goes: a buffer, or a donated argument; empty where NumPy makes a new array.

        `operands` are those in whose place the result may lie, if they are not needed after this call.
        """
        if result.root is not result or result.shape == () or not result.in_rows:
            return ""
        ended = [v for v in operands if v.root is v and self.last.get(v) == i]
        if result in self.escaping:
            for v in ended:
                if v in self.donors and (v.shape, v.dtype) == (result.shape, result.dtype):
                    self.donors.remove(v)
                    return v.name
            return ""
        if not takes_out(function) and function is not np.empty_like:
            return ""
        size = math.prod(result.shape) * result.dtype.itemsize
        for v in ended:
            if v in self.pieces and (v.shape, v.dtype.itemsize) == (result.shape, result.dtype.itemsize):
                self.pieces[result] = self.pieces.pop(v)
                break
        else:
            self.pieces[result] = self.arena.take(size)
        self.made[result] = self.arena.array(self.pieces[result], result.shape, result.dtype)
        return self.text(result)

    def new_array(self, result: Value) -> str:
        return f"{self.constant('empty_', np.empty)}({result.shape}, {self.constant('c', result.dtype)})"

    def give_back_unread(self) -> None:
        """Buffers of results that nothing reads."""
        for v in [v for v in self.pieces if v not in self.last]:
            self.arena.give(self.pieces.pop(v))

    def _is_view_of_buffer(self, call: Call) -> bool:
        return _is_view(call) and all(v in self.made for v in reads(call))

    def _array(self, item: Any) -> Any:
        if isinstance(item, Value):
            return self.made[item]
        return type(item)(map(self._array, item)) if isinstance(item, (tuple, list)) else item

    def text(self, item: Any) -> str:
        if isinstance(item, Value):
            return self.constant("b", self.made[item]) if item in self.made else item.name
        if isinstance(item, (tuple, list)):
            inside = ", ".join(map(self.text, item))
            return f"[{inside}]" if isinstance(item, list) else f"({inside},)"
        literal = item is None or isinstance(item, (bool, int)) or (type(item) is float and math.isfinite(item))
        return repr(item) if literal else self.constant("c", item)

    def constant(self, prefix: str, item: Any) -> str:
        """The name under which the program knows this object."""
        if id(item) not in self.known:
            self.known[id(item)] = f"{prefix}{len(self.names)}"
            self.names[self.known[id(item)]] = item
        return self.known[id(item)]


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


def _label(function: Any) -> str:
    """A readable name: `add_`, `add_reduce_`."""
    owner = getattr(function, "__self__", None)
    words = [owner.__name__] if isinstance(owner, np.ufunc) else []
    return "_".join([*words, getattr(function, "__name__", "call").strip("_"), ""])

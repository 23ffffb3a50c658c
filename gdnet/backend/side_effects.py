"""What a step changes besides giving results: attributes, lists, dictionaries, arrays and generators that it can reach.

A compiled step is a program of its arguments and results. What the step's Python code does besides, such as a layer
that counts its calls or keeps a running mean, a program would not repeat. So a step is watched while it is traced and
while its program is checked:

>>> class Counter:
...     calls = 0
...     def __init__(self):
...         self.seen = 0
...     def __call__(self, x):
...         self.seen += 1
...         return 2 * x
>>> counter = Counter()
>>> before = Snapshot(counter)
>>> counter(3)
6
>>> before.restore()
["Counter changes its attribute 'seen'"]
>>> counter.seen
0

What only appears (a value computed once and kept, in an attribute that was missing or None, or under a new key of a
dictionary) is no change: a step that fills a cache in its first call leaves it alone in the second.
"""

import functools
import random
import types
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from gdnet.backend.room import rooms
from gdnet.errors import CompileError

MAX_OBJECTS = 20_000
"""So many objects are looked at. A list or a dictionary with more items than that is taken for data."""
MAX_BYTES = 1 << 24
"""So many bytes of arrays are compared, all arrays together. An array that does not fit is taken for data."""
_LEAVES = (type, types.ModuleType, types.BuiltinFunctionType, str, bytes, int, float, complex, np.generic)
_MISSING: Any = object()
_FUNCTIONS: tuple[Any, Any] = np.random.rand, random.random
_SHARED = [function.__self__ for function in _FUNCTIONS]
"""The generators behind `np.random` and `random`, which any function can reach."""


@functools.cache
def _libraries() -> frozenset[str]:
    """The top packages whose objects are not looked into."""
    arrays = [name for room in rooms().values() for name in (room.library, *room.further_packages)]
    return frozenset([*arrays, "threading", "_thread", "concurrent", "weakref", "re"])


class Snapshot:
    """The objects that a function can reach, as they are now."""

    def __init__(self, function: Any) -> None:
        self.kept: list[tuple[Any, Any]] = []
        """(object, a copy of what it holds)"""
        self.known: set[int] = set()
        left = MAX_BYTES
        for thing in reachable([function, *_SHARED]):
            size = thing.nbytes if isinstance(thing, np.ndarray) else 0
            if size > left:
                continue
            left -= size
            held = _held(thing)
            if held is not _MISSING:
                self.kept.append((thing, held))
                self.known.add(id(thing))

    def changes(self, traced: Callable[[Any], bool] = lambda value: False) -> list[str]:
        """A sentence for each change since; a value that appeared counts where `traced` says so of something in it."""
        return list(self._differences(traced, restore=False))

    def restore(self, traced: Callable[[Any], bool] = lambda value: False) -> list[str]:
        """`changes`, which are also undone; new keys of dictionaries stay, unless `traced` says so of their values."""
        return list(self._differences(traced, restore=True))

    def _differences(self, traced: Callable[[Any], bool], restore: bool) -> Iterator[str]:
        for thing, before in self.kept:
            now = _held(thing)
            if isinstance(before, dict) and isinstance(now, dict) and not _is_generator(thing):
                yield from self._in_names(thing, before, now, traced, restore)
            elif not _same(before, now):
                if restore:
                    _put_back(thing, before)
                yield _said(thing)

    def _in_names(
        self, thing: Any, before: dict, now: dict, traced: Callable[[Any], bool], restore: bool
    ) -> Iterator[str]:
        """The differences between the attributes of an object, or the items of a dictionary, then and now."""
        holder = thing if isinstance(thing, dict) else _names_of(thing)
        for name in [*before, *(name for name in now if name not in before)]:
            old, new = before.get(name, _MISSING), now.get(name, _MISSING)
            if _same(old, new):
                continue
            appeared = old is None or old is _MISSING
            of_trace = appeared and any(map(traced, reachable([new], self.known)))
            if restore and (not appeared or of_trace or holder is not thing):
                if old is _MISSING:
                    holder.pop(name, None)
                else:
                    holder[name] = old
            if appeared and not of_trace:
                continue
            if holder is thing:
                yield f"the step changes the item {name!r} of a dictionary"
            elif isinstance(thing, types.FunctionType):
                yield f"the step changes the global variable {name!r}"
            else:
                yield f"{type(thing).__name__} changes its attribute {name!r}"


def _names_of(thing: Any) -> dict[str, Any]:
    return thing.__globals__ if isinstance(thing, types.FunctionType) else vars(thing)


def reachable(roots: list[Any], known: Collection[int] = ()) -> Iterator[Any]:
    """The roots and what can be reached from them, but not through objects whose id is `known`.

    Attributes, items, what a function encloses and the object of a method.
    """
    seen: dict[int, Any] = {}
    waiting = roots[::-1]
    while waiting and len(seen) < MAX_OBJECTS:
        thing = waiting.pop()
        if id(thing) not in seen and id(thing) not in known and not isinstance(thing, _LEAVES) and thing is not None:
            seen[id(thing)] = thing  # kept alive, so that the id is its own
            yield thing
            waiting += _inside(thing)


def _inside(thing: Any) -> list[Any]:
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing) if len(thing) < MAX_OBJECTS else []
    if isinstance(thing, dict):
        return list(thing.values()) if len(thing) < MAX_OBJECTS else []
    if isinstance(thing, types.CellType):
        return [_content(thing)]
    if isinstance(thing, types.FunctionType):
        known = [*(thing.__closure__ or ()), *(thing.__defaults__ or ()), *vars(thing).values()]
        return [*known, *_globals_of(thing).values()]
    if isinstance(thing, types.MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    kind: Any = type(thing)
    return [*vars(thing).values(), *_methods_of(kind)] if _has_attributes(thing) else []


@functools.lru_cache(maxsize=256)
def _methods_of(kind: Any) -> tuple[types.FunctionType, ...]:
    """The methods of a class and its bases, but for those of gdnet, which use no global variables."""
    own = [
        base for base in kind.__mro__ if base.__module__.partition(".")[0] not in {*_libraries(), "gdnet", "builtins"}
    ]
    return tuple(item for base in own for item in vars(base).values() if isinstance(item, types.FunctionType))


def _globals_of(function: types.FunctionType) -> dict[str, Any]:
    """The global variables that a function names, and those within it."""
    if function.__module__ is None or function.__module__.partition(".")[0] in {*_libraries(), "gdnet"}:
        return {}
    names: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [item for item in code.co_consts if isinstance(item, types.CodeType)]
    return {name: function.__globals__[name] for name in names if name in function.__globals__}


def _has_attributes(thing: Any) -> bool:
    """Whether its attributes are looked at: not those of a library, nor where the class says that it is `unwatched`."""
    kind = type(thing)
    foreign = kind.__module__.partition(".")[0] in _libraries() or getattr(kind, "unwatched", False)
    return hasattr(thing, "__dict__") and not foreign


def _is_generator(thing: Any) -> bool:
    return isinstance(thing, (np.random.Generator, np.random.RandomState, random.Random))


def _held(thing: Any) -> Any:
    """A copy of what an object holds, by which a change can be told; `_MISSING` where there is nothing to tell."""
    if isinstance(thing, (list, set)):
        return type(thing)(thing) if len(thing) < MAX_OBJECTS and type(thing) in (list, set) else _MISSING
    if isinstance(thing, dict):
        return dict(thing) if len(thing) < MAX_OBJECTS else _MISSING
    if isinstance(thing, types.CellType):
        return (_content(thing),)
    if isinstance(thing, np.ndarray):
        return np.array(thing) if not thing.dtype.hasobject else _MISSING
    if isinstance(thing, np.random.Generator):
        return thing.bit_generator.state
    if isinstance(thing, np.random.RandomState):
        return thing.get_state()
    if isinstance(thing, random.Random):
        return thing.getstate()
    if isinstance(thing, types.FunctionType):
        return _globals_of(thing)
    return dict(vars(thing)) if _has_attributes(thing) else _MISSING


def _put_back(thing: Any, before: Any) -> None:
    if isinstance(thing, list):
        thing[:] = before
    elif isinstance(thing, set):
        thing.clear()
        thing.update(before)
    elif isinstance(thing, types.CellType):
        thing.cell_contents = before[0]
    elif isinstance(thing, np.ndarray):
        thing[...] = before
    elif isinstance(thing, np.random.Generator):
        thing.bit_generator.state = before
    elif isinstance(thing, np.random.RandomState):
        thing.set_state(before)
    elif isinstance(thing, random.Random):
        thing.setstate(before)


def _said(thing: Any) -> str:
    if _is_generator(thing):
        return "the step draws from a random generator of its own"
    if isinstance(thing, np.ndarray):
        return f"the step writes into an array of shape {thing.shape} that is not its own"
    if isinstance(thing, types.CellType):
        return "the step changes a variable of the function around it"
    return f"the step changes a {type(thing).__name__}"


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return _MISSING


def _same(a: Any, b: Any) -> bool:
    """Whether two values are the same object, or equal numbers, texts, arrays, or nests of such."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, set):
        return a == b
    simple = isinstance(a, (bool, int, float, complex, str, bytes, np.generic, type(None)))
    return simple and (a == b or (a != a and b != b))


def pure(step: Callable, traced: Callable[[Any], bool], library: str) -> Callable:
    """`step` for a library that runs its Python code once, to trace it: a change of anything else is an error.

    All changes are put back first, so that nobody meets an array of the trace later.
    """

    @functools.wraps(step)
    def watched(*args: Any) -> Any:
        before = Snapshot(step)
        try:
            results = step(*args)
        except BaseException:
            before.restore(traced)
            raise
        if changes := before.restore(traced):
            raise CompileError(
                f"{changes[0]}: {library} runs a step's Python code once and then its arrays alone, so that the change "
                f"would be lost. Make it an argument and a result of the step, or train on a library that does not "
                f'trace, such as backend="numpy", which runs such a step as it is'
            )
        return results

    return watched

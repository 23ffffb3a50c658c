"""What a compiled step has taken over from its network, loss and optimizer, so that a change of it is noticed.

A compiled step holds the numbers of the layers as they were: the rate of a dropout, the slope of an activation. Here is
one list of all such attributes, those of classes that know nothing of gdnet's `config()` included. It goes into what
an attribute holds: containers, objects of any class and what stands in the class itself, and what a function has closed
over. Only what is read from the globals of a module stays unseen.
"""

import operator
from array import array
from collections import deque
from collections.abc import Iterator
from functools import cached_property, partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from gdnet.layers import Layer
from gdnet.losses import Loss
from gdnet.optimizers import Optimizer
from gdnet.optimizers.first_order.schedules import Schedule

OWNERS = (Layer, Loss, Optimizer, Schedule)
PLAIN = (bool, int, float, complex, str, bytes, type(None))
SEQUENCES = (tuple, list, set, frozenset, deque)
FIELDS: dict[type, tuple[str, ...]] = {
    FunctionType: ("__closure__", "__defaults__", "__kwdefaults__"),
    MethodType: ("__func__", "__self__"),
    partial: ("func", "args", "keywords"),
}
"""What Python's own objects hold beside their `__dict__`."""
WORKED_OUT = ("_plans", "_kept")
"""Dicts in which gdnet's own objects keep what follows from their other attributes."""
COMPARED_BYTES = 2**20
"""Arrays up to this size are compared by their numbers, larger ones are the same only where they are one object."""


class Configuration:
    """The attributes of some objects at one moment. Two are equal where every number and text is equal and everything
    else, an array or a function, is the same object.

    >>> from gdnet.layers import Dropout
    >>> layer = Dropout(0.5)
    >>> before = Configuration(layer)
    >>> before == Configuration(layer), before == Configuration(Dropout(0.5))
    (True, True)
    >>> layer.rate = 0.1
    >>> before == Configuration(layer)
    False
    """

    def __init__(self, *objects: Any) -> None:
        self._holders: list[tuple[Any, tuple]] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._arrays: list[tuple[Any, bytes]] = []
        self._slots: list[tuple[Any, str, Any]] = []
        # The objects themselves: while they are held, no other takes their place.
        self.values = list(self._leaves(objects, {}))

    def holds(self) -> bool:
        """Whether the objects are still as they were: a quick look, which may say no where only a cache is new."""
        return (
            all(len(held) == len(was) and all(map(operator.is_, held, was)) for held, was in self._holders)
            and all(_inside(cell) is was for cell, was in self._cells)
            and all(getattr(node, name, None) is was for node, name, was in self._slots)
            and all(numbers.tobytes() == was for numbers, was in self._arrays)
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Configuration)
            and len(self.values) == len(other.values)
            and all(map(_same, self.values, other.values))
        )

    __hash__ = None  # type: ignore[assignment]

    def _leaves(self, node: Any, seen: dict[int, int]) -> Iterator[Any]:
        if isinstance(node, (*PLAIN, np.generic, type, ModuleType)) or (_is_own(type(node)) and not _is_rule(node)):
            yield node
            return
        if id(node) in seen:  # one layer in two places, or a layer that knows what it is part of
            yield seen[id(node)]
            return
        seen[id(node)] = len(seen)
        if isinstance(node, (np.ndarray, array)):
            yield from self._numbers(node, seen)
            return
        known = _is_rule(node) or type(node) in (dict, *SEQUENCES)
        yield type(node) if known else node  # of another class's object more may count than can be seen
        if isinstance(node, dict):
            self._hold(node.keys())
            self._hold(node.values())
            yield from self._named(list(node.items()), seen)
        elif isinstance(node, SEQUENCES):
            if not isinstance(node, (tuple, frozenset)):
                self._hold(node)
            yield len(node)
            for item in list(node):
                yield from self._leaves(item, seen)
        elif isinstance(node, CellType):
            self._cells.append((node, _inside(node)))
            yield from self._leaves(_inside(node), seen)
        yield from self._named(self._attributes(node), seen)
        for cls in type(node).__mro__:
            if cls.__module__ != "builtins" and not _is_own(cls) and id(cls) not in seen:
                seen[id(cls)] = len(seen)
                self._hold(vars(cls).values())
                for name, value in list(vars(cls).items()):
                    yield name
                    yield from [value] if hasattr(value, "__get__") else self._leaves(value, seen)  # a method is itself

    def _named(self, values: list[tuple[Any, Any]], seen: dict[int, int]) -> Iterator[Any]:
        for name, value in values:
            yield name
            yield from self._leaves(value, seen)

    def _numbers(self, node: Any, seen: dict[int, int]) -> Iterator[Any]:
        """What is compared of an array."""
        if isinstance(node, np.ndarray) and node.dtype.hasobject:
            things = node.reshape(-1)
            self._hold(things)
            for item in things:
                yield from self._leaves(item, seen)
        elif memoryview(node).nbytes <= COMPARED_BYTES:
            numbers = node.tobytes()
            self._arrays.append((node, numbers))
            yield f"{type(node)} {getattr(node, 'dtype', '')} {getattr(node, 'shape', '')}"
            yield numbers
        else:
            yield node

    def _hold(self, holder: Any) -> None:
        self._holders.append((holder, tuple(holder)))

    def _attributes(self, node: Any) -> list[tuple[str, Any]]:
        """Names and values, without those that have been worked out from the others."""
        cls, found = type(node), [(name, getattr(node, name)) for name in FIELDS.get(type(node), ())]
        own = getattr(node, "__dict__", None)
        if isinstance(own, dict):
            self._hold(own.values())
            for name, value in sorted(own.items(), key=lambda item: str(item[0])):
                if name not in WORKED_OUT and not isinstance(getattr(cls, name, None), cached_property):
                    found.append((name, value))
        for base in cls.__mro__:
            slots = base.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(node, name):
                    found.append((name, getattr(node, name)))
                    self._slots.append((node, *found[-1]))
        return found


def _is_rule(node: Any) -> bool:
    return isinstance(node, OWNERS)


def _is_own(cls: type) -> bool:
    """Whether a class is gdnet's own. Nobody changes it, and what is no rule, such as a `Model`, counts as it is: it
    holds what is compiled.
    """
    return cls.__module__.startswith("gdnet.")


def _inside(cell: CellType) -> Any:
    """What a function has closed over; the cell itself where that is not set."""
    try:
        return cell.cell_contents
    except ValueError:
        return cell


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, PLAIN) and a == b)

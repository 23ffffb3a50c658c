"""What a compiled step has taken over from its network, loss and optimizer, so that a change of it is noticed.

A compiled step holds the numbers of the layers as they were: the rate of a dropout, the slope of an activation. Here is
one list of all such attributes, those of classes that know nothing of gdnet's `config()` included.
"""

import operator
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from gdnet.layers import Layer
from gdnet.losses import Loss
from gdnet.optimizers import Optimizer
from gdnet.optimizers.first_order.schedules import Schedule

OWNERS = (Layer, Loss, Optimizer, Schedule)
PLAIN = (bool, int, float, complex, str, bytes, type(None))
WORKED_OUT = ("_plans", "_kept")
"""Dicts in which gdnet's own objects keep what follows from their other attributes."""
COMPARED_BYTES = 2**16
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
        self._arrays: list[tuple[np.ndarray, bytes]] = []
        self._slotted = False
        # The objects themselves: while they are held, no other takes their place.
        self.values = list(self._leaves(objects, {}))

    def holds(self) -> bool:
        """Whether the objects are still as they were: a quick look, which may say no where only a cache is new."""
        return (
            not self._slotted
            and all(len(held) == len(was) and all(map(operator.is_, _items(held), was)) for held, was in self._holders)
            and all(array.tobytes() == was for array, was in self._arrays)
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Configuration)
            and len(self.values) == len(other.values)
            and all(map(_same, self.values, other.values))
        )

    __hash__ = None  # type: ignore[assignment]

    def _leaves(self, node: Any, seen: dict[int, int]) -> Iterator[Any]:
        if isinstance(node, (*OWNERS, tuple, list, dict)):
            if id(node) in seen:  # one layer in two places, or a layer that knows what it is part of
                yield seen[id(node)]
                return
            seen[id(node)] = len(seen)
        if isinstance(node, OWNERS):
            yield type(node)
            self._hold(vars(node))
            for name, value in self._attributes(node):
                yield name
                yield from self._leaves(value, seen)
        elif type(node) in (tuple, list):
            yield len(node)
            self._hold(node)
            for item in node:
                yield from self._leaves(item, seen)
        elif type(node) is dict:
            yield len(node)
            self._hold(node)
            for name, value in node.items():
                yield name
                yield from self._leaves(value, seen)
        elif isinstance(node, np.ndarray) and node.nbytes <= COMPARED_BYTES and not node.dtype.hasobject:
            numbers = node.tobytes()
            self._arrays.append((node, numbers))
            yield f"{node.dtype.str} {node.shape}"
            yield numbers
        else:
            yield node

    def _hold(self, holder: Any) -> None:
        if type(holder) is not tuple:
            self._holders.append((holder, tuple(_items(holder))))

    def _attributes(self, node: Any) -> Iterator[tuple[str, Any]]:
        """Names and values, without those that have been worked out from the others."""
        cls = type(node)
        for name, value in sorted(vars(node).items()):
            if name not in WORKED_OUT and not isinstance(getattr(cls, name, None), cached_property):
                yield name, value
        for base in cls.__mro__:
            slots = base.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(node, name):
                    self._slotted = True
                    yield name, getattr(node, name)


def _items(holder: Any) -> Any:
    return holder.values() if type(holder) is dict else holder


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, PLAIN) and a == b)

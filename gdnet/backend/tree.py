"""Nested tuples of arrays, such as a step's arguments, as a flat list and back."""

from collections.abc import Iterator
from typing import Any


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The leaves of nested tuples, and what is needed to nest them again. None stands for itself."""
    if tree is None:
        return [], None
    if isinstance(tree, tuple):
        parts = [flatten(item) for item in tree]
        return [leaf for leaves, _ in parts for leaf in leaves], (type(tree), [form for _, form in parts])
    return [tree], "leaf"


def unflatten(form: Any, leaves: Iterator[Any]) -> Any:
    """The reverse of `flatten`."""
    if form is None:
        return None
    if form == "leaf":
        return next(leaves)
    kind, forms = form
    items = [unflatten(f, leaves) for f in forms]
    return kind(*items) if hasattr(kind, "_fields") else kind(items)

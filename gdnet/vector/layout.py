"""Which part of the flat parameter vector belongs to which name."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, backend_of
from gdnet.errors import ShapeError

Shapes = Mapping[str, tuple[int, ...]]


class Layout:
    """Ordered names and shapes <-> one vector.

    A window is a reshaped slice of the vector. Windows are read, never written: whole vectors are replaced
    (`theta = theta + step`).

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        In the order in which they stand in the vector.

    >>> layout = Layout({"0.W": (3, 2), "0.b": (2,)})
    >>> layout.size
    8
    >>> layout.locate(5)
    ('0.W', (2, 1))
    >>> import numpy as np
    >>> layout.split(np.arange(8.0))["0.b"]
    array([6., 7.])
    """

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = {name: tuple(int(k) for k in shape) for name, shape in shapes.items()}
        self.slices: dict[str, slice] = {}
        start = 0
        for name, shape in self.shapes.items():
            self.slices[name] = slice(start, start := start + math.prod(shape))
        self.size = start
        self._plan = [(name, part, self.shapes[name]) for name, part in self.slices.items()]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and list(self.shapes.items()) == list(other.shapes.items())

    def __hash__(self) -> int:
        return hash(tuple(self.shapes.items()))

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __repr__(self) -> str:
        rows = ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())
        return f"Layout({self.size}: {rows})"

    def split(self, vector: Array, xp: Any = None) -> dict[str, Array]:
        """Windows of `vector`, by name. Axes before the last are kept: (..., P) gives (..., *shape)."""
        xp = backend_of(vector).xp if xp is None else xp
        if vector.shape[-1] != self.size:
            raise ShapeError(f"expected a vector of {self.size} parameters ({self!r}), got shape {tuple(vector.shape)}")
        if vector.ndim == 1:
            return {name: xp.reshape(vector[part], shape) for name, part, shape in self._plan}
        lead = tuple(vector.shape[:-1])
        return {name: xp.reshape(vector[..., part], (*lead, *shape)) for name, part, shape in self._plan}

    def join(self, windows: Mapping[str, Array], backend: Backend | None = None) -> Array:
        """The vector with these windows; the reverse of `split`. All windows carry the same leading axes."""
        if windows.keys() != self.shapes.keys():
            raise ShapeError(f"expected the names {list(self.shapes)}, got {list(windows)}")
        if not windows:
            raise ShapeError("a layout without parameters has no vector to join")
        first = next(iter(self.shapes))
        backend = backend_of(windows[first]) if backend is None else backend
        lead = tuple(windows[first].shape[: windows[first].ndim - len(self.shapes[first])])
        return backend.joined([backend.xp.reshape(windows[name], (*lead, -1)) for name in self.shapes])

    def join_host(self, windows: Mapping[str, np.ndarray]) -> np.ndarray:
        """`join` for initial values drawn on the host; works for a layout without parameters too."""
        parts = [np.asarray(windows[name], dtype=np.float64).reshape(-1) for name in self.shapes]
        return np.concatenate(parts) if parts else np.zeros(0)

    def locate(self, index: int) -> tuple[str, tuple[int, ...]]:
        """The name and the index inside its window of one element of the vector."""
        if not 0 <= index < self.size:
            raise ShapeError(f"index must be in 0..{self.size - 1}, got {index}")
        for name, part in self.slices.items():
            if index < part.stop:
                inner = np.unravel_index(index - part.start, self.shapes[name])
                return name, tuple(int(k) for k in inner)
        raise AssertionError

    def mask(self, chosen: Callable[[str], bool]) -> np.ndarray:
        """A host vector that is 1 where `chosen(name)` holds and 0 elsewhere, such as for weight decay.

        >>> Layout({"0.W": (1, 2), "0.b": (2,)}).mask(lambda name: name.endswith("W"))
        array([1., 1., 0., 0.])
        """
        return self.spread({name: float(bool(chosen(name))) for name in self.shapes})

    def spread(self, scalars: Mapping[str, float]) -> np.ndarray:
        """A host vector that repeats one number a name over that name's window."""
        counts = [math.prod(shape) for shape in self.shapes.values()]
        return np.repeat(np.asarray([scalars[name] for name in self.shapes], dtype=np.float64), counts)

    def norms(self, vector: Array) -> dict[str, Array]:
        """The Euclidean norm of each window, as scalars on the device."""
        xp = backend_of(vector).xp
        return {name: xp.sqrt(xp.sum(vector[part] * vector[part])) for name, part in self.slices.items()}

    def buckets(self, size: int) -> list[slice]:
        """Consecutive slices of at least `size` parameters (the last may be shorter) that never cut a window."""
        found, start = [], 0
        for part in self.slices.values():
            if part.stop - start >= size:
                found.append(slice(start, part.stop))
                start = part.stop
        if start < self.size:
            found.append(slice(start, self.size))
        return found

"""A vector on JAX that stays cut into parts between two calls of a compiled step."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

OPERATORS = (
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul rmatmul neg pos abs "
    "lt le gt ge eq ne bool len iter getitem repr array_namespace dlpack dlpack_device"
)


@jax.tree_util.register_pytree_node_class
class Cut:
    """A vector held as its consecutive parts, in the shapes that a step gives them; to others it is one jax array.

    >>> cut = Cut([jnp.arange(2.0), jnp.ones((1, 3))])
    >>> cut.shape, (2 * cut).tolist(), float(jnp.max(cut[1:]))
    ((5,), [0.0, 2.0, 2.0, 2.0, 2.0], 1.0)
    """

    __slots__ = ("parts",)
    __array_priority__ = 100
    ndim = 1

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = tuple(parts)

    def tree_flatten(self) -> tuple[tuple, None]:
        return self.parts, None

    @classmethod
    def tree_unflatten(cls, aux: None, parts: Sequence[Any]) -> "Cut":
        return cls(parts)

    def whole(self) -> Any:
        return jnp.concatenate(self.flat)

    __jax_array__ = whole

    @property
    def flat(self) -> list[Any]:
        """The parts as vectors."""
        return [part.reshape(-1) for part in self.parts]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the parts."""
        return tuple(part.shape for part in self.parts)

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(map(math.prod, self.shapes)),)

    @property
    def dtype(self) -> Any:
        return self.parts[0].dtype

    def block_until_ready(self) -> "Cut":
        jax.block_until_ready(self.parts)
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.concatenate([np.asarray(part, dtype).reshape(-1) for part in self.parts])

    def __reduce__(self) -> tuple:
        return jnp.asarray, (np.asarray(self),)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what a library asks of every object
            raise AttributeError(name)
        return getattr(self.whole(), name)


def _seen_whole(name: str) -> Callable:
    return lambda self, *args, **kwargs: getattr(self.whole(), name)(*args, **kwargs)


for _name in OPERATORS.split():
    setattr(Cut, f"__{_name}__", _seen_whole(f"__{_name}__"))


def whole(value: Any) -> Any:
    """`value` as one jax array where it is a `Cut`, else itself."""
    return value.whole() if isinstance(value, Cut) else value


def is_cut(value: Any) -> bool:
    return isinstance(value, Cut)

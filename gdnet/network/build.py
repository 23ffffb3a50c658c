"""What every composite offers as a whole network: its layout and its initial vector."""

import numpy as np

from gdnet.backend import Array, backend_of, host_generator
from gdnet.backend.base import check_float
from gdnet.errors import NotBuilt, ShapeError
from gdnet.layers import Layer, Shape
from gdnet.vector import Layout


class Network(Layer):
    """A composite layer, with its parameters as one flat vector `theta`."""

    def resolve(self, in_shape: Shape | None = None) -> Shape:
        """The input shape: the given one if it fits, else the one that the layers fix."""
        if in_shape is None and self.in_shape is None:
            raise NotBuilt(
                f"the input's size is not known: give it to the first layer, as in Dense(784, 50), or pass in_shape "
                f"to {self!r}"
            )
        if in_shape is not None and self.in_shape not in (None, tuple(in_shape)):
            raise ShapeError(f"the network takes examples of shape {self.in_shape}, got {tuple(in_shape)}")
        return tuple(in_shape) if in_shape is not None else self.in_shape  # type: ignore[return-value]

    def layout(self, in_shape: Shape | None = None) -> Layout:
        """Names and shapes of all parameters, in construction order."""
        return Layout(self.shapes(self.resolve(in_shape)))

    def initial(self, seed: int = 0, in_shape: Shape | None = None) -> np.ndarray:
        """Initial parameters as a float64 vector on the host; the same for every backend.

        >>> from gdnet.layers import Dense
        >>> from gdnet.network import Sequential
        >>> Sequential(Dense(3, 2)).initial(seed=0).shape
        (8,)
        """
        in_shape = self.resolve(in_shape)
        layout = self.layout(in_shape)
        return layout.join_host(self.init(in_shape, host_generator(seed, "init")))

    def parameters(self, like: Array, seed: int = 0, dtype: str | None = None) -> Array:
        """Initial `theta` in the library, on the device and (unless given) of the dtype of the data `like`."""
        backend = backend_of(like)
        name = dtype or ("float64" if "64" in str(like.dtype) else "float32")
        return backend.asarray(self.initial(seed, tuple(like.shape[1:])), check_float(name))

"""Dropout: a random mask in training, nothing afterwards."""

from typing import Any

from gdnet.backend import Array
from gdnet.checks import check_fraction
from gdnet.errors import OptionError
from gdnet.layers.base import Context, Layer
from gdnet.layers.elementwise import DiagonalJacobian
from gdnet.layers.jacobian import Jacobian, Params


class Dropout(Layer, name="Dropout"):
    """y = m x / (1 - rate) in training, with m = 0 at probability `rate` and else 1; y = x otherwise.

    The mask is drawn from the step's key, the same on every array library and in both precisions, and lives in the
    Jacobian. Source: Srivastava et al. 2014, in the form that scales in training.

    Parameters
    ----------
    rate : float
        In [0, 1).

    Raises
    ------
    OptionError
        In training without a key.

    >>> import numpy as np
    >>> from gdnet.backend import Key
    >>> y, J = Dropout(0.5)({}, np.ones((1, 6)), training=True, key=Key(seed=0))
    >>> bool((y == J.vjp(np.ones((1, 6)))[1]).all()), sorted(set(y[0].tolist()))
    (True, [0.0, 2.0])
    """

    keeps_shape = True
    stochastic = True

    def __init__(self, rate: float = 0.5) -> None:
        self.rate = check_fraction("Dropout: rate", rate)

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Jacobian]:
        if not context.training or self.rate == 0:
            return x, DiagonalJacobian(1.0)
        if context.key is None:
            raise OptionError(
                f"{self!r} draws at random in training: give it a key, as in layer(params, x, training=True, "
                "key=gdnet.backend.Key(seed=0))"
            )
        xp, backend = context.xp, context.backend
        u = context.key.uniform(backend, tuple(x.shape))
        mask = xp.astype(u >= self.rate, x.dtype) * (1.0 / (1.0 - self.rate))
        return x * mask, DiagonalJacobian(mask)

    def config(self) -> dict[str, Any]:
        return {"rate": self.rate}

"""CuPy's array API namespace, without the functions that wait for the device or copy from the host.

array-api-compat repairs CuPy where it departs from the standard, in two places by indexing with a mask: that reads a
count on the host, and stops both the queue of work and the capture of a CUDA graph.
"""

from types import SimpleNamespace
from typing import Any

from gdnet.backend.base import Array


def namespace() -> Any:
    """`array_api_compat.cupy` with those functions replaced; everything in it may be captured or says so."""
    import array_api_compat.cupy as compat
    import cupy as cp

    from gdnet.backend.cupy.kernels import elementwise

    def sign(x: Array, /) -> Array:
        """-1, 0 or 1; NaN for NaN, which CuPy's own forgets."""
        return elementwise("sign")(x) if x.dtype.kind == "f" else cp.sign(x)

    def clip(x: Array, /, min: Any = None, max: Any = None) -> Array:
        """x within bounds, each a number, an array or None."""
        x = x if min is None else cp.maximum(x, min)
        return x if max is None else cp.minimum(x, max)

    return SimpleNamespace(**{**vars(compat), "__name__": "cupy", "sign": sign, "clip": clip})

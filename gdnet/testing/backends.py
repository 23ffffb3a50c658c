"""The array libraries on which tests run: one list, used by gdnet's own tests and by users' tests of their rules."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, get_backend
from gdnet.backend.numpy.backend import NumpyBackend
from gdnet.errors import ArrayError

NAMES = ("numpy", "numpy-readonly", "strict-device1", "strict-no-host-reads", "torch", "jax", "cuda")
"""Every test backend; `cuda` needs a GPU, `torch` and `jax` their library, `strict-*` array-api-strict."""


class ReadOnlyNumpy(NumpyBackend):
    """NumPy whose inputs refuse to be written: finds rules that change what was handed to them."""

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        array = np.array(host, dtype=dtype)
        array.flags.writeable = False
        return array


@dataclass(frozen=True)
class BackendUnderTest:
    """A backend with its name and a guard that forbids reading device values on the host."""

    name: str
    backend: Backend
    no_host_reads: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext

    def put(self, host: Any, dtype: str | None = None) -> Array:
        """A host array on this backend."""
        return self.backend.asarray(host, dtype)

    def get(self, array: Array) -> np.ndarray:
        """An array of this backend on the host."""
        return self.backend.to_numpy(array)

    @property
    def xp(self) -> Any:
        return self.backend.xp


def fresh(backend: Backend, host: Any) -> Array:
    """A copy of a host array on this backend: what a rule writes into it does not reach `host`, and so is found.

    Raises
    ------
    ArrayError
        If the library makes float32 of float64, in which no check is sharp enough.
    """
    host = np.array(host)
    array = backend.asarray(host)
    if host.dtype == np.float64 and "64" not in str(array.dtype):
        raise ArrayError(f"checks need float64, got {array.dtype} on {backend!r} (JAX: set JAX_ENABLE_X64=1)")
    return array


def installed(name: str) -> bool:
    """Whether the library that this test backend needs is installed."""
    library = {"torch": "torch", "jax": "jax", "cuda": "cupy"}.get(name, "array_api_strict" if "strict" in name else "")
    return not library or importlib.util.find_spec(library) is not None


def backend_under_test(name: str) -> BackendUnderTest:
    """The test backend of this name, one of `NAMES`; a `DeviceError` where CUDA cannot be used."""
    if name == "numpy-readonly":
        return BackendUnderTest(name, ReadOnlyNumpy())
    if name.startswith("strict"):
        import array_api_strict

        backend = get_backend(array_api_strict.Device("device1"), array_api_strict)  # type: ignore[arg-type]
        ban = _no_host_reads if name == "strict-no-host-reads" else contextlib.nullcontext
        return BackendUnderTest(name, backend, ban)
    if name == "cuda":
        return BackendUnderTest(name, get_backend("cuda"))
    return BackendUnderTest(name, get_backend("cpu", name))


@contextlib.contextmanager
def _no_host_reads() -> Iterator[None]:
    """Make every way in which an array-api-strict value reaches the host an error."""
    from array_api_strict._array_object import Array as StrictArray

    def banned(name: str) -> Callable:
        def raiser(self: Any, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError(f"a value was read on the host inside a step, by {name}")

        return raiser

    names = ("__float__", "__bool__", "__int__", "__index__", "__complex__", "__dlpack__", "__array__", "__iter__")
    kept = {name: getattr(StrictArray, name) for name in names if hasattr(StrictArray, name)}
    try:
        for name in kept:
            setattr(StrictArray, name, banned(name))
        yield
    finally:
        for name, method in kept.items():
            setattr(StrictArray, name, method)

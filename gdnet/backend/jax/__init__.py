"""JAX arrays: whole steps compiled, long vectors kept in parts between them."""

import functools
import importlib
import importlib.util
from typing import Any

from array_api_compat import is_jax_array

from gdnet.backend.base import Backend
from gdnet.backend.room import Room
from gdnet.errors import DeviceError


class JaxRoom(Room):
    """JAX arrays; a backend for each device."""

    library = "jax"
    wheel = "jax"
    further_packages = ("jaxlib",)

    def owns(self, thing: Any) -> bool:
        return is_jax_array(_first_part(thing))

    def of(self, array: Any) -> Backend:
        import jax

        array = _first_part(array)
        if isinstance(array, jax.core.Tracer):  # it has no device: the call around `jax.jit` decides where it runs
            return _backend(jax.devices()[0])
        return _backend(next(iter(array.devices())))

    def open(self, kind: str, index: int) -> Backend:
        if importlib.util.find_spec("jax") is None:
            raise DeviceError("no-jax", "backend 'jax' is not installed: pip install jax")
        jax = importlib.import_module("jax")
        if kind == "cpu":
            return _backend(jax.devices("cpu")[0])
        try:
            found = jax.devices("cuda")
        except RuntimeError as error:
            raise DeviceError("no-device", f"jax finds no CUDA device ({error}): pip install 'jax[cuda13]'") from error
        if index >= len(found):
            raise DeviceError("no-device", f"jax finds {len(found)} CUDA device(s), so 'cuda:{index}' does not exist")
        return _backend(found[index])


def _first_part(thing: Any) -> Any:
    """A vector in parts (`cut.Cut`) lives where its parts do."""
    return thing.parts[0] if type(thing).__module__ == "gdnet.backend.jax.cut" else thing


@functools.cache
def _backend(device: Any) -> Backend:
    from gdnet.backend.jax.backend import JaxBackend

    return JaxBackend(device)


ROOM = JaxRoom()

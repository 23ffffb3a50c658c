"""From an array, a device name or a library name to its `Backend`."""

import functools
import importlib
import importlib.util
import re
from typing import Any

import numpy as np
from array_api_compat import (
    array_namespace,
    is_array_api_obj,
    is_cupy_array,
    is_jax_array,
    is_torch_array,
)
from array_api_compat import device as device_of

from gdnet.backend.base import Backend
from gdnet.backend.numpy.backend import NumpyBackend
from gdnet.errors import ArrayError, DeviceError, OptionError

MATMUL_PRECISIONS = ("highest", "tf32")
TF32_COMPUTE_CAPABILITY = 80
_NUMPY = NumpyBackend()


@functools.cache
def _named(name: str, device: Any, tf32: bool = False) -> Backend:
    """The one backend object of a library on a device. Arrays lead to that without TF32."""
    if name == "torch":
        from gdnet.backend.torch.backend import TorchBackend

        return TorchBackend(device)
    if name == "jax":
        from gdnet.backend.jax.backend import JaxBackend

        return JaxBackend(device)
    from gdnet.backend.cupy.backend import CupyBackend

    return CupyBackend(device, tf32)


@functools.cache
def _standard(xp: Any, device: Any) -> Backend:
    backend = Backend(xp, device)
    backend.name = getattr(xp, "__name__", "standard").removeprefix("array_api_compat.")
    return backend


def get_backend(device: str = "cpu", backend: Any = None, matmul_precision: str = "highest") -> Backend:
    """The backend for a device name and, optionally, a library.

    Parameters
    ----------
    device : str
        `"cpu"`, `"cuda"` or `"cuda:1"`. Alone, `"cpu"` is NumPy and `"cuda"` is CuPy.
    backend : str or module, optional
        `"numpy"`, `"cupy"`, `"torch"`, `"jax"`, or any array API namespace (then `device` may be one of its own
        device objects).
    matmul_precision : "highest" or "tf32"
        How products of float32 matrices are computed. "tf32" lets CuPy use TF32 tensor cores: faster, with factors
        rounded to 11 bits (about three digits). It holds for this backend object alone.

    Raises
    ------
    DeviceError
        For a device or library that is unknown or cannot be used here; the message tells the remedy.
    OptionError
        For another precision, or "tf32" where there is none.

    >>> get_backend("cpu").name
    'numpy'
    """
    if matmul_precision not in MATMUL_PRECISIONS:
        raise OptionError(f'matmul_precision must be "highest" or "tf32", got {matmul_precision!r}')
    found = _get_backend(device, backend)
    return found if matmul_precision == "highest" else _with_tf32(found)


def _with_tf32(backend: Backend) -> Backend:
    """The same library and device with TF32 products."""
    if getattr(backend, "tf32", False):
        return backend
    if backend.name != "cupy":
        instead = {
            "torch": ': for torch, call torch.set_float32_matmul_precision("high") yourself',
            "jax": ': for JAX, set jax_default_matmul_precision="tensorfloat32" yourself',
        }.get(backend.name, "")
        raise OptionError(
            f'matmul_precision="tf32" is for device="cuda" with CuPy; {backend.name} on {backend.device} has no such '
            f"choice{instead}"
        )
    capability = int(backend.device.compute_capability)
    if capability < TF32_COMPUTE_CAPABILITY:
        raise OptionError(
            f'matmul_precision="tf32" needs tensor cores of compute capability {TF32_COMPUTE_CAPABILITY / 10} or '
            f'later, and cuda:{backend.device.id} has {capability / 10}: use matmul_precision="highest"'
        )
    return _named("cupy", backend.device.id, True)


def _get_backend(device: str, backend: Any) -> Backend:
    if isinstance(backend, Backend):
        return backend
    if backend is not None and not isinstance(backend, str):
        if not hasattr(backend, "asarray"):
            raise DeviceError(
                "unknown-backend", f"backend must be a library's name or an array API namespace, got {backend!r}"
            )
        if getattr(backend, "__name__", "").rpartition(".")[2] == "numpy":
            return _NUMPY
        return _standard(backend, None if device == "cpu" else device)
    if not isinstance(device, str) or not (match := re.fullmatch(r"(cpu)|cuda(?::(\d+))?", device)):
        raise DeviceError("unknown-device", f'device must be "cpu", "cuda" or "cuda:N", got {device!r}')
    cpu, index = match[1] is not None, int(match[2] or 0)
    name = backend or ("numpy" if cpu else "cupy")
    if name not in ("numpy", "cupy", "torch", "jax"):
        raise DeviceError(
            "unknown-backend",
            f'backend must be "numpy", "cupy", "torch", "jax" or an array API namespace, got {backend!r}',
        )
    if name == "numpy":
        if not cpu:
            raise DeviceError("wrong-device", f'NumPy arrays live on device "cpu", not {device!r}')
        return _NUMPY
    if name == "cupy":
        if cpu:
            raise DeviceError("wrong-device", 'CuPy arrays live on a CUDA device: give device="cuda"')
        from gdnet.backend.cupy.detect import require_cuda

        require_cuda(index)
        found = _named("cupy", index)
        found.make_current()  # type: ignore[attr-defined]
        return found
    if importlib.util.find_spec(name) is None:
        raise DeviceError(f"no-{name}", f"backend {name!r} is not installed: pip install {name}")
    return _named(name, _torch_device(cpu, index) if name == "torch" else _jax_device(cpu, index))


def _torch_device(cpu: bool, index: int) -> Any:
    torch = importlib.import_module("torch")
    if cpu:
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise DeviceError("no-device", f"torch finds {count} CUDA device(s), so 'cuda:{index}' does not exist")
    return torch.device("cuda", index)


def _jax_device(cpu: bool, index: int) -> Any:
    jax = importlib.import_module("jax")
    if cpu:
        return jax.devices("cpu")[0]
    try:
        found = jax.devices("cuda")
    except RuntimeError as error:
        raise DeviceError("no-device", f"jax finds no CUDA device ({error}): pip install 'jax[cuda13]'") from error
    if index >= len(found):
        raise DeviceError("no-device", f"jax finds {len(found)} CUDA device(s), so 'cuda:{index}' does not exist")
    return found[index]


def backend_of(*arrays: Any, names: tuple[str, ...] = ()) -> Backend:
    """The backend on which these arrays live; an `ArrayError` if they live on different ones.

    >>> import numpy as np
    >>> backend_of(np.zeros(3), np.ones(2)).name
    'numpy'
    """
    found = [_backend_of(a, names[i] if i < len(names) else f"argument {i + 1}") for i, a in enumerate(arrays)]
    for i, other in enumerate(found):
        if other is not found[0]:
            labels = [names[j] if j < len(names) else f"argument {j + 1}" for j in (0, i)]
            raise ArrayError(
                f"{labels[0]} is a {found[0].name} array on {found[0].device}, {labels[1]} a {other.name} array on "
                f"{other.device}: arrays must share one library and device; gdnet never copies between them by itself"
            )
    return found[0]


def _backend_of(array: Any, label: str) -> Backend:
    if isinstance(array, (np.ndarray, np.generic)):
        return _NUMPY
    array = getattr(array, "parts", (array,))[0]  # a vector in parts lives where they do (`jax.cut.Cut`)
    if not is_array_api_obj(array):
        raise ArrayError(f"{label} must be an array, got {type(array).__name__}: wrap it, as in numpy.asarray(...)")
    if is_torch_array(array):
        return _named("torch", array.device)
    if is_jax_array(array):
        return _named("jax", _jax_array_device(array))
    if is_cupy_array(array):
        return _named("cupy", array.device.id)
    return _standard(array_namespace(array), device_of(array))


def _jax_array_device(array: Any) -> Any:
    """A tracer has no device: inside `jax.jit` the surrounding call decides where it runs."""
    import jax

    if isinstance(array, jax.core.Tracer):
        return jax.devices()[0]
    return next(iter(array.devices()))

"""What this machine offers: devices and array libraries, and why what is missing is missing."""

import importlib.util
import os
import platform

from gdnet.backend import numpy_chain
from gdnet.backend.cuda import require_cuda
from gdnet.errors import DeviceError


def devices() -> list[str]:
    """The device names that `Model(device=...)` takes on this machine.

    >>> devices()[0]
    'cpu'
    """
    try:
        cp = require_cuda(0)
    except DeviceError:
        return ["cpu"]
    return ["cpu"] + [f"cuda:{i}" for i in range(cp.cuda.runtime.getDeviceCount())]


def describe_devices() -> list[tuple[str, str]]:
    """(device, what it is or why it cannot be used)."""
    loops = "no compiled loops: install a C compiler, then gdnet" if numpy_chain.compiled is None else "compiled loops"
    rows = [("cpu", f"{platform.machine()}, {os.cpu_count()} cores, {loops}")]
    try:
        cp = require_cuda(0)
    except DeviceError as error:
        return [*rows, ("cuda", f"not available ({error.code}): {error}")]
    for i in range(cp.cuda.runtime.getDeviceCount()):
        found = cp.cuda.runtime.getDeviceProperties(i)
        rows.append((f"cuda:{i}", f"{found['name'].decode()}, {found['totalGlobalMem'] / 2**30:.0f} GiB"))
    return rows


def describe_libraries() -> list[tuple[str, str]]:
    """(library, its version or how to install it)."""
    wanted = {
        "numpy": "numpy", "array-api-compat": "array_api_compat", "safetensors": "safetensors", "tqdm": "tqdm",
        "cupy": "cupy", "torch": "torch", "jax": "jax", "matplotlib": "matplotlib", "scipy": "scipy",
    }  # fmt: skip
    wheels = {"cupy": "cupy-cuda13x[ctk]"}  # a name of its own for each CUDA
    rows = []
    for name, module in wanted.items():
        if importlib.util.find_spec(module) is None:
            rows.append((name, f'not installed: pip install "{wheels.get(name, name)}"'))
        else:
            rows.append((name, _version(name, module)))
    return rows


def _version(name: str, module: str) -> str:
    import importlib.metadata  # here, since it takes as long as the rest of gdnet

    owners = importlib.metadata.packages_distributions().get(module, [name])  # cupy is installed as cupy-cuda13x
    try:
        return importlib.metadata.version(owners[0])
    except importlib.metadata.PackageNotFoundError:
        return "installed"

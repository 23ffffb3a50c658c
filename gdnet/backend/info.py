"""What this machine offers: devices and array libraries, and why what is missing is missing."""

import importlib.util
import os
import platform
from collections.abc import Iterable
from typing import Any

import numpy as np

from gdnet.backend.cupy.detect import require_cuda
from gdnet.backend.numpy.compiler import chain
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
    loops = "no compiled loops: install a C compiler, then gdnet" if chain.compiled is None else "compiled loops"
    rows = [("cpu", f"{platform.machine()}, {os.cpu_count()} cores, {loops}")]
    try:
        cp = require_cuda(0)
    except DeviceError as error:
        return [*rows, ("cuda", f"not available ({error.code}): {error}")]
    for i in range(cp.cuda.runtime.getDeviceCount()):
        found = cp.cuda.runtime.getDeviceProperties(i)
        rows.append((f"cuda:{i}", f"{found['name'].decode()}, {found['totalGlobalMem'] / 2**30:.0f} GiB"))
    return rows


def blas() -> list[dict[str, Any]]:
    """The loaded BLAS libraries, their threads and kernels; without threadpoolctl, what NumPy was built with."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        pools: list[dict[str, Any]] = []
    else:
        pools = threadpool_info()
    if not pools:  # also where it knows none of the libraries, such as Accelerate
        built: Any = np.show_config(mode="dicts")  # type: ignore[call-overload]
        return [{key: built["Build Dependencies"]["blas"].get(key) for key in ("name", "version")}]
    return [{key: pool.get(key) for key in ("internal_api", "version", "num_threads", "architecture")}
            for pool in pools]  # fmt: skip


def openblas_kernels(pools: Iterable[dict[str, Any]]) -> str | None:
    """The processor for which OpenBLAS chose its kernels, where the pools of `blas` tell."""
    return next(
        (p["architecture"] for p in pools if p.get("internal_api") == "openblas" and p.get("architecture")), None
    )


NARROW = ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen")
"""Kernels of OpenBLAS that do not use AVX-512."""


def blas_advice() -> str | None:
    """What would make matrix products faster here: OpenBLAS takes old kernels on processors that it does not know.

    It reads its setting when it is loaded, so it must stand in the environment before Python starts.
    """
    built: Any = np.show_config(mode="dicts")  # type: ignore[call-overload]
    simd = built.get("SIMD Extensions", {})
    wide = {"X86_V4", "AVX512_SKX"} & {*simd.get("found", ()), *simd.get("baseline", ())}
    kernels = openblas_kernels(blas())
    if not wide or kernels not in NARROW:
        return None
    return (
        f"OpenBLAS runs its kernels for {kernels}, but this processor has AVX-512: "
        "with OPENBLAS_CORETYPE=SkylakeX in the environment, matrix products may take half the time"
    )


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
    return [*rows, ("blas", _blas_text())]


def _blas_text() -> str:
    pools = blas()
    found = next((pool for pool in pools if pool.get("internal_api") != "openmp"), pools[0])
    kernels = found.get("architecture")
    text = f"{found.get('internal_api') or found.get('name')} {found['version']}"
    if importlib.util.find_spec("threadpoolctl") is None:
        return f"{text} (pip install threadpoolctl: then its kernels stand here)"
    return f"{text}, kernels: {kernels}" if kernels else text


def _version(name: str, module: str) -> str:
    import importlib.metadata  # here, since it takes as long as the rest of gdnet

    owners = importlib.metadata.packages_distributions().get(module, [name])  # cupy is installed as cupy-cuda13x
    try:
        return importlib.metadata.version(owners[0])
    except importlib.metadata.PackageNotFoundError:
        return "installed"

"""What a measured time depends on, to be saved beside it: hardware, versions, threads, load."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("gdnet", "numpy", "array-api-compat", "scipy", "torch", "jax", "jaxlib", "optax", "scikit-learn",
            "cupy-cuda12x", "cupy-cuda13x", "pytest-benchmark")  # fmt: skip
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def environment() -> dict[str, Any]:
    """Hardware and software of this run, of JSON types."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": memory_gib(),
        "gpu": gpu(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "blas": blas(),
        "threads": {name: os.environ.get(name, "unset") for name in THREADS},
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def cpu_model() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def gpu() -> str | None:
    """The first CUDA device's name, if CuPy can use one."""
    try:
        from gdnet.backend import require_cuda

        require_cuda(0)
        import cupy

        return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    except Exception:  # every way in which CUDA can be missing means the same here
        return None


def versions() -> dict[str, str]:
    """Installed packages that matter, without importing them."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def blas() -> list[dict[str, Any]]:
    """The BLAS libraries that are loaded and their threads; without threadpoolctl, the one NumPy was built with."""
    import numpy as np

    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[index, call-overload]
        return [{key: built.get(key) for key in ("name", "version")}]
    return [{key: pool.get(key) for key in ("internal_api", "version", "num_threads", "architecture")}
            for pool in threadpool_info()]  # fmt: skip

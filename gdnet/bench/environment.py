"""What a measured time depends on, to be saved beside it: hardware, versions, threads, load."""

import datetime
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from gdnet.backend.info import describe_devices
from gdnet.backend.numpy.blas import blas
from gdnet.backend.numpy.compiler import chain

PACKAGES = ("gdnet", "numpy", "array-api-compat", "scipy", "torch", "jax", "jaxlib", "optax", "scikit-learn",
            "cupy-cuda12x", "cupy-cuda13x", "pytest-benchmark")  # fmt: skip
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "MKL_NUM_THREADS",
    "XLA_FLAGS",
    "JAX_ENABLE_X64",
)


def environment() -> dict[str, Any]:
    """Hardware and software of this run, of JSON types."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_gib": memory_gib(),
        "gpu": gpu(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "blas": blas(),
        "compiled_loops": chain.compiled is not None,
        "threads": threads(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    """The first CUDA device's name and memory, if one can be used."""
    name, text = describe_devices()[-1]
    return None if name in ("cpu", "cuda") else text


def versions() -> dict[str, str]:
    """Installed packages that matter, without importing them."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def threads() -> dict[str, Any]:
    """What was asked for, and what PyTorch, where it is loaded, uses. JAX takes all usable cores."""
    found: dict[str, Any] = {name: os.environ.get(name, "unset") for name in THREADS}
    if "torch" in sys.modules:
        found["torch"] = sys.modules["torch"].get_num_threads()
    return found

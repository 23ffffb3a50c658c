"""The BLAS library behind NumPy's products: which one, with how many threads, and whether it uses the processor."""

import importlib.util
from collections.abc import Iterable
from typing import Any

import numpy as np


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


def blas_text() -> str:
    """The library in one line of `gdnet info`."""
    pools = blas()
    found = next((pool for pool in pools if pool.get("internal_api") != "openmp"), pools[0])
    kernels = found.get("architecture")
    text = f"{found.get('internal_api') or found.get('name')} {found['version']}"
    if importlib.util.find_spec("threadpoolctl") is None:
        return f"{text} (pip install threadpoolctl: then its kernels stand here)"
    return f"{text}, kernels: {kernels}" if kernels else text

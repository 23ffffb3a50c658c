"""What `gdnet info` says of the BLAS library, and when it advises another setting."""

import builtins
import importlib.util

import numpy as np
import pytest

from gdnet.backend.numpy import blas
from gdnet.bench import results
from gdnet.cli import main

OPENBLAS = {"internal_api": "openblas", "version": "0.3.31", "num_threads": 2}


@pytest.mark.parametrize(
    ("found", "architecture", "advises"),
    [
        (["X86_V3", "X86_V4"], "Haswell", True),
        (["AVX2", "AVX512_SKX"], "Zen", True),
        (["X86_V3", "X86_V4"], "SkylakeX", False),
        (["X86_V3"], "Haswell", False),
        (["NEON"], "neoversen1", False),
    ],
)
def test_old_kernels_on_a_new_processor_are_told(monkeypatch, capsys, found, architecture, advises):
    built = {"SIMD Extensions": {"found": found}, "Build Dependencies": {"blas": {}}}
    monkeypatch.setattr(np, "show_config", lambda mode: built)
    monkeypatch.setattr(blas, "blas", lambda: [{**OPENBLAS, "architecture": architecture}])
    assert (blas.blas_advice() is not None) is advises
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert f"openblas 0.3.31, kernels: {architecture}" in out
    assert ("OPENBLAS_CORETYPE=SkylakeX" in out) is advises


def test_without_threadpoolctl_the_library_is_named_and_nothing_advised(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "threadpoolctl":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "threadpoolctl" else find(name))
    (found,) = blas.blas()
    assert found["name"]
    assert blas.blas_advice() is None
    assert "pip install threadpoolctl" in blas.blas_text()


@pytest.mark.parametrize("pools", [[], [{"internal_api": "openmp", "version": None}, OPENBLAS]])
def test_a_library_that_is_not_known_or_not_the_first(monkeypatch, pools):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: pools)
    text = blas.blas_text()
    assert "None" not in text
    assert text == "openblas 0.3.31" if pools else text.startswith(blas.blas()[0]["name"])
    assert blas.blas_advice() is None


def test_results_of_other_kernels_have_another_name():
    environment = {"cpu": "A CPU", "usable_cores": 2, "gpu": None}
    settings = {"device": "cpu"}
    plain = {"environment": environment, "settings": settings}
    assert results.hardware(plain) == "A CPU, 2 cores"
    pools = [{"internal_api": "openmp", "architecture": None}, {**OPENBLAS, "architecture": "SkylakeX"}]
    named = {"environment": {**environment, "blas": pools}, "settings": settings}
    assert results.hardware(named) == "A CPU, 2 cores, OpenBLAS kernels for SkylakeX"

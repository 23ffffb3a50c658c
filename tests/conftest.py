"""One backend fixture for all tests. JAX runs in float64, as every comparison here does."""

import os

os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small products, and a test process on every core

import importlib.util
import re
from pathlib import Path

import pytest

from gdnet.errors import DeviceError
from gdnet.testing.backends import NAMES, BackendUnderTest, backend_under_test, installed


def pytest_addoption(parser):
    parser.addoption("--require-cuda", action="store_true", help="fail, rather than leave out, the tests marked gpu")
    parser.addoption("--require-all", action="store_true", help="fail where anything is skipped for want of a library")


def pytest_configure(config):
    """Doctests of a module are collected where what it imports can be used; CuPy's modules need a GPU for that.

    What setuptools runs to build gdnet is left out everywhere: old versions of it lack what is imported there.
    """
    for module in (Path(__file__).parents[1] / "gdnet" / "backend").rglob("*.py"):
        needed = re.findall(r"^(?:import|from) (cupy|jax|torch|setuptools)\b", module.read_text(encoding="utf-8"), re.M)
        if any(name in ("cupy", "setuptools") or importlib.util.find_spec(name) is None for name in needed):
            config.option.ignore_glob = [*(config.option.ignore_glob or []), str(module)]


def cuda_missing() -> str:
    """Why CUDA cannot be used here, or nothing."""
    try:
        backend_under_test("cuda")
    except DeviceError as error:
        return error.code
    return ""


def pytest_terminal_summary(terminalreporter, config):
    if not config.getoption("--require-cuda") and (reason := cuda_missing()):
        terminalreporter.write_line(f"tests marked gpu were left out ({reason})")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A test that asks for an array library that is not installed is skipped; with --require-all it fails."""
    try:
        return (yield)
    except DeviceError as error:
        if error.code in ("no-torch", "no-jax") and not item.config.getoption("--require-all"):
            pytest.skip(str(error))
        raise


def pytest_sessionfinish(session):
    """With --require-all a skipped test is a failure, whatever skipped it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--require-all") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(config, items):
    """Without a usable GPU the tests marked `gpu` are left out, as the summary says; never with --require-cuda."""
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu and not config.getoption("--require-cuda") and cuda_missing():
        config.hook.pytest_deselected(items=gpu)
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]


@pytest.fixture(params=[pytest.param(n, marks=pytest.mark.gpu) if n == "cuda" else n for n in NAMES])
def bk(request) -> BackendUnderTest:
    """Each array library in turn."""
    name = request.param
    if not installed(name) and name != "cuda":
        (pytest.fail if request.config.getoption("--require-all") else pytest.skip)(f"{name} is not installed")
    return backend_under_test(name)

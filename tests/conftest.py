"""One backend fixture for all tests. JAX runs in float64, as every comparison here does."""

import os

os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

from gdnet.errors import DeviceError
from gdnet.testing.backends import NAMES, BackendUnderTest, backend_under_test, installed


def pytest_addoption(parser):
    parser.addoption("--require-cuda", action="store_true", help="fail, rather than leave out, the tests marked gpu")
    parser.addoption("--require-all", action="store_true", help="fail, rather than skip, where torch or jax is missing")


def pytest_collection_modifyitems(config, items):
    """Without a usable GPU the tests marked `gpu` are left out, and one line says so; never with --require-cuda."""
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu or config.getoption("--require-cuda"):
        return
    try:
        backend_under_test("cuda")
    except DeviceError as error:
        config.hook.pytest_deselected(items=gpu)
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]
        config.stash[LEFT_OUT] = f"{len(gpu)} tests marked gpu were left out ({error.code})"


LEFT_OUT = pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter, config):
    if LEFT_OUT in config.stash:
        terminalreporter.write_line(config.stash[LEFT_OUT])


@pytest.fixture(params=[pytest.param(n, marks=pytest.mark.gpu) if n == "cuda" else n for n in NAMES])
def bk(request) -> BackendUnderTest:
    """Each array library in turn."""
    name = request.param
    if not installed(name) and name != "cuda":
        (pytest.fail if request.config.getoption("--require-all") else pytest.skip)(f"{name} is not installed")
    return backend_under_test(name)

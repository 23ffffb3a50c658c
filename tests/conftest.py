"""One backend fixture for all tests. JAX runs in float64, as every comparison here does."""

import os

os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu" if not os.environ.get("GDNET_TEST_CUDA") else "")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

from gdnet.errors import DeviceError
from gdnet.testing.backends import NAMES, BackendUnderTest, backend_under_test, installed


def pytest_addoption(parser):
    parser.addoption("--require-cuda", action="store_true", help="a missing CUDA device is a failure, not a skip")
    parser.addoption("--require-all", action="store_true", help="a missing library (torch, jax) is a failure too")


@pytest.fixture(params=[pytest.param(n, marks=pytest.mark.gpu) if n == "cuda" else n for n in NAMES])
def bk(request) -> BackendUnderTest:
    """Each array library in turn."""
    name = request.param
    if name == "cuda":
        try:
            return backend_under_test(name)
        except DeviceError as error:
            (pytest.fail if request.config.getoption("--require-cuda") else pytest.skip)(f"{error.code}: {error}")
    if not installed(name):
        (pytest.fail if request.config.getoption("--require-all") else pytest.skip)(f"{name} is not installed")
    return backend_under_test(name)

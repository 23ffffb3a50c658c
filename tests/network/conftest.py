"""Every test sees the warnings that are given once for each class of layers."""

import pytest

from gdnet.network import composite_jacobian


@pytest.fixture(autouse=True)
def _all_warnings():
    composite_jacobian._WARNED.clear()

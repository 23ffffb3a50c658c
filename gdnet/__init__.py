"""gdnet: neural networks by gradient descent, with every derivative explicit, on any array library."""

# ruff: noqa: F403
from gdnet import data
from gdnet.backend import devices, get_backend
from gdnet.derivatives import *
from gdnet.layers import *
from gdnet.layers.initializers import *
from gdnet.losses import *
from gdnet.model import Model, load
from gdnet.network import *
from gdnet.optimizers import *
from gdnet.training import *

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`gd.testing` and `gd.report` are imported when first asked for."""
    if name in ("report", "testing"):
        import importlib

        return importlib.import_module(f"gdnet.{name}")
    raise AttributeError(f"module 'gdnet' has no attribute {name!r}")

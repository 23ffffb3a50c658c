"""gdnet: neural networks by gradient descent, with every derivative explicit, on any array library."""

# ruff: noqa: F403
from gdnet.layers import *
from gdnet.layers.initializers import *
from gdnet.losses import *
from gdnet.network import *
from gdnet.optimizers import *
from gdnet.training import *

__version__ = "0.1.0"

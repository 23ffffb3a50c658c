"""Networks: composites of layers, and the objective that a network, a loss and data make."""

from gdnet.network.build import Network
from gdnet.network.objective import Evaluation, Objective
from gdnet.network.sequential import Sequential

__all__ = ["Evaluation", "Network", "Objective", "Sequential"]

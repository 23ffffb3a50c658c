"""Networks: composites of layers, and the objective that a network, a loss and data make."""

from gdnet.network.composite import Composite, Network
from gdnet.network.objective import Evaluation, Objective
from gdnet.network.parallel import Parallel
from gdnet.network.residual import Residual
from gdnet.network.sequential import Sequential

__all__ = ["Composite", "Evaluation", "Network", "Objective", "Parallel", "Residual", "Sequential"]

"""Optimizers: vector algebra over evaluations."""

from gdnet.optimizers.base import FirstOrder, Info, Optimizer
from gdnet.optimizers.sgd import SGD

__all__ = ["SGD", "FirstOrder", "Info", "Optimizer"]

"""Losses: value, gradient, Hessian map and its square root."""

from gdnet.losses.base import ElementwiseLoss, ElementwiseLossAt, Loss, LossAt, shares
from gdnet.losses.cross_entropy import CrossEntropy
from gdnet.losses.elementwise import SquaredError

__all__ = ["CrossEntropy", "ElementwiseLoss", "ElementwiseLossAt", "Loss", "LossAt", "SquaredError", "shares"]

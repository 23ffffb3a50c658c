"""Losses: value, gradient, Hessian map and its square root."""

from gdnet.losses.base import ElementwiseLoss, ElementwiseLossAt, Loss, LossAt
from gdnet.losses.cross_entropy import CrossEntropy
from gdnet.losses.elementwise import (
    AbsoluteError,
    BinaryCrossEntropy,
    Hinge,
    Huber,
    LogCosh,
    Poisson,
    SquaredError,
)
from gdnet.losses.metric import Metric
from gdnet.losses.weights import check_sample_weight, class_weights_to_sample_weights

__all__ = [
    "AbsoluteError",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "ElementwiseLoss",
    "ElementwiseLossAt",
    "Hinge",
    "Huber",
    "LogCosh",
    "Loss",
    "LossAt",
    "Metric",
    "Poisson",
    "SquaredError",
    "check_sample_weight",
    "class_weights_to_sample_weights",
]

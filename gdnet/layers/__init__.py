"""Layers: each rule returns its value and its Jacobian."""

from gdnet.layers.activations import (
    ELU,
    GELU,
    SELU,
    HardTanh,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Step,
    Tanh,
)
from gdnet.layers.base import Context, Layer
from gdnet.layers.dense import Dense
from gdnet.layers.dropout import Dropout
from gdnet.layers.elementwise import Elementwise
from gdnet.layers.jacobian import Jacobian, Params, Shape
from gdnet.layers.reshape import Flatten, Reshape
from gdnet.layers.softmax import LogSoftmax, Softmax

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Context",
    "Dense",
    "Dropout",
    "Elementwise",
    "Flatten",
    "HardTanh",
    "Identity",
    "Jacobian",
    "Layer",
    "LeakyReLU",
    "LogSoftmax",
    "Params",
    "ReLU",
    "Reshape",
    "Shape",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Step",
    "Tanh",
]

"""Layers: each rule returns its value and its Jacobian."""

from gdnet.layers.activations import Elementwise, Identity, ReLU, Sigmoid, Tanh
from gdnet.layers.base import Context, Jacobian, Layer, Params, Shape
from gdnet.layers.dense import Dense

__all__ = [
    "Context",
    "Dense",
    "Elementwise",
    "Identity",
    "Jacobian",
    "Layer",
    "Params",
    "ReLU",
    "Shape",
    "Sigmoid",
    "Tanh",
]

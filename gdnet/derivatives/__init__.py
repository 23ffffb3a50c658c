"""Numerical differentiation of any function, and the check of a claimed derivative."""

from gdnet.derivatives.check import gradcheck
from gdnet.derivatives.numerical import (
    numerical_derivative,
    numerical_gradient,
    numerical_hessian,
    numerical_jacobian,
)
from gdnet.derivatives.report import GradientMismatch, GradientReport

__all__ = [
    "GradientMismatch",
    "GradientReport",
    "gradcheck",
    "numerical_derivative",
    "numerical_gradient",
    "numerical_hessian",
    "numerical_jacobian",
]

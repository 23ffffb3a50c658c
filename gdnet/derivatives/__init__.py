"""Numerical differentiation of any function, and the check of a claimed derivative."""

from gdnet.derivatives.numerical import (
    numerical_derivative,
    numerical_gradient,
    numerical_hessian,
    numerical_jacobian,
)

__all__ = ["numerical_derivative", "numerical_gradient", "numerical_hessian", "numerical_jacobian"]

"""Least squares and their kin: Levenberg-Marquardt, Bayesian regularisation, `least_squares`."""

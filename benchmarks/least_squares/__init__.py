"""Least squares: published test problems, and Levenberg-Marquardt beside its peers."""

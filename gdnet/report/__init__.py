"""Metrics, tables and plots."""

from gdnet.report.metrics import (
    accuracy,
    confusion_matrix,
    f1,
    mae,
    mse,
    precision,
    r2,
    recall,
    rmse,
    top_k_accuracy,
)
from gdnet.report.plots import learning_curve
from gdnet.report.tables import table

__all__ = [
    "accuracy",
    "confusion_matrix",
    "f1",
    "learning_curve",
    "mae",
    "mse",
    "precision",
    "r2",
    "recall",
    "rmse",
    "table",
    "top_k_accuracy",
]

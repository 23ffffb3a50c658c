"""The training loop and what hangs on it."""

from gdnet.training.callbacks import (
    Callback,
    CSVLog,
    LearningRateSchedule,
    ProgressBar,
    ReduceOnPlateau,
    StopTraining,
)
from gdnet.training.checkpoint import Checkpoint
from gdnet.training.history import History
from gdnet.training.step import training_step
from gdnet.training.stopping import EarlyStopping, StopOnNaN, TimeLimit

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "LearningRateSchedule",
    "ProgressBar",
    "ReduceOnPlateau",
    "StopOnNaN",
    "StopTraining",
    "TimeLimit",
    "training_step",
]

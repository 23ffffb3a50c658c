"""The training loop and what hangs on it."""

from gdnet.training.step import training_step

__all__ = ["training_step"]

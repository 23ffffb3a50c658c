"""Pictures of a training run. matplotlib is imported inside, and only here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gdnet.errors import FileError, OptionError


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure without global state or window; an `OptionError` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise OptionError("plots need matplotlib: pip install matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")


def learning_curve(history: Mapping[str, Sequence[float]], path: str | Path, title: str = "") -> Path:
    """Draw loss, and accuracy where there is one, against epochs, for training and validation data.

    Parameters
    ----------
    history : mapping of name to one value an epoch
        `"loss"` and, where they exist, `"val_loss"`, `"accuracy"`, `"val_accuracy"`.
    path : str or Path
        The picture to write; its suffix chooses the format.
    """
    panels = [name for name in ("loss", "accuracy") if _has(history, name)]
    figure = new_figure(4 * len(panels), 3.2)
    for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for key, label, style in ((name, "training", "C0-"), (f"val_{name}", "validation", "C1--")):
            values = history.get(key, ())
            if len(values):
                axes.plot(range(1, len(values) + 1), values, style, label=label)
        axes.set(xlabel="epoch", ylabel=name)
        if name == "loss" and min(history["loss"]) > 0:
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise FileError(f"the picture {str(path)!r} could not be written: {error}") from error
    return Path(path)


def _has(history: Mapping[str, Sequence[float]], name: str) -> bool:
    return any(key in history and len(history[key]) for key in (name, f"val_{name}"))

"""What a training run leaves behind: one number an epoch for every quantity, and why it stopped."""

from pathlib import Path
from typing import Any

from gdnet.checks import is_whole
from gdnet.errors import FileError


class History(dict):
    """A dict of lists, one value an epoch: `"loss"`, `"val_loss"`, `"val_accuracy"`, ...

    Attributes
    ----------
    stop_reason : str
        Why training ended.
    epochs : int
        How many epochs were completed.
    seconds : float
        Wall-clock time spent in `fit`, over all resumed parts.

    >>> history = History()
    >>> history.add({"loss": 0.5})
    >>> history["loss"], history.epochs
    ([0.5], 1)
    """

    def __init__(self) -> None:
        super().__init__()
        self.stop_reason = ""
        self.epochs = 0
        self.seconds = 0.0

    def add(self, logs: dict[str, float]) -> None:
        """Append one epoch."""
        self.epochs += 1
        for name, value in logs.items():
            self.setdefault(name, []).append(float(value))

    def __missing__(self, name: str) -> Any:
        hint = " (pass validation_data to fit)" if name.startswith("val_") else ' (pass metrics=("accuracy",) to fit)'
        raise KeyError(f"the history has no {name!r}{hint}; it has {sorted(self)}")

    def plot(self, path: str | Path, title: str = "") -> Path:
        """Draw the learning curves into a picture file; needs matplotlib."""
        from gdnet.report.plots import learning_curve

        return learning_curve(self, path, title)

    def pack(self) -> dict[str, Any]:
        """The history as JSON values, for checkpoints."""
        return {"values": dict(self), "epochs": self.epochs, "seconds": self.seconds}

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> "History":
        """The reverse of `pack`; a `FileError` for what `pack` does not give."""
        values, epochs, seconds = (packed[name] for name in ("values", "epochs", "seconds"))
        sound = is_whole(epochs) and isinstance(seconds, (int, float)) and isinstance(values, dict)
        if not sound or not all(
            isinstance(column, list) and len(column) <= epochs and all(isinstance(v, (int, float)) for v in column)
            for column in values.values()
        ):
            raise FileError("a history in a file holds a number an epoch for every quantity; this one does not")
        history = cls()
        history.update(values)
        history.epochs, history.seconds = epochs, seconds
        return history

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self.items() if values)
        return f"<History of {self.epochs} epochs in {self.seconds:.3g} s: {last}; {self.stop_reason or 'running'}>"

    def __str__(self) -> str:
        names = [name for name, values in self.items() if len(values) == self.epochs]
        rows = [f"{'epoch':>5} " + " ".join(f"{name:>14}" for name in names)]
        for e in range(self.epochs):
            rows.append(f"{e + 1:>5} " + " ".join(f"{self[name][e]:>14.6g}" for name in names))
        return "\n".join([*rows, f"stopped: {self.stop_reason or 'not yet'}"])

"""What may hang on the training loop: progress, logs, learning rates."""

import contextlib
import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdnet.checks import check_count, check_names, check_path, check_real
from gdnet.errors import FileError, OptionError
from gdnet.files.whole import check_regular, check_writable, replace

if TYPE_CHECKING:
    from gdnet.training.loop import Run


class StopTraining(Exception):
    """Raised by a callback to end training after the step at hand.

    `final` is False for reasons that lie outside the run, such as a time limit: a resumed run then goes on.

    >>> stop = StopTraining("good enough")
    >>> stop.reason, stop.final
    ('good enough', True)
    """

    def __init__(self, reason: str, final: bool = True) -> None:
        super().__init__(reason, final)
        self.reason, self.final = reason, final

    def __str__(self) -> str:
        return self.reason


class Callback:
    """Base class of callbacks: override what you need.

    Every hook gets the `Run`, may look at it (`run.epoch`, `run.logs`, `run.theta`) and change it (`run.lr = 0.01`),
    and stops training by returning a reason (a string) or raising `StopTraining(reason)`.

    >>> class Quit(Callback):
    ...     def on_epoch_end(self, run):
    ...         return "good enough" if run.logs["loss"] < 0.1 else None
    """

    def on_train_begin(self, run: "Run") -> Any:
        """Before the first step; the place to refuse what cannot work."""

    def on_epoch_begin(self, run: "Run") -> Any:
        """Before the first step of epoch `run.epoch`, counted from 0."""

    def on_iteration_end(self, run: "Run") -> Any:
        """After every step; called only where it is overridden, since it costs time."""

    def on_tick(self, run: "Run") -> Any:
        """Between two steps, about ten times a second."""

    def on_epoch_end(self, run: "Run") -> Any:
        """After an epoch: `run.epoch` epochs are done, `run.logs` holds the numbers of the last one."""

    def on_train_end(self, run: "Run") -> Any:
        """After the last step, whatever ended the run."""

    def state(self) -> dict[str, Any]:
        """Host arrays and JSON values by name: what a checkpoint keeps of this callback."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave; called before `on_train_begin` of a resumed run."""

    def config(self) -> dict[str, Any]:
        """The settings that the run depends on, of JSON types: a run is resumed with the same ones only."""
        return {}

    @property
    def wants_iterations(self) -> bool:
        return type(self).on_iteration_end is not Callback.on_iteration_end


class ProgressBar(Callback):
    """A bar on the terminal with the losses, one line for the whole run; redrawn by the clock, not by the step.

    `fit(..., verbose=1)` adds one; give your own (of a subclass, say) and it takes that.

    >>> import gdnet as gd
    >>> import numpy as np
    >>> x = np.ones((32, 1), "float32")
    >>> model = gd.Model(gd.Sequential(gd.Dense(1, 1)), loss=gd.SquaredError())
    >>> model.fit(x, x, epochs=3, callbacks=[ProgressBar()]).epochs
    3
    """

    def on_train_begin(self, run: "Run") -> None:
        from tqdm import tqdm

        total = run.epochs * run.feed.n_batches
        self.bar = tqdm(total=total, initial=run.steps, unit="step", dynamic_ncols=True, leave=True)
        self.shown = run.steps

    def on_tick(self, run: "Run") -> None:
        self.bar.set_description(f"epoch {run.epoch + 1}/{run.epochs}", refresh=False)
        if not run.history.epochs and run.values:
            self.bar.set_postfix(loss=f"{run.backend.read(run.values[-1]):.4g}", refresh=False)
        self._advance(run)

    def on_epoch_end(self, run: "Run") -> None:
        self.bar.set_description(f"epoch {run.epoch}/{run.epochs}", refresh=False)
        self.bar.set_postfix({name: f"{value:.4g}" for name, value in run.logs.items()}, refresh=False)
        self._advance(run)

    def on_train_end(self, run: "Run") -> None:
        self._advance(run)
        self.bar.close()

    def _advance(self, run: "Run") -> None:
        self.bar.update(run.steps - self.shown)
        self.shown = run.steps


class CSVLog(Callback):
    """One line an epoch in a CSV file: epoch, seconds, learning rate and every number of `run.logs`.

    A resumed run keeps the lines of the epochs before it and replaces those after. A path that cannot be written is an
    error before the first step.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import gdnet as gd
    >>> import numpy as np
    >>> x = np.ones((32, 1), "float32")
    >>> model = gd.Model(gd.Sequential(gd.Dense(1, 1)), loss=gd.SquaredError())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = model.fit(x, x, epochs=2, callbacks=[CSVLog(f"{folder}/run.csv")], verbose=0)
    ...     lines = Path(f"{folder}/run.csv").read_text().splitlines()
    >>> lines[0], len(lines)
    ('epoch,seconds,lr,loss', 3)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = check_path("CSVLog: path", path)

    def on_train_begin(self, run: "Run") -> None:
        check_writable(self.path)
        self.names = ["epoch", "seconds", "lr", *run.names]
        self.kept = self._earlier(run.epoch) if run.epoch else []
        self.begun = False  # nothing is written before there is something to write

    def on_epoch_end(self, run: "Run") -> None:
        row: dict[str, Any] = {"epoch": run.epoch, "seconds": f"{run.history.seconds:.6g}", **run.logs}
        with contextlib.suppress(OptionError):  # a solver has no learning rate
            row["lr"] = f"{run.lr:.8g}"
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.names, extrasaction="ignore")
        if not self.begun:
            writer.writeheader()
            writer.writerows(self.kept)
        writer.writerow(row)
        if not self.begun:  # with the earlier epochs: the new file takes the place of the old one as a whole
            replace(self.path, text.getvalue().encode())
            self.begun, self.kept = True, []
            return
        try:
            with self.path.open("ab") as file:
                file.write(text.getvalue().encode())
        except OSError as error:
            raise FileError(f"{str(self.path)!r} could not be written: {error.strerror or error}") from error

    def _earlier(self, epochs: int) -> list[dict[str, Any]]:
        """The lines that an earlier part of the run wrote for these first epochs, without one that was cut off."""
        if not self.path.exists():
            return []
        try:
            lines = check_regular(self.path).read_text("utf-8").splitlines(keepends=True)
            rows = list(csv.DictReader(line for line in lines if line.endswith("\n")))
            return [row for row in rows if 1 <= int(row["epoch"]) <= epochs]
        except OSError as error:
            raise FileError(f"{str(self.path)!r} cannot be read: {error.strerror or error}") from error
        except (csv.Error, ValueError, KeyError, TypeError) as error:
            if isinstance(error, FileError):
                raise
            raise FileError(
                f"{str(self.path)!r} is no log of a run, to which CSVLog could add: give it another path"
            ) from error


class LearningRateSchedule(Callback):
    """Sets the learning rate to `rate(epoch)` before each epoch, counted from 0.

    A rate that is not positive and finite is an `OptionError`. `Schedule` sets the rate at every step instead.

    >>> halve = LearningRateSchedule(lambda epoch: 0.1 * 0.5**epoch)
    >>> halve.rate(2)
    0.025
    """

    def __init__(self, rate: Callable[[int], float]) -> None:
        if not callable(rate):
            raise OptionError(f"LearningRateSchedule takes a function of the epoch, got {rate!r}")
        self.rate = rate

    def on_epoch_begin(self, run: "Run") -> None:
        name = f"LearningRateSchedule: rate({run.epoch})"
        run.lr = check_real(name, self.rate(run.epoch), "positive and finite", lambda v: 0 < v < math.inf)


def monitored(name: str, value: Any, run: "Run") -> float:
    """The number that a callback watches, or an error that says what there is."""
    if value not in run.names:
        hint = ": pass validation_data or validation_split to fit" if value.startswith("val_") else ""
        raise OptionError(f"{name} monitors {value!r}, and this run has {', '.join(run.names)}{hint}")
    return float(run.logs.get(value, math.nan))


def better(monitor: str, new: float, best: float, min_delta: float) -> bool:
    """Whether `new` is an improvement: larger for accuracies, smaller for all else; NaN never is."""
    return new > best + min_delta if "accuracy" in monitor else new < best - min_delta


def worst(monitor: str) -> float:
    """The value before the first epoch, which every number improves on."""
    return -math.inf if "accuracy" in monitor else math.inf


def number(value: Any) -> float:
    """A number from a checkpoint, which may be infinite, as a float."""
    return check_real("best", value, "a number", lambda v: True)


class ReduceOnPlateau(Callback):
    """Multiplies the learning rate by `factor` when `monitor` has not improved for more than `patience` epochs.

    Parameters
    ----------
    factor : float
        lr⁺ = min(lr, max(min_lr, factor · lr)), between 0 and 1.
    patience : int
        How many epochs without improvement are still borne.
    min_delta : float
        By how much a value must beat the best one to count.
    min_lr : float
        The rate is not made smaller than this; a rate that is smaller already stays as it is.
    monitor : str
        A name in the history; accuracies should grow, all else should fall.

    Raises
    ------
    OptionError
        For arguments out of their domain; from `fit`, if the run has no quantity of that name.

    >>> import gdnet as gd
    >>> import numpy as np
    >>> x = np.ones((32, 1), "float32")
    >>> model = gd.Model(gd.Sequential(gd.Dense(1, 1)), loss=gd.SquaredError())
    >>> rates = []
    >>> class Watch(gd.Callback):
    ...     def on_epoch_end(self, run):
    ...         rates.append(round(run.lr, 3))
    >>> slower = ReduceOnPlateau(0.5, patience=1, min_delta=10.0, monitor="loss")  # the first epoch alone improves
    >>> _ = model.fit(x, x, optimizer=gd.SGD(lr=0.4), epochs=5, callbacks=[slower, Watch()], verbose=0)
    >>> rates
    [0.4, 0.4, 0.2, 0.2, 0.1]
    """

    def __init__(
        self, factor: float = 0.1, patience: int = 10, min_delta: float = 0.0, min_lr: float = 0.0,
        monitor: str = "val_loss",
    ) -> None:  # fmt: skip
        name, least = "ReduceOnPlateau", "a finite number of at least 0"
        self.factor = check_real(f"{name}: factor", factor, "between 0 and 1", lambda v: 0.0 < v < 1.0)
        self.patience = check_count(f"{name}: patience", patience, least=0)
        self.min_delta = check_real(f"{name}: min_delta", min_delta, least, lambda v: 0.0 <= v < math.inf)
        self.min_lr = check_real(f"{name}: min_lr", min_lr, least, lambda v: 0.0 <= v < math.inf)
        (self.monitor,) = check_names(f"{name}: monitor", [monitor])
        self.best, self.waited = worst(monitor), 0

    def on_train_begin(self, run: "Run") -> None:
        monitored("ReduceOnPlateau", self.monitor, run)
        if run.steps == 0:
            self.best, self.waited = worst(self.monitor), 0

    def on_epoch_end(self, run: "Run") -> None:
        value = monitored("ReduceOnPlateau", self.monitor, run)
        if better(self.monitor, value, self.best, self.min_delta):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            run.lr, self.waited = min(run.lr, max(self.min_lr, self.factor * run.lr)), 0

    def config(self) -> dict[str, Any]:
        names = ("factor", "patience", "min_delta", "min_lr", "monitor")
        return {name: getattr(self, name) for name in names}

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        self.best, self.waited = number(state["best"]), check_count("waited", state["waited"], least=0)


def check_callbacks(callbacks: Any) -> list[Callback]:
    """The callbacks as a list; an `OptionError` for anything that is not one."""
    try:
        found = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
    except TypeError:
        raise OptionError(f"callbacks must be a list of Callback, got {type(callbacks).__name__}") from None
    for callback in found:
        if isinstance(callback, type) and issubclass(callback, Callback):
            raise OptionError(f"callbacks: write gd.{callback.__name__}(...), not the class gd.{callback.__name__}")
        if not isinstance(callback, Callback):
            raise OptionError(f"callbacks must be Callback objects, got {type(callback).__name__}: derive from it")
    return found

"""Rules that end a training run."""

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from gdnet.checks import check_count, check_names, check_real
from gdnet.training.callbacks import Callback, better, monitored, number, worst

if TYPE_CHECKING:
    from gdnet.training.loop import Run


class EarlyStopping(Callback):
    """Stops when `monitor` has not improved for `patience` epochs, and ends with the best parameters.

    Parameters
    ----------
    patience : int
        How many epochs without improvement end the run.
    min_delta : float
        By how much a value must beat the best one to count.
    monitor : str
        A name in the history; accuracies should grow, all else should fall.

    Raises
    ------
    OptionError
        For such arguments out of their domain; from `fit`, if the run has no quantity of that name.

    >>> import gdnet as gd
    >>> import numpy as np
    >>> x = np.ones((32, 1), "float32")
    >>> model = gd.Model(gd.Sequential(gd.Dense(1, 1)), loss=gd.SquaredError())
    >>> stop = EarlyStopping(patience=2, min_delta=10.0)  # nothing but the first epoch improves by so much
    >>> history = model.fit(x, x, epochs=9, validation_data=(x, x), callbacks=[stop], verbose=0)
    >>> history.epochs, stop.best_epoch
    (3, 1)
    """

    def __init__(self, patience: int = 5, min_delta: float = 0.0, monitor: str = "val_loss") -> None:
        self.patience = check_count("EarlyStopping: patience", patience)
        self.min_delta = check_real("EarlyStopping: min_delta", min_delta, "a number of at least 0", lambda v: v >= 0)
        (self.monitor,) = check_names("EarlyStopping: monitor", [monitor])
        self._reset()

    def _reset(self) -> None:
        self.best, self.waited, self.best_epoch = worst(self.monitor), 0, 0
        self.theta: np.ndarray | None = None

    def on_train_begin(self, run: "Run") -> None:
        monitored("EarlyStopping", self.monitor, run)
        if run.steps == 0:
            self._reset()

    def on_epoch_end(self, run: "Run") -> str | None:
        value = monitored("EarlyStopping", self.monitor, run)
        if better(self.monitor, value, self.best, self.min_delta):
            self.best, self.waited, self.best_epoch = value, 0, run.epoch
            self.theta = run.backend.to_numpy(run.solution)
            return None
        self.waited += 1
        if self.waited < self.patience:
            return None
        return f"early stopping: {self.monitor} has not improved since epoch {self.best_epoch} ({self.best:.6g})"

    def on_train_end(self, run: "Run") -> None:
        if self.theta is not None:
            run.result = self.theta

    def config(self) -> dict[str, Any]:
        return {"patience": self.patience, "min_delta": self.min_delta, "monitor": self.monitor}

    def state(self) -> dict[str, Any]:
        kept = {"best": self.best, "waited": self.waited, "best_epoch": self.best_epoch}
        return kept if self.theta is None else kept | {"theta": self.theta}

    def restore(self, state: dict[str, Any]) -> None:
        self.best, self.waited = number(state["best"]), check_count("waited", state["waited"], least=0)
        self.best_epoch = check_count("best_epoch", state["best_epoch"], least=0)
        self.theta = state.get("theta")


class StopOnNaN(Callback):
    """Stops after an epoch in which the loss, or a parameter, was not finite; on by default.

    The run then ends with the parameters of the end of the last epoch in which all was finite (the initial ones if
    there was none): parameters with NaN in them are of no use to anybody.

    >>> import gdnet as gd
    >>> import numpy as np
    >>> x = np.ones((32, 1), "float32")
    >>> model = gd.Model(gd.Sequential(gd.Dense(1, 1)), loss=gd.SquaredError())
    >>> with np.errstate(all="ignore"):
    ...     history = model.fit(x, x, optimizer=gd.SGD(lr=1e30), epochs=9, callbacks=[StopOnNaN()], verbose=0)
    >>> history.epochs < 9, bool(np.isfinite(model.theta).all())
    (True, True)
    """

    def __init__(self) -> None:
        self.good: np.ndarray | None = None

    def on_train_begin(self, run: "Run") -> None:
        if run.steps == 0 or self.good is None:
            self.good = run.backend.to_numpy(run.solution)
        run.kept = self.good

    def on_epoch_end(self, run: "Run") -> str | None:
        theta = run.backend.to_numpy(run.solution)
        if math.isfinite(run.logs["loss"]) and np.isfinite(theta).all():
            self.good = run.kept = theta
            return None
        run.result = self.good
        what = "the loss" if not math.isfinite(run.logs["loss"]) else "a parameter"
        return f"{what} was not finite in epoch {run.epoch}; the parameters are those of the last good epoch"

    def state(self) -> dict[str, Any]:
        return {} if self.good is None else {"good": self.good}

    def restore(self, state: dict[str, Any]) -> None:
        self.good = state.get("good")


class TimeLimit(Callback):
    """Stops when this call of `fit` has lasted `seconds`, also in the middle of an epoch; a resumed run goes on.

    Raises
    ------
    OptionError
        If seconds is not positive.

    >>> import gdnet as gd
    >>> import numpy as np
    >>> x = np.ones((32, 1), "float32")
    >>> model = gd.Model(gd.Sequential(gd.Dense(1, 1)), loss=gd.SquaredError())
    >>> model.fit(x, x, epochs=9, callbacks=[TimeLimit(seconds=1e-9)], verbose=0).stop_reason
    'time limit of 1e-09 s'
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = check_real("TimeLimit: seconds", seconds, "positive", lambda v: v > 0)

    def on_train_begin(self, run: "Run") -> None:
        self.started = time.perf_counter()

    def on_tick(self, run: "Run") -> None:
        if time.perf_counter() - self.started >= self.seconds:
            run.finish(f"time limit of {self.seconds:g} s", final=False)

    on_epoch_end = on_tick

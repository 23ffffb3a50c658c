"""The training loop: data -> mini-batch -> step -> callbacks -> stop rule. One for every backend and optimizer."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend
from gdnet.backend.tree import flatten, unflatten
from gdnet.data import Dataset
from gdnet.errors import OptionError
from gdnet.optimizers import Optimizer
from gdnet.training.callbacks import Callback, StopTraining
from gdnet.training.feed import Feed
from gdnet.training.history import History
from gdnet.training.step import Step

TICK = 0.1
"""Seconds between two looks at the clock's callbacks (`on_tick`)."""
STACKED = 64
"""How many loss values are joined on the device before they are read."""


class Run:
    """A training run: where it stands, and what callbacks may look at and change.

    Attributes
    ----------
    theta, state : parameters and optimizer state, on the device
        The next step may overwrite them: keep `run.backend.to_numpy(run.theta)`, not the array itself.
    epoch : int
        Epochs completed; during an epoch, the number of the epoch, from 0.
    iteration : int
        Steps done in this epoch.
    names : tuple of str
        The numbers that `logs` will hold.
    logs : dict
        The numbers of the epoch that has just ended, `"loss"` first; callbacks may add to it.
    history : History
    result : array or None
        Parameters to end with instead of the last ones, on the host (such as the best of early stopping).
    held : Dataset or None
        The validation data.
    kept : array or None
        The parameters at the end of the last good epoch, on the host: what a run ends with that breaks off in a step.
    busy : str
        What would be left half done if the run broke off here: `"step"`, the end of an `"epoch"`, or nothing. A run
        that has broken off so is no place to go on from.
    """

    def __init__(
        self, backend: Backend, optimizer: Optimizer, theta: Array, state: Any, feed: Feed, epochs: int
    ) -> None:
        self.backend, self.optimizer, self.theta, self.state = backend, optimizer, theta, state
        self.feed, self.epochs = feed, epochs
        self.epoch = self.iteration = 0
        self.values: list[Any] = []
        self.logs: dict[str, float] = {}
        self.history = History()
        self.result: np.ndarray | None = None
        self.kept: np.ndarray | None = None
        self.busy = ""
        self.stop: StopTraining | None = None
        self.callbacks: Sequence[Callback] = ()
        self.settings: dict[str, Any] = {}
        self.prints: dict[str, Any] | None = None
        self.held: Dataset | None = None
        self.names: tuple[str, ...] = ("loss",)

    # -- what callbacks use -------------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Steps done in all."""
        return self.epoch * self.feed.n_batches + self.iteration

    @property
    def lr(self) -> float:
        """The learning rate, read from the device; an `OptionError` where the optimizer has none."""
        return float(self.optimizer.lr_of(self.state))

    @lr.setter
    def lr(self, value: float) -> None:
        self.state = self.optimizer.with_lr(self.state, float(value))

    @property
    def solution(self) -> Array:
        """The parameters that the run would end with now: the last ones, or the optimizer's average of them."""
        return self.backend.whole(self.optimizer.solution(self.state, self.theta))

    @property
    def parameters(self) -> Array:
        """The parameters that the run ends with: `result`, where a callback has set it, or `solution`.

        A step that broke off may have overwritten a part of its arrays: then those of the last good epoch.
        """
        chosen = self.kept if self.result is None and self.busy == "step" else self.result
        return self.solution if chosen is None else self.backend.asarray(chosen)

    def finish(self, reason: str, final: bool = True) -> None:
        """Stop after this step. `final` is False where a resumed run should go on."""
        self.stop = self.stop or StopTraining(reason, final)

    def read_values(self) -> np.ndarray:
        """The loss values of this epoch so far, read from the device at once."""
        host = [v for v in self.values if isinstance(v, float)]
        fresh = self.values[len(host) :]
        if fresh and isinstance(fresh[0], (np.ndarray, np.generic)):  # on the host already
            host += np.asarray(fresh, dtype=np.float64).tolist()
        else:
            for i in range(0, len(fresh), STACKED):
                part = self.backend.xp.stack(fresh[i : i + STACKED])
                host += self.backend.to_numpy(part).astype(np.float64).tolist()
        self.values = host
        return np.asarray(host, dtype=np.float64)

    def call(self, hook: str) -> None:
        """Call one hook of every callback; what it returns or raises may stop the run.

        A Ctrl-C in one of them ends the run as well, after the others: each has then seen this epoch or step once, and
        the run may be saved and gone on with.
        """
        for callback in self.callbacks:
            try:
                reason = getattr(callback, hook)(self)
            except StopTraining as stop:
                self.stop = self.stop or stop
                continue
            except KeyboardInterrupt:
                self.finish("interrupted", final=False)
                continue
            if isinstance(reason, str):
                self.finish(reason)


def train(run: Run, step_of_epoch: Callable[[], Step], validate: Callable[[Array], dict[str, float]] | None) -> None:
    """Run until the epochs are done or something stops it. `run` may stand anywhere, also inside an epoch.

    `step_of_epoch` gives the step, and is asked anew after the callbacks between two epochs, which may have changed
    what a compiled step has taken over.
    """
    started, before = time.perf_counter(), run.history.seconds
    hooked = any(callback.wants_iterations for callback in run.callbacks)
    feed, clock, interrupted = run.feed, time.perf_counter, threading.Event()
    n_batches, step = feed.n_batches, None
    due = started + TICK
    run.call("on_train_begin")
    # A loss that overflows is told once, at the end of its epoch, and not by NumPy at every operation.
    with _interruptible(interrupted), np.errstate(all="ignore"):
        try:
            while run.epoch < run.epochs and run.stop is None:
                if run.iteration == 0:
                    run.call("on_epoch_begin")
                    if run.stop is not None:
                        break
                step, latest = step_of_epoch(), step
                if latest is not None and step is not latest:
                    _take_back(run)
                for batch in feed.epoch(run.epoch, start=run.iteration):
                    run.busy = "step"
                    run.theta, run.state, value = step(run.theta, run.state, *batch)
                    run.values.append(value)
                    run.iteration += 1
                    run.busy = ""
                    if hooked or clock() >= due or interrupted.is_set():
                        due = _between(run, hooked, due, interrupted)
                        if run.stop is not None:
                            break
                if run.iteration == n_batches:
                    run.history.seconds = before + clock() - started
                    run.busy = "epoch"
                    _end_epoch(run, step, validate)
                    run.busy = ""
        except KeyboardInterrupt:
            run.finish("interrupted", final=False)
    run.history.seconds = before + clock() - started
    run.history.stop_reason = run.stop.reason if run.stop else "epochs"
    run.call("on_train_end")


def _take_back(run: Run) -> None:
    """The library's own arrays in the place of what one compiled step has returned, for another to begin with."""
    leaves, form = flatten((run.theta, run.state))
    run.theta, run.state = unflatten(form, map(run.backend.whole, leaves))


def _between(run: Run, hooked: bool, due: float, interrupted: threading.Event) -> float:
    """What happens between two steps, when there is something: returns the time of the next tick."""
    if hooked:
        run.call("on_iteration_end")
    if (now := time.perf_counter()) >= due:
        run.call("on_tick")
        due = now + TICK
    if interrupted.is_set():
        run.finish("interrupted", final=False)
    return due


def _end_epoch(run: Run, step: Step, validate: Callable[[Array], dict[str, float]] | None) -> None:
    values, weights = run.read_values(), run.feed.weights(run.epoch)
    run.logs = {"loss": float(np.dot(values, weights) / np.sum(weights)), **getattr(step, "figures", {})}
    if validate is not None:
        run.logs |= validate(run.solution)
    run.history.add(run.logs)
    run.epoch, run.iteration, run.values = run.epoch + 1, 0, []
    if reason := getattr(step, "stop_reason", None):
        run.finish(reason)
    run.call("on_epoch_end")


@contextlib.contextmanager
def _interruptible(interrupted: threading.Event) -> Iterator[None]:
    """The first Ctrl-C ends the run after the step at hand, so that nothing is half done; the second acts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.getsignal(signal.SIGINT)
    if old is not signal.default_int_handler:
        yield  # somebody else's handler: it knows better
        return

    def first(signum: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, old)
        interrupted.set()

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, old)


def check_batching(optimizer: Optimizer, stochastic: bool, batch_size: int | None, n: int) -> None:
    """Refuse a full-batch method where its objective would change from step to step."""
    if not optimizer.full_batch:
        return
    name = type(optimizer).__name__
    if batch_size is not None and batch_size < n:
        raise OptionError(
            f"{name} needs the same objective at every step and cannot use mini-batches of {batch_size} out of {n} "
            f"examples: call fit(..., batch_size=None), where an epoch is one step on all examples, or choose a "
            f"first-order optimizer such as gd.Adam()"
        )
    if stochastic:
        raise OptionError(
            f"{name} needs the same objective at every step, and this network has layers that draw random numbers "
            f"(such as Dropout): remove them, or choose a first-order optimizer such as gd.Adam()"
        )

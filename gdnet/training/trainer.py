"""What `Model.fit` does: data, callbacks and the compiled step are brought together for one run of the loop."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gdnet.backend import Array
from gdnet.backend.out_of_memory import device_memory
from gdnet.checks import check_count, check_fraction, check_names, check_switch
from gdnet.data import Dataset
from gdnet.errors import FileError, GdnetError, OptionError
from gdnet.files import model_file, spec
from gdnet.losses import Loss
from gdnet.optimizers import SGD, Optimizer
from gdnet.training import checkpoint, inputs
from gdnet.training.advice import warn_of_scales
from gdnet.training.callbacks import Callback, ProgressBar, check_callbacks
from gdnet.training.configuration import Configuration
from gdnet.training.feed import Feed
from gdnet.training.loop import Run, check_batching, train
from gdnet.training.scorer import metric_of
from gdnet.training.step import FullBatchStep, Step, check_optimizer, full_objective, step_on
from gdnet.training.stopping import StopOnNaN

BATCH = 32
"""Examples a step with `batch_size="auto"`, where there are as many."""


class StepCache:
    """The compiled step of the latest run, so that the next `fit` with the same settings compiles nothing."""

    step: Step | None
    optimizer: Optimizer | None
    loss: Loss | None
    others: Any
    configuration: Configuration

    def __init__(self) -> None:
        self.clear()

    def get(self, model: inputs.Trainable, optimizer: Optimizer) -> Step:
        """The compiled step of this optimizer for this model, as its network and its loss are now."""
        others = model.layout, model.seed
        if (
            self.step is not None
            and self.optimizer is optimizer
            and self.loss is model.loss
            and self.others == others
            and self.configuration.holds()
        ):
            return self.step  # the quick way, which every epoch goes
        now = Configuration(optimizer, model.net, model.loss)
        if self.step is None or self.loss is not model.loss or (self.configuration, self.others) != (now, others):
            step = step_on(model.backend, model.net, model.loss, optimizer, model.layout, model.seed)
            self.step = model.backend.compile(step, donate=(0, 1))
        self.optimizer, self.loss, self.others, self.configuration = optimizer, model.loss, others, now
        return self.step

    def clear(self) -> None:
        """Forget it, with the buffers that it holds."""
        self.step = self.optimizer = self.loss = self.others = None
        self.configuration = Configuration()


class Trainer:
    """Prepares a run of a model from what `fit` was given, and runs it.

    >>> import gdnet as gd
    >>> import numpy as np
    >>> x = np.ones((32, 1), "float32")
    >>> trainer = Trainer(gd.Model(gd.Sequential(gd.Dense(1, 1)), loss=gd.SquaredError()), StepCache())
    >>> run = trainer.prepare(x, x, epochs=2, verbose=0)
    >>> trainer.train(run)
    >>> run.history.epochs, run.parameters.shape
    (2, (2,))
    """

    def __init__(self, model: inputs.Trainable, steps: StepCache) -> None:
        self.model, self.steps = model, steps
        self._step_of_epoch: Callable[[], Step]
        """Gives the step for the next epoch; `prepare` sets it."""
        self._scored: tuple[Dataset | None, Dataset | None] = None, None
        """The training and the validation data that are scored after every epoch."""
        self._resumed: tuple[str | Path, int] | None = None
        """The checkpoint from which the run goes on, and how many steps it had done."""

    def prepare(
        self,
        x: Any,
        t: Any = None,
        *,
        optimizer: Optimizer | None = None,
        epochs: int = 1,
        batch_size: int | str | None = "auto",
        validation_data: Any = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: Any = None,
        shuffle: bool = True,
        drop_last: bool = False,
        callbacks: Sequence[Callback] = (),
        resume: str | Path | None = None,
        verbose: int = 1,
        metrics: Sequence[str] = (),
    ) -> Run:
        """The run at its start, or where the checkpoint `resume` stands; the arguments are those of `Model.fit`."""
        model = self.model
        optimizer = check_optimizer(SGD() if optimizer is None else optimizer)
        epochs = check_count("epochs", epochs)
        found = check_callbacks(callbacks)
        if validation_data is not None and validation_split:
            raise OptionError("give validation_data or validation_split, not both")
        if check_fraction("validation_split", validation_split):
            x, t, sample_weight, validation_data = inputs.split_off(model, x, t, sample_weight, validation_split)
        data = inputs.labelled(model, x, t, sample_weight, class_weight)
        held = None if validation_data is None else inputs.held_out(model, validation_data)
        metric = _check_metrics(model.loss, metrics)

        warn_of_scales(model, data)

        batch_size = _check_batch_size(batch_size, len(data))
        whole = optimizer.full_batch and batch_size == len(data)
        feed = Feed(
            data, None if whole else batch_size, check_switch("shuffle", shuffle), check_switch("drop_last", drop_last),
            model.seed,
        )  # fmt: skip
        check_batching(optimizer, model.net.stochastic, feed.batch_size, len(data))
        bound = optimizer.bind(model.layout)
        if optimizer.full_batch:
            step = FullBatchStep(full_objective(model, data), bound)
            self._step_of_epoch = lambda: step
        else:
            self._step_of_epoch = partial(self.steps.get, model, optimizer)
        theta = model.backend.asarray(model.backend.to_numpy(model.theta))  # a copy: the step may overwrite its own
        run = Run(model.backend, bound, theta, bound.init(theta), feed, epochs)
        run.callbacks = _in_order(found, verbose)
        validation = () if held is None else ("val_loss", f"val_{metric}") if metric else ("val_loss",)
        run.names = ("loss", *getattr(optimizer, "figures", ()), *metrics, *validation)
        try:
            run.settings = self._settings(optimizer, feed) | {"metrics": list(check_names("metrics", metrics))}
        except GdnetError:  # a layer or a loss that has no form in a file can be trained, if no file is asked for
            if resume is not None or any(isinstance(c, checkpoint.Checkpoint) for c in found):
                raise
        run.held = held
        self._scored = (data if metrics else None), held
        self._resumed = None
        if resume is not None:
            checkpoint.restore(run, resume)
            self._resumed = resume, run.steps
        return run

    def train(self, run: Run) -> None:
        """Run until the epochs are done or something stops it."""
        scored = any(data is not None for data in self._scored)
        try:
            examples = run.feed.batch_size or len(run.feed.data)
            attempt = None if run.optimizer.full_batch else partial(self._attempt, run)
            with device_memory(run.backend, examples, attempt):
                train(run, self._step_of_epoch, self._scores if scored else None)
        except BaseException as error:
            self.steps.clear()  # its buffers may be what left too little memory
            # What a solver remembers has no form that could be checked beforehand; its first step needs all of it.
            foreign = isinstance(error, Exception) and not isinstance(error, GdnetError)
            if foreign and run.busy == "step" and self._resumed is not None and run.steps == self._resumed[1]:
                raise FileError(
                    f"from the state in {str(self._resumed[0])!r} no step could be made: the file is malformed "
                    f"({type(error).__name__}: {error})"
                ) from error
            raise

    def _attempt(self, run: Run, examples: int) -> None:
        """What a fit with so many examples at a time needs of memory: three steps, of parameters that nobody keeps."""
        self.steps.clear()
        step, backend = self._step_of_epoch(), run.backend
        theta = backend.asarray(np.zeros(self.model.layout.size), self.model.dtype)
        state = run.optimizer.init(theta)
        batch = next(iter(Feed(run.feed.data, examples, shuffle=False).epoch(0)))
        for _ in range(3):
            theta, state, _ = step(theta, state, *batch)
        backend.synchronize()

    def _scores(self, theta: Array) -> dict[str, float]:
        """What the history holds beside the loss of an epoch."""
        scorer, (data, held) = self.model.scorer, self._scored
        own = {} if data is None else scorer.scores(theta, data)
        own.pop("loss", None)  # that of the epoch, the mean over its steps, is there already
        kept = {} if held is None else scorer.scores(theta, held)
        return own | {f"val_{name}": value for name, value in kept.items()}

    def _settings(self, optimizer: Optimizer, feed: Feed) -> dict[str, Any]:
        """What a resumed run must have in common with the one that wrote the checkpoint."""
        return model_file.description(self.model) | {
            "optimizer": spec.optimizer_spec(optimizer),
            "batch_size": feed.batch_size,
            "shuffle": feed.shuffle,
            "drop_last": feed.drop_last,
        }


def _check_batch_size(batch_size: int | str | None, n: int) -> int | None:
    """The examples a step, of n; None for all. `Feed` refuses numbers that are no batch size."""
    if not isinstance(batch_size, str):
        return batch_size
    if batch_size != "auto":
        raise OptionError(f'batch_size must be an integer, "auto" or None, got {batch_size!r}')
    return min(BATCH, n)


def _check_metrics(loss: Loss, names: Sequence[str]) -> str | None:
    """The name of the loss's metric, or None; an `OptionError` where `names` holds another one."""
    known = metric_of(loss)
    metric = known and known.name
    for name in check_names("metrics", names):
        if name != metric:
            raise OptionError(
                f"metrics: with {loss!r} there is {metric!r}, got {name!r}"
                if metric
                else f"metrics: {loss!r} has none, got {name!r}: give its class metric = (name, rule)"
            )
    return metric


def _in_order(given: list[Callback], verbose: int) -> list[Callback]:
    """All callbacks in the order of their calls: checkpoints last, since they keep what the others have made."""
    own: list[Callback] = [] if any(isinstance(c, StopOnNaN) for c in given) else [StopOnNaN()]
    bar: list[Callback] = [ProgressBar()] if verbose and not any(isinstance(c, ProgressBar) for c in given) else []
    last = [c for c in given if isinstance(c, checkpoint.Checkpoint)]
    return [*own, *(c for c in given if c not in last), *bar, *last]

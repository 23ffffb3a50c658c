"""A network, a loss and a device behind fit, predict, evaluate and save."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gdnet.backend import Array, Backend, get_backend
from gdnet.backend.base import FLOATS, resolve_dtype
from gdnet.checks import check_count, check_shape
from gdnet.data import Dataset
from gdnet.data.checks import check_finite
from gdnet.errors import ArrayError, NotBuilt, OptionError, ShapeError
from gdnet.files import model_file, spec
from gdnet.layers import Layer
from gdnet.losses import Loss
from gdnet.network import Network, Objective
from gdnet.optimizers import Optimizer
from gdnet.training import inputs
from gdnet.training.advice import warn_of_last_layer
from gdnet.training.callbacks import Callback
from gdnet.training.configuration import Configuration
from gdnet.training.history import History
from gdnet.training.loop import Run
from gdnet.training.scorer import CHUNK, Scorer
from gdnet.training.step import check_loss, check_net, check_optimizer, full_objective, step_on
from gdnet.training.trainer import StepCache, Trainer
from gdnet.vector import Layout

__all__ = ["Model", "load"]

_TURN = threading.Lock()
"""Held while a thread looks whether a model is free to be trained."""


class Model:
    """A network with its parameters on a device.

    Parameters
    ----------
    net : Network
        A single layer will do too.
    loss : Loss
    device : str
        `"cpu"` (NumPy), `"cuda"` or `"cuda:1"` (CuPy).
    backend : str or module, optional
        `"torch"`, `"jax"`, `"numpy"`, `"cupy"`, or any array API namespace.
    dtype : "float32" or "float64"
    seed : int
        Initial parameters, the order of examples and dropout follow from it.
    in_shape : tuple of int, optional
        The shape of one example, where the network does not fix it and the first data shall not.
    matmul_precision : "highest" or "tf32"
        "tf32" lets an NVIDIA GPU multiply float32 matrices on its TF32 tensor cores: faster, with about three digits.
        Like the device it is a choice for this session, and files do not hold it.

    Attributes
    ----------
    theta : (P,) array on the device
        All parameters; `layout` tells which is which.

    Raises
    ------
    DeviceError
        If the device or the library cannot be used here; the message tells the remedy.
    OptionError
        For an unknown dtype, float64 on a JAX that has it switched off, or TF32 where there is none: on the CPU, on
        other libraries than CuPy, on GPUs older than compute capability 8.0, and in float64.

    >>> import gdnet as gd
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 50, dtype="float32")[:, None]
    >>> model = Model(gd.Sequential(gd.Dense(8), gd.Tanh(), gd.Dense(1)), loss=gd.SquaredError())
    >>> history = model.fit(x, x * x, optimizer=gd.SGD(lr=0.1), epochs=300, batch_size=None, verbose=0)
    >>> history["loss"][-1] < history["loss"][0], model.predict(x).shape
    (True, (50, 1))
    """

    def __init__(
        self, net: Layer, loss: Loss, device: str = "cpu", backend: Any = None, dtype: str = "float32", seed: int = 0,
        in_shape: Sequence[int] | None = None, matmul_precision: str = "highest",
    ) -> None:  # fmt: skip
        self._set_up(net, loss, device, backend, dtype, seed, matmul_precision)
        if in_shape is not None or self.net.in_shape is not None:
            self.build(self.net.resolve(None if in_shape is None else check_shape("in_shape", in_shape)))

    def _set_up(
        self, net: Layer, loss: Loss, device: str, backend: Any, dtype: str, seed: int, matmul_precision: str
    ) -> None:  # fmt: skip
        """Everything but the parameters."""
        self._net = check_net(net)
        self._loss = check_loss(loss)
        warn_of_last_layer(self._net, self._loss, stacklevel=4)
        self.backend: Backend = get_backend(device, backend, matmul_precision)
        self.dtype = resolve_dtype(self.backend, dtype)
        self.matmul_precision = matmul_precision
        if matmul_precision != "highest" and self.dtype != "float32":
            raise OptionError(f'matmul_precision="tf32" is for dtype="float32", got {self.dtype!r}: leave one of them')
        self.seed = check_count("seed", seed, least=0)
        self.in_shape: tuple[int, ...] | None = None
        self._theta: Array = None
        self._layout: Layout | None = None
        self._scored: tuple[Configuration, Scorer] | None = None
        self._steps = StepCache()
        self._training: tuple[int, Run] | None = None
        self._fitting = False

    def __getstate__(self) -> dict[str, Any]:
        """What `pickle` and `copy.deepcopy` take along: all but what is compiled and the run that goes on."""
        kept = {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_steps", "_scored", "_training", "_fitting")
        }
        return kept | ({} if self._layout is None else {"_theta": self.theta})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _steps=StepCache(), _scored=None, _training=None, _fitting=False)

    def __repr__(self) -> str:
        size = "not built" if self._layout is None else f"{self._layout.size} parameters"
        numbers = (
            self.dtype if self.matmul_precision == "highest" else f"{self.dtype} with {self.matmul_precision} products"
        )
        return f"Model({self.net!r}, {self.loss!r}, {size}, {numbers}, {self.backend.name} on {self.backend.device})"

    # -- network and loss ---------------------------------------------------------------------------------------------

    @property
    def net(self) -> Network:
        """The network."""
        return self._net

    @property
    def loss(self) -> Loss:
        """The loss; another one may be set between two fits."""
        return self._loss

    @loss.setter
    def loss(self, loss: Loss) -> None:
        self._refuse_in_training("loss")
        self._loss = check_loss(loss)
        warn_of_last_layer(self._net, self._loss)

    @property
    def scorer(self) -> Scorer:
        """What predicts and scores for the model, with network and loss as they are now."""
        kept = self._scored
        if kept is not None and (kept[1].loss is not self._loss or kept[1].layout is not self.layout):
            kept = None
        if kept is None or not kept[0].holds():
            now = Configuration(self._net, self._loss)
            same = kept is not None and kept[0] == now
            scorer = kept[1] if kept is not None and same else Scorer(self.backend, self.net, self.loss, self.layout)
            self._scored = kept = now, scorer
        return kept[1]

    # -- parameters ---------------------------------------------------------------------------------------------------

    def build(self, in_shape: Sequence[int]) -> None:
        """Fix the shape of an example and draw the initial parameters."""
        self._refuse_in_training("shape")
        in_shape = check_shape("in_shape", in_shape)
        self.net.out_shape(in_shape)
        self._start(in_shape, self.backend.asarray(self.net.initial(self.seed, in_shape), self.dtype))

    def _start(self, in_shape: tuple[int, ...], theta: Array) -> None:
        """Take these parameters, for examples of this shape."""
        layout = self.net.layout(in_shape) if self._layout is None or in_shape != self.in_shape else self._layout
        # The layout comes last: whoever sees it, in another thread too, finds the rest.
        self.in_shape, self._theta, self._layout = in_shape, theta, layout

    @property
    def layout(self) -> Layout:
        """Names and shapes of the parameters in `theta`."""
        if self._layout is None:
            raise NotBuilt(
                "the model knows its input size from the first data: call fit, or give Model(..., in_shape=)"
            )
        return self._layout

    @property
    def theta(self) -> Array:
        """All parameters as one vector on the device; assign a vector of the same size to replace them.

        In a callback these are a copy of the parameters that the run would end with now; there `run.theta` is what may
        be set.
        """
        present = self._present
        return present if self._training is None else self.backend.xp.asarray(present, copy=True)

    @theta.setter
    def theta(self, vector: Any) -> None:
        self._refuse_in_training("theta")
        if not hasattr(vector, "shape"):
            raise ArrayError(f"theta must be an array, got {type(vector).__name__}: wrap it, as in numpy.asarray(...)")
        if tuple(vector.shape) != (self.layout.size,):
            raise ShapeError(f"theta must have shape ({self.layout.size},), got {tuple(vector.shape)}")
        self._theta = self._place(vector, "theta")

    @property
    def _present(self) -> Array:
        """The parameters as they stand. Where a run goes on in this thread its next step may overwrite them."""
        self.layout  # noqa: B018 (raises where the model is not built)
        thread, run = self._training or (0, None)
        return self._theta if run is None or thread != threading.get_ident() else run.parameters

    def _refuse_in_training(self, what: str) -> None:
        if self._training is not None:
            self._refuse(what)

    def _refuse(self, what: str) -> NoReturn:
        raise OptionError(
            f"the model is being trained, and its {what} cannot be set before fit has returned"
            + (": a callback sets run.theta" if what == "theta" else "")
        )

    def _place(self, array: Any, name: str) -> Array:
        """A host array, or one of the model's own library, on the model's device and in its dtype."""
        if not str(array.dtype).endswith(FLOATS):
            raise ArrayError(f"{name} must be float32 or float64, got {array.dtype}")
        data = Dataset(array)
        check_finite(data.home, array, name, self.dtype)
        return self.backend.xp.asarray(data.on(self.backend, self.dtype, whole=True).x, copy=True)

    # -- training -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        t: Any = None,
        *,
        optimizer: Optimizer | None = None,
        epochs: int = 1,
        batch_size: int | str | None = "auto",
        validation_data: tuple[Any, ...] | Dataset | None = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: Any = None,
        shuffle: bool = True,
        drop_last: bool = False,
        callbacks: Sequence[Callback] = (),
        resume: str | Path | None = None,
        verbose: int = 1,
        metrics: Sequence[str] = (),
    ) -> History:
        """Train, and return the history; the parameters stay in the model.

        Parameters
        ----------
        x : (n, ...) of float32 or float64
            Host arrays (memory-mapped ones too), or arrays of the model's own library on its device.
        t : (n, ...)
            Targets as the loss wants them.
        optimizer : Optimizer
            By default `SGD()`.
        epochs : int
            How often every example is visited; with `resume` the number in all.
        batch_size : int, "auto" or None
            Examples a step. "auto" takes 32, or all where there are fewer; None takes all, as full-batch methods need.
        validation_data : (x, t), (x, t, sample_weight) or Dataset, optional
            Adds `"val_loss"` and the metric to every epoch.
        validation_split : float
            Or this share of the examples, drawn by the seed, is kept for validation together with their weights. Each
            class has its share in both parts, where the loss is one for classes.
        sample_weight : (n,), optional
            Weight 2 counts as the example given twice.
        class_weight : dict or "balanced", optional
            A weight for each label; multiplies `sample_weight`. It acts on the training data alone: validation examples
            count by their own weights.
        shuffle, drop_last : bool
            A new order every epoch; whether a last batch smaller than the others is left out.
        callbacks : of Callback
        resume : path, optional
            Goes on where the run stood that wrote this checkpoint; data and settings must be the same, and on the CPU
            the number of BLAS threads: then it ends bit for bit as if it had never been interrupted.
        verbose : int
            0: no progress bar.
        metrics : of str
            `("accuracy",)` or `("rmse",)` evaluates the training data too at the end of every epoch.

        Raises
        ------
        ShapeError, DataError, ArrayError, OptionError, FileError
            For what cannot be trained; the model is unchanged then.
        """
        with _TURN:  # of two threads one is refused
            if self._fitting:
                self._refuse("parameters")
            self._fitting = True
        try:
            trainer = Trainer(self, self._steps)
            run = trainer.prepare(
                x, t, optimizer=optimizer, epochs=epochs, batch_size=batch_size, validation_data=validation_data,
                validation_split=validation_split, sample_weight=sample_weight, class_weight=class_weight,
                shuffle=shuffle, drop_last=drop_last, callbacks=callbacks, resume=resume, verbose=verbose,
                metrics=metrics,
            )  # fmt: skip
            self._training = threading.get_ident(), run
            try:
                trainer.train(run)
            finally:
                self._theta, self._training = run.parameters, None
            return run.history
        finally:
            self._fitting = False

    def training_step(self, optimizer: Optimizer) -> Callable:
        """`step(theta, state, x, t, sample_weight=None) -> (theta, state, value)`, compiled for the model's backend.

        Begin with `theta = model.theta` and `state = optimizer.init(theta)`.
        """
        optimizer = check_optimizer(optimizer)
        return self.backend.compile(step_on(self.backend, self.net, self.loss, optimizer, self.layout, self.seed))

    # -- using it -----------------------------------------------------------------------------------------------------

    def predict(self, x: Any, batch_size: int = CHUNK) -> Array:
        """The network's output for x (n, ...), an array of the model's library: logits for CrossEntropy."""
        batch_size = check_count("batch_size", batch_size)
        data = inputs.examples(self, x)
        return self.scorer.predict(self._present, data, batch_size)

    def evaluate(self, x: Any, t: Any = None, sample_weight: Any = None, batch_size: int = CHUNK) -> dict[str, float]:
        """`{"loss": ..., metric: ...}` over these examples, with everything random switched off.

        The metric is that of the loss (`Loss.metric`); a loss that names none is reported alone.
        """
        batch_size = check_count("batch_size", batch_size)
        data = inputs.labelled(self, x, t, sample_weight)
        return self.scorer.scores(self._present, data, batch_size)

    # -- derivatives --------------------------------------------------------------------------------------------------

    def objective(self, x: Any, t: Any = None, sample_weight: Any = None) -> Objective:
        """loss(net(theta, x), t) as a function of theta; call it with `model.theta` and ask for derivatives."""
        return full_objective(self, inputs.labelled(self, x, t, sample_weight))

    def gradient(self, x: Any, t: Any = None, sample_weight: Any = None) -> Array:
        """∂loss/∂theta by backpropagation, (P,)."""
        return self.objective(x, t, sample_weight)(self.theta).gradient

    def numerical_gradient(
        self, x: Any, t: Any = None, method: str = "central", h: float | None = None, sample_weight: Any = None
    ) -> Array:
        """∂loss/∂theta by differences, (P,): the independent witness of `gradient`."""
        from gdnet.network.structured_gradient import numerical_gradient_of

        objective = self.objective(x, t, sample_weight)
        return numerical_gradient_of(objective, self.theta, method=method, h=h)

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write network, loss and parameters to a safetensors file; `gd.load` makes the model again."""
        model_file.write(path, self, self.backend.to_numpy(self.theta))

    def load_parameters(self, path: str | Path) -> None:
        """Take the parameters from a model file or checkpoint of the same network; the model is unchanged on error."""
        self._refuse_in_training("theta")
        saved = model_file.read(path)
        net, in_shape = self.net, self.in_shape
        vector = self._place(saved.theta_of(net, in_shape), "the parameters in the file")
        self._start(in_shape or saved.in_shape, vector)


def load(
    path: str | Path, device: str = "cpu", backend: Any = None, custom: Mapping[str, type] | None = None,
    dtype: str | None = None, matmul_precision: str = "highest",
) -> Model:  # fmt: skip
    """The model in a file that `Model.save` (or `Checkpoint`) has written.

    Parameters
    ----------
    custom : dict of str to class
        Your own layers and losses by name; classes that are neither gdnet's nor in it are refused.
    dtype : str, optional
        Another one than that of the file.
    matmul_precision : "highest" or "tf32"
        As for `Model`; not in the file.

    Raises
    ------
    FileError
        If the file is missing, damaged, altered, of a newer version, or names an unknown class.

    >>> import tempfile
    >>> import gdnet as gd
    >>> model = gd.Model(gd.Sequential(gd.Dense(3, 2), gd.Tanh()), loss=gd.SquaredError())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/m.safetensors")
    ...     again = load(f"{folder}/m.safetensors")
    >>> again.net, bool((again.theta == model.theta).all())
    (Sequential(Dense(3, 2), Tanh()), True)
    """
    classes = spec.check_custom(custom)
    saved = model_file.read(path)
    (net, loss), described = saved.build(classes), saved.described
    model = Model.__new__(Model)
    model._set_up(net, loss, device, backend, dtype or described["dtype"], described["seed"], matmul_precision)
    model._start(saved.in_shape, model._place(saved.vector, "the parameters in the file"))
    return model

"""A network, a loss and a device behind fit, predict, evaluate and save."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, Key, get_backend
from gdnet.backend.base import FLOATS, resolve_dtype
from gdnet.backend.out_of_memory import device_memory
from gdnet.checks import check_count, check_fraction, check_names, check_shape
from gdnet.data import Dataset, check_data, split
from gdnet.data.arrays import is_integer
from gdnet.data.checks import WEIGHTS, check_finite
from gdnet.errors import ArrayError, FileError, NotBuilt, OptionError, ShapeError
from gdnet.files import archive, spec
from gdnet.layers import Layer
from gdnet.losses import Loss, class_weights_to_sample_weights
from gdnet.network import Network, Objective
from gdnet.optimizers import SGD, Optimizer
from gdnet.training import checkpoint
from gdnet.training.callbacks import Callback, ProgressBar, check_callbacks
from gdnet.training.feed import Feed
from gdnet.training.history import History
from gdnet.training.loop import Run, check_batching, train
from gdnet.training.scorer import CHUNK, Scorer, metric_of
from gdnet.training.step import FullBatchStep, Step, check_loss, check_net, check_optimizer, step_on
from gdnet.training.stopping import StopOnNaN
from gdnet.vector import Layout

__all__ = ["Model", "load"]

KIND = "model"


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
        self._net = check_net(net)
        self._loss = check_loss(loss)
        self.backend: Backend = get_backend(device, backend, matmul_precision)
        self.dtype = resolve_dtype(self.backend, dtype)
        self.matmul_precision = matmul_precision
        if matmul_precision != "highest" and self.dtype != "float32":
            raise OptionError(f'matmul_precision="tf32" is for dtype="float32", got {self.dtype!r}: leave one of them')
        self.seed = check_count("seed", seed, least=0)
        self.in_shape: tuple[int, ...] | None = None
        self._theta: Array = None
        self._layout: Layout | None = None
        self._latest_step: tuple[Any, Step] | None = None
        if in_shape is not None or self.net.in_shape is not None:
            self.build(self.net.resolve(None if in_shape is None else check_shape("in_shape", in_shape)))

    def __getstate__(self) -> dict[str, Any]:
        """What `pickle` and `copy.deepcopy` take along: all but what is compiled."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_latest_step", "_scorer")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _latest_step=None)
        self._score_anew()

    def __repr__(self) -> str:
        size = "not built" if self._layout is None else f"{self._layout.size} parameters"
        numbers = (
            self.dtype if self.matmul_precision == "highest" else f"{self.dtype} with {self.matmul_precision} products"
        )
        return f"Model({self.net!r}, {self.loss!r}, {size}, {numbers}, {self.backend.name} on {self.backend.device})"

    # -- network and loss ---------------------------------------------------------------------------------------------

    @property
    def net(self) -> Network:
        """The network. What is compiled knows its layers as they are: for other layers, make another model."""
        return self._net

    @property
    def loss(self) -> Loss:
        """The loss; another one may be set between two fits."""
        return self._loss

    @loss.setter
    def loss(self, loss: Loss) -> None:
        self._loss = check_loss(loss)
        self._score_anew()

    def _score_anew(self) -> None:
        if self._layout is not None:
            self._scorer = Scorer(self.backend, self.net, self.loss, self._layout)

    # -- parameters ---------------------------------------------------------------------------------------------------

    def build(self, in_shape: Sequence[int]) -> None:
        """Fix the shape of an example and draw the initial parameters."""
        in_shape = check_shape("in_shape", in_shape)
        self.net.out_shape(in_shape)
        self._layout = self.net.layout(in_shape)
        self.in_shape = in_shape
        self._theta = self.backend.asarray(self.net.initial(self.seed, in_shape), self.dtype)
        self._score_anew()

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
        """All parameters as one vector on the device; assign a vector of the same size to replace them."""
        self.layout  # noqa: B018 (raises where the model is not built)
        return self._theta

    @theta.setter
    def theta(self, vector: Any) -> None:
        if not hasattr(vector, "shape"):
            raise ArrayError(f"theta must be an array, got {type(vector).__name__}: wrap it, as in numpy.asarray(...)")
        if tuple(vector.shape) != (self.layout.size,):
            raise ShapeError(f"theta must have shape ({self.layout.size},), got {tuple(vector.shape)}")
        self._theta = self._place(vector, "theta")

    def _place(self, array: Any, name: str) -> Array:
        """A host array, or one of the model's own library, on the model's device and in its dtype."""
        if not str(array.dtype).endswith(FLOATS):
            raise ArrayError(f"{name} must be float32 or float64, got {array.dtype}")
        data = Dataset(array)
        check_finite(data.home, array, name, self.dtype)
        return data.on(self.backend, self.dtype, whole=True).x

    # -- data ---------------------------------------------------------------------------------------------------------

    def _check_x(self, data: Dataset) -> None:
        """Whether the examples fit the network; builds it if they are the first."""
        x = data.x if data.prepare is None else data.prepare(data.x[:1])
        shape = tuple(x.shape[1:])
        if self._layout is None:
            self.build(self.net.resolve(shape))
        elif shape != self.in_shape:
            self.net.out_shape(shape)  # names the layer that cannot take them
            raise ShapeError(f"the model takes examples of shape {self.in_shape}, got {shape}")

    def _data(
        self, x: Any, t: Any, sample_weight: Any = None, class_weight: Any = None, names: tuple[str, str] = ("x", "t")
    ) -> Dataset:
        """Checked data, on the device."""
        if t is None and (not isinstance(x, Dataset) or x.t is None):
            raise ArrayError(f"{names[1]} is missing: give inputs and targets")
        data = check_data(x, t, sample_weight, backend=self.backend, dtype=self.dtype, names=(*names, "sample_weight"))
        self._check_x(data)
        t, out_shape = data.t, self.net.out_shape(self.in_shape)  # type: ignore[arg-type]
        host = t if isinstance(t, np.ndarray) else data.home.to_numpy(t)
        self.loss.check_target(host, out_shape)
        weight = data.sample_weight
        if class_weight is not None:
            of_class = class_weights_to_sample_weights(class_weight, host)
            if weight is not None:
                of_class = of_class * data.home.to_numpy(weight)
            if not WEIGHTS[0] <= of_class.max() <= WEIGHTS[1]:
                raise OptionError(
                    f"class_weight: the largest weight of an example would be {of_class.max():.3g}: at least one must "
                    f"be positive, and only their ratios count"
                )
            weight = data.home.asarray(of_class, self.dtype)
        elif weight is not None and is_integer(weight):
            weight = data.home.asarray(data.home.to_numpy(weight), self.dtype)
        if host.dtype.kind in "iub" and self.loss.target_shape(out_shape, t.ndim) == out_shape and t.ndim > 1:
            t = data.home.asarray(host, self.dtype)  # numbers that happen to be whole, not labels
        return Dataset(data.x, t, weight, prepare=data.prepare).on(self.backend, self.dtype)

    # -- training -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        t: Any = None,
        *,
        optimizer: Optimizer | None = None,
        epochs: int = 1,
        batch_size: int | None = 32,
        validation_data: tuple[Any, Any] | Dataset | None = None,
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
        batch_size : int or None
            None takes all examples in one step, as full-batch methods need it.
        validation_data : (x, t), optional
            Adds `"val_loss"` and the metric to every epoch.
        validation_split : float
            Or this share of the examples, drawn by the seed, is kept for validation.
        sample_weight : (n,), optional
            Weight 2 counts as the example given twice.
        class_weight : dict or "balanced", optional
            A weight for each label; multiplies `sample_weight`.
        shuffle, drop_last : bool
            A new order every epoch; whether a last batch smaller than the others is left out.
        callbacks : of Callback
        resume : path, optional
            Goes on where the run stood that wrote this checkpoint; data and settings must be the same. On the CPU it
            ends bit for bit as if it had never been interrupted.
        verbose : int
            0: no progress bar.
        metrics : of str
            `("accuracy",)` or `("rmse",)` evaluates the training data too at the end of every epoch.

        Raises
        ------
        ShapeError, DataError, ArrayError, OptionError, FileError
            For what cannot be trained; the model is unchanged then.
        """
        optimizer = check_optimizer(SGD() if optimizer is None else optimizer)
        epochs = check_count("epochs", epochs)
        found = check_callbacks(callbacks)
        if validation_data is not None and validation_split:
            raise OptionError("give validation_data or validation_split, not both")
        if check_fraction("validation_split", validation_split):
            x, t, sample_weight, validation_data = self._split(x, t, sample_weight, validation_split)
        data = self._data(x, t, sample_weight, class_weight)
        held = None if validation_data is None else self._held(validation_data)
        known = metric_of(self.loss)
        metric = known and known.name
        for name in check_names("metrics", metrics):
            if name != metric:
                raise OptionError(
                    f"metrics: with {self.loss!r} there is {metric!r}, got {name!r}"
                    if metric
                    else f"metrics: {self.loss!r} has none, got {name!r}: give its class metric = (name, rule)"
                )

        whole = optimizer.full_batch and batch_size == len(data)
        feed = Feed(data, None if whole else batch_size, bool(shuffle), bool(drop_last), self.seed)
        check_batching(optimizer, self.net.stochastic, feed.batch_size, len(data))
        bound = optimizer.bind(self.layout)
        settings = self._settings(optimizer, feed)
        step = (
            FullBatchStep(self._objective(data), bound) if optimizer.full_batch else self._compiled(optimizer, settings)
        )
        theta = self.backend.asarray(self.backend.to_numpy(self.theta))  # a copy: the step may overwrite its own
        run = Run(self.backend, bound, theta, bound.init(theta), feed, epochs)
        run.callbacks = self._callbacks(found, verbose)
        validation = () if held is None else ("val_loss", f"val_{metric}") if metric else ("val_loss",)
        run.names = ("loss", *getattr(optimizer, "figures", ()), *metrics, *validation)
        run.settings = settings
        if resume is not None:
            checkpoint.restore(run, resume)

        def scores(vector: Array) -> dict[str, float]:
            own = {metric: self._scorer.scores(vector, data)[metric]} if metric and metrics else {}
            kept = {} if held is None else self._scorer.scores(vector, held)
            return own | {f"val_{name}": value for name, value in kept.items()}

        try:
            with device_memory(self.backend, feed.batch_size or len(data)):
                train(run, step, scores if metrics or held is not None else None)
        except BaseException:
            self._latest_step = None  # its buffers may be what left too little memory
            raise
        finally:
            self._theta = run.solution if run.result is None else self.backend.asarray(run.result)
        return run.history

    def _compiled(self, optimizer: Optimizer, settings: dict[str, Any]) -> Step:
        """The compiled step of this optimizer; the latest one is kept, so that the next `fit` compiles nothing."""
        # The settings tell a layer or a loss that was changed in place.
        wanted = optimizer, self.loss, {name: settings[name] for name in ("network", "loss", "layout", "seed")}
        if self._latest_step is None or self._latest_step[0] != wanted:
            step = step_on(self.backend, self.net, self.loss, optimizer, self.layout, self.seed)
            self._latest_step = wanted, self.backend.compile(step, donate=(0, 1))
        return self._latest_step[1]

    def _callbacks(self, given: list[Callback], verbose: int) -> list[Callback]:
        """In the order in which they are called: checkpoints last, since they keep what the others have made."""
        own: list[Callback] = [] if any(isinstance(c, StopOnNaN) for c in given) else [StopOnNaN()]
        bar: list[Callback] = [ProgressBar()] if verbose and not any(isinstance(c, ProgressBar) for c in given) else []
        last = [c for c in given if isinstance(c, checkpoint.Checkpoint)]
        return [*own, *(c for c in given if c not in last), *bar, *last]

    def _settings(self, optimizer: Optimizer, feed: Feed) -> dict[str, Any]:
        """What a resumed run must have in common with the one that wrote the checkpoint."""
        return {
            "network": spec.network_spec(self.net),
            "loss": spec.loss_spec(self.loss),
            "optimizer": spec.optimizer_spec(optimizer),
            "layout": [[name, list(shape)] for name, shape in self.layout.shapes.items()],
            "in_shape": list(self.in_shape or ()),
            "dtype": self.dtype,
            "seed": self.seed,
            "batch_size": feed.batch_size,
            "shuffle": feed.shuffle,
            "drop_last": feed.drop_last,
            "data": checkpoint.fingerprint(feed.data),
        }

    def _split(self, x: Any, t: Any, weight: Any, share: float) -> tuple[Any, Any, Any, tuple[Any, Any]]:
        """A share of the examples, drawn by the seed, for validation."""
        if isinstance(x, Dataset):
            raise OptionError("validation_split needs arrays, not a Dataset: give validation_data")
        data = check_data(x, t, weight, backend=self.backend)
        arrays = data.arrays
        kept, held = split(*arrays, fractions=(1.0 - share, share), seed=self.seed)
        return kept[0], kept[1], kept[2] if weight is not None else None, (held[0], held[1])

    def _held(self, given: Any) -> Dataset:
        if isinstance(given, Dataset):
            return self._data(given, None)
        if not (isinstance(given, (tuple, list)) and len(given) == 2):
            raise OptionError(f"validation_data must be (x, t), got {type(given).__name__}")
        x, t = given
        return self._data(x, t, names=("validation x", "validation t"))

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
        data = check_data(x, backend=self.backend, dtype=self.dtype)
        self._check_x(data)
        data = data.on(self.backend, self.dtype)
        return self._scorer.predict(self.theta, data, batch_size)

    def evaluate(self, x: Any, t: Any = None, sample_weight: Any = None, batch_size: int = CHUNK) -> dict[str, float]:
        """`{"loss": ..., metric: ...}` over these examples, with everything random switched off.

        The metric is that of the loss (`Loss.metric`); a loss that names none is reported alone.
        """
        batch_size = check_count("batch_size", batch_size)
        data = self._data(x, t, sample_weight)
        return self._scorer.scores(self.theta, data, batch_size)

    # -- derivatives --------------------------------------------------------------------------------------------------

    def objective(self, x: Any, t: Any = None, sample_weight: Any = None) -> Objective:
        """loss(net(theta, x), t) as a function of theta; call it with `model.theta` and ask for derivatives."""
        return self._objective(self._data(x, t, sample_weight))

    def _objective(self, data: Dataset) -> Objective:
        x, t, *weight = data.slice(0, len(data))
        return Objective(
            self.net, self.loss, x, t, *weight, backend=self.backend, layout=self.layout, training=False,
            key=Key(self.seed) if self.net.stochastic else None,
        )  # fmt: skip

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
        content = {
            "network": spec.network_spec(self.net), "loss": spec.loss_spec(self.loss), "dtype": self.dtype,
            "in_shape": list(self.in_shape or ()), "seed": self.seed,
            "layout": [[name, list(shape)] for name, shape in self.layout.shapes.items()],
        }  # fmt: skip
        tensors = self.layout.split(self.backend.to_numpy(self.theta))
        archive.write(archive.check_writable(path), KIND, tensors, content, keep_previous=False)

    def load_parameters(self, path: str | Path) -> None:
        """Take the parameters from a model file or checkpoint of the same network; the model is unchanged on error."""
        tensors, content = archive.read(path, (KIND, checkpoint.KIND))
        content = content.get("settings", content)
        if self._layout is None:
            self.build(content["in_shape"])
        mine = [[name, list(shape)] for name, shape in self.layout.shapes.items()]
        if content["layout"] != mine:
            raise FileError(
                f"{str(path)!r} holds the parameters of another network: {_rows(content['layout'])}; this one has "
                f"{_rows(mine)}"
            )
        vector = tensors["theta"] if "theta" in tensors else self.layout.join_host(tensors)
        self._theta = self.backend.asarray(vector, self.dtype)


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
    _, content = archive.read(path, (KIND, checkpoint.KIND))
    content = content.get("settings", content)
    net = spec.read_network(content["network"], classes)
    loss = spec.read_loss(content["loss"], classes)
    model = Model(
        net, loss, device, backend, dtype or content["dtype"], content["seed"], tuple(content["in_shape"]),
        matmul_precision,
    )  # type: ignore[arg-type] # fmt: skip
    model.load_parameters(path)
    return model


def _rows(layout: list[Any], limit: int = 8) -> str:
    rows = ", ".join(f"{name} {tuple(shape)}" for name, shape in layout[:limit])
    return rows + (", ..." if len(layout) > limit else "")

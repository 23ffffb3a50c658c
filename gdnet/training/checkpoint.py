"""Checkpoints: everything that a training run is, so that a killed one goes on as if nothing had happened."""

import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gdnet.backend import Backend
from gdnet.checks import check_count, check_path, is_whole
from gdnet.data.arrays import Dataset
from gdnet.errors import FileError, OptionError
from gdnet.files import archive, whole
from gdnet.files.model_file import CHECKPOINT, check
from gdnet.training.callbacks import Callback, StopTraining
from gdnet.training.history import History

if TYPE_CHECKING:
    from gdnet.training.loop import Run


ALL_NUMBERS = 2**26
"""Data of at most so many numbers are told apart by all of their rows, larger data by `ROWS` of them."""
ROWS, PIECE = 4096, 2**14
"""How many rows of large data are looked at, and how many rows are read at a time."""


class Checkpoint(Callback):
    """Writes the whole run to a file every n epochs or iterations, and at the end of training.

    Parameters
    ----------
    path : str or Path
        A `.safetensors` file. Whatever moment the machine chooses to fail at, a whole file stands there; the one
        before it is kept as `<stem>.previous.safetensors`.
    every : (n, "epoch") or (n, "iteration")

    Notes
    -----
    Go on with `model.fit(..., resume=path)`, with the same data and settings. On the CPU the end is the same bit for
    bit, with as many threads of BLAS (`OMP_NUM_THREADS`, `OPENBLAS_NUM_THREADS`) as before: another number adds up
    products in another order, and the last digits differ.

    >>> Checkpoint("run.safetensors", every=(7, "iteration")).n
    7
    """

    def __init__(self, path: str | Path, every: tuple[int, str] = (1, "epoch")) -> None:
        if not (isinstance(every, (tuple, list)) and len(every) == 2 and every[1] in ("epoch", "iteration")):
            raise OptionError(f'Checkpoint: every must be (n, "epoch") or (n, "iteration"), got {every!r}')
        self.n, self.unit = check_count("Checkpoint: every[0], which must be positive,", every[0]), every[1]
        self.path = check_path("Checkpoint: path", path)
        self.saved_at: tuple[int, int] | None = None

    @property
    def wants_iterations(self) -> bool:
        return self.unit == "iteration"

    def on_train_begin(self, run: "Run") -> None:
        whole.check_writable(self.path)
        self.saved_at = None

    def on_iteration_end(self, run: "Run") -> None:
        # The last step of an epoch is saved after the epoch's end, with what the other callbacks made of it.
        if run.steps % self.n == 0 and run.iteration < run.feed.n_batches:
            self.save(run)

    def on_epoch_end(self, run: "Run") -> None:
        due = run.epoch % self.n == 0 if self.unit == "epoch" else run.steps % self.n == 0
        if due or run.stop is not None:
            self.save(run)

    def on_train_end(self, run: "Run") -> None:
        # A run that broke off inside a step, or at the end of an epoch, is half a step ahead of what it counts.
        if not run.busy and self.saved_at != (run.epoch, run.iteration):
            self.save(run)

    def save(self, run: "Run") -> None:
        """Write the run as it stands."""
        save(run, self.path)
        self.saved_at = (run.epoch, run.iteration)


def save(run: "Run", path: str | Path) -> None:
    """Write everything that `restore` needs."""
    tensors: dict[str, np.ndarray] = {"theta": run.backend.to_numpy(run.theta), "values": run.read_values()}
    callbacks = []
    for i, callback in enumerate(_remembering(run)):
        callbacks.append([type(callback).__name__, pack(callback.state(), f"callback.{i}", tensors, run.backend)])
    state = pack(run.state, "state", tensors, run.backend)
    if run.result is not None:
        tensors["result"] = run.result
    stopped = run.stop.reason if run.stop is not None and run.stop.final else None
    content = {
        "settings": settings_of(run), "position": [run.epoch, run.iteration], "state": state,
        "callbacks": callbacks, "history": run.history.pack(), "stopped": stopped,
    }  # fmt: skip
    archive.write(path, CHECKPOINT, tensors, content)


def restore(run: "Run", path: str | Path) -> None:
    """Put a new run where the saved one stood; a `FileError` if it is a run of something else."""
    tensors, content = archive.read(path, (CHECKPOINT,))
    try:
        _restore(run, path, tensors, content)
    except FileError:
        raise
    except Exception as error:  # what is read from a file that is not as gdnet writes it
        raise FileError(f"{str(path)!r} is malformed: {type(error).__name__}: {error}; start without resume") from error


def _restore(run: "Run", path: str | Path, tensors: dict[str, np.ndarray], content: dict[str, Any]) -> None:
    check_settings(path, content["settings"], settings_of(run))
    callbacks = _remembering(run)
    kept = [(name, state) for name, state in content["callbacks"] if state != {"dict": {}}]
    names, saved = [type(c).__name__ for c in callbacks], [name for name, _ in kept]
    if names != saved:
        raise FileError(f"{str(path)!r} is of a run with the callbacks {saved}, this one has {names}: give the same")
    theta, values, result = tensors["theta"], tensors["values"], tensors.get("result")
    same_kind(path, "theta", theta, run.theta)
    same_kind(path, "result", theta if result is None else result, run.theta)
    epoch, iteration = content["position"]
    check(path, is_whole(epoch) and is_whole(iteration), "its position")
    check(path, epoch >= 0 and 0 <= iteration <= run.feed.n_batches, "its position")
    check(path, values.dtype == np.float64 and values.shape == (iteration,), "its list of losses")
    stopped = content["stopped"]
    check(path, stopped is None or isinstance(stopped, str), "its reason to stop")
    history = History.unpack(content["history"])
    check(path, history.epochs == epoch and len(history.get("loss", ())) == epoch, "its history")
    state = unpack(content["state"], run.state, tensors, run.backend, path)
    states = [unpack(state, {}, tensors, None, path) for _, state in kept]
    for callback, own in zip(callbacks, states, strict=True):
        for name, value in own.items():
            if isinstance(value, np.ndarray) and name in ("theta", "good"):
                same_kind(path, f"{name} of {type(callback).__name__}", value, run.theta)
        callback.restore(own)
    run.theta, run.state, run.values = run.backend.asarray(theta), state, values.tolist()
    run.epoch, run.iteration, run.history, run.result = epoch, iteration, history, result
    if stopped is not None:
        run.stop = StopTraining(stopped)


def same_kind(path: str | Path, what: str, saved: np.ndarray, here: Any) -> None:
    """A `FileError` unless the array in the file has the shape and the dtype of the one here."""
    dtype = str(here.dtype).rpartition(".")[2]
    if saved.shape != tuple(here.shape) or saved.dtype.name != dtype:
        raise FileError(
            f"{str(path)!r} is malformed: {what} is {saved.dtype.name} of shape {saved.shape} in it, and {dtype} of "
            f"shape {tuple(here.shape)} here"
        )


def _remembering(run: "Run") -> list[Callback]:
    """The callbacks that a resumed run must have too; a progress bar, a log or a time limit may come and go."""
    return [c for c in run.callbacks if type(c).state is not Callback.state]


def settings_of(run: "Run") -> dict[str, Any]:
    """All that a resumed run must have in common with the one that wrote the checkpoint."""
    if run.prints is None:  # read once, and only where there is a checkpoint
        held = None if run.held is None else fingerprint(run.held)
        run.prints = {"data": fingerprint(run.feed.data), "validation data": held}
    own = [[type(c).__name__, c.config()] for c in _remembering(run) if c.config()]
    return run.settings | run.prints | {"setting of callbacks": own}


def check_settings(path: str | Path, saved: dict[str, Any], now: dict[str, Any]) -> None:
    """A run goes on only with what it was started with."""
    for name in now:
        if saved.get(name) != now[name]:
            raise FileError(
                f"{str(path)!r} belongs to a run with another {name}: there {_short(saved.get(name))}, here "
                f"{_short(now[name])}. Give fit what the run was started with, or start a new one without resume"
            )


def _short(value: Any, limit: int = 300) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."


def fingerprint(data: Dataset, rows: int = ROWS) -> dict[str, Any]:
    """Length, shapes, and checksums: of every row, or of `rows` rows evenly spaced where the data are so large that
    reading them would take long.

    >>> x = np.zeros((1000, 3))
    >>> one = fingerprint(Dataset(x))
    >>> x[77, 1] = 1e-9
    >>> one == fingerprint(Dataset(x))
    False
    """
    n = len(data)
    size = sum(math.prod(a.shape) for a in data.arrays)
    everything = size <= ALL_NUMBERS and not any(isinstance(a, np.memmap) for a in data.arrays)
    index = np.unique(np.linspace(0, n - 1, n if everything else min(rows, n)).astype(np.int64))
    names = [name for name in ("x", "t", "sample_weight") if getattr(data, name) is not None]
    sums, shapes = dict.fromkeys(names, 0), {}
    for start in range(0, len(index), PIECE):
        part = slice(start, start + PIECE)
        taken = data.slice(start, min(start + PIECE, n)) if everything else data.take(index[part])
        for name, piece in zip(names, taken, strict=True):
            host = np.ascontiguousarray(data.backend.to_numpy(piece))
            sums[name], shapes[name] = zlib.crc32(host.tobytes(), sums[name]), list(host.shape[1:])
    return {"examples": n} | {name: [shapes[name], sums[name]] for name in names}


def pack(node: Any, path: str, tensors: dict[str, np.ndarray], backend: Backend) -> Any:
    """A tree of named tuples, lists, dicts, numbers and arrays as JSON; its arrays go into `tensors` by path.

    Anything else is a cache that can be worked out again, and becomes None.
    """
    if node is None or isinstance(node, (bool, int, str)) or type(node) is float:
        return {"value": node}
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        parts = {name: pack(getattr(node, name), f"{path}.{name}", tensors, backend) for name in node._fields}
        return {"named": type(node).__name__, "parts": parts}
    if isinstance(node, (tuple, list)):
        items = [pack(item, f"{path}.{i}", tensors, backend) for i, item in enumerate(node)]
        return {"list" if isinstance(node, list) else "tuple": items}
    if isinstance(node, dict):
        return {"dict": {str(k): pack(item, f"{path}.{k}", tensors, backend) for k, item in node.items()}}
    if hasattr(node, "shape") and hasattr(node, "dtype"):
        tensors[path] = np.asarray(node) if isinstance(node, (np.ndarray, np.generic)) else backend.to_numpy(node)
        return {"array": path}
    return {"value": None}


def unpack(packed: Any, like: Any, tensors: dict[str, np.ndarray], backend: Backend | None, path: Any = "") -> Any:
    """The reverse of `pack`; `like` is a fresh tree of the same kind, which knows the named tuples' classes.

    What a fresh tree has not yet, such as the pairs that L-BFGS remembers, is None or empty in it and taken as it is.
    """
    ((kind, node),) = packed.items() if "named" not in packed else (("named", packed["named"]),)
    wanted = _kind(like)
    check(path, wanted is None or kind == wanted, f"a part of its state, a {kind} for a {wanted},")
    if kind == "array":
        host = tensors[node]
        if hasattr(like, "shape") and 0 not in like.shape:
            same_kind(path, node, host, like)
        return host if backend is None else backend.asarray(host)
    if kind == "named":
        cls = type(like)
        if cls.__name__ != node or set(packed["parts"]) != set(getattr(cls, "_fields", ())):
            raise FileError(f"the optimizer's state is a {node} in the file and a {cls.__name__} here")
        parts = packed["parts"].items()
        return cls(**{k: unpack(item, getattr(like, k), tensors, backend, path) for k, item in parts})
    if kind == "dict":
        known = like if isinstance(like, dict) else {}
        return {k: unpack(item, known.get(k), tensors, backend, path) for k, item in node.items()}
    if kind in ("list", "tuple"):
        fresh = list(like or [None] * len(node))
        check(path, isinstance(node, list) and len(node) == len(fresh), "the length of a list in its state")
        found = [unpack(item, one, tensors, backend, path) for item, one in zip(node, fresh, strict=True)]
        rows = {len(row) if isinstance(row, (list, tuple)) else None for row in found}
        check(path, len(rows) < 2 or like, "the length of a row in its state")
        return found if kind == "list" else tuple(found)
    check(path, kind == "value" and (node is None or isinstance(node, (bool, int, float, str))), "its state")
    check(path, not isinstance(node, str) if _untold(like) else _number(node) == _number(like), "its state")
    return node


def _kind(like: Any) -> str | None:
    """What `pack` calls such a node; None where a fresh tree does not tell."""
    if _untold(like):
        return None
    if hasattr(like, "shape") and hasattr(like, "dtype"):
        return "array"
    if hasattr(like, "_fields"):
        return "named"
    return next(
        (name for cls, name in ((tuple, "tuple"), (list, "list"), (dict, "dict")) if isinstance(like, cls)), None
    )


def _untold(like: Any) -> bool:
    """Whether a fresh tree does not tell what will stand here: nothing, or a tuple that is empty at first."""
    return like is None or (type(like) is tuple and not like)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

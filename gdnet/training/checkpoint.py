"""Checkpoints: everything that a training run is, so that a killed one goes on as if nothing had happened."""

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gdnet.backend import Backend
from gdnet.checks import check_count, check_path
from gdnet.data.arrays import Dataset
from gdnet.errors import FileError, OptionError
from gdnet.files import archive
from gdnet.files.model_file import CHECKPOINT
from gdnet.training.callbacks import Callback, StopTraining
from gdnet.training.history import History

if TYPE_CHECKING:
    from gdnet.training.loop import Run


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
    Go on with `model.fit(..., resume=path)`, with the same data and settings.

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
        archive.check_writable(self.path)
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
        "settings": run.settings, "position": [run.epoch, run.iteration], "state": state,
        "callbacks": callbacks, "history": run.history.pack(), "stopped": stopped,
    }  # fmt: skip
    archive.write(path, CHECKPOINT, tensors, content)


def restore(run: "Run", path: str | Path) -> None:
    """Put a new run where the saved one stood; a `FileError` if it is a run of something else."""
    tensors, content = archive.read(path, (CHECKPOINT,))
    check_settings(path, content["settings"], run.settings)
    callbacks = _remembering(run)
    kept = [(name, state) for name, state in content["callbacks"] if state != {"dict": {}}]
    names, saved = [type(c).__name__ for c in callbacks], [name for name, _ in kept]
    if names != saved:
        raise FileError(f"{str(path)!r} is of a run with the callbacks {saved}, this one has {names}: give the same")
    run.theta = run.backend.asarray(tensors["theta"])
    run.state = unpack(content["state"], run.state, tensors, run.backend)
    run.values = tensors["values"].tolist()
    run.epoch, run.iteration = content["position"]
    run.history = History.unpack(content["history"])
    run.result = tensors.get("result")
    for callback, (_, state) in zip(callbacks, kept, strict=True):
        callback.restore(unpack(state, {}, tensors, None))
    if content["stopped"] is not None:
        run.stop = StopTraining(content["stopped"])


def _remembering(run: "Run") -> list[Callback]:
    """The callbacks that a resumed run must have too; a progress bar, a log or a time limit may come and go."""
    return [c for c in run.callbacks if type(c).state is not Callback.state]


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


def fingerprint(data: Dataset, rows: int = 16) -> dict[str, Any]:
    """Length, shapes, and a checksum of a few examples: enough to notice other data."""
    index = np.linspace(0, len(data) - 1, min(rows, len(data))).astype(np.int64)
    found: dict[str, Any] = {"examples": len(data)}
    names = ("x", "t", "sample_weight")
    for name, part in zip((n for n in names if getattr(data, n) is not None), data.take(index), strict=True):
        host = data.backend.to_numpy(part)
        found[name] = [list(host.shape[1:]), zlib.crc32(np.ascontiguousarray(host).tobytes())]
    return found


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


def unpack(packed: dict[str, Any], like: Any, tensors: dict[str, np.ndarray], backend: Backend | None) -> Any:
    """The reverse of `pack`; `like` is a fresh tree of the same kind, which knows the named tuples' classes."""
    if "array" in packed:
        host = tensors[packed["array"]]
        return host if backend is None else backend.asarray(host)
    if "named" in packed:
        cls = type(like)
        if cls.__name__ != packed["named"] or set(packed["parts"]) != set(getattr(cls, "_fields", ())):
            raise FileError(f"the optimizer's state is a {packed['named']} in the file and a {cls.__name__} here")
        return cls(**{k: unpack(item, getattr(like, k), tensors, backend) for k, item in packed["parts"].items()})
    if "dict" in packed:
        known = like if isinstance(like, dict) else {}
        return {k: unpack(item, known.get(k), tensors, backend) for k, item in packed["dict"].items()}
    for kind, build in (("list", list), ("tuple", tuple)):
        if kind in packed:
            size = len(packed[kind])
            fresh = [*like, *[None] * size] if isinstance(like, (list, tuple)) else [None] * size
            return build([unpack(item, fresh[i], tensors, backend) for i, item in enumerate(packed[kind])])
    return packed["value"]

"""gdnet's own training step as a candidate, on each backend that this machine has for a device."""

import importlib.util
from collections.abc import Iterable, Sequence
from typing import Any

from gdnet.backend import Backend, get_backend
from gdnet.bench.problems import Problem
from gdnet.errors import DeviceError, OptionError
from gdnet.training.step import step_on

LIBRARIES = {"cpu": ("numpy", "torch", "jax"), "cuda": ("cupy", "torch", "jax")}
"""The backends of a device; the first is the default one."""


class Unavailable(Exception):
    """A candidate that cannot run here; the message says why."""


class GdnetStep:
    """gdnet's compiled training step on one backend."""

    def __init__(self, problem: Problem, backend: Backend) -> None:
        self.problem, self.backend = problem, backend
        self.rule = problem.rule()
        net = problem.net()  # the step of `Model.fit`: on this very backend, which arrays alone do not tell
        step = step_on(backend, net, problem.loss(), self.rule, net.layout((problem.sizes[0],)), 0)
        self.step: Any = backend.compile(step, donate=(0, 1), strict=True)  # or there is nothing to compare
        self.batches = [(backend.asarray(x), backend.asarray(t)) for x, t in problem.batches()]
        self.initial = problem.theta()
        self.reset()

    def reset(self) -> None:
        self.theta = self.backend.asarray(self.initial.copy())  # a copy: the step may overwrite its arguments
        self.state = self.rule.init(self.theta)

    def run(self, steps: int) -> None:
        theta, state, step, batches = self.theta, self.state, self.step, self.batches
        value: Any = None
        for i in range(steps):
            x, t = batches[i % len(batches)]
            theta, state, value = step(theta, state, x, t)
        self.theta, self.state, self.value = theta, state, value
        wait_for(self.backend, theta)

    def follow(self, batches: Iterable[tuple[Any, ...]]) -> None:
        """One step on each of these batches."""
        for x, t in batches:
            self.theta, self.state, self.value = self.step(self.theta, self.state, x, t)
        wait_for(self.backend, self.theta)

    def loss(self) -> float:
        """The loss of the last step's batch before that step."""
        return self.backend.read(self.value)


def wait_for(backend: Backend, array: Any) -> None:
    """Until `array` is there: asynchronous libraries queue what they are asked for."""
    ready = getattr(array, "block_until_ready", None)
    if ready is not None:
        ready()
    else:
        backend.synchronize()


def kind_of(device: str) -> str:
    """ "cuda:1" -> "cuda"."""
    return device.partition(":")[0]


def backends_for(device: str, wanted: Sequence[str] | None = None) -> dict[str, Backend]:
    """The backends of a device that work here, by name; an error if one that was asked for does not."""
    own: tuple[str, ...] = LIBRARIES.get(kind_of(device), ())
    if not own:
        get_backend(device)  # which says what a device is called
    found = {}
    for name in wanted or own:
        try:
            found[name] = get_backend(device, name)
        except DeviceError:
            if wanted or name == own[0]:
                raise
    return found


def with_tf32(device: str, backends: dict[str, Backend]) -> dict[str, Backend]:
    """These backends, and CuPy's once more with TF32 products where the GPU has them: both settings in one run."""
    if "cupy" not in backends:
        return backends
    try:
        return backends | {"cupy-tf32": get_backend(device, "cupy", "tf32")}
    except OptionError:
        return backends


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None

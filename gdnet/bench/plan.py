"""Which measurements a run makes, and how long each may take."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from gdnet.backend import Backend
from gdnet.bench import fit, gradient, imports, memory, operations, scaling, steps, update
from gdnet.bench.candidates import with_tf32
from gdnet.bench.peers import missing
from gdnet.bench.problems import BATCH_SIZES, CASES, NETWORKS, OTHERS, Problem
from gdnet.bench.timing import Effort

Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    effort: Effort
    cases: tuple[Problem, ...] = CASES
    networks: tuple[Problem, ...] = NETWORKS
    batches: tuple[int, ...] = BATCH_SIZES
    optimizers: tuple[str, ...] = ("sgd", "adam")
    others: tuple[Problem, ...] = OTHERS
    other_batches: tuple[int, ...] = (1, 16, 128, 1024)
    longest: float = 1.0
    gradient_parameters: float = 1e6
    gradient_batches: tuple[int, ...] = (100, 1000)
    entries: int = 300
    update_sizes: tuple[int, ...] = (10_000_000,)
    examples: int = 60_000
    scaling_batches: tuple[int, ...] = (512, 1620, 5120, 16200, 51200)
    scaling_hidden: tuple[int, ...] = (64, 202, 640, 2020, 6400)
    repeat_imports: int = 7
    libraries: tuple[str, ...] = tuple(imports.LIBRARIES)


_SMALL = Problem((8, 50, 50, 1), "tanh", 32, "adam", name="D")
FULL = Size(Effort())
QUICK = Size(
    Effort(3, 0.01, 0.3), networks=NETWORKS[:3], batches=(1, 64, 1024), optimizers=("sgd",), longest=0.2,
    others=OTHERS[:2], other_batches=(16,),
    gradient_parameters=1e3, gradient_batches=(100,), entries=50, update_sizes=(1_000_000,), examples=12_000,
    scaling_batches=(512, 5120), scaling_hidden=(64, 640), repeat_imports=1, libraries=("gdnet", "numpy"),
)  # fmt: skip
TINY = Size(
    Effort(2, 0.0, 0.1), cases=(_SMALL,), networks=(_SMALL,), batches=(1, 8), optimizers=("sgd",), longest=0.1,
    others=(_SMALL,), other_batches=(4,),
    gradient_parameters=100, gradient_batches=(8,), entries=3, update_sizes=(1000,), examples=500,
    scaling_batches=(4, 8), scaling_hidden=(4, 8), repeat_imports=1, libraries=("gdnet",),
)  # fmt: skip
SIZES = {"full": FULL, "quick": QUICK, "tiny": TINY}


@dataclass
class Plan:
    """One run: a device, its backends, the peers, and how much."""

    device: str
    backends: dict[str, Backend]
    peers: list[str]
    size: Size
    memory_backends: list[str] = field(default_factory=list)

    @property
    def first(self) -> Backend:
        return next(iter(self.backends.values()))


def _steps(p: Plan) -> Rows:
    backends = with_tf32(p.device, p.backends)
    for problem in p.size.cases:
        yield from steps.compare(problem, backends, p.peers, p.device, p.size.effort)


def _brief(effort: Effort) -> Effort:
    """For one of many sizes."""
    return replace(effort, rounds=min(effort.rounds, 5), limit=effort.limit / 2)


def _grid(p: Plan) -> Rows:
    s = p.size
    yield from steps.grid(s.networks, s.batches, s.optimizers, p.backends, p.device, _brief(s.effort), s.longest)


def _others(p: Plan) -> Rows:
    s = p.size
    peers = [name for name in p.peers if name not in SLOW_TO_PREPARE and not missing([name])]
    for network in s.others if peers else ():
        for optimizer in s.optimizers:
            for batch in s.other_batches:
                problem = replace(network, optimizer=optimizer, batch=batch, name="")
                yield from steps.compare(problem, p.backends, peers, p.device, _brief(s.effort))


SLOW_TO_PREPARE = ("torch.compile", "torch.cudagraph")
"""Peers that compile for many seconds at every size; the named cases show them."""


def _gradient(p: Plan) -> Rows:
    s = p.size
    for backend in p.backends.values():
        yield from gradient.over_forward(s.cases, backend, p.device, s.effort)
    wanted = gradient.problems(s.gradient_parameters, s.gradient_batches)
    if s is FULL:
        wanted.append(gradient.TEXTBOOK)
    yield from gradient.against_numerical(wanted, p.first, p.device, s.effort, s.entries)


def _update(p: Plan) -> Rows:
    yield from update.updates(p.size.update_sizes, ("sgd", "adam"), p.backends, p.peers, p.device, p.size.effort)


def _fit(p: Plan) -> Rows:
    yield from fit.against_bare_step(p.backends, p.device, p.size.effort, p.size.examples)


def _scaling(p: Plan) -> Rows:
    s = p.size
    yield from scaling.scaling({p.first.name: p.first}, p.device, s.effort, s.scaling_batches, s.scaling_hidden)


def _memory(p: Plan) -> Rows:
    cases = p.size.cases if p.size is not QUICK else p.size.cases[2:3]
    yield from memory.memory(cases, p.memory_backends or list(p.backends), p.device)


def _operations(p: Plan) -> Rows:
    yield from operations.operations(p.size.cases, p.backends, p.device)


def _import(p: Plan) -> Rows:
    yield from imports.imports(p.size.repeat_imports, p.size.libraries)


SECTIONS: dict[str, Callable[[Plan], Rows]] = {
    "steps": _steps,
    "others": _others,
    "grid": _grid,
    "gradient": _gradient,
    "update": _update,
    "fit": _fit,
    "scaling": _scaling,
    "memory": _memory,
    "operations": _operations,
    "import": _import,
}
"""In the order in which they run."""

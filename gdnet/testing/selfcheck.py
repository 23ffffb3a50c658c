"""Every rule checked on one device: the user's proof that it computes there what it computes on the CPU."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, Key, get_backend
from gdnet.errors import GdnetError
from gdnet.layers import Dense, Dropout, Tanh
from gdnet.losses import CrossEntropy
from gdnet.network import Sequential
from gdnet.optimizers import FirstOrder
from gdnet.testing.cases import LAYERS
from gdnet.testing.cases_losses import LOSSES
from gdnet.testing.cases_optimizers import FIRST_ORDER
from gdnet.testing.layers import check_layer
from gdnet.testing.losses import check_loss
from gdnet.training import training_step

STEPS = 25
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}
"""Of ||θ - θ'|| / ||θ'|| after STEPS steps; θ' is NumPy's in float64. float32 loses a digit or two on the way."""


@dataclass(frozen=True)
class Result:
    """One check: what was checked, whether it held, and how well or why not."""

    kind: str
    name: str
    passed: bool
    detail: str


def run_checks(backend: Backend, dtypes: tuple[str, ...] = ("float64", "float32")) -> Iterator[Result]:
    """Check every layer, loss and first-order optimizer, the random numbers and the compiled step on this backend.

    >>> from gdnet.backend import get_backend
    >>> all(result.passed for result in run_checks(get_backend("cpu"), ("float32",)))
    True
    """
    yield _result("random", "the same bits everywhere", partial(_random, backend))
    if "float64" in dtypes:
        for layer in LAYERS:
            yield _result("layer", layer.name, partial(check_layer, layer.layer, layer.in_shape, backend=backend))
        for loss in LOSSES:
            target = loss.draw()[1]
            yield _result("loss", loss.name, partial(check_loss, loss.loss, loss.out_shape, target, backend=backend))
    for dtype in dtypes:
        for case in FIRST_ORDER:
            yield _result("optimizer", f"{case.name}, {dtype}", partial(_trajectory, backend, case.optimizer, dtype))
        yield _result("step", f"compiled, {dtype}", partial(_compiled, backend, dtype))


def _result(kind: str, name: str, check: Callable[[], object]) -> Result:
    try:
        lines = str(check()).splitlines()
        return Result(kind, name, True, lines[0] if lines else "")
    except (AssertionError, GdnetError) as error:
        return Result(kind, name, False, str(error))
    except Exception as error:  # a library's own failure is this check's failure, not the end of the others
        return Result(kind, name, False, f"{type(error).__name__}: {error}")


def _random(backend: Backend) -> str:
    key, shape = Key(3, 5).child(1), (7, 11)
    drawn = backend.to_numpy(key.uniform(backend, shape))
    assert np.array_equal(drawn, key.uniform(get_backend("cpu"), shape)), "other numbers than NumPy draws"
    return "equal"


def _train(backend: Backend, optimizer: FirstOrder, dtype: str, compiled: bool, dropout: float = 0.0) -> np.ndarray:
    """θ after STEPS steps of a small classifier on fixed data."""
    rng = np.random.default_rng(0)
    x, t = backend.asarray(rng.standard_normal((20, 6)), dtype), backend.asarray(rng.integers(0, 3, 20), "int32")
    net = Sequential(Dense(6, 5), Tanh(), Dropout(dropout), Dense(3))
    step: Any = training_step(net, CrossEntropy(), optimizer)
    step = backend.compile(step) if compiled else step
    theta: Array = net.parameters(like=x)
    state = optimizer.init(theta)
    for _ in range(STEPS):
        theta, state, _ = step(theta, state, x, t)
    return backend.to_numpy(theta)


def _distance(found: np.ndarray, expected: np.ndarray, tolerance: float) -> str:
    distance = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    assert distance <= tolerance, f"relative distance {distance:.1e} from NumPy in float64, more than {tolerance:.0e}"
    return f"relative distance {distance:.1e}"


def _trajectory(backend: Backend, optimizer: FirstOrder, dtype: str) -> str:
    found = _train(backend, optimizer, dtype, compiled=False)
    assert str(found.dtype) == dtype, f"started in {dtype}, ended in {found.dtype}"
    return _distance(found, _train(get_backend("cpu"), optimizer, "float64", compiled=False), TOLERANCE[dtype])


def _compiled(backend: Backend, dtype: str) -> str:
    from gdnet.optimizers import Adam

    eager = _train(backend, Adam(), dtype, compiled=False, dropout=0.3)
    return _distance(_train(backend, Adam(), dtype, compiled=True, dropout=0.3), eager, TOLERANCE[dtype])

"""A check of a first-order rule: the same steps on every array library, and nothing but its state in its memory."""

import contextlib
import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from gdnet.backend import backend_of
from gdnet.backend.tree import flatten, unflatten
from gdnet.errors import OptionError
from gdnet.optimizers import FirstOrder
from gdnet.testing.backends import NAMES, BackendUnderTest, backend_under_test, installed
from gdnet.testing.report import Report
from gdnet.vector import Layout

LAYOUT = Layout({"0.W": (4, 3), "0.b": (3,), "1.W": (3, 2), "1.b": (2,)})
LIBRARIES = tuple(name for name in NAMES if name != "cuda")


def check_optimizer(
    optimizer: Any,
    *,
    libraries: Iterable[str] = LIBRARIES,
    layout: Layout = LAYOUT,
    steps: int = 8,
    seed: int = 0,
    tolerance: float = 1e-10,
) -> Report:
    """Check a first-order rule in float64 on fixed gradients.

    On every library that is installed it takes NumPy's steps, reads nothing on the host, changes no argument, and can
    be traced by `jax.jit`. A run that is stopped, written down and gone on with ends at the same bits. In float32 it
    stays in float32.

    Parameters
    ----------
    optimizer : FirstOrder
        Or one that wraps a first-order optimizer and has `apply`, as `Averaged` does.
    libraries : of str
        Of `gdnet.testing.backends.NAMES`; all but `"cuda"` by default. Those that are not installed are left out.
    layout : Layout
        Names and shapes of the parameters.
    steps, seed : int
    tolerance : float
        Of the distance to NumPy's parameters, relative to the largest of them.

    Returns
    -------
    Report

    Raises
    ------
    CheckFailed
        An `AssertionError` that names the comparison.

    >>> from gdnet.optimizers import Adam
    >>> bool(check_optimizer(Adam(clip_norm=1.0, weight_decay=0.1), libraries=["numpy"]))
    True
    """
    report = Report(repr(optimizer), tolerance)
    rng = np.random.default_rng(seed)
    start, gradients = rng.standard_normal(layout.size), rng.standard_normal((steps, layout.size))
    numpy = _Run(optimizer, layout, backend_under_test("numpy"), "float64")
    plain = numpy.after(start, gradients)
    for name in libraries:
        if not installed(name):
            continue
        run = _Run(optimizer, layout, backend_under_test(name), "float64")
        report.compare(f"steps on {name}", run.after(start, gradients), plain)
        if name == "jax":
            import jax

            run.apply = jax.jit(run.apply)
            report.compare("steps traced by jax.jit", run.after(start, gradients), plain)
    stopped = numpy.after(start, gradients, stop=steps // 2)
    report.require(
        "a run that is resumed ends at the same bits", np.array_equal(stopped, plain),
        "it does not: something beside the state is remembered from step to step",
    )  # fmt: skip
    single = _Run(optimizer, layout, backend_under_test("numpy"), "float32").after(start, gradients)
    report.require("float32 stays float32", single.dtype == np.float32, f"it became {single.dtype}")
    if isinstance(optimizer, FirstOrder) and not dataclasses.is_dataclass(optimizer.lr):
        with contextlib.suppress(OptionError):  # a rule may say that nobody sets its rate
            found = optimizer.lr_of(optimizer.with_lr(optimizer.init(start), 0.5))
            report.require("the learning rate can be set", found == 0.5, f"set to 0.5 it is {found}")
    return report.checked()


class _Run:
    """An optimizer on one library, in one dtype."""

    def __init__(self, optimizer: Any, layout: Layout, bk: BackendUnderTest, dtype: str) -> None:
        self.optimizer, self.layout, self.bk, self.dtype = optimizer, layout, bk, dtype
        self.rule = self._fresh()
        self.apply: Any = self.rule.apply

    def _fresh(self) -> Any:
        """The optimizer made again from its options, as another process would make it."""
        given: Any = self.optimizer
        again = dataclasses.replace(given) if hasattr(given, "__dataclass_fields__") else given
        return again.bind(self.layout)

    def after(self, start: np.ndarray, gradients: np.ndarray, stop: int | None = None) -> np.ndarray:
        """The parameters after these gradients; at step `stop` the state goes to the host and into a fresh rule."""
        put = self.bk.put
        theta: Any = put(start, self.dtype)
        state, apply = self.rule.init(theta), self.apply
        rows = [put(row, self.dtype) for row in gradients]
        for i, row in enumerate(rows):
            if i == stop:
                leaves, form = flatten(state)
                host = [self.bk.get(leaf) for leaf in leaves]
                state, theta = unflatten(form, iter([put(leaf) for leaf in host])), put(self.bk.get(theta))
                apply = self._fresh().apply
            with self.bk.no_host_reads() if i else contextlib.nullcontext():
                theta, state = apply(row, state, theta)
        return backend_of(theta).to_numpy(theta)

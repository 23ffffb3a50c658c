"""The chains that gdnet's own steps make on the CPU, and `whole.h`, which holds each of them as one compiled loop.

After a change to an optimizer, an activation or the compiler's passes, write the header again and compile it:

    python -m gdnet.testing.whole_chains
    pip install -e .

It stands here, and not in the compiler's folder, since it needs layers and optimizers, which a backend must not import.
"""

import functools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from gdnet.backend import get_backend
from gdnet.backend.numpy.compiler import chain, links
from gdnet.backend.numpy.compiler.chain import ChainKernel
from gdnet.layers import Dense, Elementwise, ReLU, Sigmoid, SiLU, Tanh
from gdnet.losses import SquaredError
from gdnet.network import Sequential
from gdnet.optimizers import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Lion,
    Momentum,
    NAdam,
    Nesterov,
    Optimizer,
    RMSProp,
    Rprop,
)
from gdnet.training.step import training_step

HEADER = Path(chain.__file__).with_name("whole.h")
TOP = """\
/* The chains of gdnet's optimizers and activations, each as one loop; written by python -m gdnet.testing.whole_chains.
   WHOLE(index, how many operands X, numbers N and results Y there are, what is done to one element). A comment names
   the activation or the optimizer with which a step first made the chain. */
"""
RULES: dict[str, Optimizer] = {
    **{kind.__name__: kind(lr=0.01) for kind in (SGD, Momentum, Nesterov, AdaGrad, RMSProp, Adam, AdamW, NAdam, Lion)},
    "Rprop": Rprop(),
    **{f"{kind.__name__}, weight decay": kind(lr=0.01, weight_decay=1e-3) for kind in (SGD, Momentum, Adam)},
}
"""The optimizers whose updates are compiled whole."""
ACTIVATIONS: tuple[type[Elementwise], ...] = (ReLU, Tanh, Sigmoid, SiLU)


def traced(activation: type[Elementwise], rule: Any) -> list[ChainKernel]:
    """The chains of a training step."""
    made: list[ChainKernel] = []

    def noted(*args: Any) -> ChainKernel:
        made.append(ChainKernel(*args))
        return made[-1]

    net = Sequential(Dense(8, 50), activation(), Dense(50, 3))
    step = get_backend().compile(training_step(net, SquaredError(), rule), donate=(0, 1), strict=True)
    x, t = np.random.default_rng(0).random((32, 8), np.float32), np.ones((32, 3), np.float32)
    theta = net.parameters(like=x)
    state = rule.init(theta)
    with mock.patch.object(links, "ChainKernel", noted):
        for _ in range(3):
            theta, state, _ = step(theta, state, x, t)
    return made


@functools.cache
def chains() -> dict[str, tuple[str, ChainKernel]]:
    """By its formula, every chain of more than one operation that can be one loop, and whose it is."""
    users: dict[str, Callable[[], list[ChainKernel]]] = {}
    users |= {kind.__name__: partial(traced, kind, SGD(lr=0.01)) for kind in ACTIVATIONS}
    users |= {name: partial(traced, ReLU, rule) for name, rule in RULES.items()}
    found: dict[str, tuple[str, ChainKernel]] = {}
    for user, trace in users.items():
        for kernel in trace():
            if kernel.formula is not None and len(kernel.calls) > 1:
                found.setdefault(kernel.formula.text, (user, kernel))
    return found


def header() -> str:
    """What `whole.h` should hold."""
    text = TOP
    for k, (user, kernel) in enumerate(chains().values()):
        f = kernel.formula
        assert f is not None
        statements = f.text.replace("; ", ";\n    ")
        counts = f"{len(f.arrays)}, {len(f.numbers)}, {len(f.results)}"
        text += f"\nWHOLE({k}, {counts}, /* {user} */\n    {statements})\n"
    return text


if __name__ == "__main__":
    if chain.compiled is None:
        raise SystemExit(
            "chains are joined in another way without the compiled loops: install a C compiler, then gdnet"
        )
    HEADER.write_text(header())

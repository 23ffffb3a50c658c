"""What is trained in a benchmark: a network, a batch, an optimizer; weights and data that every candidate shares."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

import gdnet as gd
from gdnet.errors import OptionError

ACTIVATIONS = {"sigmoid": gd.Sigmoid, "relu": gd.ReLU, "tanh": gd.Tanh}
OPTIMIZERS = {"sgd": (gd.SGD, 0.01), "adam": (gd.Adam, 0.001)}
BATCHES_BYTES = 1 << 26
"""Up to four different batches are visited in turn, where they take no more than this."""


@dataclass(frozen=True)
class Problem:
    """A dense network trained on random data: classes from logits, or numbers where there is one output.

    >>> p = Problem((784, 50, 10), batch=100)
    >>> p.parameters, p.label
    (39760, '784-50-10 sigmoid, batch 100, SGD')
    """

    sizes: tuple[int, ...]
    activation: str = "sigmoid"
    batch: int = 100
    optimizer: str = "sgd"
    dtype: str = "float32"
    name: str = ""

    @property
    def label(self) -> str:
        sizes = "-".join(map(str, self.sizes))
        return f"{sizes} {self.activation}, batch {self.batch}, {OPTIMIZERS[self.optimizer][0].__name__}"

    @property
    def classes(self) -> bool:
        """Whether the targets are labels."""
        return self.sizes[-1] > 1

    @property
    def parameters(self) -> int:
        return sum(i * o + o for i, o in pairwise(self.sizes))

    @property
    def lr(self) -> float:
        return OPTIMIZERS[self.optimizer][1]

    @property
    def flops(self) -> int:
        """Multiplications and additions of a step's matrix products."""
        products = [i * o for i, o in pairwise(self.sizes)]
        return 2 * self.batch * (3 * sum(products) - products[0])

    @property
    def activations(self) -> int:
        """Numbers that a forward pass makes: the output of every layer, activations included."""
        return self.batch * (2 * sum(self.sizes[1:-1]) + self.sizes[-1])

    # -- the same for every candidate ---------------------------------------------------------------------------------

    def net(self) -> gd.Sequential:
        layers: list[Any] = []
        for i, o in pairwise(self.sizes):
            layers += [gd.Dense(i, o), ACTIVATIONS[self.activation]()]
        return gd.Sequential(*layers[:-1])

    def loss(self) -> Any:
        return gd.CrossEntropy() if self.classes else gd.SquaredError()

    def rule(self) -> Any:
        return OPTIMIZERS[self.optimizer][0](lr=self.lr)

    def theta(self) -> np.ndarray:
        """The initial parameters as one vector."""
        return self.net().initial(seed=0).astype(self.dtype)

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The same, as (W, b) of each dense layer, W of shape (in, out)."""
        windows = list(self.net().layout().split(self.theta()).values())
        return [(W.copy(), b.copy()) for W, b in zip(windows[::2], windows[1::2], strict=True)]

    def batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """A few mini-batches (x, t); labels are int32, other targets have the shape of the outputs."""
        rng = np.random.default_rng(0)
        one = self.batch * self.sizes[0] * np.dtype(self.dtype).itemsize
        count = max(1, min(4, BATCHES_BYTES // max(one, 1)))
        return [self._batch(rng) for _ in range(count)]

    def _batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = rng.standard_normal((self.batch, self.sizes[0]), dtype=np.float32).astype(self.dtype)
        if self.classes:
            return x, rng.integers(0, self.sizes[-1], self.batch).astype(np.int32)
        return x, rng.standard_normal((self.batch, self.sizes[-1])).astype(self.dtype)


CASES = (
    Problem((784, 50, 10), "sigmoid", 100, "sgd", name="A"),
    Problem((784, 256, 128, 10), "relu", 128, "adam", name="B"),
    Problem((784, 1024, 1024, 10), "relu", 512, "adam", name="C"),
    Problem((8, 50, 50, 1), "tanh", 32, "adam", name="D"),
)

NETWORKS = (
    Problem((8, 50, 50, 1), "tanh"),
    Problem((784, 50, 10), "sigmoid"),
    Problem((784, 256, 128, 10), "relu"),
    Problem((784, 1024, 1024, 10), "relu"),
    Problem((784, 4096, 4096, 10), "relu"),
)
OTHERS = (*NETWORKS[:4], Problem((20, 200, 200, 200, 3), "tanh"))
"""Networks that are compared with the peers at batch sizes and optimizers other than those of the named cases."""
BATCH_SIZES = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)


def parse_sizes(text: str) -> tuple[int, ...]:
    """ "784-50-10" as (784, 50, 10).

    >>> parse_sizes("784-50-10")
    (784, 50, 10)
    """
    if not re.fullmatch(r"[1-9]\d*(-[1-9]\d*)+", text):
        raise OptionError(f'a network is written as its layer sizes, such as "784-50-10"; got {text!r}')
    return tuple(int(k) for k in text.split("-"))


def sizes_text(sizes: Sequence[int]) -> str:
    return "-".join(map(str, sizes))

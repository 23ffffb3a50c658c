"""What `gdnet train` learns from: three parts of the data, the loss that fits them, and the scales of the columns."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import gdnet as gd
from gdnet import data
from gdnet.data import Standardizer, Table
from gdnet.errors import OptionError

FRACTIONS = (0.7, 0.15, 0.15)
"""Of a table's examples: to train, to validate during training, to test at the end."""
HELD = 0.15
"""Of the training examples of digits and mnist, whose test part is fixed: to validate."""
_DIGITS_LOST = 1e-3
"""How much of a feature's spread may be lost to rounding before a word is said."""

Pair = tuple[np.ndarray, np.ndarray]


@dataclass
class Problem:
    """Data in their own units, and how to bring them to the network's.

    `of_x` and `of_t` standardise features and targets, with the statistics of the training part; None leaves them as
    they are. Everything is float64 until it has been standardised, since float32 has seven digits: dates in seconds,
    or frequencies in hertz, would all be equal.
    """

    train: Pair
    validation: Pair
    test: Pair
    outputs: int
    classes: list[str]
    features: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    of_x: Standardizer | None = None
    of_t: Standardizer | None = None

    @property
    def loss(self) -> Any:
        return gd.CrossEntropy() if self.classes else gd.SquaredError()

    def scaled(self, pair: Pair, dtype: str) -> Pair:
        """The pair as the network gets it."""
        x, t = pair
        x = x if self.of_x is None else self.of_x.transform(x)
        t = t if self.of_t is None else self.of_t.transform(t)
        return x.astype(dtype, copy=False), t if self.classes else t.astype(dtype, copy=False)

    def folded(self, theta: np.ndarray, layout: Any) -> np.ndarray:
        """Parameters for raw features and raw targets: the scales go into the first and the last layer, in float64.

        ((x - mean) / std) W + b = x (W / std) + (b - (mean / std) W), and (h W + b) std + mean = h (W std) + (b std +
        mean).
        """
        windows = dict(layout.split(np.asarray(theta, dtype=np.float64)))
        if self.of_x is not None:
            W, b, mean, std = windows["0.W"], windows["0.b"], self.of_x.mean, self.of_x.std
            windows |= {"0.W": W / std[:, None], "0.b": b - (mean / std) @ W}  # type: ignore[index, operator]
        if self.of_t is not None:
            last = list(windows)[-1].removesuffix(".b")
            W, b, std = windows[f"{last}.W"], windows[f"{last}.b"], self.of_t.std
            windows |= {f"{last}.W": W * std, f"{last}.b": b * std + self.of_t.mean}
        return layout.join_host(windows)

    def lost_digits(self) -> list[str]:
        """Words about columns whose mean is so large beside their spread that a dtype cannot hold both."""
        found = []
        for names, scale in ((self.features, self.of_x), (self.targets, self.of_t)):
            if scale is None:
                continue
            ratio = np.abs(scale.mean) / scale.std  # type: ignore[arg-type, operator]
            for dtype, cure in (
                ("float64", "subtract a constant from it in the table"),
                ("float32", "the saved model is in float64 and should stay so"),
            ):
                bad = ratio * np.finfo(dtype).eps > _DIGITS_LOST
                if bad.any():
                    j = int(np.argmax(ratio))
                    more = f" and {int(bad.sum()) - 1} more" if bad.sum() > 1 else ""
                    found.append(
                        f"the mean of {names[j]}{more} is {ratio[j]:.1g} times its spread, too much for {dtype}: {cure}"
                    )
                    break
        return found


def load(options: argparse.Namespace) -> Problem:
    """The data that the command line names."""
    if options.data in ("digits", "mnist"):
        (x, t), test = data.load_digits() if options.data == "digits" else data.load_mnist(options.folder)
        x, held_x, t, held_t = data.train_test_split(x, t, test_size=HELD, seed=options.seed, stratify=t)
        return Problem((x, t), (held_x, held_t), test, 10, [str(i) for i in range(10)])  # pixels are on one scale
    table = _table(options)
    labels = table.class_names
    if len(table.x) < 7:
        raise OptionError(f"{options.data}: {len(table.x)} examples are too few for training, validation and test: 7")
    parts = data.split(table.x, table.t, fractions=FRACTIONS, seed=options.seed, stratify=table.t if labels else None)
    train, validation, test = ((x, t) for x, t in parts)
    problem = Problem(
        train, validation, test, len(labels) or train[1].shape[1], labels, table.feature_names, table.target_names,
        table.notes, Standardizer().fit(train[0]), None if labels else Standardizer().fit(train[1]),
    )  # fmt: skip
    missing = set(range(len(labels))) - set(train[1].tolist()) if labels else set()
    if missing:
        problem.notes.append(f"no training example has the class {', '.join(labels[i] for i in sorted(missing))}")
    return problem


def _table(options: argparse.Namespace) -> Table:
    path = Path(options.data)
    how = {"task": options.task, "features": options.features, "drop": options.drop, "missing": options.missing}
    if options.target:
        how["target"] = options.target if len(options.target) > 1 else options.target[0]
    if path.suffix == ".npz":
        return data.tables.table_of_arrays(path, *data.read_npz(path), **how)
    if not path.exists() and path.suffix not in (".csv", ".tsv"):
        raise OptionError(f'data must be "digits", "mnist", or the file of a table (.csv, .npz), got {options.data!r}')
    return data.read_table(
        path, decimal=options.decimal, sep=options.sep, header=options.header, encoding=options.encoding, **how
    )

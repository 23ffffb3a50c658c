"""UCI regressions on fixed splits: one network of 50 hidden units by second-order methods, beside Adam's.

    OMP_NUM_THREADS=1 python -m benchmarks.uci --json benchmarks/results/uci.json
    OMP_NUM_THREADS=1 python -m benchmarks.uci --choose          # how the recipe was chosen; reads no test row

Inputs and target are standardised on the training rows; the error is in the target's own units. All methods train the
same network (50 tanh units, float64) from the same start, with one recipe for all sets:

    BayesianRegularization   all training rows, BAYES_STEPS steps, nothing held out
    LevenbergMarquardt       a tenth of the training rows held out, the best parameters by it
    Adam                     the same, in mini-batches

`--choose` is how the number of steps and Adam's rate were chosen: a tenth of the training rows of some splits stands in
for the test rows, which are not read. (What is a training row in one split is a test row in another: with four
candidates of one number, common to all sets, that tells next to nothing.) Times are CPU seconds. The sets are read from
$GDNET_DATA/uci, or from ../shared/data/uci beside the repository. Progress goes to stderr.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gdnet as gd
from gdnet.bench.environment import environment

DATA = Path(os.environ.get("GDNET_DATA", Path(__file__).parents[2] / "shared" / "data")) / "uci"
HIDDEN = 50
HELD = 0.1
"""The share of the training rows that early stopping, and `--choose`, hold out."""
SPLITS = {"yacht": 20, "energy": 20, "concrete": 20, "power-plant": 5, "kin8nm": 5}
"""Splits run by default: all of the small sets, the first of the large ones."""

BARS = {
    "yacht": {"back-propagation 2015": 1.182, "dropout-trained net 2018, no averaging": 1.23},
    "energy": {"back-propagation 2015": 1.098, "dropout-trained net 2018, no averaging": 0.97},
    "concrete": {"back-propagation 2015": 5.977, "dropout-trained net 2018, no averaging": 5.45},
    "power-plant": {"back-propagation 2015": 4.182, "dropout-trained net 2018, no averaging": 4.18},
    "kin8nm": {"back-propagation 2015": 0.091, "dropout-trained net 2018, no averaging": 0.0916},
}
"""Published test RMSE of plain single networks of 50 hidden units: the row "BP" of Hernandez-Lobato and Adams (2015),
and the mean of the per-split test errors without averaging in the files of yaringal/DropoutUncertaintyExps."""

BAYES_STEPS = 50
LM = {"epochs": 200, "patience": 20}
ADAM = {"lr": 1e-3, "batch_size": 32, "epochs": 2000, "patience": 200}


class Rows(NamedTuple):
    """Standardised training rows, raw test rows, and the scales between them."""

    x: np.ndarray
    t: np.ndarray
    test_x: np.ndarray
    test_t: np.ndarray
    scale_x: Any
    scale_t: Any

    def rmse(self, model: gd.Model, x: np.ndarray, t: np.ndarray) -> float:
        """Of raw rows, in the units of the target."""
        found = self.scale_t.inverse(model.predict(self.scale_x.transform(x)))
        return float(np.sqrt(np.mean((found - t) ** 2)))


def rows(name: str, split: int, choosing: bool = False) -> Rows:
    """One split; for choosing, a part of its training rows takes the place of the test rows, which are not used."""
    entry = json.loads((DATA / "uci.json").read_text())["sets"][name]
    data = np.loadtxt(DATA / entry["file"])
    test = np.loadtxt(DATA / entry["test_indices"], dtype=int)[split]
    train = np.setdiff1d(np.arange(len(data)), test)
    if choosing:
        order = np.random.default_rng(split).permutation(train)
        cut = round(HELD * len(order))
        test, train = order[:cut], order[cut:]
    x, t = data[:, entry["features"]], data[:, [entry["target"]]]
    scale_x, scale_t = gd.data.Standardizer().fit(x[train]), gd.data.Standardizer().fit(t[train])
    return Rows(scale_x.transform(x[train]), scale_t.transform(t[train]), x[test], t[test], scale_x, scale_t)


def network(seed: int) -> gd.Model:
    net = gd.Sequential(gd.Dense(HIDDEN), gd.Tanh(), gd.Dense(1))
    return gd.Model(net, loss=gd.SquaredError(), dtype="float64", seed=seed)


def bayes(r: Rows, seed: int, steps: int = BAYES_STEPS, **given: Any) -> tuple[gd.Model, gd.History]:
    """All training rows, no validation rows: the evidence chooses the weight decay."""
    model = network(seed)
    history = model.fit(r.x, r.t, optimizer=gd.BayesianRegularization(), epochs=steps, batch_size=None, verbose=0,
                        **given)  # fmt: skip
    return model, history


def stopped_early(
    optimizer: Any, r: Rows, seed: int, batch_size: int | None, epochs: int, patience: int
) -> tuple[gd.Model, gd.History]:
    """Nine tenths of the training rows; the best parameters by the last tenth."""
    model = network(seed)
    history = model.fit(r.x, r.t, optimizer=optimizer, epochs=epochs, batch_size=batch_size, validation_split=HELD,
                        callbacks=[gd.EarlyStopping(patience=patience)], verbose=0)  # fmt: skip
    return model, history


def adam(r: Rows, seed: int, **changes: Any) -> tuple[gd.Model, gd.History]:
    options = ADAM | changes
    return stopped_early(gd.Adam(lr=options.pop("lr")), r, seed, **options)


def levenberg_marquardt(r: Rows, seed: int) -> tuple[gd.Model, gd.History]:
    return stopped_early(gd.LevenbergMarquardt(), r, seed, None, **LM)


METHODS: dict[str, Callable[[Rows, int], tuple[gd.Model, gd.History]]] = {
    "BayesianRegularization": bayes, "LevenbergMarquardt": levenberg_marquardt, "Adam": adam,
}  # fmt: skip


def measure(name: str, splits: int, methods: dict[str, Callable] = METHODS) -> dict[str, Any]:
    """Mean test error and seconds of each method over the first splits of a set, taking turns."""
    found: dict[str, Any] = {label: {"rmse": [], "seconds": [], "epochs": []} for label in methods}
    for split in range(splits):
        r = rows(name, split)
        for label, method in methods.items():
            began = time.process_time()
            model, history = method(r, split)
            row = found[label]
            row["seconds"].append(round(time.process_time() - began, 3))
            row["epochs"].append(len(history["loss"]))
            row["rmse"].append(r.rmse(model, r.test_x, r.test_t))
            note(f"{name} {split}: {label} {row['rmse'][-1]:.4f}, {row['epochs'][-1]} epochs, {row['seconds'][-1]} s")
    for row in found.values():
        row["mean"], row["error"] = float(np.mean(row["rmse"])), standard_error(row["rmse"])
        row["mean_seconds"] = float(np.mean(row["seconds"]))
    bar = min(BARS[name].values())
    entry = json.loads((DATA / "uci.json").read_text())["sets"][name]
    return {
        "set": name, "rows": entry["rows"], "features": len(entry["features"]), "splits": splits, "methods": found,
        "bar": bar, "bars": BARS[name], "published": entry["published_test_rmse"],
        "reached": found["BayesianRegularization"]["mean"] < bar,
    }  # fmt: skip


def standard_error(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def choose(names: list[str], splits: int) -> dict[str, Any]:
    """Validation errors of the candidates, as parts of the target's spread; test rows are left alone."""
    found: dict[str, dict[str, Any]] = {}

    def keep(name: str, label: str, errors: list[float], began: float) -> None:
        mean, seconds = float(np.mean(errors)), (time.process_time() - began) / splits
        found.setdefault(label, {})[name] = {"rmse/std": round(mean, 4), "seconds": round(seconds, 2)}
        note(f"{name}: {label} {mean:.4f}, {seconds:.2f} s")

    for name in names:
        parts = [rows(name, split, choosing=True) for split in range(splits)]
        held = [(r.scale_x.transform(r.test_x), r.scale_t.transform(r.test_t)) for r in parts]
        began = time.process_time()
        paths = [bayes(r, k, 200, validation_data=h)[1]["val_rmse"] for k, (r, h) in enumerate(zip(parts, held))]
        for steps in (25, 50, 100, 200):
            keep(name, f"BayesianRegularization, {steps} steps", [p[min(steps, len(p)) - 1] for p in paths], began)
        began = time.process_time()
        errors = [r.rmse(levenberg_marquardt(r, k)[0], r.test_x, r.test_t) / r.scale_t.std for k, r in enumerate(parts)]
        keep(name, "LevenbergMarquardt, stopped early", [float(e[0]) for e in errors], began)
        for lr in (1e-3, 3e-3, 1e-2):
            began = time.process_time()
            errors = [r.rmse(adam(r, k, lr=lr)[0], r.test_x, r.test_t) / r.scale_t.std for k, r in enumerate(parts)]
            keep(name, f"Adam(lr={lr:g}), stopped early", [float(e[0]) for e in errors], began)
    for label, row in found.items():
        row["geometric mean"] = round(math.exp(np.mean([math.log(row[name]["rmse/std"]) for name in names])), 4)
        note(f"{label}: geometric mean {row['geometric mean']}")
    return found


def note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sets", default=",".join(SPLITS))
    parser.add_argument("--splits", type=int, help="at most so many of each set")
    parser.add_argument("--choose", action="store_true", help="compare recipes on a part of the training rows")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the data sets are not in {DATA}: set GDNET_DATA to the folder that holds uci/")
    names = options.sets.split(",")
    recipe = {"hidden": HIDDEN, "activation": "tanh", "bayes_steps": BAYES_STEPS, "lm": LM, "adam": ADAM, "held": HELD}
    if options.choose:
        results: Any = choose(names, options.splits or 2)
    else:
        results = []
        for name in names:
            results.append(r := measure(name, min(SPLITS[name], options.splits or 20)))
            line = ", ".join(f"{k} {m['mean']:.4f} ({m['mean_seconds']:.1f} s)" for k, m in r["methods"].items())
            print(f"{r['set']:12s} {r['splits']:3d} splits: {line}; bar {r['bar']}")
    text = json.dumps({"environment": environment(), "recipe": recipe, "results": results}, indent=1)
    if options.json:
        options.json.write_text(text + "\n")
    elif options.choose:
        print(text)


if __name__ == "__main__":
    main()

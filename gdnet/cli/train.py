"""`gdnet train`: a network of dense layers on a table, from the file to a model, a history and a picture."""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import gdnet as gd
from gdnet.checks import check_count
from gdnet.cli.problem import FRACTIONS, Problem, load
from gdnet.errors import OptionError
from gdnet.report import metrics

ACTIVATIONS = ("relu", "sigmoid", "tanh", "gelu", "silu", "elu", "selu", "softplus", "leakyrelu")
OPTIMIZERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "nadam", "lion")
MOST_PARAMETERS = 2**31
"""More are taken for a slip of the keyboard."""

TEXTS: dict[str, Any] = {
    "help": "train a network on digits, mnist, or a table of yours",
    "description": "Train a network of dense layers. Of a table's examples "
    f"{FRACTIONS[0]:.0%} train, {FRACTIONS[1]:.0%} draw the learning curve (validation), and {FRACTIONS[2]:.0%} give "
    "the figures printed at the end (test). What is found out about the table is printed, and the option that says "
    "otherwise.",
    "epilog": "A table is a text file with one example a line (.csv, .tsv, .txt, .gz), an Excel or Parquet file if "
    'pandas is installed, or an .npz file with the arrays "x" (one example a row) and "t" (the targets), or "X" and '
    '"y". Text targets, and whole numbers with few different values, are classes; columns of text become one column '
    "of 0 and 1 for each category. Features and fitted targets are standardised during training, so the losses of a "
    "regression are in units of the target's variance; the saved model takes and gives the table's own units.",
}


def add_arguments(train: argparse.ArgumentParser) -> None:
    train.add_argument("data", nargs="?", help='"digits" (default), "mnist", or the file of a table')
    train.add_argument("--folder", help="where the MNIST files are (else GDNET_DATA, a cache, or a download)")
    table = train.add_argument_group("the table")
    table.add_argument("--task", choices=["regression", "classification"], help="default: by the target's values")
    several: dict[str, Any] = {"nargs": "+", "action": "extend"}
    table.add_argument("--target", **several, metavar="COLUMN",
                       help="columns of the targets, by name or by number from 0 (default: the last)")  # fmt: skip
    table.add_argument(
        "--features", **several, metavar="COLUMN", help="columns that are features (default: all others)"
    )
    table.add_argument("--drop", **several, default=[], metavar="COLUMN", help="columns to be left out")
    table.add_argument("--missing", choices=["error", "drop", "mean"], default="error",
                       help="what to do where values are missing: refuse the table (default), leave out the row, or "
                       "put in the mean of the feature")  # fmt: skip
    table.add_argument("--decimal", choices=[".", ","], help="the decimal mark (default: found out)")
    table.add_argument("--sep", help="the separator, such as ';' or tab (default: found out)")
    table.add_argument("--header", action=argparse.BooleanOptionalAction,
                       help="whether the first line holds names (default: found out)")  # fmt: skip
    table.add_argument("--encoding", help="such as cp1252 (default: UTF-8, else cp1252)")
    fit = train.add_argument_group("the training")
    fit.add_argument("--hidden", nargs="*", default=["100"], metavar="SIZE",
                     help="sizes of the hidden layers (default 100)")  # fmt: skip
    fit.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="of the hidden layers (default relu)")
    fit.add_argument("--optimizer", choices=OPTIMIZERS, default="adam", help="default adam")
    fit.add_argument("--lr", type=float, help="learning rate (default: the optimizer's own)")
    fit.add_argument("--epochs", type=int, default=30, help="passes over the training data in all (default 30)")
    fit.add_argument("--batch-size", type=int, default=32, help="examples a step (default 32)")
    fit.add_argument("--patience", type=int, help="stop after so many epochs without a lower validation loss, and "
                     "take the best epoch (default: never)")  # fmt: skip
    fit.add_argument("--class-weight", choices=["balanced"], help="rare classes count as much as frequent ones")
    fit.add_argument("--seed", type=int, default=0, help="of the split, the initial weights and the order (default 0)")
    fit.add_argument("--out", default="gdnet-run", help="folder for what is written, in place of an earlier run's "
                     "(default gdnet-run)")  # fmt: skip
    fit.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out; other options as "
                     "in the run that wrote it, only --epochs may grow")  # fmt: skip
    fit.add_argument("--quiet", action="store_true", help="no progress bar")
    fit.add_argument("--dtype", choices=["float32", "float64"], default="float32",
                     help="of the training (default float32); the model of a table is saved in float64")  # fmt: skip
    fit.add_argument("--matmul-precision", choices=["highest", "tf32"], default="highest",
                     help='"tf32": products of float32 on the tensor cores of an NVIDIA GPU, faster and with about '
                     "three digits (default highest)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    check_count("seed", options.seed, least=0)
    _give_back_the_file(options)
    sizes = [_size(text) for text in options.hidden]
    problem = load(options)
    out = Path(options.out)
    model = _model(options, problem, sizes, options.dtype, options.device, options.backend, options.matmul_precision)
    optimizers = {name.lower(): getattr(gd, name) for name in dir(gd) if name.lower() in OPTIMIZERS}
    chosen = optimizers[options.optimizer]
    optimizer = chosen() if options.lr is None else chosen(lr=options.lr)
    weight = {}
    if options.class_weight:
        if not problem.classes:
            raise OptionError("--class-weight is for classes, and this is a regression")
        weight = {"class_weight": options.class_weight}
    _make_folder(out)
    for note in problem.notes + problem.lost_digits():
        print(note)
    print(f"{model.net}: {model.layout.size} parameters, {model.backend.name} on {model.backend.device}")
    print(
        f"{len(problem.train[0])} examples to train, {len(problem.validation[0])} to validate (the learning curve), "
        f"{len(problem.test[0])} to test (the figures below)"
    )
    checkpoint = out / "checkpoint.safetensors"
    callbacks: list[Any] = [gd.CSVLog(out / "history.csv"), gd.Checkpoint(checkpoint, every=(1, "epoch"))]
    if problem.of_x is not None:
        callbacks.insert(0, Standardised())
    if options.patience is not None:
        callbacks.insert(0, gd.EarlyStopping(options.patience))
    history = model.fit(
        *problem.scaled(problem.train, options.dtype), optimizer=optimizer, epochs=options.epochs,
        batch_size=min(options.batch_size, len(problem.train[0])), verbose=0 if options.quiet else 1,
        validation_data=problem.scaled(problem.validation, options.dtype), callbacks=callbacks,
        resume=checkpoint if options.resume else None, **weight,
    )  # fmt: skip
    theta = model.backend.to_numpy(model.theta)
    if problem.of_x is not None:  # only float64 holds the scales and the weights in one number
        model = _model(options, problem, sizes, "float64", "cpu", None, "highest")
        theta = problem.folded(theta, model.layout)
    model.theta = model.backend.asarray(theta, model.dtype)
    model.save(out / "model.safetensors")
    scores = _scores(model, problem)
    if problem.of_t is not None:
        print("losses in history.csv are in units of the target's variance, val_rmse in its standard deviation")
    ended = f"all {options.epochs} epochs" if history.stop_reason == "epochs" else f"stopped: {history.stop_reason}"
    print("  ".join(f"test {name} {value:.4g}" for name, value in scores.items()) + f"  ({ended})")
    if problem.classes:
        _print_classes(model, problem)
    names = [] if problem.of_x is None else [_describe(problem, scores, out)]
    checkpoints = sorted(path.name for path in out.glob("checkpoint*.safetensors"))
    written = ["model.safetensors", *names, *checkpoints, "history.csv", _picture(history, out, options.data)]
    print(f"in {out}: {', '.join(w for w in written if w)}")
    return 0


class Standardised(gd.Callback):
    """Marks checkpoints as those of a network that takes standardised features: `gd.load` refuses them."""

    def on_train_begin(self, run: Any) -> None:
        run.settings["standardised"] = True


def _give_back_the_file(options: argparse.Namespace) -> None:
    """The file's name, if an option that takes several values has swallowed it, as in --hidden 64 64 table.csv."""
    if options.data is None:
        for values in (options.hidden, options.drop, options.features, options.target):
            last = values[-1] if values else ""
            if last in ("digits", "mnist") or Path(last).suffix in (".csv", ".tsv", ".npz") or Path(last).is_file():
                options.data = values.pop()
                break
    options.data = options.data or "digits"


def _size(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise OptionError(f"--hidden takes whole numbers, got {text!r}")
    return int(text)


def _model(
    options: argparse.Namespace,
    problem: Problem,
    sizes: list[int],
    dtype: str,
    device: str,
    backend: Any,
    precision: str,
) -> Any:
    """A network of dense layers for this problem."""
    activation = {name.lower(): getattr(gd, name) for name in dir(gd) if name.lower() in ACTIVATIONS}
    he = options.activation in ("relu", "leakyrelu", "elu", "gelu", "silu")
    widths = [problem.train[0].shape[1], *sizes, problem.outputs]
    count = sum((a + 1) * b for a, b in pairwise(widths))
    if count > MOST_PARAMETERS:
        raise OptionError(f"--hidden {' '.join(map(str, sizes))} makes {count:.2g} parameters: take smaller layers")
    layers: list[Any] = []
    for size in sizes:
        layers += [
            gd.Dense(size, init=gd.he_normal() if he else gd.glorot_uniform()),
            activation[options.activation](),
        ]
    return gd.Model(
        gd.Sequential(*layers, gd.Dense(problem.outputs)), loss=problem.loss, device=device, backend=backend,
        dtype=dtype, seed=options.seed, in_shape=problem.train[0].shape[1:], matmul_precision=precision,
    )  # fmt: skip


def _scores(model: Any, problem: Problem) -> dict[str, float]:
    """Figures of the test part, in the target's units, of the model as it is saved."""
    x, t = problem.test
    if problem.classes:
        return model.evaluate(x, t)
    y = model.backend.to_numpy(model.predict(x))
    return {name: getattr(metrics, name)(t, y) for name in ("rmse", "mae", "r2")}


def _print_classes(model: Any, problem: Problem) -> None:
    """The share that is right without looking, and what share of each class is found."""
    x, t = problem.test
    shares = np.bincount(problem.train[1], minlength=len(problem.classes))
    usual = int(np.argmax(shares))
    print(f"base rate {np.mean(t == usual):.4g}: what always answering {problem.classes[usual]!r} would reach")
    if len(problem.classes) <= 20:
        y = np.argmax(model.backend.to_numpy(model.predict(x)), axis=1)
        matrix = metrics.confusion_matrix(t, y, num_classes=len(problem.classes))
        found = [
            f"{name} {row[i]} of {row.sum()}"
            for i, (name, row) in enumerate(zip(problem.classes, matrix, strict=True))
            if row.sum()
        ]
        print(f"found of each class: {', '.join(found)}")


def _describe(problem: Problem, scores: dict[str, float], out: Path) -> str:
    """Write what the columns of the model's input and output are; the file's name."""
    described = {
        "features": problem.features, "targets": problem.targets, "classes": problem.classes, "notes": problem.notes,
        "test": {name: value if np.isfinite(value) else None for name, value in scores.items()},
        "gdnet": gd.__version__,
    }  # fmt: skip
    (out / "table.json").write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return "table.json"


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OptionError(
            f"the folder {str(out)!r} cannot be made: {getattr(error, 'strerror', None) or error}"
        ) from error


def _picture(history: Any, out: Path, title: str) -> str:
    from gdnet.report.plots import learning_curve

    try:
        return learning_curve(history, out / "learning-curve.png", Path(title).name).name
    except OptionError as error:
        print(f"no picture: {error}")
        return ""

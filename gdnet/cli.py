"""The command line: gdnet info | train | check | bench."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gdnet as gd
from gdnet.backend.info import describe_devices, describe_libraries
from gdnet.backend.numpy.blas import blas_advice, blas_text
from gdnet.checks import check_count
from gdnet.errors import GdnetError, OptionError
from gdnet.report.metrics import r2
from gdnet.report.tables import table

ACTIVATIONS = ("relu", "sigmoid", "tanh", "gelu", "silu", "elu", "selu", "softplus", "leakyrelu")
OPTIMIZERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "nadam", "lion")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors of gdnet's own end as one line on stderr and status 1."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except GdnetError as error:
        print(f"gdnet {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"gdnet {options.command}: interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    from gdnet.bench import command as bench_command

    top = argparse.ArgumentParser(prog="gdnet", description="Neural networks by gradient descent on any array library.")
    top.add_argument("--version", action="version", version=f"gdnet {gd.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="what is installed, which devices work, and why others do not")
    info.set_defaults(run=run_info)

    text = "check every layer, loss and first-order optimizer on a device, against float64 on the CPU"
    check = commands.add_parser("check", help=text, description=text)
    check.add_argument("--verbose", action="store_true", help="a line for every rule, not only for those that fail")
    check.set_defaults(run=run_check)

    train = commands.add_parser(
        "train", help="train a network on digits, mnist, or a .csv or .npz file of yours",
        description="Train a network of dense layers; a fifth of a file's examples is kept for validation and test. "
        "Targets that are whole numbers from 0 and smaller than the number of examples are class labels; all others "
        "are numbers to be fitted.",
        epilog="A .csv file holds one example a line, with or without a line of column names. A .npz file holds the "
        'arrays "x" (one example a row) and "t" (the targets). Features and fitted targets are standardised during '
        "training, so the losses of a regression are in units of the target's variance; the saved model takes and "
        "gives the file's own units.",
    )  # fmt: skip
    train.add_argument("data", nargs="?", default="digits", help='"digits" (default), "mnist", or a .csv or .npz file')
    train.add_argument("--folder", help="where the MNIST files are (else GDNET_DATA, a cache, or a download)")
    train.add_argument("--target", help="the target's column in a .csv file (name, or number from 0; default: last)")
    train.add_argument("--hidden", type=int, nargs="*", default=[100], help="sizes of the hidden layers (default 100)")
    train.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="of the hidden layers (default relu)")
    train.add_argument("--optimizer", choices=OPTIMIZERS, default="adam", help="default adam")
    train.add_argument("--lr", type=float, help="learning rate (default: the optimizer's own)")
    train.add_argument("--epochs", type=int, default=30, help="passes over the training data in all (default 30)")
    train.add_argument("--batch-size", type=int, default=32, help="examples a step (default 32)")
    train.add_argument(
        "--seed", type=int, default=0, help="of the split, the initial weights and the order (default 0)"
    )
    train.add_argument("--out", default="gdnet-run", help="folder for what is written, in place of an earlier run's "
                       "(default gdnet-run)")  # fmt: skip
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out; other options as "
                       "in the run that wrote it, only --epochs may grow")  # fmt: skip
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    train.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="default float32")
    train.add_argument("--matmul-precision", choices=["highest", "tf32"], default="highest",
                       help='"tf32": products of float32 on the tensor cores of an NVIDIA GPU, faster and with about '
                       "three digits (default highest)")  # fmt: skip
    train.set_defaults(run=run_train)

    for command in (check, train):
        command.add_argument("--device", default="cpu", help='"cpu", "cuda" or "cuda:N" (default cpu)')
        command.add_argument("--backend", choices=["numpy", "cupy", "torch", "jax"],
                             help="array library (default numpy on the CPU, cupy on cuda)")  # fmt: skip

    bench = commands.add_parser("bench", help="time training here, and where a network trains fastest")
    bench_command.add_arguments(bench)
    bench.set_defaults(run=bench_command.run)
    return top


def run_info(options: argparse.Namespace) -> int:
    print(f"gdnet {gd.__version__}, Python {sys.version.split()[0]}\n")
    print(table(["device", ""], describe_devices()) + "\n")
    print(table(["library", ""], [*describe_libraries(), ("blas", blas_text())]))
    if advice := blas_advice():
        print(f"\n{advice}")
    return 0


def run_check(options: argparse.Namespace) -> int:
    from gdnet.testing.selfcheck import run_checks

    backend = gd.get_backend(options.device, options.backend)
    print(f"checking every rule on {backend.name}, {backend.device}")
    start, failed, count = time.perf_counter(), 0, 0
    for result in run_checks(backend):
        count += 1
        failed += not result.passed
        if options.verbose or not result.passed:
            print(f"{'ok  ' if result.passed else 'FAIL'}  {result.kind:<10} {result.name:<40} {result.detail}")
    print(f"{count - failed} of {count} checks passed in {time.perf_counter() - start:.1f} s")
    return 1 if failed else 0


def run_train(options: argparse.Namespace) -> int:
    check_count("seed", options.seed, least=0)
    train, test, loss, outputs, scales = _load(options)
    out = Path(options.out)
    model = gd.Model(
        _network(options, outputs), loss=loss, device=options.device, backend=options.backend, dtype=options.dtype,
        seed=options.seed, in_shape=train[0].shape[1:], matmul_precision=options.matmul_precision,
    )  # fmt: skip
    optimizers = {name.lower(): getattr(gd, name) for name in dir(gd) if name.lower() in OPTIMIZERS}
    chosen = optimizers[options.optimizer]
    optimizer = chosen() if options.lr is None else chosen(lr=options.lr)
    _make_folder(out)
    print(f"{model.net}: {model.layout.size} parameters, {model.backend.name} on {model.backend.device}")
    print(f"{len(train[0])} examples to train, {len(test[0])} to validate and test")
    checkpoint = out / "checkpoint.safetensors"
    history = model.fit(
        *_scaled(scales, train), optimizer=optimizer, epochs=options.epochs,
        batch_size=min(options.batch_size, len(train[0])), validation_data=_scaled(scales, test),
        verbose=0 if options.quiet else 1,
        callbacks=[gd.CSVLog(out / "history.csv"), gd.Checkpoint(checkpoint, every=(1, "epoch"))],
        resume=checkpoint if options.resume else None,
    )  # fmt: skip
    model.theta = _with_scales(model, scales)
    model.save(out / "model.safetensors")
    scores = model.evaluate(*test)
    if isinstance(loss, gd.SquaredError):
        scores["r2"] = r2(test[1], model.backend.to_numpy(model.predict(test[0])))
    ended = f"all {options.epochs} epochs" if history.stop_reason == "epochs" else f"stopped: {history.stop_reason}"
    print("  ".join(f"test {name} {value:.4g}" for name, value in scores.items()) + f"  ({ended})")
    checkpoints = sorted(path.name for path in out.glob("checkpoint*.safetensors"))
    written = ["model.safetensors", *checkpoints, "history.csv", _picture(history, out, options.data)]
    print(f"in {out}: {', '.join(w for w in written if w)}")
    return 0


Scales = tuple[Any, Any]
"""Standardizers of the features and of the targets; None leaves either as it is."""


def _load(options: argparse.Namespace) -> tuple[tuple[Any, Any], tuple[Any, Any], Any, int, Scales]:
    """Training and test data, the loss that fits them, the number of outputs, and how to standardise."""
    from gdnet import data

    if options.data in ("digits", "mnist"):
        train, test = data.load_digits() if options.data == "digits" else data.load_mnist(options.folder)
        return train, test, gd.CrossEntropy(), 10, (None, None)  # pixels are on one scale already
    path = Path(options.data)
    if path.suffix not in (".csv", ".npz"):
        raise OptionError(f'data must be "digits", "mnist", or a .csv or .npz file, got {options.data!r}')
    column = -1 if options.target is None else int(options.target) if options.target.isdigit() else options.target
    read: Any = data.read_csv(path, target=column) if path.suffix == ".csv" else data.read_npz(path)
    x, t = read[0].astype(options.dtype), read[1]
    labels = t.ndim == 1 and np.issubdtype(t.dtype, np.integer) and bool(t.min() >= 0 and t.max() < len(t))
    if not labels:
        t = t.reshape(len(t), -1).astype(options.dtype)
    train_x, test_x, train_t, test_t = data.train_test_split(
        x, t, test_size=0.2, seed=options.seed, stratify=t if labels else None
    )
    train, test, scale = (train_x, train_t), (test_x, test_t), data.Standardizer().fit(train_x)
    if labels:
        return train, test, gd.CrossEntropy(), int(t.max()) + 1, (scale, None)
    return train, test, gd.SquaredError(), t.shape[1], (scale, data.Standardizer().fit(train_t))


def _scaled(scales: Scales, pair: tuple[Any, Any]) -> tuple[Any, ...]:
    return tuple(array if scale is None else scale.transform(array) for scale, array in zip(scales, pair, strict=True))


def _with_scales(model: Any, scales: Scales) -> Any:
    """Parameters with the standardising folded into the first and the last layer: the saved model takes raw features
    and gives raw targets.

    ((x - mean) / std) W + b = x (W / std) + (b - (mean / std) W), and (h W + b) std + mean = h (W std) + (b std + mean)
    """
    of_x, of_t = scales
    windows = dict(model.layout.split(np.asarray(model.backend.to_numpy(model.theta), dtype=np.float64)))
    if of_x is not None:
        W, b = windows["0.W"], windows["0.b"]
        windows |= {"0.W": W / of_x.std[:, None], "0.b": b - (of_x.mean / of_x.std) @ W}
    if of_t is not None:
        last = list(windows)[-1].removesuffix(".b")
        W, b = windows[f"{last}.W"], windows[f"{last}.b"]
        windows |= {f"{last}.W": W * of_t.std, f"{last}.b": b * of_t.std + of_t.mean}
    return model.backend.asarray(model.layout.join_host(windows), model.dtype)


def _network(options: argparse.Namespace, outputs: int) -> Any:
    activation = {name.lower(): getattr(gd, name) for name in dir(gd) if name.lower() in ACTIVATIONS}
    he = options.activation in ("relu", "leakyrelu", "elu", "gelu", "silu")
    layers: list[Any] = []
    for size in options.hidden:
        layers += [
            gd.Dense(size, init=gd.he_normal() if he else gd.glorot_uniform()),
            activation[options.activation](),
        ]
    return gd.Sequential(*layers, gd.Dense(outputs))


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"the folder {str(out)!r} cannot be made: {error.strerror}") from error


def _picture(history: Any, out: Path, title: str) -> str:
    from gdnet.report.plots import learning_curve

    try:
        return learning_curve(history, out / "learning-curve.png", title).name
    except OptionError as error:
        print(f"no picture: {error}")
        return ""


if __name__ == "__main__":
    sys.exit(main())

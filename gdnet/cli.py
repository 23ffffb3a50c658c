"""The command line: gdnet info | train | check."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gdnet as gd
from gdnet.backend.info import describe_devices, describe_libraries
from gdnet.errors import GdnetError, OptionError
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
    top = argparse.ArgumentParser(prog="gdnet", description="Neural networks by gradient descent on any array library.")
    top.add_argument("--version", action="version", version=f"gdnet {gd.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="what is installed, which devices work, and why others do not")
    info.set_defaults(run=run_info)

    check = commands.add_parser("check", help="check every layer, loss and optimizer on a device")
    check.add_argument("--verbose", action="store_true", help="a line for every rule, not only for those that fail")
    check.set_defaults(run=run_check)

    train = commands.add_parser("train", help="train a network on digits, mnist, or a .csv or .npz file of yours")
    train.add_argument("data", nargs="?", default="digits", help='"digits" (default), "mnist", or a .csv or .npz file')
    train.add_argument("--folder", help="where the MNIST files are (else GDNET_DATA, a cache, or a download)")
    train.add_argument("--target", help="the target's column in a .csv file (name or number; default: the last)")
    train.add_argument("--hidden", type=int, nargs="*", default=[100], help="sizes of the hidden layers (default 100)")
    train.add_argument("--activation", choices=ACTIVATIONS, default="relu")
    train.add_argument("--optimizer", choices=OPTIMIZERS, default="adam")
    train.add_argument("--lr", type=float, help="learning rate (default: the optimizer's own)")
    train.add_argument("--epochs", type=int, default=30)
    train.add_argument("--batch-size", type=int, default=32)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--out", default="gdnet-run", help="folder for model, history and picture (default gdnet-run)")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder --out")
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    train.set_defaults(run=run_train)

    for command in (check, train):
        command.add_argument("--device", default="cpu", help='"cpu", "cuda" or "cuda:N" (default cpu)')
        command.add_argument("--backend", choices=["numpy", "cupy", "torch", "jax"], help="array library")
        command.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    return top


def run_info(options: argparse.Namespace) -> int:
    print(f"gdnet {gd.__version__}, Python {sys.version.split()[0]}\n")
    print(table(["device", ""], describe_devices()) + "\n")
    print(table(["library", ""], describe_libraries()))
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
    train, test, loss, outputs, scale = _load(options)
    out = Path(options.out)
    model = gd.Model(
        _network(options, outputs), loss=loss, device=options.device, backend=options.backend, dtype=options.dtype,
        seed=options.seed, in_shape=train[0].shape[1:],
    )  # fmt: skip
    optimizers = {name.lower(): getattr(gd, name) for name in dir(gd) if name.lower() in OPTIMIZERS}
    chosen = optimizers[options.optimizer]
    optimizer = chosen() if options.lr is None else chosen(lr=options.lr)
    _make_folder(out)
    print(f"{model.net}\n{model.layout.size} parameters, {len(train[0])} examples, {model.backend.name}")
    checkpoint = out / "checkpoint.safetensors"
    history = model.fit(
        *_scaled(scale, train), optimizer=optimizer, epochs=options.epochs,
        batch_size=min(options.batch_size, len(train[0])), validation_data=_scaled(scale, test),
        verbose=0 if options.quiet else 1,
        callbacks=[gd.CSVLog(out / "history.csv"), gd.Checkpoint(checkpoint, every=(1, "epoch"))],
        resume=checkpoint if options.resume else None,
    )  # fmt: skip
    if scale is not None:
        model.theta = _with_scale(model, scale)
    model.save(out / "model.safetensors")
    scores = model.evaluate(*test)
    print("  ".join(f"test {name} {value:.4f}" for name, value in scores.items()) + f"  ({history.stop_reason})")
    written = ["model.safetensors", "history.csv", _picture(history, out, options.data)]
    print(f"in {out}: {', '.join(w for w in written if w)}")
    return 0


def _load(options: argparse.Namespace) -> tuple[tuple[Any, Any], tuple[Any, Any], Any, int, Any]:
    """Training and test data, the loss that fits them, the number of outputs, and how to standardise the features."""
    from gdnet import data

    if options.data in ("digits", "mnist"):
        train, test = data.load_digits() if options.data == "digits" else data.load_mnist(options.folder)
        return train, test, gd.CrossEntropy(), 10, None  # pixels are on one scale already
    path = Path(options.data)
    if path.suffix not in (".csv", ".npz"):
        raise OptionError(f'data must be "digits", "mnist", or a .csv or .npz file, got {options.data!r}')
    column = -1 if options.target is None else int(options.target) if options.target.isdigit() else options.target
    read: Any = data.read_csv(path, target=column) if path.suffix == ".csv" else data.read_npz(path)
    x, t = read[0].astype(options.dtype), read[1]
    labels = np.issubdtype(t.dtype, np.integer) and t.ndim == 1
    t = t if labels or t.ndim > 1 else t[:, None]
    train_x, test_x, train_t, test_t = data.train_test_split(
        x, t, test_size=0.2, seed=options.seed, stratify=t if labels else None
    )
    loss, outputs = (gd.CrossEntropy(), int(t.max()) + 1) if labels else (gd.SquaredError(), t.shape[1])
    return (train_x, train_t), (test_x, test_t), loss, outputs, data.Standardizer().fit(train_x)


def _scaled(scale: Any, pair: tuple[Any, Any]) -> tuple[Any, Any]:
    return pair if scale is None else (scale.transform(pair[0]), pair[1])


def _with_scale(model: Any, scale: Any) -> Any:
    """Parameters with the standardising folded into the first layer, so that the saved model takes raw features.

    ((x - mean) / std) W + b = x (W / std) + (b - (mean / std) W)
    """
    windows = model.layout.split(np.asarray(model.backend.to_numpy(model.theta), dtype=np.float64))
    W, b = windows["0.W"], windows["0.b"]
    folded = {**windows, "0.W": W / scale.std[:, None], "0.b": b - (scale.mean / scale.std) @ W}
    return model.backend.asarray(model.layout.join_host(folded), model.dtype)


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

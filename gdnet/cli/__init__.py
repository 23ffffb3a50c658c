"""The command line: gdnet info | train | check | bench."""

import argparse
import os
import sys
import time
from collections.abc import Sequence

import gdnet as gd
from gdnet.backend.info import describe_devices, describe_libraries
from gdnet.backend.numpy.blas import blas_advice, blas_text
from gdnet.errors import GdnetError
from gdnet.report.tables import table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors of gdnet's own end as one line on stderr and status 1."""
    if hasattr(sys.stdout, "reconfigure"):  # names of columns may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            status = _run(arguments)
        finally:
            sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read the output has seen enough
        _close_output()
        return 141
    except OSError as error:
        _close_output()
        print(f"gdnet: {error.strerror or error}", file=sys.stderr)
        return 1


def _close_output() -> None:
    """What is left to write goes nowhere, so that Python does not try once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except GdnetError as error:
        print(f"gdnet {options.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"gdnet {options.command}: not enough memory ({error}): take smaller layers", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"gdnet {options.command}: interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    from gdnet.bench import command as bench_command
    from gdnet.cli import train

    top = argparse.ArgumentParser(prog="gdnet", description="Neural networks by gradient descent on any array library.")
    top.add_argument("--version", action="version", version=f"gdnet {gd.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="what is installed, which devices work, and why others do not")
    info.set_defaults(run=run_info)

    text = "check every layer, loss and first-order optimizer on a device, against float64 on the CPU"
    check = commands.add_parser("check", help=text, description=text)
    check.add_argument("--verbose", action="store_true", help="a line for every rule, not only for those that fail")
    check.set_defaults(run=run_check)

    trainer = commands.add_parser("train", **train.TEXTS)
    train.add_arguments(trainer)
    trainer.set_defaults(run=train.run)

    for command in (check, trainer):
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

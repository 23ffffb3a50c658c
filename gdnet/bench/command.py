"""`gdnet bench`: run the suite, print a table, write JSON; or advise on one network."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gdnet.backend import devices
from gdnet.backend.numpy.blas import blas_advice
from gdnet.bench import advice, results
from gdnet.bench.candidates import LIBRARIES, backends_for, kind_of
from gdnet.bench.peers import missing, peers_of
from gdnet.bench.plan import SECTIONS, SIZES, Plan
from gdnet.bench.problems import ACTIVATIONS, OPTIMIZERS, Problem, parse_sizes
from gdnet.bench.summary import summary
from gdnet.errors import OptionError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gdnet bench`."""
    parser.add_argument("--device", default="cpu", help='"cpu", "cuda" or "cuda:N" (default cpu)')
    parser.add_argument("--backend", help='array libraries, such as "numpy,jax" (default: all that work; the first '
                        "with --quick)")  # fmt: skip
    parser.add_argument("--against", default="", help='peers in the same run: "torch,jax,sklearn"')
    parser.add_argument("--only", default="", help=f"parts to run, of {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="a first look in about 10 seconds")
    parser.add_argument("--json", metavar="FILE", help="write all rows, hardware and versions to this file")
    parser.add_argument("--plots", metavar="FOLDER", help="write pictures to this folder (needs matplotlib)")
    parser.add_argument("--results", metavar="FILE", action="append", default=[],
                        help="a results file of another machine, for --advise and --plots")  # fmt: skip
    parser.add_argument("--advise", metavar="SIZES", help='where to train a network such as "784-50-10"')
    parser.add_argument("--batch", type=int, default=100, help="batch size for --advise (default 100)")
    parser.add_argument("--activation", choices=sorted(ACTIVATIONS), default="relu", help="for --advise")
    parser.add_argument("--optimizer", choices=sorted(OPTIMIZERS), default="adam", help="for --advise")


def run(options: argparse.Namespace) -> int:
    """Do what the options say; 0 where all went well."""
    others = [results.read(path) for path in options.results]
    if options.advise:
        return _advise(options, others)
    size = getattr(options, "size", None) or ("quick" if options.quick else "full")
    plan = make_plan(options.device, options.backend, options.against, size)
    wanted = [part.strip() for part in options.only.split(",") if part.strip()] or list(SECTIONS)
    if unknown := [part for part in wanted if part not in SECTIONS]:
        raise OptionError(f"--only takes a comma list of {', '.join(SECTIONS)}; got {', '.join(unknown)}")
    if options.json:
        check_writable(options.json)
    settings = {"device": options.device, "backends": list(plan.backends), "peers": plan.peers, "size": size,
                "sections": wanted, "effort": vars(plan.size.effort)}  # fmt: skip

    def save(sections: results.Sections) -> None:
        if options.json:  # after each section: a run that is cut off keeps what it has
            results.write(results.document(sections, settings), options.json)

    sections = measure(plan, wanted, save)
    for line in missing(plan.peers):
        print(f"not compared with {line}")
    if kind_of(options.device) == "cpu" and (faster := blas_advice()):
        print(faster)
    print(summary(sections))
    if options.plots:
        from gdnet.bench.plots import draw

        draw([results.document(sections, settings), *others], options.plots)
    return 0


def make_plan(device: str, backend: str | None, against: str, size: str) -> Plan:
    """Backends and peers for a device and a size; quick runs leave out what takes long to load or compile."""
    small = size != "full"
    names = [part for part in (backend or "").split(",") if part] or None
    backends = backends_for(device, names or (LIBRARIES.get(kind_of(device), ())[:1] if small else None))
    peers = peers_of(against, kind_of(device))
    if small and "torch.compile" not in against:
        peers = [name for name in peers if name != "torch.compile"]
    chosen = SIZES[size]
    if small and peers:
        chosen = replace(
            chosen, libraries=(*chosen.libraries, *(m for m in ("torch", "jax", "sklearn") if m in against))
        )
    return Plan(device, backends, peers, chosen)


def measure(
    plan: Plan, wanted: list[str], save: Callable[[results.Sections], Any] = lambda sections: None
) -> results.Sections:
    """The rows of each section. A terminal shows what is being measured; a log gets one line a section."""
    from tqdm import tqdm

    sections: results.Sections = {}
    with tqdm(bar_format="[{elapsed}] {desc}", leave=False, disable=None) as line:  # None: on a terminal only
        started = time.perf_counter()
        for name in wanted:
            if line.disable:
                print(f"[{time.perf_counter() - started:6.1f} s] {name}", file=sys.stderr, flush=True)
            line.set_description_str(name)
            sections[name] = []
            for row in SECTIONS[name](plan):
                sections[name].append(row)
                shown = [str(row[key]) for key in ("network", "batch", "optimizer", "candidate") if key in row]
                line.set_description_str(" ".join([f"{name}:", *shown]))
            save(sections)
    return sections


def _advise(options: argparse.Namespace, others: list[dict[str, Any]]) -> int:
    if options.batch < 1:
        raise OptionError(f"--batch must be at least 1, got {options.batch}")
    problem = Problem(parse_sizes(options.advise), options.activation, options.batch, options.optimizer)
    found = [d for d in devices() if d in ("cpu", "cuda:0")]
    wanted = [part for part in (options.backend or "").split(",") if part] or None
    effort = SIZES[getattr(options, "size", None) or "quick"].effort
    rows = advice.measure(problem, found, wanted, effort)
    lines = advice.advise(problem, rows, others)
    print("\n".join([*lines, *filter(None, [blas_advice()])]))
    if options.json:
        settings = {"device": "cuda" if len(found) > 1 else "cpu", "advise": options.advise, "batch": options.batch}
        results.write(results.document({"grid": rows}, settings), options.json)
    return 0


def check_writable(path: str) -> None:
    """An error now rather than after an hour."""
    folder = Path(path).resolve().parent
    if not folder.is_dir():
        raise OptionError(f"--json: there is no folder {str(folder)!r}")


def main(arguments: list[str] | None = None) -> int:
    """`gdnet bench` without the other commands."""
    parser = argparse.ArgumentParser(prog="gdnet bench", description="Time training, and find where it is fastest.")
    add_arguments(parser)
    return run(parser.parse_args(arguments))

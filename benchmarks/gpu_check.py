"""Everything that needs a GPU, in one command of less than eight minutes:

    python -m benchmarks.gpu_check --out gpu-run

It runs the parts below one after the other, shows their lines as they come, with the seconds since its start, and
stops a part that takes longer than its limit. A part that fails does not end the run; the exit status tells whether all
went well. The folder then holds each part's output and the results files for `python -m benchmarks.page`.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
TOTAL = 480
"""Seconds that all limits together may come to."""


class Part(NamedTuple):
    """One command, after `python -m`; `{out}` and `{device}` are filled in."""

    name: str
    limit: float
    command: str


BENCH = "gdnet.cli bench --quick --device {device} --json {out}/"
PARTS = (
    Part("info", 20, "gdnet.cli info"),
    Part("check", 80, "gdnet.cli check --device {device}"),
    Part("tests", 150, "pytest tests -m gpu --require-cuda -n 8 -p no:cacheprovider --tb=short"),
    Part("steps", 90, BENCH + "bench_steps.json --only steps,operations --against torch,jax"),
    Part("updates", 60, BENCH + "bench_updates.json --only update --against torch,jax"),
    Part("fit", 80, BENCH + "bench_fit.json --only fit,grid,gradient"),
)


def run(part: Part, command: Sequence[str], out: Path, started: float) -> str:
    """Run one part and show its lines; "" where it went well, else what happened."""
    began = time.perf_counter()
    log = out / f"{part.name}.txt"
    late = threading.Event()
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            [sys.executable, "-u", "-m", *command], cwd=ROOT, text=True, errors="replace", start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        ) as process,
    ):  # fmt: skip

        def stop() -> None:
            late.set()
            os.killpg(process.pid, signal.SIGKILL)  # with what it has started, test workers for example

        timer = threading.Timer(part.limit, stop)
        timer.start()
        try:
            for line in process.stdout or ():
                print(f"[{time.perf_counter() - started:5.0f} s] {part.name}: {line.rstrip()}", flush=True)
                kept.write(line)
            code = process.wait()
        finally:
            timer.cancel()
    spent = time.perf_counter() - began
    trouble = f"stopped after {part.limit:.0f} s" if late.is_set() else f"exit status {code}" if code else ""
    print(f"[{time.perf_counter() - started:5.0f} s] {part.name}: {trouble or 'ok'} ({spent:.0f} s)", flush=True)
    return trouble


def main(arguments: Sequence[str] | None = None, parts: Sequence[Part] = PARTS) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-run"), help="folder for output and results")
    parser.add_argument("--device", default="cuda", help='"cuda", "cuda:1"; "cpu" to try the script itself')
    parser.add_argument("--only", default="", help=f"a comma list of {', '.join(part.name for part in parts)}")
    options = parser.parse_args(arguments)
    wanted = [name for name in options.only.split(",") if name] or [part.name for part in parts]
    if unknown := set(wanted) - {part.name for part in parts}:
        parser.error(f"--only takes a comma list of {', '.join(p.name for p in parts)}; got {', '.join(unknown)}")
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    started, failed = time.perf_counter(), {}
    for part in parts:
        if part.name not in wanted:
            continue
        command = [word.format(out=out, device=options.device) for word in part.command.split()]
        if trouble := run(part, command, out, started):
            failed[part.name] = trouble
    for name, trouble in failed.items():
        print(f"FAILED {name}: {trouble}, see {out / name}.txt", flush=True)
    print(f"{len(wanted) - len(failed)} of {len(wanted)} parts went well in {time.perf_counter() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

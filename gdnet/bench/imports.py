"""What it costs to have a library: seconds of its import, bytes of its installation with all that it depends on."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from gdnet.bench.candidates import installed

LIBRARIES = {
    "gdnet": ("gdnet", "import gdnet"),
    "numpy": ("numpy", "import numpy"),
    "sklearn": ("scikit-learn", "import sklearn.neural_network"),
    "jax": ("jax", "import jax.numpy"),
    "torch": ("torch", "import torch"),
}
"""Module -> (distribution, the import that a training script begins with)."""


def imports(repeat: int, names: Sequence[str] = tuple(LIBRARIES)) -> Iterator[dict[str, Any]]:
    """One row a library that is installed: the best of `repeat` processes, less an empty one's time, in turns."""
    known = {module: entry for module, entry in LIBRARIES.items() if module in names and installed(module)}
    times: dict[str, list[float]] = {name: [] for name in ("", *known)}
    for _ in range(repeat):
        for name in times:
            times[name].append(seconds_of(known[name][1] if name else "pass"))
    for name, (distribution, statement) in known.items():
        found = closure(distribution)
        yield {
            "candidate": name,
            "statement": statement,
            "seconds": max(min(times[name]) - min(times[""]), 0.0),
            "bytes": sum(size_of(d) for d in found),
            "own_bytes": size_of(distribution),
            "distributions": sorted(found),
        }


def seconds_of(statement: str) -> float:
    """Seconds of a new interpreter that does this and ends."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def closure(distribution: str) -> set[str]:
    """A distribution and all that it requires here, without extras.

    >>> sorted(closure("numpy"))
    ['numpy']
    """
    found: set[str] = set()
    waiting = [distribution]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # required on other systems only
        found.add(name)
        for line in required:
            own, _, marker = line.partition(";")
            if "extra" not in marker:
                waiting.append(re.match(r"[\w.-]+", own.strip())[0])  # type: ignore[index]
    return found


def size_of(distribution: str) -> int:
    """Bytes of its files, compiled Python left out; of an editable installation those of the package's folder."""
    found = metadata.distribution(distribution)
    files = [Path(str(found.locate_file(f))) for f in found.files or []]
    inside = [f for f in files if f.suffix != ".pyc" and f.exists()]
    if not any(f.suffix == ".py" and not f.name.startswith("__editable__") for f in inside):
        module = sys.modules.get(distribution.replace("-", "_"))
        if module is not None and module.__file__ and hasattr(module, "__path__"):
            inside += [f for f in Path(module.__file__).parent.rglob("*") if f.is_file() and f.suffix != ".pyc"]
    return sum(f.stat().st_size for f in inside)

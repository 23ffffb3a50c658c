"""Results as JSON files: one a run, with what it ran on."""

import json
from pathlib import Path
from typing import Any

from gdnet.backend.numpy.blas import openblas_kernels
from gdnet.bench.environment import environment
from gdnet.errors import FileError

KIND = "gdnet bench"
FORMAT = 1
Sections = dict[str, list[dict[str, Any]]]


def document(sections: Sections, settings: dict[str, Any]) -> dict[str, Any]:
    """Rows by section, settings, hardware, versions and threads."""
    return {"kind": KIND, "format": FORMAT, "settings": settings, "environment": environment(), "sections": sections}


def write(found: dict[str, Any], path: str | Path) -> None:
    try:
        Path(path).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise FileError(f"the results {str(path)!r} could not be written: {error.strerror}") from error


def read(path: str | Path) -> dict[str, Any]:
    """A results file; a `FileError` if it is none."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"the results {str(path)!r} could not be read: {error.strerror}") from error
    except ValueError as error:
        raise FileError(f"{str(path)!r} is no JSON file: {error}") from error
    if not isinstance(found, dict) or found.get("kind") != KIND or found.get("format") != FORMAT:
        raise FileError(f"{str(path)!r} was not written by this version of `gdnet bench --json`")
    return found


def hardware(found: dict[str, Any]) -> str:
    """What a results file was made on, in words: the GPU, or the processor and what NumPy's products run on it."""
    e = found["environment"]
    if found["settings"]["device"] != "cpu" and e.get("gpu"):
        return str(e["gpu"])
    kernels = openblas_kernels(e.get("blas", ()))
    return f"{e['cpu']}, {e['usable_cores']} cores" + (f", OpenBLAS kernels for {kernels}" if kernels else "")

"""Why a step could not be captured: which line of whose code, and what to write instead."""

import linecache
import re
import traceback
from typing import NamedTuple

LIBRARIES = ("cupy", "cupyx", "cupy_backends", "array_api_compat", "numpy", "contextlib", "functools")
"""Packages whose frames are not the user's."""

_READ = "a step may not read a value on the host (float, int, bool, if, nonzero, a mask as an index): use xp.where"
REMEDIES = (
    ("HostCopy", "make constants before the step, or with xp.full, xp.zeros or xp.arange, which run on the device"),
    ("cuBLAS", "write context.backend.matmul(a, b), with factors of one dtype, float32 or float64"),
    ("cuRAND", "draw with context.key.uniform(context.backend, shape)"),
    ("cuSOLVER|cuSPARSE|cuFFT", "CuPy's solvers, factorisations and transforms cannot be captured: the step has to "
     "do without, or stays as it is"),
    ("(?i)captur|synchron", _READ),
)  # fmt: skip


class Refusal(NamedTuple):
    """Where and why; `file` is empty where no line can be named."""

    file: str
    line: int
    text: str


def refusal(error: BaseException) -> Refusal:
    """What a warning says of the error that ended a capture.

    >>> try:
    ...     raise NotImplementedError("calling cuSOLVER API during stream capture is currently unsupported")
    ... except NotImplementedError as error:
    ...     "CuPy's solvers" in refusal(error).text
    True
    """
    frames = [(f.f_globals.get("__name__", "").partition(".")[0], f.f_code.co_filename, line)
              for f, line in traceback.walk_tb(error.__traceback__)]  # fmt: skip
    own = [(file, line) for package, file, line in frames if package not in LIBRARIES]
    foreign = [(file, line) for package, file, line in frames if package not in (*LIBRARIES, "gdnet")]
    file, line = (foreign or own or [("", 0)])[-1]
    source = linecache.getline(file, line).strip()
    said = f"{type(error).__name__}: {error}"
    text = "the training step could not be captured as a CUDA graph and runs eagerly"
    text += f", because of {file}:{line}" if file else ""
    text += f", `{source}`" if source else ""
    text += f" ({said})"
    remedy = next((remedy for pattern, remedy in REMEDIES if re.search(pattern, said)), "")
    return Refusal(file, line, f"{text}: {remedy}" if remedy else text)

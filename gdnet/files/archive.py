"""Files of arrays that are either whole or refused: safetensors, written atomically, with a checksum over everything.

The layout on disk is safetensors' own, so other tools read the arrays. The header's metadata hold one JSON text and the
SHA-256 of that text and of all tensors. Nothing in such a file is ever executed.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gdnet.checks import is_whole
from gdnet.errors import FileError
from gdnet.files import whole

VERSION = 1


def previous(path: str | Path) -> Path:
    """Where the file that stood at `path` before the last one is kept: `run.previous.safetensors`, links followed."""
    path = Path(os.path.realpath(path))
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def digest(tensors: Mapping[str, np.ndarray], text: str) -> str:
    """SHA-256 over the JSON text and every tensor with its name, dtype and shape."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        total.update(f"\n{name} {tensor.dtype.str} {tuple(tensors[name].shape)}\n".encode())
        total.update(tensor.tobytes())
    return total.hexdigest()


def write(
    path: str | Path, kind: str, tensors: Mapping[str, np.ndarray], content: dict[str, Any], keep_previous: bool = True
) -> None:
    """Write a file such that a crash at any moment leaves a whole one at `path`: the old or the new.

    What stood there before is kept as `previous(path)`.
    """
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(t).reshape(t.shape) for name, t in tensors.items()}
    text = json.dumps({"kind": kind, "version": VERSION} | content)
    data = save(tensors, metadata={"gdnet": text, "sha256": digest(tensors, text)})
    whole.replace(path, data, previous(path) if keep_previous else None)


def read(path: str | Path, kinds: tuple[str, ...]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(tensors, content) of a file that is whole and of one of these kinds; a `FileError` otherwise."""
    try:
        return _read(path, kinds)
    except FileError as error:
        raise FileError(f"{error}{_advice(path, kinds)}") from error.__cause__


def _read(path: str | Path, kinds: tuple[str, ...]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from safetensors import safe_open

    path = whole.check_regular(path)
    try:
        with safe_open(path, framework="numpy") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except Exception as error:  # whatever the library says to bytes that are none of its own
        raise FileError(f"{str(path)!r} is damaged or no safetensors file ({error})") from error
    if "gdnet" not in meta or "sha256" not in meta:
        raise FileError(f"{str(path)!r} is a safetensors file, but gdnet did not write it")
    if digest(tensors, meta["gdnet"]) != meta["sha256"]:
        raise FileError(f"{str(path)!r} has been altered since it was written: its SHA-256 does not fit")
    return tensors, _content(path, meta["gdnet"], kinds)


def _content(path: Path, text: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    """The JSON text of a file, if it is of a version and a kind that can be read."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{str(path)!r} is malformed: its description is no JSON ({error})") from error
    kind: Any = content.get("kind") if isinstance(content, dict) else None
    version: Any = content.get("version") if isinstance(content, dict) else None
    if not isinstance(kind, str) or not is_whole(version):
        raise FileError(f"{str(path)!r} is malformed: it tells neither its kind nor its version")
    if version > VERSION:
        raise FileError(f"{str(path)!r} was written by a newer gdnet (format {version}): update gdnet")
    if kind not in kinds:
        raise FileError(f"{str(path)!r} is a {kind} file, and a {' or '.join(kinds)} file is needed here")
    return content


def _advice(path: str | Path, kinds: tuple[str, ...]) -> str:
    """Where the file before this one is, if it can be read."""
    try:
        older = previous(path)
        if not older.exists():
            return ""
    except (OSError, ValueError):  # no name that a file can have
        return ""
    try:
        _read(older, kinds)
    except FileError:
        return f"; the one before it, {str(older)!r}, is not usable either"
    return f"; the one before it is whole: use {str(older)!r}"

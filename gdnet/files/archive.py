"""Files of arrays that are either whole or refused: safetensors, written atomically, with a checksum over everything.

The layout on disk is safetensors' own, so other tools read the arrays. The header's metadata hold one JSON text and the
SHA-256 of that text and of all tensors. Nothing in such a file is ever executed.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gdnet.checks import check_path
from gdnet.errors import FileError

VERSION = 1


def previous(path: Path) -> Path:
    """Where the file that stood at `path` before the last one is kept: `run.previous.safetensors`."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def digest(tensors: Mapping[str, np.ndarray], text: str) -> str:
    """SHA-256 over the JSON text and every tensor with its name, dtype and shape."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        total.update(f"\n{name} {tensor.dtype.str} {tuple(tensors[name].shape)}\n".encode())
        total.update(tensor.tobytes())
    return total.hexdigest()


def check_writable(path: str | Path) -> Path:
    """`path` if a file can be written there; found out by writing one beside it, before anything is at stake."""
    path = check_path("path", path)
    trial = None
    try:
        if path.is_dir():
            raise FileError(f"{str(path)!r} is a folder: give the name of a file in it")
        trial = path.with_name(f".{path.name}.trial")
        with trial.open("wb") as file:
            file.write(b"gdnet")
    except FileError:
        raise
    except (OSError, ValueError) as error:  # a ValueError for names that no file can have
        reason = getattr(error, "strerror", None) or error
        raise FileError(
            f"{_short(path)!r} cannot be written: {reason}: choose a folder that exists and is yours"
        ) from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            if trial is not None:
                trial.unlink(missing_ok=True)
    return path


def write(
    path: str | Path, kind: str, tensors: Mapping[str, np.ndarray], content: dict[str, Any], keep_previous: bool = True
) -> None:
    """Write a file such that a crash at any moment leaves a whole one at `path`: the old or the new.

    What stood there before is kept as `previous(path)`.
    """
    from safetensors.numpy import save

    path = Path(path)
    tensors = {name: np.ascontiguousarray(t).reshape(t.shape) for name, t in tensors.items()}
    text = json.dumps({"kind": kind, "version": VERSION} | content)
    data = save(tensors, metadata={"gdnet": text, "sha256": digest(tensors, text)})
    fresh, old = (path.with_name(f".{path.name}.{part}") for part in ("new", "old"))  # what a crash leaves is reused
    try:
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        keep = keep_previous and _second_name(path, old)
        os.replace(fresh, path)
        if keep:
            os.replace(old, previous(path))
        _sync_folder(path.parent)
    except OSError as error:
        raise FileError(f"{str(path)!r} could not be written: {error.strerror or error}") from error
    finally:
        for left in (fresh, old):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)


def _second_name(path: Path, name: Path) -> bool:
    """Give the file at `path` a second name, or copy it where the file system has no links."""
    try:
        name.unlink(missing_ok=True)
        os.link(path, name)
    except FileNotFoundError:
        return False
    except OSError:
        name.write_bytes(path.read_bytes())
    return True


def _sync_folder(folder: Path) -> None:
    """A new name is safe only once the folder itself is on the disk; not every system can be asked for that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read(path: str | Path, kinds: tuple[str, ...]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(tensors, content) of a file that is whole and of one of these kinds; a `FileError` otherwise."""
    from safetensors import SafetensorError, safe_open

    path = check_path("path", path)
    try:
        if path.is_dir():
            raise FileError(f"{str(path)!r} is a folder: give the name of a file in it")
        if not path.exists():
            raise FileError(f"{str(path)!r} does not exist{_advice(path, kinds)}")
    except OSError as error:
        raise FileError(f"{_short(path)!r} cannot be read: {error.strerror or error}") from error
    try:
        with safe_open(path, framework="numpy") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise FileError(f"{str(path)!r} is damaged or no safetensors file ({error}){_advice(path, kinds)}") from error
    if "gdnet" not in meta or "sha256" not in meta:
        raise FileError(f"{str(path)!r} is a safetensors file, but gdnet did not write it{_advice(path, kinds)}")
    if digest(tensors, meta["gdnet"]) != meta["sha256"]:
        raise FileError(
            f"{str(path)!r} has been altered since it was written: its SHA-256 does not fit{_advice(path, kinds)}"
        )
    content = json.loads(meta["gdnet"])
    if content["version"] > VERSION:
        raise FileError(f"{str(path)!r} was written by a newer gdnet (format {content['version']}): update gdnet")
    if content["kind"] not in kinds:
        raise FileError(f"{str(path)!r} is a {content['kind']} file, and a {' or '.join(kinds)} file is needed here")
    return tensors, content


def _short(path: Path, limit: int = 200) -> str:
    text = str(path)
    return text if len(text) <= limit else text[:limit] + "..."


def _advice(path: Path, kinds: tuple[str, ...]) -> str:
    """Where the file before this one is, if it can be read."""
    older = previous(path)
    if not older.exists():
        return ""
    try:
        read(older, kinds)
    except FileError:
        return f"; the one before it, {str(older)!r}, is not usable either"
    return f"; the one before it is whole: use {str(older)!r}"

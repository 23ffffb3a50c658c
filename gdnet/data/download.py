"""Files from the net: to a temporary name, checked, then renamed, so that a file that is there is whole."""

import contextlib
import hashlib
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from gdnet.errors import FileError

_CHUNK = 2**16
LIMIT = 2**30
"""The most bytes that one file may have."""
PATIENCE = 3600.0
"""Seconds after which a download is given up, however steadily it drips."""


def cache_folder() -> Path:
    """Where downloads are kept: the user's cache folder of this operating system, below it `gdnet`.

    >>> cache_folder().name
    'gdnet'
    """
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "gdnet"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "gdnet"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "gdnet"


def download(name: str, mirrors: Sequence[str], target: Path, sha256: str, *, progress: bool = True) -> None:
    """Fetch `mirror + name` from the first mirror that has it whole, check it, and put it at `target`.

    Raises
    ------
    FileError
        If no mirror gives a file with this checksum, with what happened at each; or if `target` cannot be written.
    """
    failures = []
    for mirror in mirrors:
        try:
            _fetch(mirror + name, target, sha256, progress)
            return
        except (OSError, HTTPException, ValueError, _Wrong) as error:  # a ValueError for headers that are none
            if isinstance(error, PermissionError):
                raise FileError(f"{target} cannot be written: {error.strerror}") from error
            failures.append(f"{mirror}: {getattr(error, 'reason', None) or error}")
    raise FileError(f"{name} could not be downloaded ({'; '.join(failures)})")


class _Wrong(Exception):
    """What came is not the file."""


def _fetch(url: str, target: Path, sha256: str, progress: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target)
    request = urllib.request.Request(url, headers={"User-Agent": "gdnet"})
    end = time.monotonic() + PATIENCE
    with urllib.request.urlopen(request, timeout=30) as response:
        handle, partial = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        try:
            digest, size = hashlib.sha256(), 0
            with os.fdopen(handle, "wb") as file, _bar(response, target.name, progress) as bar:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    bar.update(len(chunk))
                    size += len(chunk)
                    if size > LIMIT:
                        raise _Wrong(f"it is larger than {LIMIT} bytes")
                    if time.monotonic() > end:
                        raise _Wrong(f"it took more than {PATIENCE:.0f} s")
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != sha256:
                raise _Wrong("what came is incomplete or altered (its SHA-256 differs)")
            os.chmod(partial, 0o666 & ~_umask())  # mkstemp gives it to this user alone
            os.replace(partial, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)


def _remove_leftovers(target: Path, age: float = 86400.0) -> None:
    """Remove what killed downloads of this file have left, after a day, when no other process can be at it."""
    for left in target.parent.glob(f".{target.name}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > age:
                left.unlink()


def _umask() -> int:
    """The bits that new files of this process lack; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _bar(response: object, name: str, progress: bool):  # type: ignore[no-untyped-def]
    from tqdm import tqdm

    size = response.headers.get("Content-Length")  # type: ignore[attr-defined]
    total = int(size) if size and size.isdecimal() else None
    return tqdm(total=total, unit="B", unit_scale=True, desc=name, disable=None if progress else True, leave=False)

"""Files from the net: to a temporary name, checked, then renamed, so that a file that is there is whole."""

import contextlib
import hashlib
import os
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from gdnet.errors import FileError

_CHUNK = 2**16


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
        except (OSError, HTTPException, _WrongChecksum) as error:
            if isinstance(error, PermissionError):
                raise FileError(f"{target} cannot be written: {error.strerror}") from error
            failures.append(f"{mirror}: {getattr(error, 'reason', None) or error}")
    raise FileError(f"{name} could not be downloaded ({'; '.join(failures)})")


class _WrongChecksum(Exception):
    pass


def _fetch(url: str, target: Path, sha256: str, progress: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    request = urllib.request.Request(url, headers={"User-Agent": "gdnet"})
    with urllib.request.urlopen(request, timeout=30) as response:
        handle, partial = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            digest = hashlib.sha256()
            with os.fdopen(handle, "wb") as file, _bar(response, target.name, progress) as bar:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    bar.update(len(chunk))
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != sha256:
                raise _WrongChecksum("what came is incomplete or altered (its SHA-256 differs)")
            os.replace(partial, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)


def _bar(response: object, name: str, progress: bool):  # type: ignore[no-untyped-def]
    from tqdm import tqdm

    size = response.headers.get("Content-Length")  # type: ignore[attr-defined]
    total = int(size) if size else None
    return tqdm(total=total, unit="B", unit_scale=True, desc=name, disable=None if progress else True, leave=False)

"""Files that are written whole or not at all: under a name of their own first, then renamed.

A crash at any moment leaves the old file or the new one. Two writers at one path do not meet, since each has a
temporary file of its own; the later rename wins.
"""

import contextlib
import os
import platform
import secrets
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gdnet.checks import check_path
from gdnet.errors import FileError

MARK = f".gdnet-{zlib.crc32(platform.node().encode()):08x}"
"""How the names of this machine's temporary files begin; then come the writer's process and a random number."""


def destination(path: str | Path) -> Path:
    """The file that writing to `path` makes or replaces: links are followed, and what is no regular file is refused."""
    path = check_path("path", path)
    try:
        found = Path(os.path.realpath(path))
        kind = found.stat().st_mode if os.path.lexists(found) else stat.S_IFREG
    except (OSError, ValueError) as error:  # a ValueError for names that no file can have
        raise _unwritable(path, error) from error
    if stat.S_ISDIR(kind):
        raise FileError(f"{str(path)!r} is a folder: give the name of a file in it")
    if not stat.S_ISREG(kind):
        raise FileError(f"{str(path)!r} is {what_it_is(kind)}, which writing would replace: give the name of a file")
    return found


def check_writable(path: str | Path) -> Path:
    """`path` if a file can be written there; found out by writing one beside it, before anything is at stake."""
    target = destination(path)
    _sweep(target.parent)
    try:
        with temporary(target) as (file, _):
            file.write(b"gdnet")
    except OSError as error:
        raise _unwritable(path, error) from error
    return Path(path)


def replace(path: str | Path, data: bytes, previous: Path | None = None) -> None:
    """Make `data` the content of the file at `path`; what stood there is kept as `previous`, if that is given."""
    target = destination(path)
    kept = None if previous is None else destination(previous)
    try:
        with contextlib.ExitStack() as stack:
            file, fresh = stack.enter_context(temporary(target))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            file.close()
            old = None if kept is None else stack.enter_context(second_name(target))
            os.replace(fresh, target)
            if old is not None and kept is not None:
                os.replace(old, kept)
            _sync_folder(target.parent)
    except OSError as error:
        raise FileError(f"{_short(path)!r} could not be written: {error.strerror or error}") from error


@contextlib.contextmanager
def temporary(target: Path) -> Iterator[tuple[Any, Path]]:
    """A new file beside `target` with its owner and its permissions; removed at the end, unless it has been renamed."""
    try:
        known = target.stat()
    except FileNotFoundError:
        known = None
    mode = 0o666 if known is None else stat.S_IMODE(known.st_mode)
    name = _name_beside(target)
    handle = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), mode)
    try:
        with os.fdopen(handle, "wb") as file:
            if known is not None and hasattr(os, "fchmod"):
                with contextlib.suppress(OSError):  # of somebody else
                    os.fchown(handle, known.st_uid, known.st_gid)
                os.fchmod(handle, mode)
            yield file, name
    finally:
        with contextlib.suppress(OSError):
            name.unlink(missing_ok=True)


@contextlib.contextmanager
def second_name(target: Path) -> Iterator[Path | None]:
    """Another name of the file at `target`, or of a copy where there are no links; None if there is no file."""
    name = _name_beside(target)
    try:
        try:
            os.link(target, name)
        except FileNotFoundError:
            yield None
            return
        except OSError:
            if not target.exists():
                yield None
                return
            with temporary(target) as (file, copy):
                file.write(target.read_bytes())
                file.flush()
                os.replace(copy, name)
        yield name
    finally:
        with contextlib.suppress(OSError):
            name.unlink(missing_ok=True)


def check_regular(path: str | Path) -> Path:
    """`path` if a regular file stands there that can be opened; nothing else is opened, for a pipe would wait."""
    path = check_path("path", path)
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise FileError(f"{str(path)!r} is a folder: give the name of a file in it")
        if not stat.S_ISREG(kind):
            raise FileError(f"{str(path)!r} is {what_it_is(kind)}, no regular file: copy what it gives to a file")
        path.open("rb").close()
    except FileNotFoundError:
        raise FileError(f"{_short(path)!r} does not exist") from None
    except (OSError, ValueError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{_short(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return path


def what_it_is(mode: int) -> str:
    """What stands at a path that is no regular file, in words."""
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    return kinds.get(stat.S_IFMT(mode), "something other than a file")


def _name_beside(target: Path) -> Path:
    return target.with_name(f"{MARK}-{os.getpid()}-{secrets.token_hex(8)}")


def _sweep(folder: Path) -> None:
    """Remove what processes of this machine that were killed while they wrote have left here."""
    if os.name != "posix":
        return  # elsewhere a process cannot be asked whether it lives
    with contextlib.suppress(OSError):
        for left in folder.glob(f"{MARK}-*-*"):
            try:
                os.kill(int(left.name.rsplit("-", 2)[1]), 0)
            except ProcessLookupError:
                left.unlink(missing_ok=True)
            except (OSError, ValueError, OverflowError):  # it lives, under another user
                continue


def _sync_folder(folder: Path) -> None:
    """A new name is safe only once the folder itself is on the disk; not every system can be asked for that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unwritable(path: str | Path, error: Exception) -> FileError:
    reason = getattr(error, "strerror", None) or error
    return FileError(f"{_short(path)!r} cannot be written: {reason}: choose a folder that exists and is yours")


def _short(path: str | Path, limit: int = 200) -> str:
    text = str(path)
    return text if len(text) <= limit else text[:limit] + "..."

"""The user's files as streams of bytes: regular files only, gzip unpacked, and not without limit."""

import contextlib
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gdnet.checks import check_path
from gdnet.errors import FileError

LIMIT = 2**28
"""Bytes up to which anything is unpacked."""
RATIO = 200
"""Beyond that, how many times as large as the packed file its content may be. Real data reach 20, a gzip bomb 1000."""


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[tuple[BinaryIO, int]]:
    """`(stream, size)` of a file: its bytes, unpacked if they are gzip's, and its size if it is packed, else 0.

    Raises
    ------
    FileError
        If the file is missing, no regular file, or damaged; also where that shows while it is being read.
    """
    import gzip

    path = check_path("path", path)
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise FileError(f"{path} is a folder: give the name of a file in it")
        if not stat.S_ISREG(about.st_mode):
            raise FileError(f"{path} is no regular file: write what it gives to a file first")
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.open(raw) if packed else contextlib.nullcontext(raw) as stream:
                yield stream, about.st_size if packed else 0  # type: ignore[misc]
    except FileError:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileError(f"{path} is a damaged or truncated gzip file ({error}): fetch it again") from error
    except MemoryError as error:
        raise FileError(f"{path} cannot be read: it needs more memory than there is") from error
    except (OSError, ValueError) as error:  # a ValueError for names that no file can have
        name = str(path) if str(path).isprintable() else ascii(str(path))
        raise FileError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def check_unpacked(path: str | Path, size: int, packed: int) -> None:
    """A `FileError` if `size` bytes are more than an honest file of `packed` bytes unpacks to.

    >>> check_unpacked("a.gz", 2**40, 2**20)
    Traceback (most recent call last):
    gdnet.errors.FileError: a.gz unpacks to more than 200 times its size: if that is right, give it unpacked
    """
    if packed and size > LIMIT and size > RATIO * packed:
        raise FileError(f"{path} unpacks to more than {RATIO} times its size: if that is right, give it unpacked")


def read_whole(path: str | Path) -> bytes:
    """All bytes of a file, unpacked."""
    with opened(path) as (stream, packed):
        if not packed:
            if Path(path).suffix == ".gz":
                raise FileError(f"{path} cannot be read: its name ends in .gz and it is no gzip file")
            return stream.read()
        found = bytearray()
        while piece := stream.read(2**20):
            found += piece
            check_unpacked(path, len(found), packed)
        return bytes(found)

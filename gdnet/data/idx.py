"""The IDX format of the MNIST files: big-endian, plain or gzip-compressed."""

import math
import os
from pathlib import Path

import numpy as np

from gdnet.data.opened import check_unpacked, opened
from gdnet.errors import FileError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 32  # NumPy 1's limit, which every version has


def read_idx(path: str | Path, *, ndim: int | None = None, sha256: str | None = None) -> np.ndarray:
    """The array in an IDX file.

    Parameters
    ----------
    path : path
        Compressed or not; the first two bytes tell.
    ndim : int, optional
        The number of axes that must be found (3 for images, 1 for labels).
    sha256 : str, optional
        The checksum that the uncompressed file must have.

    Raises
    ------
    FileError
        If the file is missing, truncated, altered, or something else.

    Format: two zero bytes, a byte for the dtype, a byte for the number of axes, each axis as an int32, the values.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    ...     read_idx(path)
    array([7, 8, 9], dtype=uint8)
    """
    with opened(path) as (stream, packed):
        head = stream.read(4)
        dtype = _DTYPES.get(head[2]) if len(head) == 4 and head[:2] == b"\0\0" else None
        if dtype is None or (ndim is not None and head[3] != ndim):
            stream.read(2**20)  # a damaged gzip file is told as such
            magic = int.from_bytes(head, "big")
            expected = "" if ndim is None else f" with {ndim} axes (magic number {0x0800 + ndim} for bytes)"
            raise FileError(f"{path} is not an IDX file{expected}: its magic number is {magic}")
        if head[3] > _MOST_AXES:
            raise FileError(f"{path} is damaged: {head[3]} axes are more than an array can have, {_MOST_AXES}")
        sizes = stream.read(4 * head[3])
        shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
        start = 4 + 4 * head[3]
        expected_bytes = start + math.prod(shape) * np.dtype(dtype).itemsize
        check_unpacked(path, expected_bytes, packed)
        there = expected_bytes if packed else os.fstat(stream.fileno()).st_size
        if len(sizes) < 4 * head[3] or there != expected_bytes:
            raise FileError(f"{path} is truncated or damaged: {expected_bytes} bytes expected, {there} found")
        raw = head + sizes + stream.read(expected_bytes - start + 1)
    if len(raw) != expected_bytes:
        more = "more" if len(raw) > expected_bytes else str(len(raw))
        raise FileError(f"{path} is truncated or damaged: {expected_bytes} bytes expected, {more} found")
    if sha256 is not None and _sha256(raw) != sha256:
        raise FileError(f"{path} has been altered: its SHA-256 is not that of the official file")
    try:
        values = np.frombuffer(raw, dtype, offset=start).reshape(shape)
    except ValueError as error:  # axes whose product NumPy cannot count, one of them 0
        raise FileError(f"{path} is damaged: no array has the shape {shape}") from error
    return values.astype(values.dtype.newbyteorder("="))


def _sha256(raw: bytes) -> str:
    import hashlib

    return hashlib.sha256(raw).hexdigest()

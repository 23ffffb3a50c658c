"""The IDX format of the MNIST files: big-endian, plain or gzip-compressed."""

import math
import zlib
from pathlib import Path

import numpy as np

from gdnet.errors import FileError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


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
    import gzip

    path = Path(path)
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileError(f"{path} is a damaged or truncated gzip file ({error}): fetch it again") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    dtype = _DTYPES.get(raw[2]) if len(raw) >= 4 and raw[:2] == b"\0\0" else None
    if dtype is None or (ndim is not None and raw[3] != ndim):
        magic = int.from_bytes(raw[:4], "big")
        expected = "" if ndim is None else f" with {ndim} axes (magic number {0x0800 + ndim} for bytes)"
        raise FileError(f"{path} is not an IDX file{expected}: its magic number is {magic}")
    start = 4 + 4 * raw[3]
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    expected_bytes = start + math.prod(shape) * np.dtype(dtype).itemsize
    if len(raw) != max(start, expected_bytes):
        raise FileError(f"{path} is truncated or damaged: {expected_bytes} bytes expected, {len(raw)} found")
    if sha256 is not None and _sha256(raw) != sha256:
        raise FileError(f"{path} has been altered: its SHA-256 is not that of the official file")
    values = np.frombuffer(raw, dtype, offset=start).reshape(shape)
    return values.astype(values.dtype.newbyteorder("="))


def _sha256(raw: bytes) -> str:
    import hashlib

    return hashlib.sha256(raw).hexdigest()

"""Out of memory on a device, as an error that says what would fit."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from gdnet.backend.base import Backend
from gdnet.errors import DeviceError


@contextmanager
def device_memory(backend: Backend, examples: int | None = None) -> Iterator[None]:
    """Turn a library's out-of-memory error inside into a `DeviceError` with code `out-of-memory`.

    It says what was asked for, what is left and, where `examples` went through at once, how many would fit: what was
    taken since the block began, the failed allocation included, is what so many examples need.

    >>> from gdnet.backend import get_backend
    >>> with device_memory(get_backend("cpu"), examples=100):
    ...     pass
    """
    before, _ = backend.memory()
    try:
        yield
    except Exception as error:
        asked = backend.bytes_refused(error)
        if asked is None:
            raise
        used, free = backend.memory()  # the frames of the failed step still hold its arrays
        message = f"{backend.name} on {backend.device} is out of memory"
        message += f": {readable(asked)} were asked for" if asked else ""
        message += f", {readable(free)} are left" if free else ""
        needed, room = used + asked - before, used + free - before
        message += ": " + _remedy(examples, needed, room)
        # Without its traceback the library's error does not keep the arrays of the failed step alive.
        raise DeviceError("out-of-memory", message) from error.with_traceback(None)


def _remedy(examples: int | None, needed: int, room: int) -> str:
    if examples is None or examples < 2:
        return 'the data or the network are too large for this device: use a smaller network or device="cpu"'
    if needed <= 0:
        return f"use a batch_size below {examples}"
    fits = min(int(0.9 * room * examples / needed), examples // 2)  # a tenth is left over: blocks are rounded up
    if fits < 1:
        return f'not even one example fits beside the parameters, with {examples} at once: use device="cpu"'
    return f"{examples} examples at once need about {readable(needed)}: use batch_size={_round(fits)} or less"


def _round(count: int) -> int:
    """Down to a power of two."""
    return 1 << (count.bit_length() - 1)


def readable(size: int) -> str:
    """A number of bytes for people.

    >>> readable(1536), readable(3 << 30)
    ('1.5 KiB', '3.0 GiB')
    """
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << power:
            return f"{size / (1 << power):.1f} {unit}"
    return f"{size} bytes"


def bytes_in(text: str) -> int:
    """The first amount of memory that a library's message names, in bytes; 0 if there is none.

    >>> bytes_in("Tried to allocate 2.50 GiB."), bytes_in("trying to allocate 1024 bytes."), bytes_in("no")
    (2684354560, 1024, 0)
    """
    match = re.search(r"allocat\w*\s+([\d.,]+)\s*([KMG]i?B|bytes)", text)
    if match is None:
        return 0
    scale = {"b": 0, "k": 10, "m": 20, "g": 30}[match[2][0].lower()]
    return int(float(match[1].replace(",", "").rstrip(".")) * (1 << scale))

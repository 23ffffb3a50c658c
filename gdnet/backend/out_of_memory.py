"""Out of memory on a device, as an error that says what would fit."""

import gc
import re
import warnings
from collections.abc import Callable
from types import TracebackType

from gdnet.backend.base import Backend
from gdnet.errors import DeviceError


class device_memory:
    """Turn a library's out-of-memory error inside into a `DeviceError` with code `out-of-memory`.

    It says what was asked for, what is left and, where `examples` went through at once, how many would fit. What was
    taken since the block began, the failed allocation included, is what so many examples need at least: the block may
    have failed early. So `attempt(n)`, where given, does the same for n examples, and n is halved until it passes.

    >>> from gdnet.backend import get_backend
    >>> with device_memory(get_backend("cpu"), examples=100):
    ...     pass
    """

    def __init__(
        self, backend: Backend, examples: int | None = None, attempt: Callable[[int], object] | None = None
    ) -> None:
        self.backend, self.examples, self.attempt = backend, examples, attempt

    def __enter__(self) -> None:
        self.before, _ = self.backend.memory()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asked = self.backend.bytes_refused(error) if isinstance(error, Exception) else None
        if error is None or asked is None:
            return
        used, free = self.backend.memory()  # the frames of the failed step still hold its arrays
        del trace
        link: BaseException | None = error
        while link is not None:
            link.__traceback__, link = None, link.__context__
        gc.collect()  # now nobody does: whoever catches the error can use their memory, and so can an attempt
        message = f"{self.backend.name} on {self.backend.device} is out of memory"
        message += f": {readable(asked)} were asked for" if asked else ""
        message += f", {readable(free)} are left" if free else ""
        message += ": " + self._remedy(used + asked - self.before, used + free - self.before)
        raise DeviceError("out-of-memory", message) from error

    def _remedy(self, needed: int, room: int) -> str:
        examples = self.examples
        if examples is None or examples < 2:
            return 'the data or the network are too large for this device: use a smaller network or device="cpu"'
        if needed <= 0:
            return f"use a batch_size below {examples}"
        # A tenth is left over: blocks are rounded up.
        fits = min(int(0.9 * room * examples / needed), examples // 2)
        fits = self._passes(_round(fits)) if fits else 0
        if fits < 1:
            return f'not even one example fits beside the parameters, with {examples} at once: use device="cpu"'
        least = "at least" if self.attempt else "about"
        return f"{examples} examples at once need {least} {readable(needed)}: use batch_size={fits} or less"

    def _passes(self, fits: int) -> int:
        """The largest of `fits`, its half, its quarter ... with which an attempt does not run out of memory; or 0."""
        while fits and self.attempt is not None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # what there is to warn of will be said when it is done
                    self.attempt(fits)
                break
            except Exception as error:
                if self.backend.bytes_refused(error) is None:
                    raise
            fits //= 2
        return fits


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

"""The rooms of this folder: a subfolder for each array library, found by looking, so that nothing else names one.

A room says in its `__init__.py` which library it is for, without importing it, and opens a `Backend` when asked. A
new library needs a new folder and no line anywhere else.
"""

import functools
import importlib
import pkgutil
from pathlib import Path
from typing import Any, ClassVar

from gdnet.backend.base import Backend


class Room:
    """One array library as the rest of gdnet knows it, before anything of it is imported."""

    library: ClassVar[str]
    """What Python imports, and what users write in `backend=`."""
    wheel: ClassVar[str]
    """What pip installs."""
    further_packages: ClassVar[tuple[str, ...]] = ()
    """Other packages that the library is made of."""
    default_for: ClassVar[str | None] = None
    """The kind of device, `"cpu"` or `"cuda"`, that leads here when no library is named."""

    def owns(self, thing: Any) -> bool:
        """Whether this is an array of the library; asked once for every type."""
        raise NotImplementedError

    def of(self, array: Any) -> Backend:
        """The backend on which an array of this library lives."""
        raise NotImplementedError

    def open(self, kind: str, index: int) -> Backend:
        """The backend on device `kind` (`"cpu"` or `"cuda"`) number `index`; a `DeviceError` where there is none."""
        raise NotImplementedError

    def devices(self) -> list[tuple[str, bool, str]]:
        """(device, whether it can be used, what it is or why it cannot) for the kind that leads here by default."""
        return []


@functools.cache
def rooms() -> dict[str, Room]:
    """Every room by the name of its library."""
    here = Path(__file__).parent
    folders = [module.name for module in pkgutil.iter_modules([str(here)]) if module.ispkg]
    found = [importlib.import_module(f"{__package__}.{name}").ROOM for name in folders]
    return {room.library: room for room in found}


def room_for(kind: str) -> Room:
    """The room to which a kind of device leads when no library is named."""
    return next(room for room in rooms().values() if room.default_for == kind)

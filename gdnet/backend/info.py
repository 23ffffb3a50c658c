"""What this machine offers: devices and libraries, and why what is missing is missing."""

import importlib.util

from gdnet.backend.room import rooms

BESIDE = {"array-api-compat": "array_api_compat", "safetensors": "safetensors", "tqdm": "tqdm",
          "matplotlib": "matplotlib", "scipy": "scipy"}  # fmt: skip
"""What pip calls it, and Python, of the packages beside the array libraries."""


def devices() -> list[str]:
    """The device names that `Model(device=...)` takes on this machine.

    >>> devices()[0]
    'cpu'
    """
    found = [name for room in rooms().values() for name, usable, _ in room.devices() if usable]
    return sorted(found, key=lambda name: name != "cpu")


def describe_devices() -> list[tuple[str, str]]:
    """(device, what it is or why it cannot be used)."""
    rows = [(name, text) for room in rooms().values() for name, _, text in room.devices()]
    return sorted(rows, key=lambda row: row[0] != "cpu")


def describe_libraries() -> list[tuple[str, str]]:
    """(library, its version or how to install it)."""
    libraries = [(room.library, room.library, room.wheel) for room in rooms().values()]
    rows = []
    for name, module, wheel in [*libraries, *((name, module, name) for name, module in BESIDE.items())]:
        if importlib.util.find_spec(module) is None:
            rows.append((name, f'not installed: pip install "{wheel}"'))
        else:
            rows.append((name, _version(name, module)))
    return rows


def _version(name: str, module: str) -> str:
    import importlib.metadata  # here, since it takes as long as the rest of gdnet

    owners = importlib.metadata.packages_distributions().get(module, [name])  # a wheel may have another name
    try:
        return importlib.metadata.version(owners[0])
    except importlib.metadata.PackageNotFoundError:
        return "installed"

"""Other libraries on the same problem: the only code of the suite that knows them, loaded when asked for.

A peer is a class `Step(problem, device)` with `reset`, `run(steps)`, `loss()` and, where it has an optimizer of its
own for a plain vector, a class `Update`. It raises `Unavailable` where it cannot run.
"""

import importlib
from collections.abc import Sequence
from typing import Any

from gdnet.bench.candidates import Unavailable, installed
from gdnet.errors import OptionError

PEERS = {
    "torch": ("torch_peer", "Eager", ("torch",)),
    "torch.compile": ("torch_peer", "Compiled", ("torch",)),
    "torch.cudagraph": ("torch_peer", "Graphed", ("torch",)),
    "jax+optax": ("jax_peer", "Step", ("jax", "optax")),
    "sklearn": ("sklearn_peer", "Step", ("sklearn",)),
}
"""Peer -> (module, class, what must be installed)."""

AGAINST = {"torch": ("torch", "torch.compile", "torch.cudagraph"), "jax": ("jax+optax",), "sklearn": ("sklearn",)}
"""What `--against` takes, and the peers that it means."""

FLOOR_OF = {
    "torch": "torch",
    "torch.compile": "torch",
    "torch.cudagraph": "torch",
    "jax+optax": "jax",
    "sklearn": "numpy",
}
"""The backend whose matrix products a peer uses too."""


def peers_of(against: str, device: str = "cpu") -> list[str]:
    """The peers that "torch,jax" means on a device.

    >>> peers_of("jax,sklearn")
    ['jax+optax', 'sklearn']
    """
    found: list[str] = []
    for name in filter(None, (part.strip() for part in against.split(","))):
        if name not in AGAINST and name not in PEERS:
            raise OptionError(f"--against takes a comma list of {', '.join(AGAINST)}; got {name!r}")
        found += AGAINST.get(name, (name,))
    return [name for name in dict.fromkeys(found) if device != "cpu" or name != "torch.cudagraph"]


def load_peer(name: str, kind: str = "") -> Any:
    """The class of a peer (`kind`: another class of its module); `Unavailable` where a package is missing."""
    module, own, needs = PEERS[name]
    for package in needs:
        if not installed(package):
            raise Unavailable(f"{package} is not installed")
    found = getattr(importlib.import_module(f"gdnet.bench.peers.{module}"), kind or own, None)
    if found is None:
        raise Unavailable(f"{name} has no {kind}")
    return found


def missing(peers: Sequence[str]) -> list[str]:
    """One line for each peer that cannot be loaded."""
    return [f"{name}: {package} is not installed" for name in peers for package in PEERS[name][2]
            if not installed(package)]  # fmt: skip

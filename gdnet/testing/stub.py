"""`gdnet/__init__.pyi`, from which editors and type checkers know the public names: written from the names themselves.

After a change to the names in `gdnet/__init__.py`:

    python -m gdnet.testing.stub
"""

from pathlib import Path

import gdnet

STUB = Path(gdnet.__file__).with_suffix(".pyi")


def stub() -> str:
    """The text of the stub: every public name imported from the folder that defines it.

    >>> "from gdnet.model import Model as Model" in stub()
    True
    """
    lines = ['"""The public names, for editors and type checkers; written by gdnet.testing.stub."""', ""]
    lines += [f"from gdnet import {name} as {name}" for name in vars(gdnet)["_SUBMODULES"]]
    for folder, names in vars(gdnet)["_NAMES"].items():
        lines += [f"from gdnet.{folder} import {name} as {name}" for name in names.split()]
    return "\n".join([*lines, "", "__version__: str", ""])


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")

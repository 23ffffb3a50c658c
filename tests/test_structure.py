"""The house tells the truth about itself: docstrings name what exists, and rooms do not import in circles."""

import ast
import builtins
import keyword
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
OF_TORCH = {"clip_grad_norm_", "lr_scheduler"}
"""Names of another library that docstrings compare with."""
MODULES = sorted((ROOT / "gdnet").rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def docstrings(tree: ast.AST) -> list[str]:
    """The docstrings of a module, its classes and functions, and the texts that stand below a name."""
    return [
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]


def identifiers() -> set[str]:
    """Every name that the code of the package uses, and every word of its string constants that is no docstring."""
    found = {part for path in MODULES for part in dotted(path).split(".")}
    for tree in TREES.values():
        docs = set(docstrings(tree))
        for node in ast.walk(tree):
            for field in ("id", "attr", "arg", "name", "module"):
                if isinstance(value := getattr(node, field, None), str):
                    found.update(value.split("."))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in docs:
                found.update(re.findall(r"\w+", node.value))
    return found


def test_docstrings_name_what_exists():
    """A word in backticks that looks like a name is one; `ip_loop` once outlived its module in five docstrings."""
    elsewhere = {*dir(builtins), *keyword.kwlist, *dir(np), *dir(np.ndarray)}
    known = identifiers() | elsewhere | OF_TORCH
    unknown = {
        f"{dotted(path)}: {word}"
        for path, tree in TREES.items()
        for text in docstrings(tree)
        for word in re.findall(r"`([a-z]\w*_\w*[a-z0-9])`", text)
        if word not in known
    }
    assert not unknown


def test_docstrings_name_files_that_exist():
    files = {path.name for path in ROOT.rglob("*") if ".git" not in path.parts and ".venv" not in path.parts}
    unknown = {
        f"{dotted(path)}: {name}"
        for path, tree in TREES.items()
        for text in docstrings(tree)
        for name in re.findall(r"`(?:[\w/]+/)?(\w+\.(?:py|pyi|c|h|md|toml))`", text)
        if name not in files
    }
    assert not unknown


def imports(path: Path) -> set[str]:
    """The modules of the package that a module imports anywhere, in functions too."""
    names = {dotted(other) for other in MODULES}
    found: set[str] = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gdnet"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} & names or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("gdnet")}
    return found & names


def room(module: str) -> str:
    """The folder of an array library in gdnet/backend, or the file itself outside of one."""
    parts = module.split(".")
    return ".".join(parts[:3])


@pytest.mark.parametrize("tested", ["gdnet/backend"])
def test_no_circle_between_files_of_different_rooms(tested):
    arrows = {dotted(path): imports(path) for path in MODULES if path.is_relative_to(ROOT / tested)}
    rooms: dict[str, set[str]] = {}
    for module, targets in arrows.items():
        rooms.setdefault(room(module), set()).update(room(target) for target in targets if target in arrows)
    done: set[str] = set()
    while waiting := [name for name in rooms if name not in done]:
        ready = [name for name in waiting if rooms[name] - done <= {name}]
        assert ready, f"these import each other in a circle: {waiting}"
        done.update(ready)

"""The house keeps its rules: docstrings name what exists, libraries stay in their rooms, imports run in no circle."""

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


def quoted(pattern: str) -> set[tuple[str, str]]:
    """(module, match) for every match of a pattern in the docstrings of the package."""
    return {
        (dotted(path), word)
        for path, tree in TREES.items()
        for text in docstrings(tree)
        for word in re.findall(pattern, text)
    }


def test_docstrings_name_what_exists():
    """A word in backticks that looks like a name is one; `ip_loop` once outlived its module in five docstrings."""
    known = {*identifiers(), *dir(builtins), *keyword.kwlist, *dir(np), *dir(np.ndarray), *OF_TORCH}
    words = quoted(r"`([a-z]\w*_\w*[a-z0-9])`")
    assert words
    assert {f"{module}: {word}" for module, word in words if word not in known} == set()


def test_docstrings_name_files_that_exist():
    files = {path.name for path in ROOT.rglob("*") if ".git" not in path.parts and ".venv" not in path.parts}
    names = quoted(r"`(?:[\w/]+/)?(\w+\.(?:py|pyi|c|h|md|toml))`")
    assert names
    assert {f"{module}: {name}" for module, name in names if name not in files} == set()


def test_modules_can_be_read_at_once():
    """400 lines are where a reviewer asks why; no module has more than 600."""
    lengths = {dotted(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {module: n for module, n in lengths.items() if n > 600} == {}


def test_no_function_is_written_in_two_modules():
    """A rule or a helper that two modules need stands in one place; bodies of up to 100 characters may be alike."""
    places: dict[str, set[str]] = {}
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                places.setdefault("\n".join(map(ast.unparse, body)), set()).add(dotted(path))
    assert {body: found for body, found in places.items() if len(body) > 100 and len(found) > 1} == {}


def top_packages(tree: ast.AST) -> set[str]:
    """The packages that a module imports anywhere, in functions too, by the first part of their names."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("library", ["cupy", "cupyx", "cupy_backends", "jax", "jaxlib", "torch"])
def test_an_array_library_is_imported_in_its_own_room_alone(library):
    """The checks in gdnet.testing, which compare with other libraries, and gdnet.bench may import them as well."""
    home = library[:4] if library.startswith("cupy") else library.removesuffix("lib")
    allowed = (f"gdnet.backend.{home}", "gdnet.testing", "gdnet.bench")
    importing = {dotted(path) for path, tree in TREES.items() if library in top_packages(tree)}
    assert {module for module in importing if not module.startswith(allowed)} == set()


def test_only_commands_print_and_solvers_that_are_asked_to():
    """Solvers return a reason; those that have SciPy's `verbose` print by way of one module."""
    allowed = ("gdnet.cli", "gdnet.bench", "gdnet.optimizers.verbose")
    printing = {
        dotted(path)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert {module for module in printing if not module.startswith(allowed)} == set()


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

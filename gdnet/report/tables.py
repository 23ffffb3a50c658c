"""Plain-text tables for terminals and Markdown pages."""

from collections.abc import Iterable, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, markdown: bool = False) -> str:
    """Rows under a header, columns aligned: numbers to the right, words to the left.

    >>> print(table(["name", "seconds"], [["forward", 0.5], ["backward", 12]]))
    name      seconds
    forward       0.5
    backward       12
    """
    raw = [list(row) for row in rows]
    if any(len(row) != len(header) for row in raw):
        raise ValueError(f"every row needs {len(header)} cells, as many as the header")
    right = [bool(raw) and all(isinstance(row[i], (int, float)) for row in raw) for i in range(len(header))]
    cells = [list(header)] + [[_text(cell) for cell in row] for row in raw]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)] for row in cells
    ]
    if not markdown:
        return "\n".join("  ".join(line).rstrip() for line in lines)
    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])


def _text(cell: Any) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)

"""What a cell of a table says: a number in one of two spellings, a date, nothing, or text."""

import re
from collections.abc import Sequence

import numpy as np

_EXPONENT = r"(?:[eE][+-]?\d+)?"
_PLAIN = re.compile(rf"[+-]?(?:\d+\.?\d*|\.\d+){_EXPONENT}", re.ASCII)
_SPELLINGS = {
    decimal: re.compile(
        rf"[+-]?(?:(?:[1-9]\d{{0,2}}(?:[{group}' ’\u00a0\u202f]\d{{3}})+|\d+)(?:[{decimal}]\d*)?|[{decimal}]\d+)"
        rf"{_EXPONENT} ?%?",
        re.ASCII,
    )
    for decimal, group in ((".", ","), (",", "."))
}
"""A number by its decimal mark: the other mark, a space or an apostrophe may part groups of three digits."""

NO_TEXT = frozenset(("", "na", "n/a", "nan", "#n/a", "null", "?", "<na>"))
"""Cells, in lower case, that stand for a missing value in any column."""
NO_NUMBER = NO_TEXT | {"-", "--", ".", "none", "nil", "missing", "#na", "#value!", "#div/0!"}
"""Cells that stand for one in a column of numbers."""

_DATE = re.compile(
    r"(?:\d{4}-\d{1,2}(?:-\d{1,2})?|\d{4}[/.]\d{1,2}[/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|"
    r"\d{1,2}[/.]\d{1,2}[/.]\d{2})(?:[ T]\d{1,2}:\d{2}.*)?|\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?",
    re.ASCII,
)


def is_number(cell: str, decimal: str = ".") -> bool:
    """Whether a cell is a finite number, written with ASCII digits and this decimal mark.

    >>> [is_number(cell) for cell in ("1.5", "-2e3", "2019_01", "1,5", "nan", "٣")]
    [True, True, False, False, False, False]
    >>> is_number("1.234,5", ","), is_number("1,234.5", ".")
    (True, True)
    """
    return _SPELLINGS[decimal].fullmatch(_tidy(cell)) is not None


def spellings(cell: str) -> frozenset[str]:
    """The decimal marks with which the cell is a number: both for "12" and for "1,234".

    >>> sorted(spellings("1,5")), sorted(spellings("1,234")), sorted(spellings("red"))
    ([','], [',', '.'], [])
    """
    tidy = _tidy(cell)
    return frozenset(decimal for decimal, spelling in _SPELLINGS.items() if spelling.fullmatch(tidy))


def is_ambiguous(cell: str) -> bool:
    """Whether the cell is one number with a decimal point and another with a decimal comma.

    >>> is_ambiguous("1,234"), is_ambiguous("12"), is_ambiguous("1.5")
    (True, False, False)
    """
    return len(spellings(cell)) == 2 and value(cell, ".") != value(cell, ",")


def value(cell: str, decimal: str) -> float:
    """The number in a cell for which `is_number` holds; a per cent sign is left out.

    >>> value("1.234,5", ","), value("−1 000 %", ".")
    (1234.5, -1000.0)
    """
    kept = "".join(c for c in _tidy(cell) if c in "+-eE0123456789" or c == decimal)
    return float(kept.replace(decimal, "."))


def plain_numbers(cells: Sequence[str]) -> np.ndarray | None:
    """All cells as finite numbers with decimal points, as float64; None if one of them is something else."""
    try:
        numbers = np.asarray(list(map(float, cells)), dtype=np.float64)
    except ValueError:
        return None
    # float() also takes underscores, digits of other scripts, and words for what is not finite.
    together = "".join(cells)
    exact = together.isascii() and "_" not in together and bool(np.isfinite(numbers).all())
    return numbers if exact else None


def is_plain(cell: str) -> bool:
    """Whether a cell is a number as `float` writes it.

    >>> is_plain(" 1e-3 "), is_plain("1_0"), is_plain("inf")
    (True, False, False)
    """
    return _PLAIN.fullmatch(cell.strip(" \t\r\n\f\v")) is not None  # what float() strips


def is_date(cell: str) -> bool:
    """Whether a cell is a date or a time of day.

    >>> [is_date(cell) for cell in ("2024-01-31", "31.1.2024 12:30", "12:30", "3.5")]
    [True, True, True, False]
    """
    return _DATE.fullmatch(cell.strip()) is not None


def _tidy(cell: str) -> str:
    return cell.strip().replace("\u2212", "-")  # the minus sign of typesetters

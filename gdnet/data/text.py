"""Text files as columns of cells: encoding, separator, comments, line of names."""

import codecs
import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from gdnet.data.cells import NO_NUMBER, is_number, is_plain, spellings
from gdnet.data.fast import fast_columns
from gdnet.data.opened import read_whole
from gdnet.errors import FileError, OptionError

FAST_FROM = 2**20
"""Characters from which pandas, where it is installed, is faster by more than its import takes."""
_SAMPLE = 200  # lines that decide about the separator and the header


Rows = list[tuple[int, list[str]]]
"""Lines of the file with their cells."""
HeaderRule = Callable[[list[str], list[list[str]], list[str]], bool]
"""(first line, some others, notes) -> whether the first holds names."""


@dataclass
class Cells:
    """A table as it is written.

    Attributes
    ----------
    names : list of str
        From the header; the columns' numbers where there is none.
    columns : list
        Each the cells as str; or an array of finite numbers, NaN where one is missing, from the reader of large files.
    lines : sequence of int
        The line of the file in which each row ends.
    notes : list of str
        What was found out about the file and not told by the caller.
    """

    names: list[str]
    columns: list[Sequence[str] | np.ndarray]
    lines: Sequence[int]
    header: bool
    sep: str | None
    notes: list[str] = field(default_factory=list)
    commas: str = ""
    """The column whose decimal commas let the reader of large files take commas for all, where nobody said so."""


def read_cells(
    path: str | Path, header: bool | None = None, sep: str | None = None, encoding: str | None = None,
    rule: "HeaderRule | None" = None, decimal: str | None = None, cells_only: bool = False,
) -> Cells:  # fmt: skip
    """The cells of a text file; what is not given is found out and noted. `rule` decides about the header.

    `decimal` is used by the reader of large files, which gives numbers unless `cells_only`.
    """
    notes: list[str] = []
    text = decode(path, read_whole(path), encoding, notes)
    skipped = 0
    if hint := re.match(r"sep=(.)\r?\n", text, re.IGNORECASE):  # spreadsheets write it for themselves
        sep, text, skipped = sep or hint[1], text[hint.end() :], 1
    head = _head(text)
    sep = check_sep(sep) if sep is not None else separator(head)
    names, start = _commented_names(text, sep)
    large = not cells_only and len(text) >= FAST_FROM and sep is not None and start == 0
    large = large and '"' not in text and not ("#" in text and "\n#" in text)
    end = -1
    if large:
        for _ in range(_SAMPLE):
            end = text.find("\n", end + 1)
            large = large and end >= 0
    rows = [row for row in rows_of(path, text[: end + 1] if large else text, sep) if row[0] > start]
    if not rows:
        raise FileError(f"{path} is empty: one example a line was expected")
    names, header = _names(rows, names, header, rule or is_header, notes)
    k, skip = len(names), int(header and not start)
    if skip and len(rows) == 1:
        raise FileError(f"{path} has a header and no examples")
    commas = _commas(rows[skip:], names) if large and decimal is None else ""
    mark = "," if commas else decimal or "."
    columns = fast_columns(text, sep, k, skip, mark) if large and sep is not None else None
    if columns is not None:
        n = len(columns[0])
        return Cells(names, columns, range(1 + skip + skipped, 1 + skip + skipped + n), header, sep, notes, commas)
    if large:
        rows = rows_of(path, text, sep)
    rows = _of_one_length(path, [(line + skipped, cells) for line, cells in rows[skip:]], k, sep, notes)
    columns = list(zip(*(cells for _, cells in rows), strict=True))
    return Cells(names, columns, [line for line, _ in rows], header, sep, notes)


def _commas(rows: Rows, names: list[str]) -> str:
    """The name of the first column that holds numbers with decimal commas only, as far as these rows tell."""
    for j, name in enumerate(names):
        cells = [row[1][j] for row in rows if len(row[1]) > j and row[1][j].strip().lower() not in NO_NUMBER]
        if cells and frozenset.intersection(*map(spellings, cells)) == {","}:
            return name
    return ""


def _names(
    rows: Rows, commented: list[str] | None, header: bool | None, rule: HeaderRule, notes: list[str]
) -> tuple[list[str], bool]:
    """The columns' names, and whether they are given in the file."""
    first, others = rows[0][1], [cells for _, cells in rows[1:_SAMPLE]]
    if commented is not None and header is None and len(commented) == len(first):
        notes.append("the names of the columns come from a comment line")
        return commented, True
    if header is None:
        header = rule(first, others, notes)
    if not header:
        return [str(i) for i in range(len(first))], False
    names = [cell.strip() for cell in first]
    if others and all(len(cells) == len(names) + 1 for cells in others):  # R's row names have none above them
        names = [*names, ""] if not any(cells[-1].strip() for cells in others) else ["", *names]
    return names, True


def _of_one_length(path: str | Path, rows: Rows, k: int, sep: str | None, notes: list[str]) -> Rows:
    """The rows, if all have k cells; comments among them are left out."""
    kept = [row for row in rows if len(row[1]) == k or not row[1][0].lstrip().startswith("#")]
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept)} comment lines (#) were left out")
    for line, cells in kept:
        if len(cells) != k:
            why = "" if sep is None else f"; a cell that contains {sep!r} must stand in quotes"
            if sep == "," and all(len(cells) == 2 * k for _, cells in kept):
                why = "; decimal commas cannot stand in a table separated by commas: separate it by semicolons"
            raise FileError(f"{path}, line {line}: {k} cells expected, as in the first line, got {len(cells)}{why}")
    return kept


# -- bytes to text -----------------------------------------------------------------------------------------------------


def decode(path: str | Path, raw: bytes, encoding: str | None, notes: list[str]) -> str:
    """The text of a file: in the encoding given, else UTF-8 (or 16, if it begins so), else Windows' cp1252."""
    if encoding is not None:
        try:
            codecs.lookup(encoding)
            return _without_nul(path, raw.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding))
        except (LookupError, TypeError, ValueError) as error:
            if isinstance(error, FileError):
                raise
            if isinstance(error, UnicodeDecodeError):
                raise FileError(f"{path} is not a text file in {encoding.upper()} ({error})") from error
            raise OptionError(f"encoding must be the name of one, such as 'cp1252', got {encoding!r}") from error
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        notes.append("read as UTF-16")
        return decode(path, raw, "utf-16", notes)
    try:
        return _without_nul(path, raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        try:
            text = _without_nul(path, raw.decode("cp1252"))
        except UnicodeDecodeError:
            raise FileError(f"{path} is not a text file in UTF-8 ({error}): give its encoding= (--encoding)") from error
    notes.append("read as cp1252, since it is not UTF-8: encoding= (--encoding) names another one")
    return text


def _without_nul(path: str | Path, text: str) -> str:
    if "\0" in text:
        raise FileError(f"{path} is not a text file in UTF-8 with one example a line (it contains NUL)")
    return text


# -- text to rows ------------------------------------------------------------------------------------------------------


def check_sep(sep: str | None) -> str | None:
    """A separator that can be one."""
    if sep is None:
        return None
    sep = {"\\t": "\t", "tab": "\t", "space": " "}.get(sep, sep) if isinstance(sep, str) else sep
    if not isinstance(sep, str) or len(sep) != 1 or sep in '"\r\n':
        raise OptionError(f"sep must be one character, such as ';' or a tab, got {sep!r}")
    return sep


def _head(text: str) -> list[str]:
    """The first lines that are neither blank nor comments, without what stands in quotes."""
    lines = io.StringIO(text[: 2**20], newline="")
    found = []
    for line in lines:
        if line.strip() and not line.startswith("#"):
            found.append("".join(line.split('"')[::2]))
        if len(found) == _SAMPLE:
            break
    return found


def separator(head: list[str]) -> str | None:
    """A tab, a semicolon, a bar or a comma: the first that all lines have equally often, else that the first line has.

    None stands for white space.

    >>> separator(["a;b", "1,5;2"]), separator(["a b", "1 2"])
    (';', None)
    """
    marks = "\t;|,"
    for mark in marks:
        counts = {line.count(mark) for line in head}
        if len(counts) == 1 and 0 not in counts:
            return mark
    return next((mark for mark in marks if head and mark in head[0]), None)


def rows_of(path: str | Path, text: str, sep: str | None) -> Rows:
    """Line numbers (from 1) and cells of all lines that are not blank."""
    lines = io.StringIO(text, newline="")
    if sep is None or sep == " ":
        found = [(i, line.split()) for i, line in enumerate(lines, 1)]
    else:
        reader = csv.reader(lines, delimiter=sep, strict=True, skipinitialspace=True)
        try:
            found = [(reader.line_num, cells) for cells in reader]
        except csv.Error as error:
            raise FileError(f"{path}, line {reader.line_num}: this is no line of cells ({error})") from error
    return [(i, cells) for i, cells in found if any(map(str.strip, cells))]


def _commented_names(text: str, sep: str | None) -> tuple[list[str] | None, int]:
    """The last comment line above the table, as names, and its number; (None, 0) if there is none."""
    names, start = None, 0
    for i, line in enumerate(io.StringIO(text[: 2**20], newline=""), 1):
        if line.startswith("#"):
            bare = line.strip().lstrip("#")
            names, start = [cell.strip().strip('"') for cell in (bare.split(sep) if sep else bare.split())], i
        elif line.strip():
            break
    return names, start


# -- names -------------------------------------------------------------------------------------------------------------


def is_header(first: list[str], others: list[list[str]], notes: list[str]) -> bool:
    """Whether the first line holds names: it has no number, or text above a column of numbers, or counts columns."""
    numeric = [is_number(cell) or is_number(cell, ",") for cell in first]
    if not any(numeric):
        return True
    switch = "header= (--header, --no-header) says otherwise"
    shown = ", ".join(cell.strip() for cell in first[:4]) + (", ..." if len(first) > 4 else "")
    if all(numeric):
        looks = like_names(first, others)
        if looks:
            notes.append(f"line 1 ({shown}) was taken for names of columns: {switch}")
        elif len(first) == 2 and _stand_out(first, others):  # too little to take them for names unasked
            notes.append(f"line 1 ({shown}) was taken for an example: {switch}")
        return looks
    below = [[row[j] for row in others if len(row) > j] for j in range(len(first))]
    named = any(
        not numeric[j] and first[j].strip().lower() not in NO_NUMBER and cells and all(map(_numeric, cells))
        for j, cells in enumerate(below)
    )
    notes.append(f"line 1 ({shown}) was taken for {'names of columns' if named else 'an example'}: {switch}")
    return named


def _numeric(cell: str) -> bool:
    return is_number(cell) or is_number(cell, ",") or cell.strip().lower() in NO_NUMBER


def like_names(first: list[str], others: list[list[str]]) -> bool:
    """Whether a line of numbers is rather one of names: whole numbers that count 0, 1, 2, ..., or that ascend and lie
    outside of what stands below each of them.

    >>> like_names(["0", "1", "2"], [["5.1", "3.5", "1"]]), like_names(["1990", "1991", "1992"], [["5", "3", "4"]])
    (True, True)
    >>> like_names(["1", "2", "0"], [["3", "4.5", "1"]])
    False
    """
    if len(first) < 3 or not all(is_plain(cell) and cell.strip().isdigit() for cell in first):
        return False
    return [int(cell) for cell in first] == list(range(len(first))) or _stand_out(first, others)


def _stand_out(first: list[str], others: list[list[str]]) -> bool:
    """Whether these are whole numbers that ascend and lie outside of what stands below each of them."""
    if not all(is_plain(cell) and cell.strip().isdigit() for cell in first):
        return False
    numbers = [int(cell) for cell in first]
    if not all(a < b for a, b in pairwise(numbers)):
        return False
    below = [[float(row[j]) for row in others if len(row) > j and is_plain(row[j])] for j in range(len(first))]
    return all(cells and not min(cells) <= number <= max(cells) for number, cells in zip(numbers, below, strict=True))

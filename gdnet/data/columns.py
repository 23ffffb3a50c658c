"""Columns of a table: numbers, categories, dates, or a mixture that is refused; what is a class and what a number."""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdnet.data.cells import NO_NUMBER, NO_TEXT, is_ambiguous, is_date, plain_numbers, spellings, value
from gdnet.errors import FileError, GdnetError

DECIMAL_COMMAS = "decimal commas, as in {}: decimal='.' (--decimal .) says otherwise"


@dataclass
class Column:
    """One column: `numbers` (n,) float64 with NaN where a value is missing, or None and `cells` with "" there."""

    name: str
    place: int
    """Its number, from 0."""
    numbers: np.ndarray | None
    cells: Sequence[str] = ()

    @property
    def whole(self) -> bool:
        """Whether all its numbers are whole."""
        real = self.numbers[~self.missing]  # type: ignore[index]
        return bool(len(real) and (real == np.rint(real)).all())

    @functools.cached_property
    def missing(self) -> np.ndarray:
        """Which values are missing, (n,)."""
        if self.numbers is not None:
            return np.isnan(self.numbers)
        return np.asarray([not cell for cell in self.cells], dtype=bool)


@dataclass
class Source:
    """Where a table comes from, for messages."""

    name: str
    line: Callable[[int], str]
    """How to call row i, as in "line 7"."""
    error: type[GdnetError] = FileError

    def of_rows(self, index: np.ndarray) -> "Source":
        """The same for a table that has kept the rows with these numbers."""
        return Source(self.name, lambda i: self.line(int(index[i])), self.error)

    def fail(self, message: str, column: Column | None = None, row: int | None = None) -> GdnetError:
        """The error for this table, column and row."""
        where = [self.name] if self.name else []
        if row is not None:
            where.append(self.line(row))
        if column is not None:
            where.append(f"column {column.place + 1} ({column.name})")
        return self.error(f"{', '.join(where)}: {message}")


def columns_of(
    source: Source, names: Sequence[str], raw: Sequence[Any], decimal: str | None, notes: list[str]
) -> list[Column]:
    """Each column with its kind. `raw` are arrays of numbers, NaN where one is missing, or sequences of cells."""
    found: list[Column | None] = [None] * len(names)
    open_: dict[int, list[str]] = {}
    points = False  # whether some column is written with decimal points
    for j, cells in enumerate(raw):
        numbers = np.asarray(cells, np.float64) if isinstance(cells, np.ndarray) else None
        if numbers is None and decimal != ",":
            numbers = plain_numbers(cells)
        if numbers is None:
            open_[j] = [cell.strip() for cell in cells]
            continue
        found[j] = Column(names[j], j, numbers)
        points = points or (cells.dtype.kind == "f" if isinstance(cells, np.ndarray) else any("." in c for c in cells))
    kinds = {j: _spelling(cells) for j, cells in open_.items()}
    mark = decimal or _decimal(source, names, open_, kinds, points, notes)
    grouped = []
    for j, cells in open_.items():
        found[j] = _column(names[j], j, cells, kinds[j], mark, decimal is None, source)
        if found[j].numbers is not None and any(_has_group(cell, mark) for cell in cells):  # type: ignore[union-attr]
            grouped.append(names[j])
    if grouped:
        notes.append(f"marks between thousands or per cent signs were left out in {', '.join(grouped)}")
    return found  # type: ignore[return-value]


@dataclass
class _Spelling:
    """How the cells of a column are written."""

    marks: frozenset[str]
    """Decimal marks with which all cells that are not missing are numbers."""
    ambiguous: int | None
    """The first row whose cell is another number with the other mark."""
    share: float
    """The share of cells that are numbers with some mark, of those that are not missing."""


def _spelling(cells: list[str]) -> _Spelling:
    marks, ambiguous, numbers, n = frozenset(".,"), None, 0, 0
    for i, cell in enumerate(cells):
        if cell.lower() in NO_NUMBER:
            continue
        own = spellings(cell)
        n += 1
        numbers += bool(own)
        marks &= own
        if ambiguous is None and len(own) == 2 and is_ambiguous(cell):
            ambiguous = i
    return _Spelling(marks if n else frozenset(".,"), ambiguous, numbers / n if n else 1.0)


def _decimal(
    source: Source, names: Sequence[str], cells: dict[int, list[str]], kinds: dict[int, _Spelling], points: bool,
    notes: list[str],
) -> str:  # fmt: skip
    """The decimal mark of the whole table, from the columns that admit one only."""
    commas = [j for j, kind in kinds.items() if kind.marks == {","}]
    points = points or any(kind.marks == {"."} for kind in kinds.values())
    if commas and points:
        raise source.fail(
            f"the columns {', '.join(names[j] for j in commas[:3])} are written with decimal commas and others with "
            f"decimal points: say which one is meant, decimal=',' or '.' (--decimal), and mend the others"
        )
    if commas:
        notes.append(DECIMAL_COMMAS.format(names[commas[0]]))
        return ","
    if not points:
        for j, kind in kinds.items():
            if kind.marks and kind.ambiguous is not None:
                cell = cells[j][kind.ambiguous]
                raise source.fail(
                    f"{cell!r} is {value(cell, '.'):g} with a decimal point and {value(cell, ','):g} with a decimal "
                    f"comma: say decimal='.' or ',' (--decimal)", Column(names[j], j, None), kind.ambiguous
                )  # fmt: skip
    return "."


def _has_group(cell: str, mark: str) -> bool:
    return (
        bool(cell) and any(c in cell for c in " '’%\u00a0\u202f" + (",", ".")[mark == ","]) and mark in spellings(cell)
    )


def _column(
    name: str, place: int, cells: list[str], kind: _Spelling, mark: str, guessed: bool, source: Source
) -> Column:
    column = Column(name, place, None)
    if mark in kind.marks:
        numbers = np.asarray([np.nan if c.lower() in NO_NUMBER else value(c, mark) for c in cells], np.float64)
        if np.isinf(numbers).any():
            row = int(np.argmax(np.isinf(numbers)))
            raise source.fail(f"a finite number was expected, got {cells[row]!r}", column, row)
        return Column(name, place, numbers)
    if kind.share > 0.5:
        row = next(i for i, c in enumerate(cells) if c.lower() not in NO_NUMBER and mark not in spellings(c))
        if kind.marks and not guessed:
            why = f"it is no number with the decimal mark {mark!r}: leave out decimal= (--decimal), or mend the cell"
        else:
            why = (
                f"{100 * kind.share:.0f} % of the cells in the column are numbers: mend the cell, empty it if it is "
                f"missing, or leave the column out: drop=[{name!r}], --drop {name!r}"
            )
        raise source.fail(f"a number was expected, got {cells[row]!r}; {why}", column, row)
    column.cells = ["" if c.lower() in NO_TEXT else c for c in cells]
    return column


# -- features ----------------------------------------------------------------------------------------------------------

MOST_CATEGORIES = 100


def dates(column: Column) -> bool:
    """Whether all cells that are there are dates or times."""
    there = [cell for cell in column.cells if cell]
    return column.numbers is None and bool(there) and all(map(is_date, there))


def check_no_dates(source: Source, column: Column) -> None:
    """A refusal of dates: nothing says in which unit they are meant."""
    if dates(column):
        cell = next(cell for cell in column.cells if cell)
        raise source.fail(
            f"the column holds dates or times, as {cell!r}: leave it out, drop=[{column.name!r}], --drop "
            f"{column.name!r}, or write it as a number such as days since a day",
            column,
        )


def one_hot_columns(source: Source, column: Column, chosen: bool) -> tuple[list[str], np.ndarray]:
    """`(names, rows)`: a column of 0 and 1 for each category of a column of text; all 0 where it is missing."""
    check_no_dates(source, column)
    categories = sorted(set(column.cells) - {""})
    n = len(column.cells)
    if not chosen and len(categories) > max(2, min(MOST_CATEGORIES, n // 2)):
        raise source.fail(
            f"the column holds {len(categories)} different texts in {n} rows, as {categories[0]!r}: leave it out, "
            f"drop=[{column.name!r}], --drop {column.name!r}; or name it among the features to make a column of each",
            column,
        )
    number = {category: i for i, category in enumerate(categories)}
    rows = np.zeros((n, len(categories)))
    for i, cell in enumerate(column.cells):
        if cell:
            rows[i, number[cell]] = 1.0
    return [f"{column.name}={category}" for category in categories], rows


# -- targets -----------------------------------------------------------------------------------------------------------

MOST_CLASSES = 20
FEWEST = 3
"""Examples that each class must have for whole numbers to be taken for classes without being told."""


def decide_task(source: Source, column: Column, task: str | None, notes: list[str]) -> str:
    """ "classification" or "regression" for this target, with the reason and the switch in the notes."""
    check_no_dates(source, column)
    other = {"regression": "classification", "classification": "regression"}
    if column.numbers is None:
        if task == "regression":
            row = next((i for i, cell in enumerate(column.cells) if cell), 0)
            raise source.fail(f"regression needs numbers, got {column.cells[row]!r}", column, row)
        notes.append(f"classification: the target {column.name} is text")
        return "classification"
    if task is not None:
        return task
    real = column.numbers[~np.isnan(column.numbers)]
    values, counts = np.unique(real, return_counts=True)
    if not column.whole:
        found, why = "regression", "holds numbers that are not whole"
    elif len(values) <= 2:
        found, why = "classification", f"has the values {' and '.join(f'{v:g}' for v in values)} only"
    elif len(values) > MOST_CLASSES:
        found, why = "regression", f"has {len(values)} different whole numbers"
    elif counts.min() < FEWEST:
        rare = values[int(np.argmin(counts))]
        found, why = "regression", f"holds whole numbers, of which {rare:g} occurs {_times(int(counts.min()))}"
    else:
        found, why = "classification", f"has {len(values)} different whole numbers, each {FEWEST} times or more"
    as_what = "numbers" if found == "classification" else "classes"
    switch = f"task={other[found]!r} (--task {other[found]})"
    switch = f"; {switch} takes them as {as_what}" if column.numbers is not None and column.whole else ""
    notes.append(f"{found}: the target {column.name} {why}{switch}")
    return found


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def classes(source: Source, column: Column) -> tuple[list[str], np.ndarray]:
    """`(names, labels)`: the classes in order, and for each row the number of its class, (n,) int64."""
    if column.numbers is None:
        names = sorted(set(column.cells))
        number = {name: i for i, name in enumerate(names)}
        labels = np.asarray([number[cell] for cell in column.cells], np.int64)
    else:
        values, labels = np.unique(column.numbers, return_inverse=True)
        names, labels = [f"{v:.15g}" for v in values], labels.astype(np.int64)
    if len(names) < 2:
        raise source.fail(f"all examples have the same target, {names[0]!r}: nothing can be learned", column)
    if len(names) > max(2, len(labels) // 2):
        most = Counter(labels.tolist()).most_common(1)[0][1]
        raise source.fail(
            f"{len(names)} classes in {len(labels)} rows, of which none occurs more than {_times(most)}: choose "
            f"another target, or task='regression' (--task regression) if they are numbers",
            column,
        )
    return names, labels

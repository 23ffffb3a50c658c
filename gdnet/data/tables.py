"""Tables as people have them: text, categories, missing values, decimal commas, other encodings, DataFrames."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gdnet.checks import is_whole
from gdnet.data.cells import is_number
from gdnet.data.columns import DECIMAL_COMMAS, Column, Source, classes, columns_of, decide_task, one_hot_columns
from gdnet.data.frames import cells_of, frame_columns, is_frame, read_frame
from gdnet.data.text import read_cells
from gdnet.errors import DataError, FileError, OptionError

TASKS = ("regression", "classification")
MISSING = ("error", "drop", "mean")


@dataclass(frozen=True)
class Table:
    """Numbers to be trained on, and what they are.

    Attributes
    ----------
    x : (n, features) float64
    t : (n,) int64 labels, (n, targets) float64, or None
    feature_names : list of str
        One a column of x; "kind=red" is 1 where the column kind says red, else 0.
    target_names : list of str
    class_names : list of str
        Of classes 0, 1, ...; empty for a regression.
    task : "classification", "regression" or None
    notes : list of str
        What was decided without being told, with the option that decides otherwise.
    """

    x: np.ndarray
    t: np.ndarray | None
    feature_names: list[str]
    target_names: list[str]
    class_names: list[str]
    task: str | None
    notes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        of = f", {len(self.class_names)} classes" if self.class_names else ""
        return f"<Table of {len(self.x)} examples, {self.x.shape[1]} features, {self.task or 'no target'}{of}>"


def read_table(
    source: Any, target: str | int | Sequence[str | int] | None = -1, *, features: Sequence[str | int] | None = None,
    drop: Sequence[str | int] = (), task: str | None = None, missing: str = "error", decimal: str | None = None,
    sep: str | None = None, header: bool | None = None, encoding: str | None = None,
) -> Table:  # fmt: skip
    """Features and targets from a text file or a DataFrame, with one example a row.

    Parameters
    ----------
    source : path or DataFrame
        A text file, also packed by gzip; an Excel or Parquet file if pandas is installed; or a table of pandas or
        polars (its index is not a feature).
    target : str, int or several
        The columns of the targets, by name or by number from 0 (a name goes first); by default the last that is not
        left out; None if there is none.
    features, drop : of str or int
        The columns that are features (by default all others), or that are left out.
    task : "regression" or "classification", optional
        By default text and whole numbers with at most 20 different values, each occurring three times or more (or
        two values only), are classes, and all else is numbers.
    missing : "error", "drop" or "mean"
        Whether missing values are refused, their rows left out, or the mean of the feature put in their place (a
        missing category is none of the categories). Rows without a target are left out in both of the latter.
    decimal, sep, encoding : str, optional
        The decimal mark, the separator and the encoding of a text file; by default they are found out.
    header : bool, optional
        Whether the first line holds names.

    Returns
    -------
    A `Table`; its `notes` tell what was decided.

    Raises
    ------
    FileError, DataError
        For a file or a DataFrame that cannot be trained on, with line, column, what stands there and what to do.
    OptionError
        For columns that do not exist, or names that stand above several.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open(f"{folder}/table.csv", "w") as file:
    ...         _ = file.write("length;kind;ok\\n1,5;red;yes\\n2,5;blue;no\\n3,5;red;no\\n")
    ...     table = read_table(f"{folder}/table.csv")
    >>> table.x.tolist(), table.feature_names
    ([[1.5, 0.0, 1.0], [2.5, 1.0, 0.0], [3.5, 0.0, 1.0]], ['length', 'kind=blue', 'kind=red'])
    >>> table.t.tolist(), table.class_names, table.task
    ([1, 0, 0], ['no', 'yes'], 'classification')
    """
    _check_choice("task", task, (None, *TASKS))
    _check_choice("missing", missing, MISSING)
    _check_choice("decimal", decimal, (None, ".", ","))
    notes: list[str] = []
    if is_frame(source):
        names, raw = frame_columns(source)
        of = Source("the table", lambda i: f"row {i}", DataError)
        named = True
    elif str(source).lower().endswith((".xlsx", ".xls", ".ods", ".parquet", ".feather")):
        names, raw = frame_columns(read_frame(source))
        of, named = Source(str(source), lambda i: f"row {i}"), True
    else:
        cells = read_cells(source, header, sep, encoding, decimal=decimal)
        if cells.commas and _has_points(cells.columns):
            cells = read_cells(source, header, sep, encoding, cells_only=True)
        if cells.commas:
            decimal = ","
            cells.notes.append(DECIMAL_COMMAS.format(cells.commas))
        names, raw, named = cells.names, cells.columns, cells.header
        lines = cells.lines
        of = Source(str(source), lambda i: f"line {lines[i]}")
        notes += cells.notes
    if not len(raw) or not len(raw[0]):
        raise of.fail("there are no examples")
    told = [note for note in notes if "was taken for an example" in note]
    try:
        return _make(of, names, raw, named, target, features, drop, task, missing, decimal, notes)
    except FileError as error:
        if not told:
            raise
        raise FileError(f"{error}; {told[0]}") from error  # names in line 1 may be the whole cause


def table_of_arrays(path: Any, x: np.ndarray, t: np.ndarray, **how: Any) -> Table:
    """The same from two arrays of a file: x with one example a row, t with its target or targets."""
    x, t = x.reshape(len(x), -1) if x.size else x.reshape(len(x), 0), t.reshape(len(t), -1) if t.size else t[:, None]
    names = [str(j) for j in range(x.shape[1])] + (["t"] if t.shape[1] == 1 else [f"t{j}" for j in range(t.shape[1])])
    of = Source(str(path), lambda i: f"row {i}")
    if not len(x) or not x.shape[1]:
        raise of.fail(f"there are no examples: x has shape {x.shape}")
    try:
        raw = [cells_of(name, column) for name, column in zip(names, (*x.T, *t.T), strict=True)]
    except DataError as error:
        raise of.fail(str(error)) from error
    asked: dict[str, Any] = {
        "target": names[x.shape[1] :],
        "features": None,
        "drop": (),
        "task": None,
        "missing": "error",
        "decimal": None,
        "notes": [],
    } | how
    return _make(of, names, raw, True, **asked)


def _make(
    of: Source, names: list[str], raw: Sequence[Any], named: bool, target: Any, features: Any, drop: Any,
    task: str | None, missing: str, decimal: str | None, notes: list[str],
) -> Table:  # fmt: skip
    find = _Finder(names, named)
    left_out = find.all(drop, "drop")
    wanted = None if features is None else find.all(features, "features")
    targets = _targets(find, target, left_out, wanted)
    rest = [j for j in range(len(names)) if j not in left_out and j not in targets]
    if wanted is None:
        index = [j for j in rest if j == 0 and _is_index(names[j], raw[j])]
        if index and len(rest) > 1:
            notes.append("the first column has no name and counts the rows: it was left out; features= (--features)")
            rest.remove(0)
    chosen = rest if wanted is None else wanted
    used = [*chosen, *targets]
    parsed = columns_of(of, [names[j] or str(j) for j in used], [raw[j] for j in used], decimal, notes)
    for column, j in zip(parsed, used, strict=True):
        column.place = j
    inputs, outputs = parsed[: len(chosen)], parsed[len(chosen) :]
    if wanted is None:
        empty = [column for column in inputs if column.missing.all()]
        inputs = [column for column in inputs if not column.missing.all()]
        if empty:
            notes.append(f"empty columns were left out: {', '.join(column.name for column in empty)}")
    if not inputs:
        raise of.fail("features are missing: every column is a target, empty or left out")
    kept = _kept(of, inputs, outputs, missing, notes)
    inputs, outputs = ([_rows(column, kept) for column in part] for part in (inputs, outputs))
    of = of.of_rows(np.flatnonzero(kept))
    feature_names, x = _features(of, inputs, wanted is not None)
    t, class_names, decided = _target_values(of, outputs, task, notes)
    return Table(x, t, feature_names, [column.name for column in outputs], class_names, decided, notes)


def _has_points(columns: Sequence[Any]) -> bool:
    """Whether numbers with decimal points stand among the cells."""
    return any(
        "." in cell and is_number(cell)
        for column in columns
        if not isinstance(column, np.ndarray)
        for cell in dict.fromkeys(column)
    )


def _targets(find: "_Finder", target: Any, left_out: list[int], wanted: list[int] | None) -> list[int]:
    if target is None:
        return []
    if is_whole(target) and target == -1:  # the default: the last of those that are left
        last = next((j for j in reversed(range(len(find.names))) if j not in left_out), None)
        if last is None:
            raise OptionError("drop leaves no column")
        if find.named and find.names[last] and find.names.count(find.names[last]) > 1:
            find.one(find.names[last], "target")
        targets = [last]
    else:
        targets = find.all(target, "target")
    for j in targets:
        for role, others in (("drop", left_out), ("features", wanted or [])):
            if j in others:
                raise OptionError(f"the column {find.names[j]!r} is the target and stands in {role} too")
    return targets


class _Finder:
    """Columns by name or number."""

    def __init__(self, names: list[str], named: bool) -> None:
        self.names, self.named = names, named

    def all(self, wanted: Any, role: str) -> list[int]:
        """The numbers of the columns that were asked for, each once."""
        several = isinstance(wanted, (list, tuple, set, frozenset))
        items = list(wanted) if several else [wanted]
        for item in [item for item in items if isinstance(item, str) and "," in item and item not in self.names]:
            at = items.index(item)
            items[at : at + 1] = [part.strip() for part in item.split(",")]
        found = [self.one(item, role) for item in items]
        return list(dict.fromkeys(found))

    def one(self, wanted: Any, role: str) -> int:
        k = len(self.names)
        if isinstance(wanted, str) and self.named:
            at = [j for j, name in enumerate(self.names) if name == wanted.strip()]
            if len(at) > 1:
                numbers = " and ".join(map(str, at))
                raise OptionError(
                    f"{role}: the name {wanted!r} stands above the columns {numbers}, counted from 0: rename one, or "
                    f"give the number of the one that is meant and drop the other"
                )
            if at:
                return at[0]
        number = wanted if is_whole(wanted) else None
        if isinstance(wanted, str) and re.fullmatch(r"-?\d+", wanted, re.ASCII):
            number = int(wanted)
        if number is not None and -k <= number < k:
            return int(number) % k
        known = f"the columns are {', '.join(map(repr, self.names))}" if self.named else "the file has no names"
        lower = {name.lower(): name for name in self.names} if self.named else {}
        close = difflib.get_close_matches(str(wanted).lower(), lower, 1)
        hint = f"; did you mean {lower[close[0]]!r}?" if close else ""
        raise OptionError(
            f"{role} must be the name of a column or its number, from 0 to {k - 1}, got {wanted!r}: {known}{hint}"
        )


def _is_index(name: str, cells: Any) -> bool:
    """Whether a column is the index that pandas and R write: no name, and 0, 1, 2, ... or 1, 2, 3, ..."""
    if name and not re.fullmatch(r"Unnamed: \d+", name):
        return False
    first = str(cells[0]).strip()
    start = int(first) if first in ("0", "1") else None
    return start is not None and all(str(cell).strip() == str(i) for i, cell in enumerate(cells, start))


def _kept(of: Source, inputs: list[Column], outputs: list[Column], missing: str, notes: list[str]) -> np.ndarray:
    """Which rows stay, (n,)."""
    gaps = {column.name: column.missing for column in [*inputs, *outputs]}
    counts = {name: int(gap.sum()) for name, gap in gaps.items() if gap.any()}
    n = len(next(iter(gaps.values())))
    if not counts:
        return np.ones(n, dtype=bool)
    any_gap = np.logical_or.reduce(list(gaps.values()))
    where = ", ".join(f"{count} in {name}" for name, count in list(counts.items())[:6])
    where += ", ..." if len(counts) > 6 else ""
    said = f"{sum(counts.values())} values in {int(any_gap.sum())} of {n} rows are missing ({where})"
    if missing == "error":
        row = int(np.argmax(any_gap))
        raise of.fail(
            f"{said}, the first in {of.line(row)}: missing='drop' (--missing drop) leaves these rows out, 'mean' puts "
            f"the mean of the feature in their place"
        )
    no_target = np.logical_or.reduce([np.zeros(n, bool), *(column.missing for column in outputs)])
    gone = any_gap if missing == "drop" else no_target
    if missing == "mean":
        said += ", and features got the mean of their column"
    if gone.any():
        said += f"; {int(gone.sum())} rows were left out" + (" for want of a target" if missing == "mean" else "")
    notes.append(said)
    if gone.all():
        raise of.fail(f"no row is left: {said}")
    return ~gone


def _rows(column: Column, kept: np.ndarray) -> Column:
    if kept.all():
        return column
    numbers = None if column.numbers is None else column.numbers[kept]
    cells = [cell for cell, keep in zip(column.cells, kept, strict=True) if keep] if column.numbers is None else ()
    return Column(column.name, column.place, numbers, cells)


def _features(of: Source, inputs: list[Column], chosen: bool) -> tuple[list[str], np.ndarray]:
    names: list[str] = []
    parts: list[np.ndarray] = []
    for column in inputs:
        if column.numbers is None:
            own, rows = one_hot_columns(of, column, chosen)
            names += own
            parts.append(rows)
            continue
        numbers, gap = column.numbers, column.missing
        if gap.all():
            raise of.fail("the column is empty", column)
        names.append(column.name)
        parts.append(np.where(gap, numbers[~gap].mean(), numbers) if gap.any() else numbers)
    return names, np.column_stack(parts)


def _target_values(
    of: Source, outputs: list[Column], task: str | None, notes: list[str]
) -> tuple[np.ndarray | None, list[str], str | None]:
    """(t, names of classes, task)."""
    if not outputs:
        return None, [], None
    if len(outputs) == 1:
        task = decide_task(of, outputs[0], task, notes)
        if task == "classification":
            names, labels = classes(of, outputs[0])
            return labels, names, task
    elif task == "classification":
        raise OptionError("classification has one target: give one column, or leave out task= (--task)")
    for column in outputs:
        if column.numbers is None:
            decide_task(of, column, "regression", notes)  # tells dates and text
    t = np.column_stack([column.numbers for column in outputs])  # type: ignore[misc]
    for column, values in zip(outputs, t.T, strict=True):
        if (values == values[0]).all():
            raise of.fail(f"all examples have the same target, {values[0]:g}: nothing can be learned", column)
    return t, [], "regression"


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices if choice is not None)
        raise OptionError(f"{name} must be one of {known}, got {value!r}")

"""The user's own files: tables of numbers as text, and NumPy archives."""

import io
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gdnet.errors import FileError, OptionError

Row = tuple[int, list[str]]


def read_csv(
    path: str | Path,
    target: int | str | None = -1,
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    labels: bool | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """`x, t` from a text file with one example a line.

    Parameters
    ----------
    path : path
        A `.gz` at its end is unpacked.
    target : int or str
        The column of the target, by number (the last by default) or by its name in the header; None if there is none.
    header : bool, optional
        Whether the first line holds names; by default it does if none of its cells is a number.
    delimiter : str, optional
        By default a tab, a semicolon, a comma or white space, whichever the first line has.
    labels : bool, optional
        Whether the target is a class: then t is int64. By default it is if all its cells are whole numbers, written
        without a point, not negative and below the number of examples.

    Returns
    -------
    x (n, features) float64 and t (n,), int64 labels or float64.

    Raises
    ------
    FileError
        If the file cannot be read, or a cell is empty, missing or not a finite number: with its line and column.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "table.csv")
    ...     _ = path.write_text("length,width,kind\\n1.5,2,0\\n2.5,1,1\\n")
    ...     x, t = read_csv(path)
    >>> x.tolist(), t.tolist()
    ([[1.5, 2.0], [2.5, 1.0]], [0, 1])
    """
    rows = _rows(Path(path), delimiter)
    line, first = next(rows, (0, []))
    if not first:
        raise FileError(f"{path} is empty: one example a line was expected")
    if header is None:
        header = not any(_is_number(cell) for cell in first)
    names = [cell.strip() for cell in first] if header else [str(i) for i in range(len(first))]
    column = _column(names, target, header)
    body = [] if header else [_numbers(path, line, first, names)]
    written = [] if header or column is None else [first[column]]
    for line, cells in rows:
        body.append(_numbers(path, line, cells, names))
        if column is not None:
            written.append(cells[column])
    if not body:
        raise FileError(f"{path} has a header and no examples")
    table = np.asarray(body)
    if column is None:
        return table, None
    x, t = np.delete(table, column, axis=1), table[:, column].copy()
    if x.shape[1] == 0:
        raise FileError(f"{path} has one column only, which is the target: features are missing")
    if labels is None:
        labels = all(cell.strip().isdecimal() for cell in written) and bool(t.max() < len(t))
    if not labels:
        return x, t
    if (t != np.rint(t)).any() or t.min() < 0:
        raise FileError(f"{path}: the target {names[column]!r} has values that are not labels 0, 1, 2, ...")
    return x, t.astype(np.int64)


def read_npz(path: str | Path, *, x: str = "x", t: str = "t") -> tuple[np.ndarray, np.ndarray]:
    """`x, t` from a file that `numpy.savez(path, x=x, t=t)` wrote; `x=` and `t=` give other names.

    Raises
    ------
    FileError
        If the file is missing, damaged, or has no such arrays, if these are not equally many examples, or if one holds
        Python objects (which are never loaded).
    """
    import zipfile

    try:
        with open(path, "rb") as file:
            stored = np.load(file, allow_pickle=False)
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise FileError(f"{path} is not an .npz archive: save it with numpy.savez(path, x=x, t=t)")
            missing = [name for name in (x, t) if name not in stored]
            if missing:
                raise FileError(
                    f"{path} has no array {' and no array '.join(map(repr, missing))}; it holds "
                    f"{', '.join(map(repr, stored)) or 'nothing'}: name them with x= and t="
                )
            found = stored[x], stored[t]
            sizes = [array.shape[0] if array.ndim else None for array in found]
            if None in sizes or sizes[0] != sizes[1]:
                shapes = f"{x!r} of shape {found[0].shape} and {t!r} of shape {found[1].shape}"
                raise FileError(f"{path} has {shapes}, which must have one row and one target an example")
            return found
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or 'it is damaged or no .npz file'}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, FileError):
            raise
        why = "it holds Python objects" if "pickle" in str(error) and "Object arrays" in str(error) else "it is damaged"
        raise FileError(f"{path} cannot be loaded: {why}, or it is no .npz file") from error


def _rows(path: Path, delimiter: str | None) -> Iterator[Row]:
    """Line numbers (from 1) and cells of all lines that are not blank."""
    import csv
    import gzip

    try:
        raw = gzip.open(path) if path.suffix == ".gz" else open(path, "rb")  # noqa: SIM115
        with raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:  # type: ignore[type-var]
            line = file.readline()
            while line and not line.strip():
                line = file.readline()
            file.seek(0)
            if delimiter is None:
                delimiter = next((d for d in "\t;," if d in line), None)
            if delimiter is None:
                table: Iterator[Row] = ((i, text.split()) for i, text in enumerate(file, 1))
            else:
                reader = csv.reader(file, delimiter=delimiter)
                table = ((reader.line_num, cells) for cells in reader)
            yield from ((i, cells) for i, cells in table if any(cell.strip() for cell in cells))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error) as error:
        raise FileError(f"{path} is not a text file in UTF-8 with one example a line ({error})") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(path: str | Path, line: int, cells: list[str], names: list[str]) -> list[float]:
    """The cells as finite numbers, or an error that names the line and the column."""
    if len(cells) != len(names):
        raise FileError(f"{path}, line {line}: {len(names)} cells expected, as in the first line, got {len(cells)}")
    try:
        values = list(map(float, cells))
        if all(map(math.isfinite, values)):
            return values
    except ValueError:
        pass
    i = next(i for i, cell in enumerate(cells) if not (_is_number(cell) and math.isfinite(float(cell))))
    got = f"got {cells[i]!r}" if cells[i].strip() else "the cell is empty"
    raise FileError(
        f"{path}, line {line}, column {i + 1} ({names[i]}): a finite number was expected, {got}; write class names as "
        f"0, 1, 2, ... and fill or remove what is missing"
    )


def _column(names: list[str], target: int | str | None, header: bool) -> int | None:
    if target is None:
        return None
    if isinstance(target, str) and header and target in names:
        return names.index(target)
    if isinstance(target, int) and -len(names) <= target < len(names):
        return target % len(names)
    known = f"the columns are {', '.join(names)}" if header else "the file has no header"
    raise OptionError(f"target must be a column's name or a number below {len(names)}, got {target!r}; {known}")

"""The user's own files: tables of numbers as text, and NumPy archives."""

import math
import warnings
from pathlib import Path

import numpy as np

from gdnet.checks import is_whole
from gdnet.data.cells import NO_NUMBER, is_plain, plain_numbers, spellings
from gdnet.data.opened import check_unpacked, opened
from gdnet.data.text import Cells, like_names, read_cells
from gdnet.errors import FileError, OptionError


def read_csv(
    path: str | Path,
    target: int | str | None = -1,
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    labels: bool | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """`x, t` from a text file in UTF-8 with one example a line, all of it numbers with decimal points.

    `read_table` takes text, missing values, decimal commas and other encodings as well.

    Parameters
    ----------
    path : path
        A `.gz` at its end is unpacked.
    target : int or str
        The column of the target, by number (the last by default) or by its name in the header; None if there is none.
    header : bool, optional
        Whether the first line holds names; by default it does if none of its cells is a number. A line of numbers
        that looks like names (0, 1, 2, ... or years) is taken for an example, with a warning.
    delimiter : str, optional
        By default a tab, a semicolon, a bar, a comma or white space, whichever the lines have.
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
    table = read_cells(path, header, delimiter, "utf-8", _strict_header, ".")
    column = _column(table, target)
    numbers = [plain_numbers(cells) if not isinstance(cells, np.ndarray) else cells for cells in table.columns]
    if any(found is None or np.isnan(found).any() for found in numbers):
        raise _first_fault(path, read_cells(path, table.header, delimiter, "utf-8", cells_only=True), header)
    everything = np.column_stack(numbers).astype(np.float64, copy=False)  # type: ignore[arg-type]
    if column is None:
        return everything, None
    x, t = np.delete(everything, column, axis=1), everything[:, column].copy()
    if x.shape[1] == 0:
        raise FileError(f"{path} has one column only, which is the target: features are missing")
    if labels is None:
        written = table.columns[column]
        if isinstance(written, np.ndarray):
            labels = written.dtype.kind in "iu" and bool(written.min() >= 0)
        else:
            labels = all(cell.strip().isdecimal() for cell in written)
        labels = labels and bool(t.max() < len(t))
    if not labels:
        return x, t
    if (t != np.rint(t)).any() or t.min() < 0:
        raise FileError(f"{path}: the target {table.names[column]!r} has values that are not labels 0, 1, 2, ...")
    return x, t.astype(np.int64)


def read_npz(path: str | Path, *, x: str = "x", t: str = "t") -> tuple[np.ndarray, np.ndarray]:
    """`x, t` from a file that `numpy.savez(path, x=x, t=t)` wrote; `x=` and `t=` give other names.

    Where there is no "x", "X" is taken, and "y" where there is no "t".

    Raises
    ------
    FileError
        If the file is missing, damaged, or has no such arrays, if these are not equally many examples, or if one holds
        Python objects (which are never loaded).
    """
    import zipfile

    with opened(path) as (file, packed):
        if packed:
            raise FileError(f"{path} is gzip-compressed: unpack it, .npz files are packed by themselves")
        try:
            stored = np.load(file, allow_pickle=False)
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise FileError(f"{path} is not an .npz archive: save it with numpy.savez(path, x=x, t=t)")
            if x == "x" and "x" not in stored and "X" in stored:
                x = "X"
            if t == "t" and "t" not in stored and "y" in stored:
                t = "y"
            missing = [name for name in (x, t) if name not in stored]
            if missing:
                raise FileError(
                    f"{path} has no array {' and no array '.join(map(repr, missing))}; it holds "
                    f"{', '.join(map(repr, stored)) or 'nothing'}: name them with x= and t="
                )
            for member in stored.zip.infolist():  # type: ignore[union-attr]
                if member.filename.removesuffix(".npy") in (x, t):
                    check_unpacked(path, member.file_size, max(1, member.compress_size))
            found = stored[x], stored[t]
        except FileError:
            raise
        except MemoryError as error:
            raise FileError(f"{path} cannot be loaded: its arrays need more memory than there is") from error
        except Exception as error:  # NumPy and zipfile raise a dozen kinds for damaged archives
            if isinstance(error, OSError) and not isinstance(error, zipfile.BadZipFile):
                why = error.strerror or "it is damaged or no .npz file"
                raise FileError(f"{path} cannot be read: {why}") from error
            objects = "pickle" in str(error) and "Object arrays" in str(error)
            why = "it holds Python objects" if objects else "it is damaged"
            raise FileError(f"{path} cannot be loaded: {why}, or it is no .npz file") from error
    for name, array in zip((x, t), found, strict=True):
        if not isinstance(array, np.ndarray):
            raise FileError(f"{path} has {name!r}, which is no array: save it with numpy.savez(path, x=x, t=t)")
    sizes = [array.shape[0] if array.ndim else None for array in found]
    if None in sizes or sizes[0] != sizes[1]:
        shapes = f"{x!r} of shape {found[0].shape} and {t!r} of shape {found[1].shape}"
        raise FileError(f"{path} has {shapes}, which must have one row and one target an example")
    return found


def _strict_header(first: list[str], others: list[list[str]], notes: list[str]) -> bool:
    """No cell is a number; a line of numbers that looks like names is told."""
    if not any(map(is_plain, first)):
        return True
    if like_names(first, others):
        warnings.warn(
            f"read_csv took line 1 ({', '.join(first[:4])}{', ...' if len(first) > 4 else ''}) for an example, though "
            f"it looks like names of columns: give header=True if it is, header=False if not",
            stacklevel=5,
        )
    return False


def _first_fault(path: str | Path, table: Cells, header: bool | None) -> FileError:
    """The error for the first cell that is no finite number: where it stands, and what to do about its kind."""
    columns = table.columns
    row, j = min(
        (i, j)
        for j, cells in enumerate(columns)
        if not isinstance(cells, np.ndarray)
        for i, cell in enumerate(cells)
        if not (is_plain(cell) and math.isfinite(float(cell)))
    )
    cell = columns[j][row]
    got = f"got {cell!r}" if cell.strip() else "the cell is empty"
    if row == 0 and header is None and not table.header:
        cure = "if line 1 holds the names of the columns, give header=True"
    elif cell.strip().lower() in NO_NUMBER:
        cure = 'fill it, remove the line, or read the table by read_table(..., missing="drop")'
    elif "," in spellings(cell):
        cure = "write a decimal point, or read the table by read_table, which takes decimal commas"
    else:
        cure = "text, class names and columns to be left out are for read_table"
    return FileError(
        f"{path}, line {table.lines[row]}, column {j + 1} ({table.names[j]}): a finite number was expected, {got}: "
        f"{cure}"
    )


def _column(table: Cells, target: int | str | None) -> int | None:
    names = table.names
    if target is None:
        return None
    if isinstance(target, str) and table.header and target in names:
        if names.count(target) > 1:
            at = " and ".join(str(i) for i, name in enumerate(names) if name == target)
            raise OptionError(f"target {target!r} is the name of the columns {at}: give the number of one of them")
        return names.index(target)
    if is_whole(target) and -len(names) <= target < len(names):  # type: ignore[operator]
        return int(target) % len(names)
    known = f"the columns are {', '.join(names)}" if table.header else "the file has no header"
    raise OptionError(f"target must be a column's name or a number below {len(names)}, got {target!r}; {known}")

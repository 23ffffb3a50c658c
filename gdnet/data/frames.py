"""DataFrames of pandas, polars and pyarrow as columns of cells, known by their methods: none of them is needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gdnet.checks import check_path
from gdnet.errors import DataError, FileError, OptionError


def is_frame(source: Any) -> bool:
    """Whether an object is a table with named columns."""
    return any(hasattr(source, name) for name in ("iloc", "get_columns", "column_names")) and hasattr(source, "shape")


def frame_columns(frame: Any) -> tuple[list[str], list[Sequence[str] | np.ndarray]]:
    """`(names, columns)`: finite numbers as arrays, all else as cells, empty where a value is missing."""
    if not hasattr(frame, "iloc") and not hasattr(frame, "get_columns"):  # pyarrow
        names, series = list(frame.column_names), list(frame.columns)
    elif hasattr(frame, "get_columns"):  # polars
        names, series = list(frame.columns), list(frame.get_columns())
    else:
        if frame.ndim != 2:
            raise DataError("a table with columns was expected, got one column: give series.to_frame()")
        names, series = list(frame.columns), [frame.iloc[:, j] for j in range(frame.shape[1])]
    found = [cells_of(str(name), column) for name, column in zip(names, series, strict=True)]
    return [str(name) for name in names], found


def cells_of(name: str, column: Any) -> Sequence[str] | np.ndarray:
    """One column as numbers or cells.

    >>> cells_of("a", np.asarray([1.0, np.nan])), cells_of("b", np.asarray(["x", None]))
    (array([ 1., nan]), ['x', ''])
    """
    values = np.asarray(column.to_numpy() if hasattr(column, "to_numpy") else column)
    if values.ndim != 1:
        raise DataError(f"the column {name!r} must hold one value a row, got shape {values.shape}")
    if values.dtype.kind in "fiu":
        return values if not np.isinf(values).any() else ["" if v != v else repr(v) for v in values.tolist()]
    if values.dtype.kind == "c":
        raise DataError(f"the column {name!r} holds complex numbers: give their real and imaginary parts")
    if values.dtype.kind == "m":
        raise DataError(f"the column {name!r} holds durations: give them as numbers, as in seconds")
    return [_text(name, value) for value in values.tolist()] if values.dtype.kind != "M" else _dates(values)


def _dates(values: np.ndarray) -> list[str]:
    return ["" if np.isnat(value) else str(value)[:10] for value in values]


def _text(name: str, value: Any) -> str:
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, complex):
        raise DataError(f"the column {name!r} holds complex numbers: give their real and imaginary parts")
    if isinstance(value, (list, tuple, dict, set, np.ndarray)):
        raise DataError(f"the column {name!r} must hold one value a row, got {type(value).__name__}")
    return str(value)


def read_frame(path: str | Path) -> Any:
    """An Excel or Parquet file as a DataFrame, by pandas."""
    path = check_path("path", path)
    try:
        import pandas
    except ImportError as error:
        raise OptionError(f"{path}: {path.suffix} files need pandas: pip install pandas, or save it as .csv") from error
    read = pandas.read_excel if path.suffix in (".xlsx", ".xls", ".ods") else getattr(pandas, f"read_{path.suffix[1:]}")
    try:
        return read(path)
    except ImportError as error:
        raise OptionError(f"{path}: {error}; or save it as .csv") from error
    except Exception as error:  # each of the libraries behind raises its own kinds
        raise FileError(f"{path} cannot be read: {error}") from error

"""Large tables by way of pandas, where it is installed: the same cells, several times as fast."""

import io
import warnings
from collections.abc import Sequence

import numpy as np

from gdnet.data.cells import NO_NUMBER

_MISSING = sorted({form for word in NO_NUMBER for form in (word, word.upper(), word.title())} | {"NaN"})


def fast_columns(text: str, sep: str, k: int, skip: int, decimal: str) -> list[Sequence[str] | np.ndarray] | None:
    """The k columns of a text after its first `skip` lines, 0 or 1; None without pandas, or if it takes a closer look.

    A column of finite numbers comes as integers or float64, with NaN where a value is missing, any other as its cells.
    The text has no quotes. pandas pads lines that are too short, so the separators are counted.
    """
    if "\r" in text and text.count("\r") != text.count("\r\n"):
        return None
    try:
        import pandas
    except ImportError:
        return None
    how = {"sep": sep, "header": None, "skiprows": skip, "low_memory": False, "quoting": 3, "decimal": decimal}
    missing = {"keep_default_na": False, "na_values": _MISSING}
    if int(pandas.__version__.split(".")[0]) < 3:
        how["float_precision"] = "round_trip"  # the default is off by a unit in the last place there
    data = text.encode("utf-8", "surrogatepass")
    start = data.index(b"\n") + 1 if skip else 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            frame = pandas.read_csv(io.BytesIO(data), **how, **missing)
        except (ValueError, OverflowError):
            return None
        n = len(frame)
        lines = data.count(b"\n", start) + (not data.endswith(b"\n"))
        if frame.shape[1] != k or lines != n or data.count(sep.encode(), start) != n * (k - 1):
            return None
        kinds = [frame[j].dtype.kind for j in range(k)]
        plain = [kind in "iuf" and not np.isinf(frame[j].to_numpy()).any() for j, kind in enumerate(kinds)]
        others = [j for j in range(k) if not plain[j]]
        if others:
            whole = how | {"usecols": others, "dtype": str, "na_filter": False}
            cells = pandas.read_csv(io.BytesIO(data), **whole)
    return [frame[j].to_numpy() if plain[j] else cells[j].tolist() for j in range(k)]

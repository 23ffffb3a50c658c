"""What users give, checked once and refused in words: counts, fractions, numbers, shapes, names, paths."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gdnet.errors import OptionError


def is_whole(value: Any) -> bool:
    """Whether a value that a user gave is one integer.

    >>> is_whole(3), is_whole(np.int64(3)), is_whole(3.0), is_whole(True)
    (True, True, False, False)
    """
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_real(value: Any) -> bool:
    """Whether a value that a user gave is one real number: an integer, or a float of Python or NumPy.

    >>> is_real(3), is_real(np.float32(0.5)), is_real("0.5"), is_real(True)
    (True, True, False, False)
    """
    return is_whole(value) or isinstance(value, (float, np.floating))


def check_count(name: str, value: Any, least: int = 1) -> int:
    """`value` as an int of at least `least`.

    >>> check_count("epochs", 3)
    3
    """
    if not is_whole(value) or value < least:
        raise OptionError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def check_fraction(name: str, value: Any) -> float:
    """`value` as a float in [0, 1).

    >>> check_fraction("validation_split", 0.25)
    0.25
    """
    return check_real(name, value, "at least 0 and below 1", lambda v: 0.0 <= v < 1.0)


def check_real(name: str, value: Any, wanted: str, ok: Callable[[float], bool]) -> float:
    """`value` as a float for which `ok` holds; `wanted` says in words what that is.

    >>> check_real("min_delta", 1, "a number of at least 0", lambda v: v >= 0)
    1.0
    """
    too_large = isinstance(value, int) and abs(value) > 1e308  # a float cannot hold it
    if not is_real(value) or too_large or not ok(value):
        raise OptionError(f"{name} must be {wanted}, got {value!r}")
    return float(value)


def check_switch(name: str, value: Any) -> bool:
    """`value` as a bool: True or False, and not a text such as "no", which Python takes for true.

    >>> check_switch("shuffle", False)
    False
    """
    if not isinstance(value, (bool, np.bool_)):
        raise OptionError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_shape(name: str, value: Any) -> tuple[int, ...]:
    """`value` as a tuple of positive sizes.

    >>> check_shape("in_shape", [28, 28])
    (28, 28)
    """
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (None,)
    if not all(is_whole(k) and k > 0 for k in sizes):
        raise OptionError(f"{name} must be a tuple of positive integers such as (4,), got {value!r}")
    return tuple(int(k) for k in sizes)


def check_names(name: str, value: Any) -> tuple[str, ...]:
    """`value` as a tuple of names; a single one may stand alone.

    >>> check_names("metrics", "accuracy")
    ('accuracy',)
    """
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not all(isinstance(item, str) for item in found):
        raise OptionError(f"{name} must be a list of names, got {value!r}")
    return found


def check_path(name: str, value: Any) -> Path:
    """`value` as the path of a file.

    >>> check_path("path", "run.safetensors").suffix
    '.safetensors'
    """
    if not isinstance(value, (str, os.PathLike)) or isinstance(os.fspath(value), bytes):
        raise OptionError(f"{name} must be a file name, got {value!r}")
    return Path(value)

"""Numbers that users give to training: checked once, in words."""

from typing import Any

import numpy as np

from gdnet.errors import OptionError


def check_count(name: str, value: Any, least: int = 1) -> int:
    """`value` as an int of at least `least`.

    >>> check_count("epochs", 3)
    3
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least:
        raise OptionError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def check_fraction(name: str, value: Any) -> float:
    """`value` as a float in [0, 1).

    >>> check_fraction("validation_split", 0.25)
    0.25
    """
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not real or not 0.0 <= value < 1.0:
        raise OptionError(f"{name} must be at least 0 and below 1, got {value!r}")
    return float(value)

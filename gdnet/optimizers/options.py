"""Domains of hyper-parameters: what a field of each name must be, in one table for all rules and schedules."""

import math
import numbers
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from gdnet.errors import OptionError


def _positive(v: float) -> bool:
    return 0.0 < v < math.inf


def _not_negative(v: float) -> bool:
    return 0.0 <= v < math.inf


def _fraction(v: float) -> bool:
    return 0.0 <= v < 1.0


def _count(v: float) -> bool:
    return isinstance(v, int) and v >= 1


def _pair(ok: Callable[[float, float], bool]) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, tuple) and len(v) == 2 and ok(*v)


POSITIVE = (_positive, "a positive finite number")
NOT_NEGATIVE = (_not_negative, "a finite number of at least 0")
FRACTION = (_fraction, "in [0, 1)")
COUNT = (_count, "an integer of at least 1")

DOMAINS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "lr": POSITIVE,
    "eps": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "l1": NOT_NEGATIVE,
    "clip_value": POSITIVE,
    "clip_norm": POSITIVE,
    "momentum": FRACTION,
    "alpha": FRACTION,
    "decay": FRACTION,
    "betas": (_pair(lambda a, b: _fraction(a) and _fraction(b)), "two numbers in [0, 1)"),
    "momentum_decay": NOT_NEGATIVE,
    "lr_decay": NOT_NEGATIVE,
    "initial_accumulator_value": NOT_NEGATIVE,
    "etas": (_pair(lambda a, b: 0.0 < a < 1.0 < b < math.inf), "two numbers with 0 < first < 1 < second"),
    "step_sizes": (_pair(lambda a, b: 0.0 < a <= b < math.inf), "two numbers with 0 < smallest <= largest"),
    "gamma": POSITIVE,
    "step_size": COUNT,
    "T_max": COUNT,
    "total_iters": COUNT,
    "total_steps": COUNT,
    "eta_min": NOT_NEGATIVE,
    "start_factor": (lambda v: 0.0 < v <= 1.0, "in (0, 1]"),
    "pct_start": (lambda v: 0.0 < v < 1.0, "in (0, 1)"),
    "max_lr": POSITIVE,
    "div_factor": POSITIVE,
    "final_div_factor": POSITIVE,
}


def _plain(value: Any) -> Any:
    """Python numbers: unlike NumPy's they stay weak, so that a float32 run stays float32."""
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return tuple(_plain(v) for v in value) if isinstance(value, (list, tuple)) else value


def check_options(rule: Any) -> None:
    """Turn a frozen dataclass's numbers into Python's; an `OptionError` for one outside its domain.

    None where it is the field's default ("off"), and a dataclass in a number's place (a schedule), pass.
    """
    for f in fields(rule):
        value = _plain(getattr(rule, f.name))
        if value is not getattr(rule, f.name):
            object.__setattr__(rule, f.name, value)
        if f.name not in DOMAINS or (value is None and f.default is None) or is_dataclass(value):
            continue
        ok, wanted = DOMAINS[f.name]
        numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in _each(value))
        try:
            good = numeric and ok(value)
        except TypeError:  # two numbers where one is wanted
            good = False
        if not good:
            raise OptionError(f"{type(rule).__name__}: {f.name} must be {wanted}, got {value!r}")


def _each(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def to_json(value: Any) -> Any:
    """A hyper-parameter of JSON types: tuples are lists, a schedule a dict with its type, a function its name."""
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__, **options_of(value)}
    return getattr(value, "__qualname__", repr(value)) if callable(value) else value


def options_of(rule: Any) -> dict[str, Any]:
    """The constructor's arguments of a dataclass, of JSON types."""
    return {f.name: to_json(getattr(rule, f.name)) for f in fields(rule) if f.init} if is_dataclass(rule) else {}


def short_repr(rule: Any) -> str:
    """The constructor call that makes this dataclass, without arguments that have their default value."""
    shown = [f for f in fields(rule) if f.init and (f.name == "lr" or getattr(rule, f.name) != f.default)]
    return f"{type(rule).__name__}({', '.join(f'{f.name}={getattr(rule, f.name)!r}' for f in shown)})"

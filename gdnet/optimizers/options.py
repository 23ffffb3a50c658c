"""Domains of hyper-parameters: what an option may be is written on its field.

    @dataclass(frozen=True)
    class Rule(FirstOrder):
        betas: tuple[float, float] = option((0.9, 0.999), PAIR_BELOW_1)

A field without a domain, such as one of a user's own rule, takes what it is given.
"""

import math
import numbers
from collections.abc import Callable
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np

from gdnet.errors import OptionError


class Domain(NamedTuple):
    """Whether a value is allowed, and the words for what is: `"an even number"` in "must be an even number, got 3".

    >>> Domain(lambda v: v % 2 == 0, "an even number").ok(3)
    False
    """

    ok: Callable[[Any], bool]
    wanted: str


def _is_number(v: Any) -> bool:
    return isinstance(v, (int, float)) and not isinstance(v, bool)


def real(ok: Callable[[float], bool], wanted: str) -> Domain:
    """A number for which `ok` holds."""
    return Domain(lambda v: _is_number(v) and ok(v), wanted)


def _whole(least: int) -> Domain:
    return real(lambda v: isinstance(v, int) and v >= least, f"an integer of at least {least}")


def pair(ok: Callable[[float, float], bool], wanted: str) -> Domain:
    """Two numbers for which `ok` holds; `wanted` says in words what they are."""
    return Domain(lambda v: isinstance(v, tuple) and len(v) == 2 and all(map(_is_number, v)) and ok(*v), wanted)


def one_of(*names: str) -> Domain:
    """One of these words."""
    quoted = [f'"{name}"' for name in names]
    return Domain(lambda v: isinstance(v, str) and v in names, f"{', '.join(quoted[:-1])} or {quoted[-1]}")


def _names_parameters(v: Any) -> bool:
    return isinstance(v, str) or callable(v) or (isinstance(v, tuple) and all(isinstance(name, str) for name in v))


NUMBER = real(lambda v: not math.isnan(v), "a number")
POSITIVE = real(lambda v: 0.0 < v < math.inf, "a positive finite number")
POSITIVE_OR_INF = real(lambda v: v > 0.0, "a positive number")
NOT_NEGATIVE = real(lambda v: 0.0 <= v < math.inf, "a finite number of at least 0")
NOT_NEGATIVE_OR_INF = real(lambda v: v >= 0.0, "a number of at least 0")
FRACTION = real(lambda v: 0.0 <= v < 1.0, "in [0, 1)")
INSIDE = real(lambda v: 0.0 < v < 1.0, "in (0, 1)")
COUNT, COUNT_FROM_0 = _whole(1), _whole(0)
FLAG = Domain(lambda v: isinstance(v, bool), "True or False")
CURVATURE = one_of("hessian", "gauss_newton")
PAIR_BELOW_1 = pair(lambda a, b: 0.0 <= a < 1.0 and 0.0 <= b < 1.0, "two numbers in [0, 1)")
RATE = Domain(lambda v: POSITIVE.ok(v) or _is_schedule(v), POSITIVE.wanted)
PARAMETERS = Domain(_names_parameters, "a parameter's name, a sequence of names, or a function of a name")


def option(default: Any = MISSING, domain: Domain | None = None, **how: Any) -> Any:
    """A dataclass's field with this default and domain; `how` goes to `dataclasses.field`.

    >>> from dataclasses import dataclass
    >>> from gdnet.optimizers import SGD
    >>> @dataclass(frozen=True, repr=False)
    ... class Damped(SGD):
    ...     damping: float = option(0.5, FRACTION)
    >>> Damped(damping=1.5)
    Traceback (most recent call last):
    gdnet.errors.OptionError: Damped: damping must be in [0, 1), got 1.5
    """
    return field(default=default, metadata={"domain": domain}, **how)


def domain_of(kind: type, name: str) -> Domain | None:
    """The domain of a class's field; one that a subclass redefines without a domain keeps that of the base class."""
    for base in kind.__mro__:
        own = vars(base).get("__dataclass_fields__", {}).get(name)
        if own is not None and own.metadata.get("domain") is not None:
            return own.metadata["domain"]
    return None


def _is_schedule(value: Any) -> bool:
    return is_dataclass(value) and callable(value)


def _plain(value: Any) -> Any:
    """Python numbers: unlike NumPy's they stay weak, so that a float32 run stays float32."""
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, (numbers.Real, str)) for v in value):
        return tuple(_plain(v) for v in value)
    return value


def check_options(rule: Any) -> None:
    """Turn a frozen dataclass's numbers into Python's; an `OptionError` for one outside its domain.

    None passes where it is the field's default ("off").
    """
    kind = type(rule)
    for f in fields(rule):
        given = getattr(rule, f.name)
        if given is None and f.default is None:
            continue
        value = checked(kind.__name__, f.name, given, domain_of(kind, f.name))
        if value is not given:
            object.__setattr__(rule, f.name, value)


def checked(owner: str, name: str, given: Any, domain: Domain | None) -> Any:
    """The value of an option, of Python's numbers; an `OptionError` that names it where it is outside this domain."""
    if isinstance(given, type):
        call = f"{given.__name__}(...)"
        raise OptionError(
            f"{owner}: {name} is the class {given.__name__}, where an object is expected: write {call}, with "
            "parentheses and its arguments"
        )
    value = _plain(given)
    if domain is not None and not domain.ok(value):
        raise OptionError(f"{owner}: {name} must be {domain.wanted}, got {value!r}")
    return value


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

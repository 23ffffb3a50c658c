"""Objects that a file can describe by their class and the arguments of their constructor: layers and losses.

Nobody has to write anything for that: the arguments are noted when an object is made. Two objects are equal if class
and arguments are.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, ClassVar, Self

import numpy as np

from gdnet.errors import GdnetError, OptionError
from gdnet.layers import initializers

FORMS = ({"type", "config"}, {"tuple"}, {"dict"}, {"initializer", "options"}, {"array", "dtype"})
"""The keys of those dicts that stand for something else in a file; a dict with just these is written as its pairs."""
_MISSING = object()
_CUSTOM: ContextVar[Mapping[str, type]] = ContextVar("custom", default={})  # noqa: B039 (it is never changed)


class Configured:
    """Base class of what has a configuration, `config()`, and can be made from it again, `from_config`.

    `config()` holds the arguments with which the object was made. One that the constructor keeps in an attribute of the
    same name, as in `self.rate = rate`, is read from there, so that a later change of it shows.

    `class MyLayer(Layer, name="MyLayer")` fixes the name that stands for the class in files; by default it is the
    module's name and the class's.

    >>> class Configurable(Configured):
    ...     known, family = {}, "rule"
    >>> class Quantile(Configurable):
    ...     def __init__(self, q, *, smooth=0.0):
    ...         self.q, self.width = q, 2.0 * smooth
    >>> Quantile(0.1), Quantile(0.1) == Quantile(0.9), Quantile(0.1) == Quantile(0.1)
    (Quantile(q=0.1, smooth=0.0), False, True)
    >>> Configurable.from_spec(Quantile(0.1).spec()) == Quantile(0.1)
    True
    """

    known: ClassVar[dict[str, Any]]
    """Every class of this family by the name that stands for it in a file."""
    family: ClassVar[str]
    """What a member of the family is called in messages."""
    file_name: ClassVar[str]

    def __init_subclass__(cls, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            other = _parameters(cls.__init__) != _parameters(super(cls, cls).__init__)
            cls.__init__ = _noting(cls.__init__)  # type: ignore[method-assign]
            if other and "config" not in vars(cls):  # an inherited one tells the arguments of another constructor
                cls.config = Configured.config  # type: ignore[method-assign]
                if "from_config" not in vars(cls):
                    cls.from_config = vars(Configured)["from_config"]  # type: ignore[method-assign]
        if "known" in vars(cls):  # the family's base class
            return
        cls.file_name = name or f"{cls.__module__}.{cls.__qualname__}"
        owner = cls.known.get(cls.file_name)
        if owner is not None and (owner.__module__, owner.__qualname__) != (cls.__module__, cls.__qualname__):
            raise OptionError(f"the name {name!r} belongs to {owner.__module__}.{owner.__qualname__}: choose another")
        cls.known[cls.file_name] = cls

    # -- the arguments -------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """The constructor's arguments by name, of JSON types where they can be written as such.

        Raises
        ------
        OptionError
            If they are not known, since something else than the class's own `__init__` made the object.
        """
        given = arguments(self)
        if given is None:
            raise OptionError(f"the arguments of {type(self).__name__} are not known: write a config() for it")
        return {name: encoded(value) for name, value in given.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The object with this `config()`."""
        args: list[Any] = []
        options, left = {}, {name: decoded(cls, value) for name, value in config.items()}
        parameters = list(inspect.signature(cls).parameters.values())
        several = any(p.kind is p.VAR_POSITIONAL and left.get(p.name) for p in parameters)
        for p in parameters:
            if p.name not in left:
                continue
            if p.kind is p.VAR_POSITIONAL:
                args.extend(left.pop(p.name))
            elif p.kind is p.VAR_KEYWORD:
                options.update(left.pop(p.name))
            elif p.kind is p.POSITIONAL_ONLY or (several and p.kind is p.POSITIONAL_OR_KEYWORD):
                args.append(left.pop(p.name))
        return cls(*args, **left, **options)

    # -- as text -------------------------------------------------------------------------------------------------------

    @classmethod
    def type_name(cls) -> str:
        """The name of the class in files: gdnet's own are `"Dense"`, a user's by default `"module.Class"`."""
        return cls.file_name

    def spec(self) -> dict[str, Any]:
        """The object as JSON values, nested ones included; `from_spec` makes it again."""
        return {"type": self.type_name(), "config": self.config()}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], custom: Mapping[str, type] | None = None) -> Any:
        """What `spec()` describes; `custom` holds classes by name that come before the known ones.

        Raises
        ------
        OptionError
            If no class of that name is known, or it does not take these arguments.
        """
        if custom:
            token = _CUSTOM.set(custom)
            try:
                return cls.from_spec(spec)
            finally:
                _CUSTOM.reset(token)
        name = spec.get("type") if isinstance(spec, dict) else None
        found: Any = (_CUSTOM.get().get(name) or cls.known.get(name)) if isinstance(name, str) else None
        if found is None:
            raise OptionError(
                f"unknown {cls.family} {name or spec!r}: import the module that defines it first (gdnet.network for "
                "composites)"
            )
        config = spec.get("config", {})
        try:
            return found.from_config(config)
        except GdnetError:
            raise
        except Exception as error:  # whatever the constructor says to arguments that it does not know
            raise OptionError(f"{name} cannot be made from {config}: {error}") from error

    def __repr__(self) -> str:
        own = type(self).config is not Configured.config
        given = self.config() if own else arguments(self)
        shown = "..." if given is None else ", ".join(f"{name}={value!r}" for name, value in given.items())
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        if self is other or type(self) is not type(other):
            return self is other
        if type(self).config is not Configured.config:
            return same(self.config(), other.config())  # type: ignore[attr-defined]
        mine, theirs = arguments(self), arguments(other)
        return mine is not None and theirs is not None and same(mine, theirs) and same(_state(self), _state(other))

    def __hash__(self) -> int:
        return hash(type(self))  # equal objects have equal hashes, though their attributes may change


def _parameters(init: Callable) -> list[tuple[str, Any]]:
    return [(p.name, p.kind) for p in inspect.signature(init).parameters.values()]


def _noting(init: Callable) -> Callable:
    """The same constructor, which notes its arguments, and which of them it keeps under their own names."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if type(self).__init__ is not __init__ or type(self).config is not Configured.config:
            return  # called by the constructor of a subclass, or nobody will ask
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        given = dict(list(bound.arguments.items())[1:])
        attributes = vars(self)
        kept = {name for name, value in given.items() if same(attributes.get(name, _MISSING), value)}
        object.__setattr__(self, "_given", {k: None if k in kept else v for k, v in given.items()})
        object.__setattr__(self, "_kept", kept)

    return __init__


def arguments(thing: Any) -> dict[str, Any] | None:
    """The constructor's arguments by name, as they were given or as the attributes of the same names are now."""
    attributes = vars(thing)
    if "_given" in attributes:
        kept = attributes["_kept"]
        return {name: getattr(thing, name) if name in kept else v for name, v in attributes["_given"].items()}
    if dataclasses.is_dataclass(thing):
        return {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing) if f.init}
    return {} if type(thing).__init__ is object.__init__ else None


def _state(thing: Any) -> dict[str, Any]:
    """The public attributes that are numbers, texts, arrays, layers, or lists of these."""
    return {name: value for name, value in vars(thing).items() if not name.startswith("_") and _plain(value)}


def _plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    if isinstance(value, dict):
        return all(map(_plain, value.values()))
    return value is None or isinstance(value, (bool, int, float, str, np.generic, np.ndarray, Configured))


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal: arrays with all their entries, lists and dicts one by one, others by `==`.

    >>> same({"w": np.ones(2)}, {"w": np.ones(2)}), same([1, "a"], (1, "a")), same(np.ones(2), 1.0)
    (True, True, False)
    """
    if a is b:
        return True
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        both = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
        return both and a.dtype == b.dtype and a.shape == b.shape and bool(np.all((a == b) | ((a != a) & (b != b))))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(value, b[name]) for name, value in a.items())
    try:
        return bool(a == b) or bool(a != a and b != b)  # nan is nan
    except Exception:  # a type that cannot tell, such as an array of another library
        return False


def encoded(value: Any) -> Any:
    """A value of JSON types, from which `decoded` makes it again; what has no such form stays as it is."""
    if isinstance(value, Configured):
        return value.spec()
    if isinstance(value, initializers.Initializer):
        return {"initializer": value.name, "options": dict(value.options)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"array": value.tolist(), "dtype": value.dtype.name}
    if isinstance(value, tuple):
        return {"tuple": [encoded(item) for item in value]}
    if isinstance(value, list):
        return [encoded(item) for item in value]
    if isinstance(value, dict):
        if set(value) in FORMS or not all(isinstance(name, str) for name in value):
            return {"dict": [[encoded(name), encoded(item)] for name, item in value.items()]}
        return {name: encoded(item) for name, item in value.items()}
    return value


def decoded(cls: type[Configured], value: Any) -> Any:
    """What `encoded` made JSON values of; layers and losses are looked up in the family of `cls`."""
    if isinstance(value, list):
        return [decoded(cls, item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"type", "config"}:
        return cls.from_spec(value)
    if value.keys() == {"tuple"}:
        return tuple(decoded(cls, item) for item in value["tuple"])
    if value.keys() == {"dict"}:
        return {decoded(cls, name): decoded(cls, item) for name, item in value["dict"]}
    if value.keys() == {"initializer", "options"}:
        return initializers.from_config({"name": value["initializer"], "options": value["options"]})
    if value.keys() == {"array", "dtype"}:
        return np.asarray(value["array"], dtype=value["dtype"])
    return {name: decoded(cls, item) for name, item in value.items()}

"""Noting the NumPy calls of a function on a tape, by arrays that stand in for its arguments."""

import functools
import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdnet.errors import CompileError


class Untraceable(CompileError):
    """The step does something that cannot be written down."""


@dataclass(eq=False)
class Value:
    """One array of the trace; a view shows the memory of another one, its `owner`."""

    name: str
    owner: "Value | None"
    shape: tuple[int, ...]
    dtype: np.dtype
    donated: bool = False  # an argument whose memory a result may take
    in_rows: bool = True  # C-contiguous; elements of others are added up in another order

    @property
    def root(self) -> "Value":
        """The value that owns the memory."""
        return self.owner or self

    def __repr__(self) -> str:
        return self.name


@dataclass(eq=False)
class Call:
    """`results = function(*args, **kwargs)`; `writes` is the value that it changes, if any."""

    function: Any
    args: tuple
    kwargs: dict[str, Any]
    results: tuple[Value, ...] = ()
    writes: Value | None = None


class Traced(np.ndarray):
    """An array that notes on a tape what is done with it."""

    tape: "Tape | None" = None
    value: Value | None = None
    scalar = False
    """Whether it stands for one of NumPy's scalars, which cannot be changed in place: `s += 1` makes another."""

    def __array_finalize__(self, source: Any) -> None:
        self.tape, self.value, self.scalar = getattr(source, "tape", None), None, False  # the tape says what it is
        if self.tape is not None:
            self.tape.alive.append(weakref.ref(self))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        tape, target = _tape(inputs, out), out[0] if out else None
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        return tape.call(function, inputs, kwargs, target)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        options = dict(kwargs)
        out = options.pop("out", None)
        return _tape(args, kwargs.values()).call(function, args, options, out)

    def __getitem__(self, index: Any) -> Any:
        return _tape([self]).call(np.ndarray.__getitem__, (self, index), {})

    def __setitem__(self, index: Any, item: Any) -> None:
        _tape([self]).call(np.ndarray.__setitem__, (self, index, item), {}, writes=self)

    @property
    def T(self) -> Any:
        return _tape([self]).call(np.ndarray.transpose, (self,), {})

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        return _tape([self]).call(np.ndarray.reshape, (self, *shape), kwargs)

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        return _tape([self]).call(np.ndarray.astype if self.ndim else _astype, (self, *args), kwargs)


def _unless_noted(name: str) -> Callable:
    read = getattr(np.ndarray, name)

    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        if not _tape([self]).closed:
            raise Untraceable("the step reads a value on the host (as float(x), bool(x) or x.item() do)")
        return read(self.view(np.ndarray), *args, **kwargs)

    return method


for _name in ["__float__", "__int__", "__bool__", "__index__", "__complex__", "__iter__", "item", "tolist"]:
    setattr(Traced, _name, _unless_noted(_name))


def _astype(x: Any, *args: Any, **kwargs: Any) -> Any:
    """For values without axes, which NumPy gives back as scalars and not as arrays."""
    return x.astype(*args, **kwargs)


def _unless_scalar(name: str) -> Callable:
    def operator(self: Traced, other: Any) -> Any:
        return NotImplemented if self.scalar else getattr(np.ndarray, name)(self, other)

    return operator


for _name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow"):
    setattr(Traced, f"__{_name}__", _unless_scalar(f"__{_name}__"))


def is_astype(function: Any) -> bool:
    """Whether a noted call converts its first argument to another dtype."""
    return function in (np.ndarray.astype, _astype, getattr(np, "astype", None))


def _tape(*groups: Any) -> "Tape":
    for group in groups:
        for a in group or ():
            if isinstance(a, Traced):
                return _CLOSED if a.tape is None else a.tape  # without one: unpickled
            if isinstance(a, (tuple, list)) and any(isinstance(b, Traced) for b in a):
                return _tape(a)
    raise Untraceable("no traced array")


class Tape:
    """The calls of one step, in order. Once it is closed, arrays that outlive the trace behave as any others."""

    def __init__(self) -> None:
        self.closed = False
        self.calls: list[Call] = []
        self.inputs: list[Value] = []
        self._owner: dict[int, Value] = {}  # id of the array that owns some memory -> its value, while it lives
        self._count = 0
        self.alive: list[weakref.ref[Traced]] = []

    def wrap(self, array: Any, value: Value) -> Traced:
        plain = np.asarray(array)
        traced = plain.view(Traced)
        traced.tape, traced.value, traced.scalar = self, value, isinstance(array, np.generic)
        self.alive.append(weakref.ref(traced))
        memory = _memory(plain)
        if id(memory) not in self._owner:
            self._owner[id(memory)] = value.root
            weakref.finalize(memory, self._owner.pop, id(memory))  # the id may come again
        return traced

    def input(self, array: Any, donated: bool = False) -> Traced:
        value = self._new(np.asarray(array))
        value.donated = donated
        self.inputs.append(value)
        return self.wrap(np.array(array), value)

    def call(
        self, function: Any, args: Sequence[Any], kwargs: dict[str, Any], out: Any = None, writes: Any = None
    ) -> Any:
        """Run one call on plain arrays and note it."""
        if self.closed:
            options = {**kwargs, **({} if out is None else {"out": out})}
            return function(*map(_stripped, args), **{name: _stripped(item) for name, item in options.items()})
        plain = [self._plain(a) for a in args]
        options = {name: self._plain(item) for name, item in kwargs.items()}
        if out is not None:
            if not isinstance(out, Traced):
                raise Untraceable("a result went into an array from outside the step")
            options["out"], writes = self._plain(out), out
        found = function(*plain, **options)
        noted = Call(function, tuple(map(self._noted, args)), {k: self._noted(v) for k, v in kwargs.items()})
        self.calls.append(noted)
        if writes is not None:
            noted.writes = writes.value
            if out is not None:
                noted.kwargs["out"] = out.value
            return out
        several = found if isinstance(found, tuple) else (found,)
        if not all(isinstance(r, (np.ndarray, np.generic)) for r in several):
            raise Untraceable(f"{function} gave something that is not an array")
        noted.results = tuple(self._new(r) for r in several)
        wrapped = tuple(self.wrap(r, v) for r, v in zip(several, noted.results, strict=True))
        return wrapped if isinstance(found, tuple) else wrapped[0]

    def close(self) -> None:
        self.closed = True
        self.calls, self.inputs, self.alive = [], [], []

    def leaks(self) -> bool:
        """Whether an array of the trace is still alive, once the caller has let go of arguments and results."""
        if any(ref() is not None for ref in self.alive):
            gc.collect()  # unless it is only in a circle
        return any(ref() is not None for ref in self.alive)

    def _new(self, array: Any) -> Value:
        owner = self._owner.get(id(_memory(array))) if isinstance(array, np.ndarray) else None
        self._count += 1
        return Value(f"v{self._count}", owner, np.shape(array), array.dtype, in_rows=array.flags.c_contiguous)

    def _plain(self, a: Any) -> Any:
        if isinstance(a, Traced):
            if a.value is None:
                raise Untraceable("an array was changed in a way that was not noted")
            return a.view(np.ndarray)
        if isinstance(a, (tuple, list)):
            return type(a)(self._plain(b) for b in a)
        if isinstance(a, np.ndarray) and id(_memory(a)) in self._owner:
            raise Untraceable("a traced array lost its trace")
        return a

    def _noted(self, a: Any) -> Any:
        if isinstance(a, Traced):
            return a.value
        return type(a)(self._noted(b) for b in a) if isinstance(a, (tuple, list)) else a


_CLOSED = Tape()
_CLOSED.close()


def _stripped(a: Any) -> Any:
    """Plain arrays in the place of traced ones."""
    if isinstance(a, (tuple, list)):
        return type(a)(map(_stripped, a))
    return a.view(np.ndarray) if isinstance(a, Traced) else a


def _memory(a: np.ndarray) -> np.ndarray:
    """The array that owns the memory that `a` shows."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return a


def opaque(kernel: Callable) -> Callable:
    """Let a hand-written kernel, `kernel(backend, *args)`, appear in a program as one call."""

    @functools.wraps(kernel)
    def call(backend: Any, *args: Any) -> Any:
        tape = next((a.tape for a in args if isinstance(a, Traced)), None)
        return kernel(backend, *args) if tape is None else tape.call(kernel, (backend, *args), {})

    return call

"""What gdnet asks of an array library beyond the array API standard.

A `Backend` is one library on one device. It is looked up once at the public edge (`backend_of`, `get_backend`) and
handed down; nothing below asks an array for its namespace again. The bodies here use the standard alone, so that a
library nobody has heard of works; the backends beside this file override what their library does better.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from array_api_compat import to_device

from gdnet.backend.erf import erf
from gdnet.errors import OptionError

Array = Any
"""An array of any library. The standard has no common type to name."""

FLOATS = ("float32", "float64")


class Backend:
    """One array library on one device.

    Attributes
    ----------
    name : str
        The library's, such as `"numpy"`, or that of another array API namespace.
    xp : module
        The array API namespace (through array-api-compat where the library needs it).
    device : object
        The library's own device object, or its name.
    mutable : bool
        Whether arrays that gdnet has created itself may be written in place.

    >>> from gdnet.backend import get_backend
    >>> backend = get_backend("cpu")
    >>> backend.name, backend.to_numpy(backend.asarray([1, 2], "float32"))
    ('numpy', array([1., 2.], dtype=float32))
    """

    name: str = "standard"
    mutable: bool = False
    unwatched: ClassVar[bool] = True
    """A step changes nothing here (see `side_effects`)."""
    reopen: ClassVar[Callable[..., "Backend"]]
    """`get_backend`, with which a pickled backend is found again; selection, which builds on this file, sets it."""
    how_to_get_float64: ClassVar[str] = ""
    """What to do where the library gives float32 for float64, in words that go on with "use float32"."""
    instead_of_tf32: ClassVar[str] = ""
    """How to ask the library itself for TF32 products, in words that go on after the refusal."""
    kernels: ClassVar[dict[str, Callable]] = {}
    """Overrides of `overridable` bodies, by the body's name."""

    def __init__(self, xp: Any, device: Any = None) -> None:
        self.xp = xp
        self.device = device

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} on {self.device}>"

    def __deepcopy__(self, memo: Any) -> "Backend":
        return self  # there is one object a library and device

    def __reduce__(self) -> tuple:
        return self.reopen, (self.place, self.name)

    @property
    def place(self) -> str:
        """What `get_backend` calls the device."""
        return str(self.device)

    # -- moving data ------------------------------------------------------------------------------------------------

    def dtype(self, name: str) -> Any:
        """The library's dtype called `name`, such as `"float32"`."""
        return getattr(self.xp, name)

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        """A host array (NumPy, lists, scalars) as an array of this library on this device."""
        host = np.asarray(host) if dtype is None else np.asarray(host, dtype=dtype)
        if not host.flags.c_contiguous:
            host = np.ascontiguousarray(host)
        return self.xp.asarray(host, device=self.device)

    def to_numpy(self, array: Array) -> np.ndarray:
        """A copy on the host; this waits for the device."""
        host = self.xp.__array_namespace_info__().default_device()
        return np.array(to_device(array, host))

    def whole(self, array: Array) -> Array:
        """An ordinary array for what a compiled step returned in the place of a donated argument.

        A library may return something else there: a vector in parts, or memory that the next call overwrites.
        """
        return array

    def read(self, scalar: Array) -> float:
        """The one way in which gdnet reads a device value on the host. Never inside a training step."""
        return float(scalar)

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""

    def prefetch(self, batches: Iterable[Sequence[np.ndarray]]) -> Iterator[tuple[Array, ...]]:
        """Host batches as arrays on this device; a library may copy the next one while a batch is being used."""
        for batch in batches:
            yield tuple([self.asarray(a) for a in batch])

    def bytes_refused(self, error: BaseException) -> int | None:
        """The size of the allocation that failed (0: unknown), if this error says that the device's memory is full."""
        return None

    def memory(self) -> tuple[int, int]:
        """(bytes that arrays take on the device now, bytes that are left for more); 0 where it is not known."""
        return 0, 0

    # -- what the standard lacks -------------------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """`a @ b`; where `out` is given and the library is able, the product is written there."""
        product = a @ b
        if out is None or not self.mutable:
            return product
        out[...] = product
        return out

    def joined(self, parts: Sequence[Array]) -> Array:
        """The parts one after the other, along the last axis."""
        return self.xp.concat(list(parts), axis=-1)

    def sum_rows(self, a: Array, out: Array) -> None:
        """The sum over axis 0, written into `out`, a window of an array just created."""
        out[...] = self.xp.sum(a, axis=0)

    def erf(self, x: Array) -> Array:
        """The error function, 2/√π ∫₀ˣ exp(-s²) ds."""
        return erf(self.xp, x)

    def in_tf32(self) -> "Backend":
        """The same library and device with TF32 products; an `OptionError` where there are none."""
        raise OptionError(
            f'matmul_precision="tf32" is for device="cuda"; {self.name} on {self.device} has no such choice'
            f"{self.instead_of_tf32}"
        )

    # -- compiling ---------------------------------------------------------------------------------------------------

    def compile(self, step: Callable, donate: Sequence[int] = (), strict: bool = False) -> Callable:
        """The same function, made as fast as the library can; `donate` numbers arguments that may be overwritten.

        A step that cannot be compiled runs as it is, and the attribute `reason` of what is returned says why in one
        sentence; it is None, or missing, where the step is compiled. With `strict` that is an error instead. Attributes
        of layers, losses and optimizers stay as they were when the step was compiled: after a change, compile again.
        """
        return step


def overridable(body: Callable) -> Callable:
    """Let a backend replace an agnostic body by a kernel of the same name.

    The body is written once, `body(xp, ...)`, in the module that owns the mathematics; a backend that has something
    faster lists it in `kernels` under the body's name, and the tests hold the two against each other.

    >>> @overridable
    ... def double(xp, x):
    ...     return x + x
    >>> from gdnet.backend import get_backend
    >>> double(get_backend("cpu"), 2.0)
    4.0
    """
    name = body.__name__

    def call(backend: Backend, *args: Any) -> Any:
        kernel = backend.kernels.get(name)
        return body(backend.xp, *args) if kernel is None else kernel(backend, *args)

    call.__name__, call.__doc__, call.__module__ = name, body.__doc__, body.__module__
    call.body = body  # type: ignore[attr-defined]
    return call


def check_float(dtype: str) -> str:
    """`dtype` if networks can be trained in it, an error otherwise."""
    if dtype not in FLOATS:
        raise OptionError(f"dtype must be one of {', '.join(FLOATS)}, got {dtype!r}; half precision is not supported")
    return dtype


def float_name(dtype: Any) -> str:
    """The name of a real float dtype of any library, without the library's own: `float64`.

    >>> float_name(np.float32), float_name(np.ones(1).dtype)
    ('float32', 'float64')
    """
    return "float64" if "64" in str(dtype) else "float32"


def itemsize(dtype: Any) -> int:
    """Bytes of one number of a real float dtype of any library."""
    return 8 if float_name(dtype) == "float64" else 4


def check_donated(donate: Sequence[int]) -> int:
    """How many arguments of a step are donated; an `OptionError` unless they are the first ones."""
    if tuple(donate) != tuple(range(len(donate))):
        raise OptionError(f"the donated arguments must come first, got {tuple(donate)}")
    return len(donate)


def resolve_dtype(backend: Backend, dtype: str) -> str:
    """`dtype` if the library computes in it: one that is asked for float64 may give float32 without a word."""
    name = check_float(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = str(backend.asarray(np.zeros(1), name).dtype)
    if not made.endswith(name):
        raise OptionError(
            f"dtype {name!r} was asked for and {backend.name} makes {made}: {backend.how_to_get_float64} use "
            f'dtype="float32"'
        )
    return name

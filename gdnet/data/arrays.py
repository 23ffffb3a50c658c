"""Examples as arrays: in memory, on a device, or in a file larger than memory."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, backend_of, check_float, get_backend
from gdnet.errors import ArrayError, ShapeError

WHOLE_BYTES = 2**30
"""Data up to this size are moved to the device (or converted) once and stay there; larger data, batch by batch."""


class Dataset:
    """Inputs, targets and weights of n examples; `take` gives a batch and never loads the rest.

    Parameters
    ----------
    x : (n, ...)
        Array of any library, or `numpy.load(path, mmap_mode="r")` for a file larger than memory.
    t : (n, ...), optional
        Targets.
    sample_weight : (n,), optional
    prepare : callable, optional
        `prepare(x) -> x` for host batches, such as `lambda x: x.astype("float32") / 255` for a file of bytes that is
        too large to be converted as a whole.

    Attributes
    ----------
    home : Backend
        Where the data lie.
    backend : Backend
        Where batches come out: the same, until `on` says otherwise.

    >>> x, t = Dataset(np.eye(3), np.asarray([0, 1, 2])).take(np.asarray([2, 0]))
    >>> x.tolist(), t.tolist()
    ([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [2, 0])
    """

    def __init__(
        self,
        x: Array,
        t: Array | None = None,
        sample_weight: Array | None = None,
        *,
        prepare: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        given = {name: a for name, a in (("x", x), ("t", t), ("sample_weight", sample_weight)) if a is not None}
        self.home = self.backend = backend_of(*given.values(), names=tuple(given))
        sizes = {name: a.shape[0] for name, a in given.items() if a.ndim}
        if len(set(sizes.values())) > 1:
            raise ShapeError(f"x, t and sample_weight must be equally many, got {sizes}")
        self.x, self.t, self.sample_weight = x, t, sample_weight
        self.on_host = isinstance(x, np.ndarray)
        self.prepare, self.dtype = prepare, None
        self._as_it_is = prepare is None
        if prepare is not None and not self.on_host:
            raise ArrayError(f"prepare works on host data, and x is a {self.home.name} array: convert x beforehand")

    dtype: str | None

    def __len__(self) -> int:
        return self.x.shape[0]

    def __repr__(self) -> str:
        return f"<Dataset of {len(self)} examples, x {tuple(self.x.shape)} {name_of(self.x)}, on {self.home.device}>"

    @property
    def arrays(self) -> tuple[Array, ...]:
        """(x, t, sample_weight), without those that were not given."""
        return tuple(a for a in self._all if a is not None)

    @property
    def _all(self) -> tuple[Array, Array | None, Array | None]:
        return self.x, self.t, self.sample_weight

    # -- where batches come out ---------------------------------------------------------------------------------------

    def on(self, backend: Backend | None = None, dtype: str | None = None, *, whole: bool | None = None) -> "Dataset":
        """The same examples, with batches coming out on `backend`, reals in `dtype` and integers as labels.

        Parameters
        ----------
        backend : Backend, optional
            Host (NumPy) data are moved to any backend; data of another library stay where they are.
        dtype : str, optional
            `"float32"` or `"float64"`, by default that of x. Integers and booleans in t become int64
            (on a device, those that are neither int32 nor int64 become int32).
        whole : bool, optional
            True moves and converts everything once, False each batch when its turn comes. By default everything, if
            the data are in memory and at most `WHOLE_BYTES`. Data that need no change are never copied.

        Raises
        ------
        ArrayError
            If the data are arrays of another library or device than `backend`.
        """
        backend = self.home if backend is None else backend
        stays = backend.xp is self.home.xp and backend.device == self.home.device
        if not (stays or self.on_host):
            raise ArrayError(
                f"the data are {self.home.name} arrays on {self.home.device}, and the model is on {backend.name}, "
                f"{backend.device}: convert them, or give NumPy arrays, which are moved to any device"
            )
        there = Dataset(*self._all, prepare=self.prepare)
        there.backend, there.dtype = backend, dtype and check_float(dtype)
        there._as_it_is = stays and self.prepare is None and all(_final(a, dtype) for a in self.arrays)
        if whole is None:
            size = math.prod(self.x.shape) * (4 if dtype == "float32" else 8)
            whole = size <= WHOLE_BYTES and not any(isinstance(a, np.memmap) for a in self.arrays)
        if whole and not there._as_it_is:
            there.x, there.t, there.sample_weight = there._out(self._all)
            there.home, there.prepare, there._as_it_is = backend, None, True
            there.on_host = isinstance(there.x, np.ndarray)
        return there

    @property
    def streams(self) -> bool:
        """Whether each batch is copied from the host to a device when its turn comes."""
        return self.on_host and self.backend.xp is not self.home.xp

    def on_home(self) -> "Dataset":
        """The same, with batches that stay where the data lie, in their final dtypes."""
        return Dataset(*self._all, prepare=self.prepare).on(None, self.dtype, whole=False)

    def _out(self, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        """(x, t, sample_weight) as they leave: prepared, of their final dtypes, on the backend of the batches."""
        x, t, weight = arrays
        if self.prepare is not None:
            x = self.prepare(x)
        real = self.dtype or name_of(x)
        return self._move(x, real), self._move(t, real), self._move(weight, real)

    def _move(self, array: Array | None, real: str) -> Array | None:
        if array is None:
            return None
        host = isinstance(array, np.ndarray)
        dtype = ("int64" if host else "int32") if is_integer(array) else real  # every library has int32
        if not host:
            return array if _final(array, dtype) else self.backend.xp.astype(array, self.backend.dtype(dtype))
        if self.backend.xp is get_backend("cpu").xp:
            return np.asarray(array, dtype)
        return self.backend.asarray(array, dtype)

    # -- batches ------------------------------------------------------------------------------------------------------

    def take(self, index: Array) -> tuple[Array, ...]:
        """The examples with these numbers, as (x, t, sample_weight) without those that were not given.

        `index` is a host array of integers, or an array where the data lie.
        """
        if self.on_host:
            found = [None if a is None else _rows(a, index) for a in self._all]
        else:
            if isinstance(index, np.ndarray):
                index = self.home.asarray(index, "int32")
            xp = self.home.xp
            found = [None if a is None else xp.take(a, index, axis=0) for a in self._all]
        return self._finish(found)

    def slice(self, start: int, stop: int) -> tuple[Array, ...]:
        """Examples `start` to `stop` in their order: windows of the data, not copies, where the library has them."""
        if start == 0 and stop == len(self):
            return self._finish(self._all)
        return self._finish([None if a is None else a[start:stop, ...] for a in self._all])

    def _finish(self, arrays: Any) -> tuple[Array, ...]:
        if not self._as_it_is:
            arrays = self._out(arrays)
        return tuple(a.view(np.ndarray) if isinstance(a, np.memmap) else a for a in arrays if a is not None)


def _rows(a: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Rows of a host array.

    `take` is NumPy's fastest gather, but first copies the whole of an array that is not contiguous. Rows of a file are
    read in the order in which they lie there.
    """
    if isinstance(a, np.memmap):
        order = np.argsort(index)
        rows = np.empty((len(index), *a.shape[1:]), a.dtype)
        rows[order] = a[index[order]]
        return rows
    if a.flags.c_contiguous and a.flags.aligned:
        return a.take(index, axis=0)
    return a[index]


def name_of(array: Array) -> str:
    """The name of the array's dtype without that of its library.

    >>> name_of(np.zeros(2, ">f4"))
    'float32'
    """
    return array.dtype.name if isinstance(array, np.ndarray) else str(array.dtype).rpartition(".")[2]


def is_integer(array: Array) -> bool:
    """Whether the array holds integers or booleans.

    >>> is_integer(np.zeros(2, bool)), is_integer(np.zeros(2))
    (True, False)
    """
    return name_of(array).startswith(("int", "uint", "bool"))


def _final(array: Array, real: str | None) -> bool:
    """Whether the array can be trained on without a conversion: reals of this dtype, or labels of a usual width."""
    if isinstance(array, np.ndarray) and not array.dtype.isnative:
        return False
    name = name_of(array)
    if is_integer(array):
        return name == "int64" or (name == "int32" and not isinstance(array, np.ndarray))
    return real is None or name == real

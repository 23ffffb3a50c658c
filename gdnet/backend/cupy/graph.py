"""A training step captured as a CUDA graph: one launch for all of its kernels.

The step is a pure function that never looks at a value, so it can be run on copies to warm up, recorded once for given
shapes, and replayed. Its arrays then have fixed places: arguments are copied into theirs unless they already stand
there, as the results of the call before do when they were donated.

Parameters and state have two places, and the step two graphs: one reads the first and writes the second, the other
reads the second and writes the first. So nothing is overwritten that is still to be read, and nothing is copied back:
an update kernel asks `destination` where its result goes.
"""

import contextlib
import functools
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from operator import is_
from typing import Any, NamedTuple

from gdnet.backend.base import check_donated
from gdnet.backend.cupy.refusal import refusal
from gdnet.backend.tree import flatten, unflatten

WARM_UP = 2


class Destinations(threading.local):
    """Where results go, by the `id` of the argument that they follow, while this thread records a step."""

    places: dict[int, Any] = {}  # noqa: RUF012 (replaced, never changed, where it is not a thread's own)


destinations = Destinations()


def destination(argument: Any, fresh: Callable[[Any], Any]) -> Any:
    """The array for the result that follows `argument`, such as the next θ: its other place, or a fresh array.

    A place is handed out once in a recording: a second update from the same argument is not the step's result, or the
    first one is not, and the one that is gets copied at the end.
    """
    if not destinations.places:
        return fresh(argument)
    place = destinations.places.pop(id(argument), None)
    return fresh(argument) if place is None else place


class Side(NamedTuple):
    """One graph: the places that it reads, its launch, and the arrays that it leaves its results in."""

    places: list[Any]
    launch: Callable[[], None]
    results: list[Any]


class Captured:
    """One recorded step for one signature of arguments."""

    def __init__(self, device: Any, step: Callable, leaves: list[Any], form: Any, donated: int) -> None:
        """`donated` is the number of leading leaves that the results replace."""
        self.device, self.donated = device, donated
        first = [device.copy(leaf) for leaf in leaves]
        second = [*(device.copy(place) for place in first[:donated]), *first[donated:]]
        with device.recording() as recorder:
            for _ in range(WARM_UP):  # compiles kernels and makes handles; pure, so nothing is changed by it
                step(*unflatten(form, iter(first)))
            self.sides = [self._record(recorder, step, form, first, second)]
            if donated:
                self.sides.append(self._record(recorder, step, form, second, first))

    def _record(self, recorder: Any, step: Callable, form: Any, places: list[Any], others: list[Any]) -> Side:
        n = self.donated
        destinations.places = {id(p): q for p, q in zip(places[:n], others, strict=False) if p is not q}
        try:
            recorder.begin()
            results, self.form = flatten(step(*unflatten(form, iter(places))))
            self._settle(results, places, others)
            # The graph writes to the results: they must stay alive as long as it does.
            return Side(places, recorder.end(), [*others[:n], *results[n:]])
        finally:
            destinations.places = {}

    def _settle(self, results: list[Any], places: list[Any], others: list[Any]) -> None:
        """Record the moves of those new parameters and states that are not in their other places already.

        What is handed through, such as a learning rate, needs one place alone. A result that shows another one's place
        is copied first, or the moves would change it.
        """
        n = self.donated
        if [_kind(r) for r in results[:n]] != [_kind(p) for p in places[:n]]:
            raise TypeError("a step that gives its arguments back changed must keep their shapes and dtypes")
        for i in range(n):
            if results[i] is places[i]:
                others[i] = places[i]
        for i, result in enumerate(results):
            own = i < n and result is others[i]
            if not own and any(self.device.overlap(result, other) for other in others[:n]):
                results[i] = self.device.copy(result)
        for other, result in zip(others[:n], results, strict=False):
            if result is not other:
                other[...] = result

    def fits(self, leaves: list[Any]) -> bool:
        """Whether these arguments have the recorded shapes and dtypes."""
        places = self._side(leaves).places
        if len(leaves) != len(places):
            return False
        return all(leaf is place or _kind(leaf) == _kind(place) for leaf, place in zip(leaves, places, strict=True))

    def _side(self, leaves: list[Any]) -> Side:
        """The graph in whose places most arguments stand; the first one for new arguments."""
        n = self.donated
        return max(self.sides, key=lambda side: sum(map(is_, leaves[:n], side.places)))

    def __call__(self, leaves: list[Any]) -> Any:
        places, launch, results = self._side(leaves)
        n = self.donated
        moves = [(place, leaf) for place, leaf in zip(places, leaves, strict=True) if leaf is not place]
        changed = [place for place, leaf in zip(places[:n], leaves, strict=False) if leaf is not place]
        if changed:  # a result of the call before may come back as another argument: copied before it changes
            moves = [
                (place, self.device.copy(leaf) if any(self.device.overlap(leaf, p) for p in changed) else leaf)
                for place, leaf in moves
            ]
        for place, leaf in moves:
            place[...] = leaf
        launch()
        return unflatten(self.form, iter([*results[:n], *map(self.device.copy, results[n:])]))


def _kind(array: Any) -> tuple[tuple[int, ...], Any]:
    return array.shape, array.dtype


class CapturedStep:
    """`step`, captured for the first signature of arguments that comes twice in a row; others run eagerly.

    The short last batch of an epoch is such another signature. Where capturing fails, the step runs eagerly from then
    on, after one warning; with `strict`, the error is raised. `recorder()` makes what records: it is called when the
    first capture begins.
    """

    def __init__(
        self, recorder: Callable[[], Any], step: Callable, donate: Sequence[int] = (), on: Any = None,
        strict: bool = False,
    ) -> None:  # fmt: skip
        self.recorder, self.step, self.donate, self.strict = recorder, step, check_donated(donate), strict
        self.on = contextlib.nullcontext() if on is None else on
        self.last: Any = None
        self.captured: Captured | None = None
        self.failed = False
        self.turn = threading.Lock()  # its places serve one thread at a time
        functools.update_wrapper(self, step)

    def __call__(self, *args: Any) -> Any:
        with self.turn, self.on:
            if self.failed:
                return self.step(*args)
            leaves, form = flatten(args)
            if self.captured is None:
                kinds = [_kind(leaf) for leaf in leaves]
                if kinds != self.last:
                    self.last = kinds
                    return self.step(*args)
                self._capture(args, leaves, form)
            if self.captured is None or not self.captured.fits(leaves):
                return self.step(*args)
            return self.captured(leaves)

    def _capture(self, args: Sequence[Any], leaves: list[Any], form: Any) -> None:
        donated = sum(len(flatten(a)[0]) for a in args[: self.donate])
        try:
            self.captured = Captured(self.recorder(), self.step, leaves, form, donated)
        except Exception as error:  # whatever the driver or a kernel of the user's has against it, eager is right
            self.failed = True
            if self.strict:
                raise
            why = refusal(error)
            if why.file:  # the warning stands at the line to be changed
                warnings.warn_explicit(why.text, UserWarning, why.file, why.line)
            else:
                warnings.warn(why.text, stacklevel=3)


class CudaRecorder:
    """Records what is done on a stream of its own, with memory that stays where it is as long as the graph lives."""

    def __init__(self, tf32: bool = False) -> None:
        import cupy as cp

        from gdnet.backend.cupy.cublas import Gemm

        self.cp = cp
        self.stream, self.pool = cp.cuda.Stream(non_blocking=True), cp.cuda.MemoryPool()
        self.gemm = Gemm(self.stream, tf32)
        self.capturing = False

    @staticmethod
    def copy(array: Any) -> Any:
        return array.copy()

    def overlap(self, a: Any, b: Any) -> bool:
        """Whether two arrays may share memory, by their addresses alone."""
        return bool(self.cp.may_share_memory(a, b))

    @contextlib.contextmanager
    def recording(self) -> Iterator["CudaRecorder"]:
        from gdnet.backend.cupy.products import captured_by

        self.cp.cuda.get_current_stream().synchronize()  # the copies of the arguments are there
        self.cp.get_default_memory_pool().free_all_blocks()  # the graph's own pool cannot take what eager steps left
        try:
            with self.cp.cuda.using_allocator(self.pool.malloc), self.stream, captured_by(self.gemm):
                yield self
        finally:
            if self.capturing:  # an error ended it: that error is to be told, not that the driver minds it as well
                self.capturing = False
                with contextlib.suppress(self.cp.cuda.runtime.CUDARuntimeError):
                    self.stream.end_capture()

    def begin(self) -> None:
        self.stream.synchronize()
        self.stream.begin_capture()
        self.capturing = True

    def end(self) -> Callable[[], None]:
        self.capturing = False
        return self.stream.end_capture().launch  # on the stream that is current when it is called

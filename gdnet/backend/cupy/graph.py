"""A training step captured as a CUDA graph: one launch for all of its kernels.

The step is a pure function that never looks at a value, so it can be run on copies to warm up, recorded once for given
shapes, and replayed. Its arrays then have fixed places: arguments are copied into theirs unless they already stand
there, as the results of the call before do when they were donated.
"""

import contextlib
import functools
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gdnet.backend.cupy.refusal import refusal
from gdnet.backend.tree import flatten, unflatten
from gdnet.errors import OptionError

WARM_UP = 2


class Captured:
    """One recorded step for one signature of arguments."""

    def __init__(self, device: Any, step: Callable, leaves: list[Any], form: Any, donated: int) -> None:
        """`donated` is the number of leading leaves whose places the results take."""
        self.device, self.donated = device, donated
        self.places = [device.copy(leaf) for leaf in leaves]
        with device.recording() as recorder:
            for _ in range(WARM_UP):  # compiles kernels and makes handles; pure, so nothing is changed by it
                step(*unflatten(form, iter(self.places)))
            recorder.begin()
            results, self.form = flatten(step(*unflatten(form, iter(self.places))))
            self._settle(results)
            self.launch = recorder.end()

    def _settle(self, results: list[Any]) -> None:
        """Record the moves of the new parameters and state into the places of the old ones.

        A result that shows a place other than its own (an argument handed through, a window of one) is copied first,
        or the moves would change it.
        """
        places, n = self.places, self.donated
        if [_kind(r) for r in results[:n]] != [_kind(p) for p in places[:n]]:
            raise TypeError("a step that gives its arguments back changed must keep their shapes and dtypes")
        for i, result in enumerate(results):
            own = i < n and result is places[i]
            if not own and any(self.device.overlap(result, place) for place in places[:n]):
                results[i] = self.device.copy(result)
        for place, result in zip(places, results[:n], strict=False):
            if result is not place:
                place[...] = result
        self.results = [*places[:n], *results[n:]]  # the graph writes there: they must stay alive as long as it does

    def fits(self, leaves: list[Any]) -> bool:
        """Whether these arguments have the recorded shapes and dtypes."""
        if len(leaves) != len(self.places):
            return False
        return all(
            leaf is place or _kind(leaf) == _kind(place) for leaf, place in zip(leaves, self.places, strict=True)
        )

    def __call__(self, leaves: list[Any]) -> Any:
        moves = [(place, leaf) for place, leaf in zip(self.places, leaves, strict=True) if leaf is not place]
        donated = [place for place, leaf in zip(self.places[: self.donated], leaves, strict=False) if leaf is not place]
        if donated:  # results stand there, and may come back as another argument: copied before they change
            moves = [
                (place, self.device.copy(leaf) if any(self.device.overlap(leaf, p) for p in donated) else leaf)
                for place, leaf in moves
            ]
        for place, leaf in moves:
            place[...] = leaf
        self.launch()
        kept = self.results[: self.donated]
        fresh = [self.device.copy(r) for r in self.results[self.donated :]]
        return unflatten(self.form, iter([*kept, *fresh]))


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
        if tuple(donate) != tuple(range(len(donate))):
            raise OptionError(f"the donated arguments must come first, got {tuple(donate)}")
        self.recorder, self.step, self.donate, self.strict = recorder, step, len(donate), strict
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

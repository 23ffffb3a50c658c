"""A training step captured as a CUDA graph: one launch for all of its kernels.

The step is a pure function that never looks at a value, so it can be run on copies to warm up, recorded once for given
shapes, and replayed. Its arrays then have fixed places: arguments are copied into theirs unless they already stand
there, as the results of the call before do when they were donated.
"""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gdnet.backend.tree import flatten, unflatten

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
            self.results = results
            for i in range(donated):  # the new parameters and state take the place of the old ones
                self.places[i][...] = results[i]
                self.results[i] = self.places[i]
            self.launch = recorder.end()

    def __call__(self, leaves: list[Any]) -> Any:
        for place, leaf in zip(self.places, leaves, strict=True):
            if leaf is not place:
                place[...] = leaf
        self.launch()
        kept = self.results[: self.donated]
        fresh = [self.device.copy(r) for r in self.results[self.donated :]]
        return unflatten(self.form, iter([*kept, *fresh]))


class CapturedStep:
    """`step`, captured for the first signature of arguments that comes twice; other signatures run eagerly.

    The short last batch of an epoch is such another signature. Where capturing fails, the step runs eagerly from then
    on, after one warning.
    """

    def __init__(self, device: Any, step: Callable, donate: Sequence[int] = ()) -> None:
        if tuple(donate) != tuple(range(len(donate))):
            raise ValueError("the donated arguments must come first")
        self.device, self.step, self.donate = device, step, len(donate)
        self.signature: Any = None
        self.captured: Captured | None = None
        self.failed = False
        functools.update_wrapper(self, step)

    def __call__(self, *args: Any) -> Any:
        if self.failed:
            return self.step(*args)
        leaves, form = flatten(args)
        signature = tuple([(a.shape, str(a.dtype)) for a in leaves])
        if self.captured is None:
            if signature != self.signature:
                self.signature = signature
                return self.step(*args)
            self._capture(args, leaves, form)
            if self.captured is None:
                return self.step(*args)
        if signature != self.signature:
            return self.step(*args)
        return self.captured(leaves)

    def _capture(self, args: Sequence[Any], leaves: list[Any], form: Any) -> None:
        donated = sum(len(flatten(a)[0]) for a in args[: self.donate])
        try:
            self.captured = Captured(self.device, self.step, leaves, form, donated)
        except Exception as error:  # whatever the driver or a kernel of the user's has against it, eager is right
            self.failed = True
            warnings.warn(
                f"the training step could not be captured as a CUDA graph and runs eagerly: {error}", stacklevel=3
            )


class CudaRecorder:
    """Records what is done on a stream of its own, with memory that stays where it is as long as the graph lives."""

    def __init__(self, backend: Any) -> None:
        import cupy as cp

        from gdnet.backend.cublas import Gemm

        self.cp, self.backend = cp, backend
        self.stream, self.pool = cp.cuda.Stream(non_blocking=True), cp.cuda.MemoryPool()
        self.gemm = Gemm(self.stream, backend.tf32)

    @staticmethod
    def copy(array: Any) -> Any:
        return array.copy()

    @contextlib.contextmanager
    def recording(self) -> Iterator["CudaRecorder"]:
        self.cp.cuda.get_current_stream().synchronize()  # the copies of the arguments are there
        self.capturing = False
        self.backend.gemm = self.gemm
        try:
            with self.cp.cuda.using_allocator(self.pool.malloc), self.stream:
                yield self
        finally:
            self.backend.gemm = None
            if self.capturing:
                with contextlib.suppress(Exception):
                    self.stream.end_capture()

    def begin(self) -> None:
        self.stream.synchronize()
        self.stream.begin_capture()
        self.capturing = True

    def end(self) -> Callable[[], None]:
        self.capturing = False
        return self.stream.end_capture().launch  # on the stream that is current when it is called

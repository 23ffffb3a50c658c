"""Batches copied to the GPU while it computes on the one before: pinned host memory, a second stream, events.

The order matters in three places. A pinned buffer is rewritten only when its last copy has ended. The memory of a new
device array may be in use by steps queued before: the copy waits for them. And a step waits for its batch's copy.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np


class Stage:
    """Pinned memory for one batch, and the event of its last copy to the device."""

    def __init__(self, copier: Any) -> None:
        self.copier = copier
        self.pinned: list[np.ndarray] = []
        self.copied: Any = None

    def load(self, batch: Sequence[np.ndarray]) -> tuple[Any, ...]:
        """Begin the copy of a batch: the arrays that it will be in."""
        copier = self.copier
        self.settle()
        if not self._fits(batch):
            self.pinned = [copier.pinned(a.shape, a.dtype) for a in batch]
        arrays = tuple([copier.empty(a.shape, a.dtype) for a in batch])
        copier.wait_for_steps()
        for host, pinned, array in zip(batch, self.pinned, arrays, strict=True):
            part = pinned[: host.shape[0]]
            np.copyto(part, host)
            copier.copy(array, part)
        self.copied = copier.end_of_copies()
        return arrays

    def settle(self) -> None:
        """Wait on the host for the copy to end."""
        if self.copied is not None:
            self.copier.wait_on_host(self.copied)

    def _fits(self, batch: Sequence[np.ndarray]) -> bool:
        if len(batch) != len(self.pinned):
            return False
        return all(
            a.dtype == p.dtype and a.shape[1:] == p.shape[1:] and a.shape[0] <= p.shape[0]
            for a, p in zip(batch, self.pinned, strict=True)
        )


def ahead(copier: Any, batches: Iterable[Sequence[np.ndarray]]) -> Iterator[tuple[Any, ...]]:
    """The batches on the device, each copied while the one before it is in use."""
    now, then = Stage(copier), Stage(copier)
    source = iter(batches)
    arrays = _load(now, source)
    try:
        while arrays is not None:
            coming = _load(then, source)
            copier.steps_wait_for(now.copied)
            yield arrays
            arrays, now, then = coming, then, now
    finally:  # the memory goes back to its pool: nothing may be on its way
        now.settle()
        then.settle()


def _load(stage: Stage, source: Iterator[Sequence[np.ndarray]]) -> tuple[Any, ...] | None:
    batch = next(source, None)
    return None if batch is None else stage.load(batch)


class CudaCopier:
    """The CUDA calls behind `ahead`: copies on a stream of their own, steps on the stream that is current."""

    def __init__(self, device: Any) -> None:
        import cupy as cp
        import cupyx

        self.cp, self.device, self.pinned = cp, device, cupyx.empty_pinned
        with device:
            self.stream = cp.cuda.Stream(non_blocking=True)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        with self.device:
            return self.cp.empty(shape, dtype)

    def wait_for_steps(self) -> None:
        """Copies from here on wait for the steps that are queued now."""
        with self.device:
            self.stream.wait_event(self.cp.cuda.get_current_stream().record())

    def copy(self, array: Any, pinned: np.ndarray) -> None:
        with self.device:
            array.set(pinned, stream=self.stream)

    def end_of_copies(self) -> Any:
        with self.device:
            return self.stream.record()

    def steps_wait_for(self, copied: Any) -> None:
        """Steps from here on wait for these copies."""
        with self.device:
            self.cp.cuda.get_current_stream().wait_event(copied)

    @staticmethod
    def wait_on_host(copied: Any) -> None:
        copied.synchronize()

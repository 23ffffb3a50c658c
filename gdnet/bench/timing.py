"""Fair times: candidates take turns, round by round, and each round starts from the same weights."""

import gc
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

LEAD = 4
"""Each turn begins with so many times `Effort.seconds` that are not counted: the threads of another library's BLAS go
on spinning after its last product, OpenBLAS's for 0.13 seconds, and take a core from whoever comes next."""
WARM_UP = 3
"""Steps between going back to the start and the clock's start, for the caches."""
LONG = 0.5
"""Seconds of a round that needs no warm-up."""
MAX_STEPS = 200
"""Steps a round. More would let moments of dead units decay into denormal numbers, which cost differently."""


class Candidate(Protocol):
    """Something that can be timed."""

    def reset(self) -> None:
        """Back to the initial weights and optimizer state."""

    def run(self, steps: int) -> None:
        """Do so many steps, and wait until they are done."""


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds, seconds a round of one candidate, and seconds in all for one candidate."""

    rounds: int = 9
    seconds: float = 0.05
    limit: float = 3.0


@dataclass
class Timing:
    """Seconds a step."""

    steps: int = 1
    rounds: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        return min(self.rounds)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def row(self) -> dict[str, Any]:
        return {"seconds": self.best, "median_seconds": self.median, "rounds": len(self.rounds), "steps": self.steps}


def race(candidates: Mapping[str, Candidate], effort: Effort) -> dict[str, Timing]:
    """The time of a step of each candidate. Between two rounds of one, every other has had its turn.

    >>> class Sleeper:
    ...     def reset(self): ...
    ...     def run(self, steps): time.sleep(0.001 * steps)
    >>> race({"a": Sleeper()}, Effort(rounds=2, seconds=0.002))["a"].best >= 0.001
    True
    """
    found, wanted = {}, {}
    for name, candidate in candidates.items():  # the first call compiles, so it is not the one that is counted
        candidate.reset()
        candidate.run(2)
        one = _clock(candidate, 1)
        wanted[name] = effort.seconds / max(one, 1e-9)
        found[name] = Timing(int(min(max(wanted[name], 1), MAX_STEPS)))
    slowest = dict.fromkeys(candidates, 0.0)
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for turn in range(effort.rounds):
            for name, candidate in candidates.items():
                timing = found[name]
                if turn >= 2 and turn * slowest[name] > effort.limit:
                    continue  # long enough for this one
                candidate.reset()
                if slowest[name] < LONG:
                    if len(candidates) > 1:
                        candidate.run(max(1, int(LEAD * wanted[name])))
                        candidate.reset()
                    candidate.run(min(WARM_UP, timing.steps))
                spent = _clock(candidate, timing.steps)
                timing.rounds.append(spent / timing.steps)
                slowest[name] = max(slowest[name], spent)
    finally:
        if enabled:
            gc.enable()
    return found


def _clock(candidate: Candidate, steps: int) -> float:
    start = time.perf_counter()
    candidate.run(steps)
    return time.perf_counter() - start


class Call:
    """A plain function as a candidate, with nothing to reset."""

    def __init__(self, function: Any, synchronize: Any = None) -> None:
        self.function, self.synchronize = function, synchronize

    def reset(self) -> None:
        pass

    def run(self, steps: int) -> None:
        function = self.function
        for _ in range(steps):
            function()
        if self.synchronize is not None:
            self.synchronize()

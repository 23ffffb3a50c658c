"""What a check of a gradient found, for programs and for people."""

from dataclasses import dataclass, field

from gdnet.errors import GdnetError


@dataclass(frozen=True)
class Entry:
    """One entry of the gradient, or one direction, as claimed and as measured."""

    index: int
    """Flat index into the gradient, or the number of the direction."""
    where: str
    """The same by name, such as `2.W (3, 7)`."""
    claimed: float
    numerical: float
    tolerance: float

    @property
    def absolute_error(self) -> float:
        return abs(self.claimed - self.numerical)

    @property
    def relative_error(self) -> float:
        largest = max(abs(self.claimed), abs(self.numerical))
        return self.absolute_error / largest if largest else 0.0

    def __str__(self) -> str:
        return (
            f"{self.where}: claimed {self.claimed:.9g}, numerical {self.numerical:.9g}, absolute error "
            f"{self.absolute_error:.2g}, relative {self.relative_error:.2g}, tolerance {self.tolerance:.2g}"
        )


@dataclass(frozen=True)
class GradientReport:
    """What `gradcheck` found; true in a condition if the claim holds.

    Attributes
    ----------
    ok : bool
        Whether every entry that could be judged is within its tolerance, and there was one.
    worst : Entry or None
        The entry farthest outside (or least inside) its tolerance.
    wrong : list of Entry
        All entries outside their tolerance, the worst first.
    kinks : list of Entry
        Entries at suspected kinks, where the forward and the backward quotient disagree however small the step; they
        were not judged.
    judged : int
        How many entries or directions were.
    undecided : int
        How many of these are so small that an error of `rtol` in them would not have been seen.
    directions : int or None
        None if every entry was checked, else how many random directions stood for all of them.
    """

    ok: bool
    worst: Entry | None
    wrong: list[Entry] = field(repr=False)
    kinks: list[Entry] = field(repr=False)
    judged: int
    undecided: int
    directions: int | None

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        what = "entries" if self.directions is None else "random directions"
        lines = [
            f"gradient {'agrees' if self.ok else 'DISAGREES'}: {self.judged} {what} judged, {len(self.wrong)} wrong"
        ]
        if not self.judged:
            lines = [f"gradient NOT JUDGED: all {len(self.kinks)} {what} lie at kinks; move x a little"]
        if self.undecided:
            lines.append(f"{self.undecided} too small to tell an error of the size asked for")
        if self.worst is not None:
            lines.append(f"worst, {self.worst}")
        if self.kinks:
            shown = ", ".join(kink.where for kink in self.kinks[:5])
            lines.append(f"{len(self.kinks)} at suspected kinks, left out: {shown}{' ...' if self.kinks[5:] else ''}")
        return "\n".join(lines)


class GradientMismatch(GdnetError, ValueError):
    """A claimed gradient that is not the derivative; `report` has the details."""

    def __init__(self, report: GradientReport) -> None:
        super().__init__(str(report))
        self.report = report

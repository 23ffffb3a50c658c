"""What a check found: the largest error of each comparison, and where it was."""

import json
from typing import Any

import numpy as np

from gdnet.errors import GdnetError


class CheckFailed(AssertionError):
    """A rule is wrong; the message names the comparison and the worst entry. `report` holds all of them."""

    def __init__(self, message: str, report: "Report | None" = None) -> None:
        super().__init__(message)
        self.report = report


class Finding:
    """The worst entry of one comparison. `error` is relative to the largest entry that was expected."""

    def __init__(self, name: str, error: float, text: str) -> None:
        self.name, self.error, self.text = name, error, text


class Report:
    """Comparisons by name: truthy if all agree, and as text a table with the worst entry of each.

    >>> report = Report("a rule", tolerance=1e-6)
    >>> report.compare("jvp", np.asarray([1.0, 2.0]), np.asarray([1.0, 2.002]))
    >>> bool(report)
    False
    >>> print(report)
    a rule: WRONG
      jvp  1.0e-03  entry (1,) is 2, expected 2.002  <- above 1e-06
    """

    def __init__(self, subject: str, tolerance: float) -> None:
        self.subject, self.tolerance = subject, tolerance
        self.findings: dict[str, Finding] = {}

    def compare(self, name: str, claimed: Any, expected: Any, at_least: float = 1e-3, hint: str = "") -> None:
        """Note the largest error of `claimed`, relative to the largest entry expected (or `at_least`).

        `hint` says what to do where the error is too large.
        """
        claimed, expected = np.asarray(claimed), np.asarray(expected)
        if claimed.shape != expected.shape:
            return self._note(Finding(name, np.inf, f"has shape {claimed.shape}, expected {expected.shape}"))
        if claimed.size == 0:
            return self._note(Finding(name, 0.0, "empty"))
        with np.errstate(invalid="ignore"):  # what is not finite is wrong, as found below
            error = np.abs(claimed - expected) / max(float(np.max(np.abs(expected))), at_least)
        error = np.where(np.isnan(error), np.inf, error)
        worst = tuple(int(k) for k in np.unravel_index(np.argmax(error), error.shape))
        text = f"entry {worst} is {claimed[worst]:.10g}, expected {expected[worst]:.10g}"
        text += hint if error[worst] > self.tolerance else ""
        return self._note(Finding(name, float(error[worst]), text))

    def require(self, name: str, holds: bool, text: str) -> None:
        """Note a condition that holds or not."""
        self._note(Finding(name, 0.0 if holds else np.inf, "holds" if holds else text))

    def rebuilt(self, thing: Any) -> Any:
        """What a file would make of this layer or loss, noting whether it is equal; None where no file can hold it."""
        try:
            text = json.dumps(thing.spec(), allow_nan=False)
        except (TypeError, ValueError):  # an argument, such as a function, that is not written to files
            return None
        try:
            again = type(thing).from_spec(json.loads(text), {thing.type_name(): type(thing)})
        except GdnetError as error:
            return self.require("spec makes it again", False, f"{error}: write config and from_config")
        self.require("spec makes it again", again == thing, f"{text} makes {again!r}: write config and from_config")
        return again

    def _note(self, finding: Finding) -> None:
        known = self.findings.get(finding.name)
        if known is None or finding.error > known.error:
            self.findings[finding.name] = finding

    @property
    def worst(self) -> Finding:
        """The comparison with the largest error."""
        return max(self.findings.values(), key=lambda found: found.error)

    def __bool__(self) -> bool:
        return all(found.error <= self.tolerance for found in self.findings.values())

    def __str__(self) -> str:
        width = max(map(len, self.findings), default=0)
        lines = [f"{self.subject}: {'right' if self else 'WRONG'}"]
        for found in self.findings.values():
            mark = "" if found.error <= self.tolerance else f"  <- above {self.tolerance:.0e}"
            lines.append(f"  {found.name:{width}}  {found.error:.1e}  {found.text}{mark}")
        return "\n".join(lines)

    __repr__ = __str__

    def checked(self) -> "Report":
        """The report itself, if all is right.

        Raises
        ------
        CheckFailed
            With the worst entry of all first.
        """
        if not self:
            worst = self.worst
            raise CheckFailed(f"{self.subject}: {worst.name}: {worst.text}\n{self}", self)
        return self

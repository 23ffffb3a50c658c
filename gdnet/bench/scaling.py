"""Whether time grows in proportion to the work: to the number of examples, and to the number of parameters."""

from collections.abc import Iterator, Sequence
from typing import Any

from gdnet.backend import Backend
from gdnet.bench.candidates import kind_of
from gdnet.bench.gradient import Gradients, passes
from gdnet.bench.problems import Problem, sizes_text
from gdnet.bench.timing import Effort


def scaling(
    backends: dict[str, Backend], device: str, effort: Effort, batches: Sequence[int], hidden: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """A gradient's seconds for each example (varied: "N") and for each parameter (varied: "P")."""
    families = {
        "N": [Problem((784, 100, 10), "sigmoid", n) for n in batches],
        "P": [Problem((784, h, 10), "sigmoid", 256) for h in hidden],
    }
    for varied, problems in families.items():
        for problem in problems:
            amount = problem.batch if varied == "N" else problem.parameters
            for name, backend in backends.items():
                _, seconds = passes(Gradients(problem, backend), effort)
                yield {
                    "varied": varied,
                    "amount": amount,
                    "network": sizes_text(problem.sizes),
                    "batch": problem.batch,
                    "parameters": problem.parameters,
                    "device": kind_of(device),
                    "candidate": f"gdnet {name}",
                    "seconds": seconds,
                    "seconds_each": seconds / amount,
                }


def spread(rows: Sequence[dict[str, Any]]) -> float:
    """The largest deviation of the time for one unit from the middle of its range: 0.2 is ±20 %.

    >>> round(spread([{"seconds_each": 0.8}, {"seconds_each": 1.2}]), 6)
    0.2
    """
    each = [row["seconds_each"] for row in rows]
    return (max(each) - min(each)) / (max(each) + min(each))

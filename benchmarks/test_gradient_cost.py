"""What CI keeps of the gradient's cost: pytest benchmarks/test_gradient_cost.py --benchmark-json=out.json.

Times are saved, never asserted; that the quotients are the same is.
"""

import numpy as np
import pytest

from gdnet.backend import get_backend
from gdnet.bench.gradient import Gradients, H, problems

PROBLEMS = problems(1e6, [100])
SAMPLE = 100


@pytest.fixture
def work(request, benchmark):
    problem = request.param
    benchmark.extra_info.update(parameters=problem.parameters, batch=problem.batch)
    return Gradients(problem, get_backend("cpu"))


def each(problems):
    return pytest.mark.parametrize("work", problems, indirect=True, ids=[str(p.parameters) for p in problems])


@each(PROBLEMS)
def test_forward(benchmark, work):
    benchmark(work.forward)


@each(PROBLEMS)
def test_backpropagation(benchmark, work):
    benchmark(work.gradient)


@each(PROBLEMS)
def test_textbook_loop(benchmark, work):
    """The first entries only: seconds a gradient are the time times `parameters / entries`, marked as extrapolated."""
    size = work.problem.parameters
    entries = min(SAMPLE, size)
    benchmark.pedantic(work.textbook, (entries,), rounds=1)
    benchmark.extra_info.update(entries=entries, extrapolated=entries < size)


@each([p for p in PROBLEMS if p.parameters <= 20_000])
def test_structured(benchmark, work):
    found = benchmark.pedantic(work.structured, rounds=1, warmup_rounds=1)
    expected = work.textbook(min(SAMPLE, work.problem.parameters))
    tolerance = 10 * np.finfo(np.float64).eps * abs(float(work.forward())) / H
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=0, atol=tolerance)

"""What CI keeps of the gradient's cost: pytest benchmarks/test_gradient_cost.py --benchmark-json=out.json.

Times are saved, never asserted; that the quotients are the same is.
"""

import numpy as np
import pytest

from benchmarks.gradient_cost import Problem

SIZES = [100, 1_000, 10_000, 100_000, 1_000_000]
SAMPLE = 100


@pytest.mark.parametrize("parameters", SIZES)
def test_forward(benchmark, parameters):
    problem = Problem(parameters)
    benchmark.extra_info.update(parameters=problem.layout.size, batch=problem.batch)
    benchmark(problem.forward)


@pytest.mark.parametrize("parameters", SIZES)
def test_backpropagation(benchmark, parameters):
    problem = Problem(parameters)
    benchmark.extra_info.update(parameters=problem.layout.size, batch=problem.batch)
    benchmark(problem.backpropagation)


@pytest.mark.parametrize("parameters", SIZES)
def test_textbook_loop(benchmark, parameters):
    """The first entries only: seconds a gradient are the time times `parameters / entries`, marked as extrapolated."""
    problem = Problem(parameters)
    size = problem.layout.size
    found = benchmark.pedantic(problem.textbook, (SAMPLE,), rounds=1)
    benchmark.extra_info.update(
        parameters=size, batch=problem.batch, entries=len(found), extrapolated=len(found) < size
    )


@pytest.mark.parametrize("parameters", [size for size in SIZES if size <= 10_000])
def test_structured(benchmark, parameters):
    problem = Problem(parameters)
    found = benchmark.pedantic(problem.structured, rounds=1, warmup_rounds=1)
    benchmark.extra_info.update(parameters=problem.layout.size, batch=problem.batch)
    expected = problem.textbook(SAMPLE)
    tolerance = 10 * np.finfo(np.float64).eps * abs(problem.forward()) / 1e-4
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=0, atol=tolerance)

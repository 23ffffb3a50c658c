"""The table of stop reasons, which every solver reports from."""

from collections import defaultdict

import numpy as np
import pytest

import gdnet as gd
from gdnet.optimizers.result import REASONS, least_squares_message, stop_message

SHARED = {
    0: {"min_grad", "gtol", "rounding", "goal", "vanished", "converged"},
    1: {"max_iter", "max_nfev"},
    3: {"not_finite", "nan"},
}


def test_a_status_means_one_thing():
    found = defaultdict(set)
    for name, reason in REASONS.items():
        found[reason.status].add(name)
        assert reason.message.endswith(".")
        assert reason.message[0].isupper()
    assert {status: names for status, names in found.items() if len(names) > 1} == SHARED
    assert stop_message("my own reason") == (9, "my own reason")
    assert 9 not in found


@pytest.mark.parametrize(
    ("reason", "status"), [("max_nfev", 0), ("gtol", 1), ("min_grad", 1), ("ftol", 2), ("xtol", 3)]
)
def test_least_squares_has_the_numbers_of_scipys(reason, status):
    assert least_squares_message(reason)[0] == status


@pytest.mark.parametrize(
    ("make", "reason", "status"),
    [
        (lambda: gd.BFGS().run(BOWL, np.ones(2)), "min_grad", 0),
        (lambda: gd.BFGS(max_iter=0).run(BOWL, np.ones(2)), "max_iter", 1),
        (lambda: gd.minimize(lambda x: x @ x, np.ones(2), method="interior_point"), "converged", 0),
        (lambda: gd.quadratic_program(np.zeros((1, 1)), [1.0]), "unbounded", 5),
        (lambda: gd.quadratic_program(np.eye(1), [1.0], G=[[1.0], [-1.0]], h=[-1.0, -1.0]), "infeasible", 11),
        (lambda: gd.least_squares(lambda x: x - 1.0, [0.0], max_nfev=1), "max_nfev", 0),
    ],
)
def test_solvers_report_from_the_table(make, reason, status):
    found = make()
    assert (found.stop_reason, found.status) == (reason, status)
    assert found.message.startswith(REASONS[reason].message)


BOWL = gd.FunctionObjective(lambda x: float(x @ x), lambda x: 2.0 * x)

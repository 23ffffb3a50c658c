"""Every option of every solver and line search: what is refused when it is constructed, and what is not."""

import math
from dataclasses import fields

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import OptionError
from gdnet.optimizers.options import domain_of

NAN, INF = math.nan, math.inf

COUNT = ([1, 7, np.int64(3)], [0, -1, 1.5, 2.0, NAN, INF, "3", True, [2], 1j])
COUNT_FROM_0 = ([0, 1, np.int32(3)], [-1, 1.5, 2.0, NAN, INF, "3", False, [2]])
POSITIVE = ([1e-9, 1, np.float32(2.0)], [0, -1e-9, NAN, INF, "1", True, [1.0], 1j])
POSITIVE_OR_INF = ([1e-9, 1, INF], [0, -1e-9, NAN, "1", True, [1.0]])
NOT_NEGATIVE = ([0, 0.0, 1e-9, np.float64(1.0)], [-1e-9, NAN, INF, "1", True, [0.0]])
NOT_NEGATIVE_OR_INF = ([0, 3.5, INF], [-1e-9, NAN, "1", True, [0.0]])
INSIDE = ([1e-9, 0.999], [0.0, 1, -0.1, NAN, "0.5", True, [0.5]])
FRACTION = ([0, 0.999], [1, -0.1, NAN, "0.5", True, [0.5]])
FLAG = ([True, False, np.bool_(True)], [0, 1, 1.0, "yes", None])


def words(*names):
    return names, ["none", names[0].upper(), None, 1, [names[0]]]


CURVATURE = words("hessian", "gauss_newton")
SEARCH = ([gd.Armijo(), gd.HagerZhang(), lambda ray, first: None], ["armijo", None, 0.1])

SHARED = {
    "goal": ([0, -1.5, -INF, INF], [NAN, "0", None, True, [0.0]]),
    "min_grad": NOT_NEGATIVE, "gtol": NOT_NEGATIVE, "max_iter": COUNT_FROM_0, "max_time": NOT_NEGATIVE_OR_INF,
    "ftol": NOT_NEGATIVE, "xtol": NOT_NEGATIVE,
}  # fmt: skip
LEVENBERG_MARQUARDT = SHARED | {
    "damping": words("nielsen", "marquardt"), "scaling": words("auto", "more", "mean", "identity"),
    "space": words("auto", "parameters", "samples", "cg"), "accelerate": FLAG, "target_unit": FLAG,
    "bend": POSITIVE_OR_INF, "trust": FRACTION, "mu": POSITIVE, "mu_min": NOT_NEGATIVE,
    "mu_max": ([1, INF], POSITIVE_OR_INF[1]),
    "decrease": INSIDE, "first_step": POSITIVE_OR_INF, "forget_after": NOT_NEGATIVE_OR_INF, "polish": COUNT_FROM_0,
    "max_memory": POSITIVE_OR_INF, "cg_tol": POSITIVE,
}  # fmt: skip
EVERY = {
    gd.GradientDescent: SHARED | {"line_search": SEARCH},
    gd.ConjugateGradient: SHARED | {
        "rule": words("fletcher_reeves", "polak_ribiere", "hestenes_stiefel", "dai_yuan", "hager_zhang"),
        "line_search": SEARCH,
    },
    gd.ScaledConjugateGradient: SHARED | {"sigma": POSITIVE, "scale": POSITIVE, "hvp": words("exact", "difference")},
    gd.BFGS: SHARED | {"self_scaling": FLAG, "line_search": SEARCH},
    gd.LBFGS: SHARED | {"history": COUNT, "line_search": SEARCH},
    gd.LevenbergMarquardt: LEVENBERG_MARQUARDT,
    gd.BayesianRegularization: LEVENBERG_MARQUARDT | {
        "alpha": NOT_NEGATIVE, "beta": POSITIVE, "settle": NOT_NEGATIVE,
    },
    gd.Newton: SHARED | {"modification": words("cholesky", "saddle_free"), "line_search": SEARCH},
    gd.NewtonCG: SHARED | {
        "curvature": CURVATURE, "radius": POSITIVE, "forcing": INSIDE, "max_products": COUNT,
        "eta": ([0, 0.2], [0.25, -0.1, NAN, "0.1", True]),
    },
    gd.HessianFree: SHARED | {
        "damping": POSITIVE, "curvature": CURVATURE, "progress": POSITIVE, "max_products": COUNT,
        "decay": ([0, 1, 0.5], [1.1, -0.1, NAN, "0.5", True]),
    },
    gd.InteriorPoint: {
        "curvature": words("auto", "exact", "gauss_newton", "bfgs"), "tol": POSITIVE, "max_iter": COUNT_FROM_0,
        "max_time": NOT_NEGATIVE_OR_INF, "mu_init": POSITIVE, "scaling": FLAG,
        "verbose": ([0, 2, True], [-1, 1.5, NAN, "1"]),
    },
    gd.Armijo: {"c1": INSIDE, "max_evals": COUNT},
    gd.StrongWolfe: {"c1": ([1e-9, 0.8], INSIDE[1]), "c2": ([1e-3, 0.999], INSIDE[1]), "max_evals": COUNT},
    gd.HagerZhang: {
        "delta": ([1e-9, 0.4], [0.0, 0.5, -0.1, NAN, "0.1", True]), "sigma": ([0.5, 0.99], [0.4, 1, NAN, "0.9", True]),
        "epsilon": NOT_NEGATIVE, "theta": INSIDE, "gamma": INSIDE, "rho": ([1.1, 5], [1, 0.5, NAN, INF, "5", True]),
        "max_evals": COUNT,
    },
}  # fmt: skip
"""Solver: option: (values that are taken, values that are refused)."""

OF_THE_PROBLEM = {"lower", "upper", "g_le", "h_eq", "layout", "unit", "box"}
"""Options that can be judged only beside the problem, where their own tests stand."""


def subclasses(kind):
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_the_table_names_every_solver_and_every_option():
    ours = {kind for kind in subclasses(gd.Solver) if kind.__module__.startswith("gdnet.")} - {gd.Solver}
    assert ours <= set(EVERY)
    for kind, options in EVERY.items():
        assert {field.name for field in fields(kind)} - OF_THE_PROBLEM == set(options), kind.__name__
        assert all(domain_of(kind, name) for name in options), kind.__name__


CASES = [(kind, name, *values) for kind, options in EVERY.items() for name, values in options.items()]


@pytest.mark.parametrize(
    ("kind", "name", "taken", "refused"), CASES, ids=[f"{kind.__name__}.{name}" for kind, name, *_ in CASES]
)
def test_options(kind, name, taken, refused):
    for value in taken:
        found = getattr(kind(**{name: value}), name)
        assert found == value
        assert not isinstance(found, np.generic)
    default = next(field.default for field in fields(kind) if field.name == name)
    for value in refused:
        if value is None and default is None:
            continue
        with pytest.raises(OptionError, match=rf"^{kind.__name__}: {name} must be .+, got ") as caught:
            kind(**{name: value})
        shown = tuple(value) if isinstance(value, list) else value
        assert repr(shown) in str(caught.value)


@pytest.mark.parametrize("kind", EVERY)
def test_a_class_is_no_option(kind):
    for field in fields(kind):
        with pytest.raises(OptionError, match=rf"{kind.__name__}: {field.name} is the class Armijo.*write Armijo\("):
            kind(**{field.name: gd.Armijo})


def test_options_that_contradict_each_other():
    with pytest.raises(OptionError, match="c1 < c2"):
        gd.StrongWolfe(c1=0.5, c2=0.4)
    with pytest.raises(OptionError, match="above mu_max"):
        gd.LevenbergMarquardt(mu=1.0, mu_max=0.5)


@pytest.mark.parametrize("options", [{"tol": "1"}, {"tol": NAN}, {"max_iter": 1.5}, {"max_iter": True}])
def test_options_of_quadratic_program(options):
    (name,) = options
    with pytest.raises(OptionError, match=f"quadratic_program: {name} must be"):
        gd.quadratic_program(np.eye(2), [1.0, 1.0], **options)


@pytest.mark.parametrize("options", [{"ftol": "1"}, {"xtol": NAN}, {"gtol": -1.0}, {"max_nfev": 1.5}])
def test_options_of_least_squares(options):
    (name,) = options
    with pytest.raises(OptionError, match=f"least_squares: {name} must be"):
        gd.least_squares(lambda x: x, [1.0], **options)

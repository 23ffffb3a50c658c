"""`least_squares`: counters, stop reasons, bounds, bad input, every array library."""

import numpy as np
import pytest
from scipy.optimize import least_squares as scipy_least_squares

import gdnet as gd
from gdnet.errors import ArrayError, DataError, OptionError, ShapeError

T = np.linspace(0.0, 2.0, 25)
Y = 3.0 * np.exp(-1.5 * T) + 0.1 * np.cos(40.0 * T)


def decay(x):
    return x[0] * np.exp(-x[1] * T) - Y


def decay_jacobian(x):
    e = np.exp(-x[1] * T)
    return np.stack([e, -x[0] * T * e], axis=1)


def valley(x):
    return np.array([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])


@pytest.mark.parametrize("jac", [None, "2-point", "3-point", "cs", decay_jacobian])
def test_equals_scipy(jac):
    found = gd.least_squares(decay, [1.0, 1.0], jac=jac)
    peer = scipy_least_squares(decay, [1.0, 1.0], jac=decay_jacobian, ftol=1e-15, xtol=1e-15, gtol=1e-15)
    np.testing.assert_allclose(found.x, peer.x, rtol=1e-7)
    np.testing.assert_allclose(found.cost, peer.cost, rtol=1e-12)
    np.testing.assert_allclose(found.jac, decay_jacobian(found.x), atol=1e-6)
    np.testing.assert_allclose(found.fun, decay(found.x), atol=1e-12)
    assert found.success
    assert found.status > 0
    assert found.optimality < 1e-6


def test_every_library(bk):
    xp = bk.xp
    t, y = bk.put(T), bk.put(Y)

    def fun(x):
        return x[0] * xp.exp(-x[1] * t) - y

    found = gd.least_squares(fun, bk.put(np.array([1.0, 1.0])))
    np.testing.assert_allclose(bk.get(found.x), gd.least_squares(decay, [1.0, 1.0]).x, rtol=1e-8)
    boxed = gd.least_squares(fun, bk.put(np.array([1.0, 1.0])), bounds=(0.0, [2.0, 9.0]))
    peer = scipy_least_squares(decay, [1, 1], bounds=(0, [2, 9]), ftol=1e-14, xtol=1e-14, gtol=1e-14)
    np.testing.assert_allclose(bk.get(boxed.x), peer.x, rtol=1e-6)
    assert bk.get(boxed.active_mask).tolist() == [1, 0]


def test_a_rejected_step_costs_no_jacobian():
    seen = []

    def jac(x):
        seen.append(tuple(x))
        return np.array([[-20.0 * x[0], 10.0], [-1.0, 0.0]])

    found = gd.least_squares(valley, [-1.2, 1.0], jac=jac)
    assert found.success
    assert found.nfev > found.nit + 1, "the test needs rejected steps"
    assert len(set(seen)) == len(seen) == found.njev, "a Jacobian was computed twice at one point"
    assert found.njev <= found.nit + 3


def test_args_kwargs_and_callback():
    points = []
    found = gd.least_squares(
        lambda x, a, b: a * x - b, [0.0], args=(2.0,), kwargs={"b": np.array([4.0, 4.0])}, callback=points.append
    )
    np.testing.assert_allclose(found.x, [2.0])
    assert points[-1].nit >= 1
    stopped = gd.least_squares(valley, [-1.2, 1.0], callback=lambda r: True)
    assert (stopped.stop_reason, stopped.nit, stopped.success) == ("callback", 1, False)


def test_verbose_prints(capsys):
    gd.least_squares(valley, [-1.2, 1.0], verbose=2)
    assert "iterations" in capsys.readouterr().out


# -- stop reasons and limits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_max_nfev(limit):
    found = gd.least_squares(valley, [-1.2, 1.0], max_nfev=limit)
    assert (found.stop_reason, found.status, found.success) == ("max_nfev", 0, False)
    assert found.nfev == limit
    assert found.cost <= 0.5 * np.sum(valley([-1.2, 1.0]) ** 2)


@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (-10.0, 10.0)])
@pytest.mark.parametrize("jac", [None, "2-point", "3-point", "cs", lambda x: np.array([[-20 * x[0], 10], [-1, 0.0]])])
def test_every_call_counts_and_the_limit_holds(jac, bounds):
    """Those for differences and for the curvature along a step, too; the best point so far comes back."""
    for limit in (*range(1, 16), 1000):
        costs = []

        def fun(x, costs=costs):
            r = valley(x)
            costs.append(0.5 * np.sum(np.real(r) ** 2))
            return r

        found = gd.least_squares(fun, [-1.2, 1.0], jac=jac, bounds=bounds, max_nfev=limit)
        assert found.nfev == len(costs) <= limit
        assert found.success == (limit == 1000 or found.stop_reason != "max_nfev")
        assert found.cost == 0.5 * np.sum(valley(found.x) ** 2) <= costs[0]
        assert found.njev > 0 or limit == 1


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e6])
def test_residuals_that_stay_while_the_jacobian_vanishes(unit):
    """JᵀJ = 0 at the minimum: the whole Hessian confirms it."""
    cases = [
        (lambda x: x**2 + 5.0, [2.0], [0.0]),
        (lambda x: (x - 3.0) ** 2 + 5.0, [2.0], [3.0]),
        (lambda x: np.cosh(x - 1.0), [3.0], [1.0]),
        (lambda x: x**2 + 5.0, [2.0, 1.0], [0.0, 0.0]),
        (lambda x: np.array([x @ x + 5.0]), [2.0, 1.0], [0.0, 0.0]),
        (lambda x: np.array([x @ x + 5.0, x[0] ** 2 + 2.0 * x[1] ** 2 + 3.0]), [2.0, 1.0, 1.0], [0.0, 0.0, 0.0]),
    ]
    for fun, start, best in cases:
        for jac in (None, "2-point", "3-point"):
            with np.errstate(over="ignore"):  # cosh, at the far end of a trial step
                found = gd.least_squares(lambda z, fun=fun: fun(z / unit), unit * np.array(start), jac=jac)
            assert found.success, found.message
            np.testing.assert_allclose(found.x / unit, best, atol=1e-4)


def test_the_bound_is_met_exactly():
    """Whatever rounding a step has, and whatever its derivatives are."""
    for jac in ("3-point", "2-point", None, lambda x: np.diag(2 * x)):
        for lower in (0.5, 0.1, 1e-7, 0.3):
            found = gd.least_squares(lambda x: x**2 + 5.0, [2.0], jac=jac, bounds=(lower, 3.0))
            assert (found.x[0], found.active_mask[0], found.success) == (lower, -1, True), (jac, lower)


def test_zero_residuals_at_the_start():
    found = gd.least_squares(valley, [1.0, 1.0])
    assert (found.nit, found.cost, found.success) == (0, 0.0, True)


def test_one_parameter_and_one_residual():
    found = gd.least_squares(lambda x: x[0] ** 2 - 2.0, 1.0)
    np.testing.assert_allclose(found.x, [2**0.5], rtol=1e-12)
    assert found.success


def test_more_parameters_than_residuals():
    found = gd.least_squares(lambda x: np.array([x[0] + x[1] ** 2 - 3.0, x[2] - x[0]]), [1.0, 1.0, 5.0])
    assert found.cost < 1e-20
    assert found.success


def test_singular_jacobian():
    found = gd.least_squares(lambda x: np.array([x[0] + x[1] - 2.0, 2.0 * (x[0] + x[1]) - 1.0, 0.0]), [0.0, 0.0])
    assert found.success
    np.testing.assert_allclose(np.sum(found.x), 0.8, rtol=1e-6)
    flat = gd.least_squares(lambda x: np.array([x[0] - 1.0, 2.0]), [0.0, 7.0])  # the second parameter does nothing
    np.testing.assert_allclose(flat.x, [1.0, 7.0], atol=1e-8)


def test_parameters_of_other_sizes_than_one():
    found = gd.least_squares(lambda x: np.array([x[0] * 1e-9 - 3.0, x[1] * 1e9 - 5.0]), [0.0, 0.0])
    np.testing.assert_allclose(found.x, [3e9, 5e-9], rtol=1e-6)


def test_x_scale():
    found = gd.least_squares(valley, [-1.2, 1.0], x_scale=[1.0, 10.0])
    np.testing.assert_allclose(found.x, [1.0, 1.0], rtol=1e-8)


def test_a_huge_start_is_no_success():
    """The residuals fall by many orders of magnitude and are still enormous: that is no minimum."""
    found = gd.least_squares(lambda x: np.array([x[0] ** 9, np.exp(-x[0]) + 1e6]), [1e5], max_nfev=20)
    assert not found.success


def test_nan_on_the_way_is_a_rejected_step():
    def fun(x):
        with np.errstate(invalid="ignore"):
            return np.array([np.sqrt(2.0 - x[0]) - 0.5, 0.1 * (x[0] - 3.0)])

    found = gd.least_squares(fun, [-50.0])
    assert found.success
    assert np.isfinite(found.cost)


def test_float32_is_kept():
    found = gd.least_squares(lambda x: x - np.float32(2.0), np.zeros(3, dtype=np.float32))
    assert found.x.dtype == np.float32
    np.testing.assert_allclose(found.x, 2.0, rtol=1e-5)


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_bounds_equal_scipy_on_random_problems():
    rng = np.random.default_rng(0)
    for k in range(25):
        n = int(rng.integers(2, 7))
        m = n + int(rng.integers(0, 10))
        A, b, c = rng.normal(size=(m, n)), 3.0 * rng.normal(size=m), 0.3 * rng.normal(size=(m, n))
        lower, upper = -rng.random(n), rng.random(n)
        lower[rng.random(n) < 0.2], upper[rng.random(n) < 0.2] = -np.inf, np.inf

        def fun(x, A=A, b=b, c=c, lower=lower, upper=upper):
            assert np.all((x >= lower) & (x <= upper)), "evaluated outside the bounds"
            return A @ x + 2.0 * np.sin(c @ x) - b

        start = np.clip(0.1 * rng.normal(size=n), lower, upper)
        found = gd.least_squares(fun, start, bounds=(lower, upper))
        peer = scipy_least_squares(fun, start, bounds=(lower, upper), ftol=1e-14, xtol=1e-14, gtol=1e-14)
        assert found.success, (k, found.message)
        assert found.cost <= peer.cost * (1 + 1e-8), (k, found.cost, peer.cost)


def test_all_parameters_at_bounds_and_fixed_ones():
    found = gd.least_squares(lambda x: x - 5.0, [0.0, 1.0], bounds=([-1.0, 1.0], [2.0, 1.0]))
    assert found.x.tolist() == [2.0, 1.0]
    assert found.active_mask.tolist()[0] == 1
    assert found.success


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gd.least_squares(valley, [-1.2, 1.0], jac=lambda x: np.eye(3)), ShapeError, r"\(2, 2\).*\(3, 3\)"),
        (lambda: gd.least_squares(valley, [-1.2, 1.0], jac="4-point"), OptionError, "2-point"),
        (lambda: gd.least_squares(lambda x: x * np.nan, [1.0]), DataError, "squares of fun is not finite at x0"),
        (lambda: gd.least_squares(valley, [0.0, 0.0], jac=lambda x: np.full((2, 2), np.nan)), DataError, "Jacobian"),
        (lambda: gd.least_squares(lambda x: np.eye(2), [1.0]), ShapeError, "one vector"),
        (lambda: gd.least_squares(lambda x: np.zeros(0), [1.0]), ShapeError, "one vector"),
        (lambda: gd.least_squares(lambda x: x + 1j, [1.0]), ArrayError, "real"),
        (lambda: gd.least_squares(lambda x: np.abs(x), [1.0], jac="cs"), ArrayError, "complex"),
        (lambda: gd.least_squares(valley, [[0.0, 1.0]]), ShapeError, "one vector"),
        (lambda: gd.least_squares(valley, []), ShapeError, "empty"),
        (lambda: gd.least_squares(valley, [0.0, 0.0], method="trf"), OptionError, "lm"),
        (lambda: gd.least_squares(valley, [0.0, 0.0], bounds=(1.0, 0.0)), OptionError, "is above"),
        (lambda: gd.least_squares(valley, [0.0, 0.0], bounds=([0.0] * 3, 1.0)), OptionError, "bounds"),
        (lambda: gd.least_squares(valley, [0.0, 5.0], bounds=(-1.0, 1.0)), DataError, r"x0\[1\]"),
        (lambda: gd.least_squares(valley, [0.0, 0.0], x_scale=[1.0, 0.0]), OptionError, "x_scale"),
        (lambda: gd.least_squares(valley, [0.0, 0.0], ftol=-1.0), OptionError, "ftol"),
        (lambda: gd.least_squares(valley, [0.0, 0.0], max_nfev=0), OptionError, "max_nfev"),
        (lambda: gd.least_squares(None, [0.0, 0.0]), OptionError, "function"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_the_number_of_residuals_may_not_change():
    sizes = iter([2, 3, 3, 3])
    with pytest.raises(ShapeError, match="must not change"):
        gd.least_squares(lambda x: np.full(next(sizes), x[0]), [1.0])

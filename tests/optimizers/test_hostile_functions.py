"""Functions and callbacks that misbehave, for every solver: a clear error or an honest stop, never a wrong success."""

import time

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import ArrayError, OptionError, ShapeError

START = np.array([2.0, 3.0])
METHODS = ["bfgs", "lbfgs", "cg", "gd", "scg", "newton", "newton_cg", "interior_point"]


def bowl(x):
    return float(np.sum((x - 1.0) ** 2))


def valley(x):
    return np.array([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])


def valley_jacobian(x):
    return np.array([[-20.0 * x[0], 10.0], [-1.0, 0.0]])


def overwriting(f, copy=True):
    """f, writing into its argument, and (without `copy`) giving the same array at each call."""
    kept = {}

    def spoilt(x):
        found = np.asarray(f(x))
        x[:] = 77.0
        if copy:
            return found
        buffer = kept.setdefault("array", found)
        buffer[...] = found
        return buffer

    return spoilt


def fit(jac=None, **given):
    return gd.least_squares(given.pop("fun", valley), given.pop("x0", START), jac, **given)


def constrained(x0=START, **given):
    return gd.minimize(bowl, x0, method="interior_point", **given)


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("exact", [True, False])
def test_residuals_may_write_into_what_they_get_and_use_their_results_again(copy, exact):
    start = START.copy()
    jac = overwriting(valley_jacobian, copy) if exact else None
    found = fit(jac, fun=overwriting(valley, copy), x0=start)
    np.testing.assert_array_equal(start, START)
    np.testing.assert_allclose(found.x, 1.0, rtol=1e-12)
    assert found.success
    np.testing.assert_array_equal(found.fun, valley(found.x))
    np.testing.assert_allclose(found.jac, valley_jacobian(found.x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("name", ["g_le", "h_eq"])
def test_constraints_may_too(name, copy):
    functions = (overwriting(lambda x: x - 0.5, copy), overwriting(lambda x: np.eye(2), copy))
    found = constrained(**{name: functions})
    np.testing.assert_allclose([*found.x, found.fun], 0.5, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_callbacks_may_write_into_x(method):
    def callback(x):
        x[:] = 1e3

    found = gd.minimize(bowl, START, method=method, callback=callback)
    np.testing.assert_allclose(found.x, 1.0, atol=1e-5)
    assert found.fun == pytest.approx(bowl(found.x), abs=1e-15)


def test_callbacks_of_least_squares_may_write_into_x():
    def callback(found):
        found.x[:] = 1e3

    np.testing.assert_allclose(fit(callback=callback).x, 1.0, rtol=1e-12)


def stopping(_):
    raise StopIteration


@pytest.mark.parametrize("callback", [stopping, lambda _: True, lambda _: np.True_], ids=["raise", "True", "NumPy's"])
@pytest.mark.parametrize("run", [fit, constrained, lambda **k: gd.minimize(bowl, START, **k)])
def test_callbacks_end_a_run(run, callback):
    found = run(callback=callback)
    assert found.stop_reason == "callback"
    assert found.nit == 1


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("z"), ValueError("math domain error"), KeyError("k"), OSError("own")]
)
@pytest.mark.parametrize("method", METHODS)
def test_exceptions_go_on_unchanged(method, error):
    calls = []

    def f(x):
        calls.append(x)
        if len(calls) > 9:
            raise error
        return bowl(x)

    with pytest.raises(type(error)) as seen:
        gd.minimize(f, START, method=method)
    assert seen.value is error


def test_exceptions_of_constraints_go_on_unchanged():
    with pytest.raises(ZeroDivisionError):
        constrained(g_le=lambda x: 1 / 0)


def test_infinities_leave_no_warning():
    calls = []

    def fun(x):
        calls.append(x)
        return valley(x) if len(calls) < 9 else x * np.inf

    assert not fit(fun=fun).success


@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
def test_units_of_residuals_may_be_any(scale):
    found = fit(fun=lambda x: scale * valley(x))
    np.testing.assert_allclose(found.x, 1.0, rtol=1e-9)
    assert found.success


def test_a_jacobian_that_is_nan_on_the_way_is_said():
    calls = []

    def jac(x):
        calls.append(x)
        return valley_jacobian(x) * (np.nan if len(calls) > 3 else 1.0)

    found = fit(jac)
    assert found.stop_reason == "not_finite"
    assert not found.success


def test_a_restoration_ends_at_the_time_limit():
    def impossible(x):
        time.sleep(0.002)
        return np.array([np.exp(x[0]) * np.sin(x[1]) + 3.0 + x[0] ** 2, np.cos(x[0] * x[1]) - 5.0])

    began = time.perf_counter()
    found = constrained(h_eq=impossible, options={"max_time": 0.1})
    assert found.stop_reason == "max_time"
    assert time.perf_counter() - began < 5.0


def test_bounds_of_one_number_and_absent_ones():
    class Bounds:
        lb, ub = np.array([0.0]), np.array([0.5])

    np.testing.assert_allclose(constrained(bounds=Bounds()).x, 0.5, atol=1e-6)
    assert fit(bounds=None).success
    assert fit(bounds=(None, 5.0)).success


def test_a_single_argument_needs_no_tuple():
    assert fit(fun=lambda x, a: x - a, args=7.0).x.tolist() == [7.0, 7.0]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gd.minimize(bowl, [[1.0], [2.0, 3.0]]), ShapeError, "one vector"),
        (lambda: gd.minimize(bowl, START.astype(np.float16)), ArrayError, "float64 or float32"),
        (lambda: constrained(START.astype(np.longdouble)), ArrayError, "float64 or float32"),
        (lambda: gd.minimize(bowl, START, constraints={"type": "ineq", "fun": bowl}), OptionError, "g_le=lambda x: -c"),
        (lambda: constrained(g_le={"type": "ineq", "fun": bowl}), OptionError, "g_le=lambda x: -c"),
        (lambda: constrained(g_le=lambda x: None), ArrayError, "real numbers"),
        (lambda: constrained(h_eq=lambda x: [1.0, [2.0, 3.0]]), ArrayError, "real numbers"),
        (lambda: constrained(bounds=5), OptionError, "2 pairs"),
        (lambda: constrained(bounds=[(0.0, 1.0), None]), OptionError, "2 pairs"),
        (lambda: constrained(bounds=[("a", 1.0)] * 2), OptionError, "2 pairs"),
        (lambda: fit(lambda x: [[1.0, 2.0], [3.0]]), ArrayError, "jac must return real numbers"),
        (lambda: fit(fun=lambda x: "text"), ArrayError, "fun must return real numbers"),
        (lambda: fit(bounds=(3.0, 1.0)), OptionError, r"lower\[0\] = 3.0"),
        (lambda: fit(bounds=([None, 0.0], 5.0)), OptionError, "NaN"),
        (lambda: fit(x_scale=[1.0, 2.0, 3.0]), OptionError, "x_scale"),
        (lambda: gd.quadratic_program(np.eye(2), [1.0, 1.0], max_iter=-1), OptionError, "max_iter"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_quadratic_program_of_tiny_numbers():
    found = gd.quadratic_program(1e-12 * np.eye(2), [1e-12, -1e-12], A=[[1.0, 1.0]], b=[3.0])
    np.testing.assert_allclose(found.x, [0.5, 2.5], rtol=1e-9)


def test_a_boxed_system_that_is_singular_to_the_last_bit_is_solved():
    rng = np.random.default_rng(285)  # two equal columns, and the damping is lost in rounding
    a = rng.normal(size=4)
    c, b = rng.normal(size=4), rng.normal(size=4)
    bounds = (-rng.random(2), rng.random(2))
    A, C = np.stack([a, a], axis=1), np.stack([c, c], axis=1)
    found = fit(fun=lambda x: A @ x + 2.0 * np.sin(C @ x) - b, x0=np.zeros(2), bounds=bounds)
    assert found.success

"""`minimize`: SciPy's signature and result, every method and library, awkward functions, bad input."""

import math

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import ArrayError, OptionError, ShapeError
from gdnet.optimizers.scipy_api.minimize import METHODS

FAST = ["bfgs", "lbfgs", "cg", "newton", "newton_cg", "scg"]


def rosen(x):
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2


def rosen_grad(x):
    return np.array([-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_every_library_without_derivatives(bk, method):
    xp, c = bk.xp, bk.put(np.array([1.0, -2.0, 0.5]))
    found = gd.minimize(lambda x: xp.sum(xp.cosh(x - c)), bk.put(np.zeros(3)), method=method)
    assert found.success, found.message
    assert found.stop_reason == "min_grad"
    assert found.x.dtype == c.dtype
    np.testing.assert_allclose(bk.get(found.x), bk.get(c), atol=1e-4)
    assert isinstance(found.fun, float)
    assert found.fun == pytest.approx(3.0, abs=1e-8)


@pytest.mark.parametrize("method", FAST)
def test_rosenbrock_from_many_starts(method):
    for x0 in np.random.default_rng(0).uniform(-3, 3, (8, 2)):
        found = gd.minimize(rosen, x0, method=method, jac=rosen_grad)
        assert found.success, (x0, found.message)
        np.testing.assert_allclose(found.x, 1.0, atol=2e-4)
        found = gd.minimize(rosen, x0, method=method, jac=rosen_grad, options={"gtol": 1e-5})
        assert found.success, (x0, found.message)
        assert np.max(np.abs(rosen_grad(found.x))) <= 1e-5


def test_rosenbrock_by_gradient_descent_is_slow_and_says_so():
    found = gd.minimize(rosen, [-1.2, 1.0], method="gd", jac=rosen_grad, options={"maxiter": 50})
    assert not found.success
    assert (found.stop_reason, found.status, found.nit) == ("max_iter", 1, 50)


@pytest.mark.parametrize("method", ["bfgs", "lbfgs", "newton", "newton_cg"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_badly_scaled_variables(method, scale):
    """Two variables of sizes apart by `scale`: both are found."""
    w = np.array([1.0, scale])
    found = gd.minimize(
        lambda x: float(np.sum((w * x - 1) ** 2)), np.zeros(2), method=method,
        jac=lambda x: 2 * w * (w * x - 1), hess=lambda x: np.diag(2 * w * w),
    )  # fmt: skip
    assert found.gradient_norm == pytest.approx(np.max(np.abs(2 * w * (w * found.x - 1))))
    assert found.success, found.message
    np.testing.assert_allclose(w * found.x, 1.0, rtol=1e-6)


@pytest.mark.parametrize("method", FAST)
def test_a_large_constant_does_not_stop_the_search(method):
    found = gd.minimize(lambda x: 1e8 + float(x @ x), np.array([3.0, -1.0]), method=method, jac=lambda x: 2 * x,
                        hess=lambda x: 2 * np.eye(2))  # fmt: skip
    assert found.success, found.message


@pytest.mark.parametrize("method", FAST)
def test_functions_that_fall_without_bound(method):
    found = gd.minimize(lambda x: -float(x[0] ** 3) - float(x[0]), [1.0], method=method,
                        jac=lambda x: -3 * x**2 - 1, hess=lambda x: np.array([[-6 * x[0]]]))  # fmt: skip
    assert not found.success
    assert found.stop_reason == "unbounded"


@pytest.mark.parametrize("method", FAST)
def test_regions_of_nan_are_kept_out_of(method):
    """x - log x for positive x; the first full steps lead below zero."""

    def f(x):
        return float(np.sum(x - np.log(x))) if np.all(x > 0) else math.nan

    found = gd.minimize(f, np.array([0.01, 5.0]), method=method, jac=lambda x: 1 - 1 / x, hess=lambda x: np.diag(x**-2))
    assert found.success, found.message
    np.testing.assert_allclose(found.x, 1.0, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_start_that_is_not_finite(method, value):
    found = gd.minimize(lambda x: value, np.ones(2), method=method, jac=lambda x: 2 * x)
    assert not found.success
    assert found.stop_reason == "not_finite"
    assert "start" in found.message
    np.testing.assert_array_equal(found.x, np.ones(2))


@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_of_zero_at_the_start(method):
    found = gd.minimize(lambda x: float(x @ x), np.zeros(3), method=method, jac=lambda x: 2 * x)
    assert found.success
    assert (found.nit, found.nfev) == (0, 1)


@pytest.mark.parametrize("method", METHODS)
def test_one_parameter(method):
    for x0 in (3.0, [3.0], np.array(3.0), np.array([3])):
        found = gd.minimize(lambda x: (x[0] - 1.0) ** 2 + 2.0, x0, method=method)
        assert found.success
        assert found.x.shape == (1,)
        assert found.x[0] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("offset", [0.0, 5.0])
@pytest.mark.parametrize("method", ["bfgs", "lbfgs", "cg", "gd"])
def test_at_a_kink_no_success_is_claimed(method, offset):
    """|x| has no small gradient: whatever stops the search, it is not called success."""
    found = gd.minimize(
        lambda x: offset + float(np.sum(np.abs(x))), np.array([1.3, -0.4]), method=method,
        jac=lambda x: np.where(x < 0.0, -1.0, 1.0),
    )  # fmt: skip
    assert not found.success
    assert found.stop_reason in ("precision", "max_iter")


def test_saddles_of_first_order_methods_are_stationary_points():
    """Started on the ridge, BFGS ends at the saddle and reports what it knows: a gradient of zero."""
    f = lambda x: float(x[0] ** 2 + 0.25 * x[1] ** 4 - 0.5 * x[1] ** 2)  # noqa: E731
    g = lambda x: np.array([2 * x[0], x[1] ** 3 - x[1]])  # noqa: E731
    ridge = gd.minimize(f, [1.0, 0.0], jac=g)
    assert ridge.gradient_norm <= 1e-5
    beside = gd.minimize(f, [1.0, 1e-3], jac=g)
    assert beside.fun == pytest.approx(-0.25, abs=1e-8)
    assert gd.minimize(f, [1.0, 0.0], method="newton", jac=g).fun == pytest.approx(-0.25, abs=1e-8)


def test_stop_rules():
    goal = gd.minimize(rosen, [-1.2, 1.0], jac=rosen_grad, options={"goal": 0.5})
    assert goal.success
    assert goal.stop_reason == "goal"
    assert goal.fun <= 0.5
    timed = gd.minimize(rosen, [-1.2, 1.0], jac=rosen_grad, options={"max_time": 0.0})
    assert (timed.stop_reason, timed.nit, timed.success) == ("max_time", 1, False)
    none = gd.minimize(rosen, [-1.2, 1.0], jac=rosen_grad, options={"maxiter": 0})
    assert (none.stop_reason, none.nit, none.success) == ("max_iter", 0, False)
    np.testing.assert_array_equal(none.x, [-1.2, 1.0])
    small = gd.minimize(rosen, [-1.2, 1.0], method="gd", jac=rosen_grad, options={"ftol": 1e-2})
    assert small.stop_reason == "ftol"
    assert not small.success  # the gradient is far from small beside the value
    still = gd.minimize(rosen, [-1.2, 1.0], method="gd", jac=rosen_grad, options={"xrtol": 1e-3})
    assert still.stop_reason == "xtol"
    assert not still.success
    tight = gd.minimize(rosen, [-1.2, 1.0], jac=rosen_grad, tol=1e-10)
    assert np.max(np.abs(rosen_grad(tight.x))) <= 1e-10


def test_callbacks_in_both_of_scipys_forms():
    seen = []
    gd.minimize(rosen, [-1.2, 1.0], jac=rosen_grad, callback=lambda xk: seen.append(xk) or None)
    assert all(x.shape == (2,) for x in seen)

    def watch(intermediate_result):
        values.append(intermediate_result.fun)
        if len(values) == 4:
            raise StopIteration

    values = []
    found = gd.minimize(rosen, [-1.2, 1.0], jac=rosen_grad, callback=watch)
    assert (found.stop_reason, found.status, found.nit, found.success) == ("callback", 99, 4, False)
    assert values == sorted(values, reverse=True)
    assert gd.minimize(rosen, [-1.2, 1.0], jac=rosen_grad, callback=lambda x: True).nit == 1


def test_arguments_and_joint_functions():
    both = gd.minimize(lambda x, a, b: ((x[0] - a) ** 2 + b, 2 * (x - a)), [0.0], args=(3.0, 1.0), jac=True)
    assert both.x[0] == pytest.approx(3.0)
    assert both.nfev == both.njev
    product = gd.minimize(
        lambda x, a: float(a @ (x - 1) ** 2), np.zeros(2), args=(np.array([1.0, 9.0]),), method="newton-cg",
        jac=lambda x, a: 2 * a * (x - 1), hessp=lambda x, v, a: 2 * a * v,
    )  # fmt: skip
    assert product.success
    assert product.nhev >= 1


@pytest.mark.parametrize("method", FAST)
def test_functions_may_write_into_what_they_get_and_use_their_results_again(method):
    buffer = np.zeros(2)

    def f(x):
        x -= 1.0
        return float(x @ x)

    def g(x):
        x -= 1.0
        buffer[:] = 2 * x
        return buffer

    found = gd.minimize(f, np.array([4.0, -3.0]), method=method, jac=g)
    assert found.success
    np.testing.assert_allclose(found.x, 1.0, atol=1e-5)


def test_counts_are_the_users_calls():
    calls = {"f": 0, "g": 0}

    def f(x):
        calls["f"] += 1
        return rosen(x)

    def g(x):
        calls["g"] += 1
        return rosen_grad(x)

    found = gd.minimize(f, [-1.2, 1.0], jac=g)
    assert (found.nfev, found.njev) == (calls["f"], calls["g"])
    calls["f"] = 0
    numerical = gd.minimize(f, [-1.2, 1.0])
    assert numerical.nfev == calls["f"]
    np.testing.assert_allclose(numerical.x, 1.0, atol=1e-4)


@pytest.mark.parametrize("formula", ["2-point", "3-point"])
def test_differences_by_name(formula):
    found = gd.minimize(rosen, [-1.2, 1.0], jac=formula, tol=1e-4)
    np.testing.assert_allclose(found.x, 1.0, atol=1e-2)


@pytest.mark.parametrize("method", FAST)
def test_two_runs_are_the_same_to_the_last_bit(method):
    one, two = (gd.minimize(rosen, [-1.2, 1.0], method=method, jac=rosen_grad) for _ in range(2))
    assert np.array_equal(one.x, two.x)
    assert (one.nit, one.nfev) == (two.nit, two.nfev)


@pytest.mark.parametrize("method", ["bfgs", "lbfgs", "cg", "newton_cg"])
def test_float32(bk, method):
    xp, c = bk.xp, bk.put(np.array([1.0, -2.0]), "float32")
    found = gd.minimize(lambda x: xp.sum((x - c) ** 2), bk.put(np.zeros(2), "float32"), method=method,
                        jac=lambda x: 2 * (x - c), tol=1e-3)  # fmt: skip
    assert found.success
    assert found.x.dtype == c.dtype


def test_result_is_scipys():
    found = gd.minimize(rosen, [-1.2, 1.0], jac=rosen_grad)
    for name in ("x", "fun", "jac", "nit", "nfev", "njev", "nhev", "success", "status", "message"):
        assert name in found
        assert found[name] is getattr(found, name)
    assert "stop_reason" in repr(found)
    with pytest.raises(AttributeError, match="nothing"):
        found.nothing  # noqa: B018


def test_solvers_show_what_was_chosen():
    assert repr(gd.LBFGS(history=20, min_grad=1e-3)) == "LBFGS(min_grad=0.001, history=20)"
    assert repr(gd.Newton()) == "Newton()"


def good(x):
    return float(x @ x)


BAD = {
    "method": (lambda: gd.minimize(good, [1.0], method="sgd"), OptionError, "method must be one of"),
    "option": (lambda: gd.minimize(good, [1.0], options={"steps": 3}), OptionError, "no option steps"),
    "bounds": (lambda: gd.minimize(good, [1.0], bounds=[(0, 1)]), OptionError, "interior_point"),
    "vector value": (lambda: gd.minimize(lambda x: x, [1.0, 2.0]), ShapeError, "one number"),
    "complex value": (lambda: gd.minimize(lambda x: 1j, [1.0]), ArrayError, "real number"),
    "no value": (lambda: gd.minimize(lambda x: None, [1.0]), ArrayError, "one real number"),
    "jac shape": (lambda: gd.minimize(good, [1.0, 2.0], jac=lambda x: x[:1]), ShapeError, r"shape \(2,\)"),
    "jac column": (lambda: gd.minimize(good, [1.0, 2.0], jac=lambda x: x[:, None]), ShapeError, r"shape \(2,\)"),
    "jac complex": (lambda: gd.minimize(good, [1.0], jac=lambda x: x + 1j), ArrayError, "real numbers"),
    "jac kind": (lambda: gd.minimize(good, [1.0], jac="exact"), OptionError, "2-point"),
    "hess shape": (
        lambda: gd.minimize(good, [1.0, 2.0], method="newton", jac=lambda x: 2 * x, hess=lambda x: np.eye(3)),
        ShapeError, r"\(2, 2\)",
    ),
    "joint": (lambda: gd.minimize(good, [1.0], jac=True), ShapeError, "value, gradient"),
    "matrix start": (lambda: gd.minimize(good, np.ones((2, 2))), ShapeError, "one vector"),
    "empty start": (lambda: gd.minimize(good, np.ones(0)), ShapeError, "empty"),
    "complex start": (lambda: gd.minimize(good, np.ones(2) + 1j), ArrayError, "real floating-point"),
    "text": (lambda: gd.minimize(good, "here"), ArrayError, "array"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    run, error, message = BAD[case]
    with pytest.raises(error, match=message):
        run()


def test_results_of_another_library_are_refused(bk):
    xp = bk.xp
    other = np if bk.backend.name != "numpy" else pytest.importorskip("array_api_strict")
    with pytest.raises(ArrayError, match=r"numpy|strict"):
        gd.minimize(lambda x: xp.sum(x * x), bk.put(np.ones(2)), jac=lambda x: other.ones(2))


def test_interior_point_takes_the_constraints():
    found = gd.minimize(
        lambda x: (x[0] - 2) ** 2 + (x[1] - 2) ** 2, np.array([0.2, 0.2]), method="interior_point",
        g_le=lambda x: x[0] + x[1] - 1, bounds=[(0, None), (0, None)],
    )  # fmt: skip
    assert found.success, found.message
    np.testing.assert_allclose(found.x, 0.5, atol=1e-6)
    with pytest.raises(OptionError, match="no option steps"):
        gd.minimize(good, np.ones(2), method="interior_point", options={"steps": 3})


def test_a_solver_with_its_options_is_a_method():
    class Halving(gd.Solver):
        def advance(self, at, memory, trial):
            return gd.Move(trial(at.theta - 0.25 * at.gradient), memory)

    for solver in (gd.BFGS(line_search=gd.HagerZhang()), gd.LBFGS(history=3), Halving()):
        found = gd.minimize(lambda x: float(np.sum((x - 1) ** 2)), [3.0, 4.0], method=solver, jac=lambda x: 2 * (x - 1))
        assert found.success, found
        np.testing.assert_allclose(found.x, 1.0, atol=1e-6)
    with pytest.raises(OptionError, match=r"give the options to it, BFGS\("):
        gd.minimize(good, [1.0], method=gd.BFGS(), tol=1e-3)
    with pytest.raises(OptionError, match="BFGS knows no constraints, but bounds came"):
        gd.minimize(good, [1.0], method=gd.BFGS(), bounds=[(0, 1)])


@pytest.mark.parametrize("method", [name for name in FAST if name != "newton"])
def test_parameters_changed_from_outside_are_seen(method):
    """A cached point belongs to the very vector that it was made for."""
    solver, f = METHODS[method](), gd.FunctionObjective(rosen, rosen_grad)
    theta = np.array([-1.2, 1.0])
    theta, state, _ = solver.step(f, theta, solver.init(theta))
    moved = theta + 0.5
    _, _, info = solver.step(f, moved, state)
    assert float(info.value) == rosen(moved)

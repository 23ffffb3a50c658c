"""Difference quotients on every array library: formulas, orders, steps, estimates, batches, refusals."""

import math

import numpy as np
import pytest

import gdnet.derivatives as gd
from gdnet.derivatives.evaluate import Around
from gdnet.derivatives.steps import noise
from gdnet.errors import ArrayError, DataError, OptionError, ShapeError

POINT = np.asarray([[0.3, -1.2, 40.0], [0.0, 2.5, -0.7]])
WEIGHT = np.asarray([[1.0, 2.0, -1.0], [3.0, -2.0, 0.5]])
SHARE = {"forward": 1e-6, "backward": 1e-6, "central": 2e-9}


def smooth(bk):
    """Σ w sin(x) + (Σ x²)^(1/2), its gradient on the host."""
    xp, w = bk.xp, bk.put(WEIGHT)

    def f(x):
        return xp.sum(w * xp.sin(x)) + xp.sqrt(xp.sum(x * x))

    return f, WEIGHT * np.cos(POINT) + POINT / np.linalg.norm(POINT)


@pytest.mark.parametrize("method", ["forward", "backward", "central"])
def test_gradient(bk, method):
    f, exact = smooth(bk)
    x = bk.put(POINT)
    found = gd.numerical_gradient(f, x, method)
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    np.testing.assert_allclose(bk.get(found), exact, atol=SHARE[method] * 60)
    np.testing.assert_array_equal(bk.get(x), POINT)


def test_error_estimate_bounds_the_error(bk):
    f, exact = smooth(bk)
    for method in SHARE:
        for h in (None, 1e-2, 1e-3, 1e-8):
            found, error = gd.numerical_gradient(f, bk.put(POINT), method, h, error=True)
            wrong = np.abs(bk.get(found) - exact)
            assert np.all(wrong <= 3.0 * bk.get(error))
            assert np.median(bk.get(error)) <= 1e3 * max(np.median(wrong), 1e-11)


@pytest.mark.parametrize("max_memory", [1, 3000, 1 << 20])
def test_batches_change_nothing(bk, max_memory):
    xp, f = bk.xp, smooth(bk)[0]
    w, x = bk.put(WEIGHT), bk.put(POINT)
    sizes = []

    def many(points):
        sizes.append(points.shape[0])
        return xp.sum(w * xp.sin(points), axis=(1, 2)) + xp.sqrt(xp.sum(points * points, axis=(1, 2)))

    one_by_one = gd.numerical_gradient(f, x)
    together = gd.numerical_gradient(many, x, vectorized=True, max_memory=max_memory)
    np.testing.assert_allclose(bk.get(together), bk.get(one_by_one), atol=1e-9)
    assert max(sizes) == {1: 1, 3000: 6, 1 << 20: 6}[max_memory]


def test_the_memory_budget_holds():
    import tracemalloc

    x, budget = np.linspace(0.0, 1.0, 3000), 16 << 20  # all points at once would take 72 MB
    tracemalloc.start()
    try:
        found = gd.numerical_gradient(lambda points: np.sum(points, axis=1), x, vectorized=True, max_memory=budget)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(found, 1.0, atol=1e-6)
    assert budget / 4 < peak < 1.1 * budget


def test_jacobian(bk):
    xp, A = bk.xp, np.random.default_rng(0).standard_normal((2, 3))
    matrix = bk.put(A)

    def f(x):
        return xp.exp(matrix @ x)[:, None] * bk.put(np.ones((2, 4)))

    x = np.asarray([0.1, -0.2, 0.3])
    exact = np.broadcast_to((np.exp(A @ x)[:, None] * A)[:, None, :], (2, 4, 3))
    for method, tolerance in (("forward", 1e-6), ("central", 1e-9)):
        found, error = gd.numerical_jacobian(f, bk.put(x), method, error=True)
        assert found.shape == error.shape == (2, 4, 3)
        np.testing.assert_allclose(bk.get(found), exact, atol=tolerance)
        assert np.all(np.abs(bk.get(found) - exact) <= 3 * bk.get(error))


@pytest.mark.parametrize(("method", "tolerance"), [("forward", 2e-4), ("backward", 2e-4), ("central", 1e-6)])
def test_hessian(bk, method, tolerance):
    xp = bk.xp
    Q = np.asarray([[2.0, 1.0, 0.0], [1.0, -3.0, 0.5], [0.0, 0.5, 1.0]])
    q = bk.put(Q)

    def f(x):
        return 0.5 * xp.sum(x * (q @ x)) + xp.sum(xp.sin(x))

    x = np.asarray([0.1, -0.2, 5.0])
    exact = Q - np.diag(np.sin(x))
    found, error = gd.numerical_hessian(f, bk.put(x), method, error=True, max_memory=1000)
    np.testing.assert_allclose(bk.get(found), exact, atol=tolerance)
    assert np.all(np.abs(bk.get(found) - exact) <= 3 * bk.get(error))
    np.testing.assert_array_equal(bk.get(found), bk.get(found).T)


@pytest.mark.parametrize("method", ["forward", "backward", "central"])
def test_derivative(bk, method):
    xp = bk.xp
    x = bk.put(POINT)
    found, error = gd.numerical_derivative(lambda v: xp.sin(v) * v, x, method, error=True)
    exact = np.cos(POINT) * POINT + np.sin(POINT)
    assert found.shape == x.shape
    np.testing.assert_allclose(bk.get(found), exact, atol=SHARE[method] * 60)
    assert np.all(np.abs(bk.get(found) - exact) <= 3 * bk.get(error))


def test_derivative_of_a_plain_number():
    assert abs(gd.numerical_derivative(np.exp, 1.0) - math.e) < 1e-9
    assert abs(gd.numerical_gradient(lambda x: math.sin(x), np.float64(2.0)) - math.cos(2.0)) < 1e-9


def test_complex_step_has_no_rounding():
    def f(x):
        return np.sum(np.exp(x) / np.sqrt(np.sin(x) ** 3 + np.cos(x) ** 3))

    x = np.asarray([1.5, 0.5])
    s, c, e = np.sin(x), np.cos(x), np.exp(x)
    d = s**3 + c**3
    exact = e * d**-0.5 - 0.5 * e * d**-1.5 * (3 * s * s * c - 3 * c * c * s)
    np.testing.assert_allclose(gd.numerical_gradient(f, x, "complex"), exact, rtol=4e-15)
    jacobian = gd.numerical_jacobian(lambda v: np.asarray([v[0] * v[1], v[1] ** 3]), x, "complex")
    np.testing.assert_allclose(jacobian, [[0.5, 1.5], [0.0, 0.75]], rtol=1e-15)
    np.testing.assert_allclose(gd.numerical_derivative(np.tanh, x, "complex"), 1 - np.tanh(x) ** 2, rtol=4e-15)
    with pytest.raises(ArrayError, match="complex"):
        gd.numerical_gradient(lambda v: np.sum(np.abs(v)), x, "complex")


@pytest.mark.parametrize(("method", "order"), [("forward", 1), ("backward", 1), ("central", 2)])
def test_orders(method, order):
    """Halving h divides the error by 2 to the order."""
    wrong = [abs(gd.numerical_derivative(np.exp, 1.0, method, h) - math.e) for h in (2e-2, 1e-2)]
    assert abs(math.log2(wrong[0] / wrong[1]) - order) < 0.02


def test_the_default_step_is_near_the_best():
    """The bottom of the V: no step of a wide range is more than ten times better than the default one."""
    for dtype in (np.float32, np.float64):
        x = np.linspace(0.2, 3.0, 50).astype(dtype)
        exact = np.cos(x.astype(np.float64))
        for method in ("forward", "central"):
            chosen = np.median(np.abs(gd.numerical_derivative(np.sin, x, method) - exact))
            swept = [np.median(np.abs(gd.numerical_derivative(np.sin, x, method, float(h)) - exact))
                     for h in np.logspace(-1, -10 if dtype is np.float64 else -4, 40)]  # fmt: skip
            assert chosen < 10 * min(swept)


def test_float32(bk):
    xp, x = bk.xp, bk.put(POINT[0], "float32")
    found = gd.numerical_gradient(lambda v: xp.sum(v * v), x)
    assert found.dtype == x.dtype
    np.testing.assert_allclose(bk.get(found)[:2], 2 * POINT[0, :2], atol=0.2)


def test_x_is_not_written_even_by_f():
    x = np.asarray([1.0, 2.0])

    def rude(v):
        v *= 2.0
        return np.sum(v)

    np.testing.assert_allclose(gd.numerical_gradient(rude, x), [2.0, 2.0], rtol=1e-9)
    np.testing.assert_array_equal(x, [1.0, 2.0])


REAL = np.asarray([1.0, 2.0])


@pytest.mark.parametrize(
    ("f", "x", "options", "error", "says"),
    [
        (np.sum, np.asarray([1, 2]), {}, ArrayError, "int64"),
        (np.sum, 3, {}, ArrayError, "integer"),
        (np.sum, [1.0, 2.0], {}, ArrayError, "list"),
        (np.sum, np.asarray([1.0, np.nan]), {}, DataError, "NaN"),
        (lambda x: np.nan, REAL, {}, DataError, "NaN"),
        (lambda x: x, REAL, {}, ShapeError, "numerical_jacobian"),
        (lambda x: np.sum(x.astype(np.float32)), REAL, {},
         ArrayError, "float32"),
        (lambda x: 1j, REAL, {}, ArrayError, "complex"),
        (lambda x: "1", REAL, {}, ArrayError, "str"),
        (np.sum, REAL, {"method": "five-point"}, OptionError, '"central"'),
        (np.sum, REAL, {"h": 0.0}, OptionError, "positive"),
        (np.sum, REAL, {"h": -1e-3}, OptionError, "positive"),
        (np.sum, REAL, {"h": float("nan")}, OptionError, "positive"),
        (np.sum, REAL, {"h": "1e-3"}, OptionError, "positive"),
        (np.sum, REAL, {"h": 1e-17}, OptionError, "too small"),
        (np.sum, REAL.astype(np.float32), {"h": 1e-9}, OptionError, "too small"),
        (np.sum, REAL, {"max_memory": 0}, OptionError, "max_memory"),
        (np.sum, REAL, {"vectorized": True}, ShapeError, "axis 0"),
        (lambda x: math.sqrt(x[0] - 1) if x[0] >= 1 else math.nan, REAL, {}, DataError, "entry 0"),
    ],
)  # fmt: skip
def test_bad_input(f, x, options, error, says):
    with pytest.raises(error, match=says):
        gd.numerical_gradient(f, x, **options)


def test_bad_input_elsewhere():
    with pytest.raises(ShapeError, match="elementwise"):
        gd.numerical_derivative(np.sum, REAL)
    with pytest.raises(OptionError, match="method"):
        gd.numerical_hessian(np.sum, REAL, "complex")
    with pytest.raises(OptionError, match="positive"):
        gd.numerical_gradient(np.sum, REAL, "complex", h=-1.0)


@pytest.mark.parametrize("unit", [1e-12, 1e-7, 1.0, 1e5, 1e12])
@pytest.mark.parametrize("method", ["central", "forward", "backward"])
def test_the_unit_of_x_does_not_matter(unit, method):
    x = unit * np.array([5.0, -3.0, 0.0, 1e-3])
    found = gd.numerical_gradient(lambda v: float(np.sum(np.sin(v / unit))), x, method)
    np.testing.assert_allclose(found * unit, np.cos(x / unit), atol=1e-9 if method == "central" else 1e-6)
    single = gd.numerical_gradient(lambda v: float(np.sin(v[0] / unit)), x[:1], method)
    np.testing.assert_allclose(single * unit, np.cos(5.0), atol=1e-9 if method == "central" else 1e-6)


def test_gradcheck_in_small_units():
    x = 1e-7 * np.array([5.0, 2.0])
    right = np.cos(x / 1e-7) / 1e-7
    assert gd.gradcheck(lambda v: float(np.sum(np.sin(v / 1e-7))), x, right)
    assert not gd.gradcheck(lambda v: float(np.sum(np.sin(v / 1e-7))), x, 1.01 * right)


def test_a_step_too_long_for_f_shows_in_the_error():
    """f changes over 1e-7 of x: the default step misses it, and says so."""
    found, wrong = gd.numerical_gradient(lambda v: float(np.sin(v[0] / 1e-7)), np.array([1.0]), error=True)
    assert wrong[0] > 0.1 * abs(found[0])


def test_noise_is_not_the_slope():
    """A straight line has no noise but rounding, however steep it is."""
    around = Around(lambda x: x.sum() - 1.0, np.ones(1), scalar=True)
    assert float(noise(around)) <= 8 * np.finfo(np.float64).eps

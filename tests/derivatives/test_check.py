"""The checker is itself checked: right gradients pass at any scale, wrong ones fail, kinks are found."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.derivatives import GradientMismatch, gradcheck
from gdnet.errors import ArrayError, DataError, OptionError, ShapeError


def problem(bk, size=40, scale=1.0):
    """scale Σ (w sin x + x² / 2) and its gradient."""
    rng = np.random.default_rng(0)
    x, w, xp = bk.put(rng.standard_normal(size)), bk.put(rng.standard_normal(size)), bk.xp
    return lambda v: scale * xp.sum(w * xp.sin(v) + 0.5 * v * v), x, lambda v: scale * (w * xp.cos(v) + v)


def planted(gradient, bk, entry, factor):
    """The gradient with one entry off by a factor."""
    size = gradient.shape[0]
    return gradient * bk.put(np.where(np.arange(size) == entry, factor, 1.0))


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1.0, 1e4, 1e8])
@pytest.mark.parametrize("size", [40, 3000])
def test_right_gradients_pass_and_wrong_ones_fail(bk, scale, size):
    f, x, gradient = problem(bk, size, scale)
    report = gradcheck(f, x, gradient)
    assert report, report
    assert report.directions == (None if size == 40 else 8)
    assert report.undecided == 0
    large = int(np.argmax(np.abs(bk.get(gradient(x)))))
    for factor in (1.001, 0.999, -1.0, 0.0):
        report = gradcheck(f, x, planted(gradient(x), bk, large, factor))
        assert not report
        if size == 40:
            assert report.worst.index == large
            assert len(report.wrong) == 1
            assert report.worst.where == f"x[{large}]"
            claimed, numerical = factor * bk.get(gradient(x))[large], bk.get(gradient(x))[large]
            assert abs(report.worst.claimed - claimed) <= 1e-12 * abs(claimed)
            assert abs(report.worst.numerical - numerical) <= 1e-6 * abs(numerical)
            assert abs(report.worst.absolute_error - abs(claimed - numerical)) <= 1e-6 * abs(numerical)


def test_every_entry_is_seen():
    """A fault of 0.1 % in any one entry is found, entries a thousand times smaller than others included."""
    rng = np.random.default_rng(1)
    c = np.logspace(-3, 0, 30) * rng.choice([-1.0, 1.0], 30)
    x = rng.standard_normal(30)

    def f(v):
        return np.sum(c * np.exp(0.3 * v))

    right = 0.3 * c * np.exp(0.3 * x)
    assert gradcheck(f, x, right)
    for k in range(30):
        wrong = right.copy()
        wrong[k] *= 1.001
        report = gradcheck(f, x, wrong)
        assert not report
        assert report.worst.index == k


def test_entries_too_small_to_judge_are_counted():
    c = np.asarray([1e8, 1.0, 1e-8])
    report = gradcheck(lambda v: np.sum(c * v * v), np.ones(3), lambda v: 2 * c * v)
    assert report
    assert report.undecided == 2


@pytest.mark.parametrize("h", [1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
def test_any_sensible_step(h):
    from gdnet.testing.backends import backend_under_test

    bk = backend_under_test("numpy")
    for size in (40, 3000):
        f, x, gradient = problem(bk, size)
        assert gradcheck(f, x, gradient, h=h)
    f, x, gradient = problem(bk, 40)
    report = gradcheck(f, x, planted(gradient(x), bk, 7, 1.01), h=h)
    assert not report
    assert report.worst.index == 7


def test_float32_is_refused_at_small_steps_and_judged_at_large_ones(bk):
    xp = bk.xp
    x = bk.put(np.linspace(0.5, 1.5, 6), "float32")

    def f(v):
        return xp.sum(v * v)

    with pytest.raises(OptionError, match=r"float32.*rounding.*float64"):
        gradcheck(f, x, 2.0 * x, h=1e-4)
    assert gradcheck(f, x, 2.0 * x, h=1e-2)
    assert gradcheck(f, x, 2.0 * x)
    assert not gradcheck(f, x, 2.2 * x)


def test_refuses_where_rounding_hides_the_error():
    x = np.ones(3)
    with pytest.raises(OptionError, match="rounding"):
        gradcheck(lambda v: 1e9 + np.sum(1e-3 * v), x, np.full(3, 1e-3))
    with pytest.raises(OptionError, match="rounding"):
        gradcheck(np.sum, x, np.ones(3), h=1e-13)


def test_a_minimum_is_no_fault():
    x = np.asarray([1.0, -2.0])
    report = gradcheck(lambda v: 3.0 + np.sum((v - x) ** 2), x, lambda v: 2.0 * (v - x))
    assert report, report


KINKS = np.asarray([0.0, 1.0, -1.0, 1e-9, 3.0, 1e-6, -2e-6, 2.0])


@pytest.mark.parametrize("at_zero", [0.0, 1.0, 0.5])
def test_relu_kinks_are_found_and_left_out(bk, at_zero):
    xp = bk.xp
    x = bk.put(KINKS)
    claim = bk.put(np.where(KINKS > 1e-20, 1.0, np.where(KINKS == 0.0, at_zero, 0.0)) * 2.0)

    def f(v):
        return xp.sum(2.0 * xp.maximum(v, 0.0))

    report = gradcheck(f, x, claim)
    assert report, report
    assert [kink.index for kink in report.kinks] == [0, 3]
    assert report.judged == 6
    assert "x[0]" in str(report)
    # Beside a kink, though within the step of it, entries are judged all the same.
    for k in (1, 5, 6):
        wrong = bk.get(claim)
        wrong[k] += 0.01
        report = gradcheck(f, x, bk.put(wrong))
        assert not report
        assert report.worst.index == k


def test_only_kinks_is_no_success():
    report = gradcheck(lambda v: np.sum(np.abs(v)), np.zeros(3), np.zeros(3))
    assert not report
    assert "NOT JUDGED" in str(report)


def test_curvature_is_no_kink():
    """Steep and strongly curved, but smooth."""
    x = np.linspace(-1.0, 1.0, 20)
    for h in (None, 1e-3, 1e-2):
        report = gradcheck(lambda v: np.sum(np.tanh(10 * v) + v**4), x, 10 / np.cosh(10 * x) ** 2 + 4 * x**3, h=h)
        assert report, report
        assert not report.kinks


def network(loss, net, n=20, seed=0):
    rng = np.random.default_rng(seed)
    x, t = rng.standard_normal((n, 6)), rng.integers(0, 3, n)
    objective = gd.Objective(net, loss, x, t, backend=get_backend("cpu"), layout=net.layout())
    return objective, net.initial(seed) + 0.01


def test_names_the_layer():
    objective, theta = network(gd.CrossEntropy(), gd.Sequential(gd.Dense(6, 5), gd.Tanh(), gd.Dense(3)))
    assert gradcheck(objective, theta)
    wrong = objective(theta).gradient.copy()
    part = objective.layout.slices["2.W"]
    wrong[part.start + 7] *= 1.01
    report = gradcheck(objective, theta, wrong)
    assert (report.worst.index, report.worst.where) == (part.start + 7, "2.W (2, 1)")
    with pytest.raises(GradientMismatch, match=r"2\.W \(2, 1\)") as caught:
        gradcheck(objective, theta, wrong, raise_exception=True)
    assert caught.value.report.worst.index == part.start + 7


def test_relu_network_by_directions():
    net = gd.Sequential(gd.Dense(6, 60), gd.ReLU(), gd.Dense(60), gd.ReLU(), gd.Dense(3))
    objective, theta = network(gd.CrossEntropy(), net)
    report = gradcheck(objective, theta)
    assert report, report
    assert report.directions == 8
    right = objective(theta).gradient
    for k in np.random.default_rng(0).choice(np.flatnonzero(np.abs(right) > 1e-3), 5):
        wrong = right.copy()
        wrong[k] *= 1.001
        assert not gradcheck(objective, theta, wrong)


def test_two_dimensional_x_and_vectorized():
    x = np.arange(6.0).reshape(2, 3)
    report = gradcheck(lambda v: np.sum(v**2, axis=(1, 2)), x, lambda v: 2 * v + (v == 5.0), vectorized=True)
    assert report.worst.where == "x[1, 2]"


X = np.ones(3)


@pytest.mark.parametrize(
    ("gradient", "options", "error", "says"),
    [
        (np.ones(2), {}, ShapeError, "shape"),
        (np.asarray([1.0, np.nan, 1.0]), {}, DataError, "entry 1"),
        (None, {}, OptionError, "give the gradient"),
        ([1.0, 1.0, 1.0], {}, ArrayError, "gradient"),
        (np.ones(3), {"h": -1.0}, OptionError, "positive"),
        (np.ones(3), {"full": False, "directions": 0}, OptionError, "directions"),
        (np.ones(3), {"layout": gd.Sequential(gd.Dense(2, 1, bias=False)).layout()}, ShapeError, "layout"),
    ],
)
def test_bad_input(gradient, options, error, says):
    with pytest.raises(error, match=says):
        gradcheck(np.sum, X, gradient, **options)

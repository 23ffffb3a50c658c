"""Line searches: what they accept, what they do at the edge of a domain, at rounding level and without a minimum."""

import math

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.errors import OptionError
from gdnet.optimizers.line_search.ray import Ray
from gdnet.optimizers.point import Point

SEARCHES = [gd.Armijo(), gd.StrongWolfe(), gd.StrongWolfe(c2=0.1), gd.HagerZhang()]

FUNCTIONS = {
    "parabola": (lambda a: (a - 3.0) ** 2, lambda a: 2 * (a - 3.0)),
    "quartic": (lambda a: (a - 0.01) ** 4 + 1, lambda a: 4 * (a - 0.01) ** 3),
    "far": (lambda a: math.cosh(1e-3 * a - 2.0), lambda a: 1e-3 * math.sinh(1e-3 * a - 2.0)),
    "waves": (lambda a: -math.sin(3 * a) - 0.1 * a + 0.05 * a * a, lambda a: -3 * math.cos(3 * a) - 0.1 + 0.1 * a),
    "moré-thuente": (lambda a: -a / (a * a + 2), lambda a: (a * a - 2) / (a * a + 2) ** 2),
    "wall": (lambda a: -a if a < 1 else math.inf, lambda a: -1.0 if a < 1 else math.nan),
}


def ray(f, g, x0=0.0):
    """φ(a) = f(x0 + a) as a ray of a function of one variable; `calls` lists the trials."""
    objective = gd.FunctionObjective(lambda x: f(float(x[0])), lambda x: np.array([g(float(x[0]))]))
    theta = np.array([x0])
    backend, calls = get_backend("cpu"), []

    def trial(t):
        calls.append(float(t[0]) - x0)
        return Point(backend, objective(t), t)

    return Ray(Point(backend, objective(theta), theta), np.array([1.0]), g(x0), trial), calls, objective


@pytest.mark.parametrize("first", [1e-3, 1.0, 1e3], ids=lambda a: f"first={a:g}")
@pytest.mark.parametrize("name", ["parabola", "quartic", "far", "waves", "moré-thuente"])
@pytest.mark.parametrize("search", SEARCHES, ids=repr)
def test_accepted_steps_satisfy_the_conditions(search, name, first):
    f, g = FUNCTIONS[name]
    line, calls, _ = ray(f, g)
    found = search(line, first)
    assert found is not None
    f0, g0, fa, ga = f(0.0), g(0.0), f(found.a), g(found.a)
    assert found.value == pytest.approx(fa, rel=1e-12)
    assert found.a == pytest.approx(calls[-1])
    if isinstance(search, gd.HagerZhang):
        wolfe = fa - f0 <= search.delta * found.a * g0 and ga >= search.sigma * g0
        near = fa <= f0 + search.epsilon * abs(f0) and (2 * search.delta - 1) * g0 >= ga >= search.sigma * g0
        assert wolfe or near
    else:
        assert fa <= f0 + search.c1 * found.a * g0
        if isinstance(search, gd.StrongWolfe):
            assert abs(ga) <= -search.c2 * g0
    assert len(calls) <= 40


@pytest.mark.parametrize("search", SEARCHES, ids=repr)
@pytest.mark.parametrize("first", [0.5, 30.0])
def test_steps_into_nan_are_refused(search, first):
    f, g = (lambda a: a - 3 * math.log(2 - a) - 4 * a if a < 2 else math.nan), (lambda a: -3 + 3 / (2 - a))
    line, _, _ = ray(f, g)
    found = search(line, first)
    assert found is not None
    assert found.a < 2
    assert found.value < f(0.0)


@pytest.mark.parametrize("search", [gd.StrongWolfe(), gd.HagerZhang()], ids=repr)
def test_a_wall_ends_the_search_below_it(search):
    line, calls, _ = ray(*FUNCTIONS["wall"])
    found = search(line, 0.3)
    assert found is not None
    assert 0 < found.a < 1
    assert len(calls) <= 60


def test_gradients_are_asked_for_only_where_the_value_does_not_reject():
    f, g = FUNCTIONS["parabola"]
    line, _, objective = ray(f, g)
    gd.StrongWolfe()(line, 100.0)
    assert objective.njev < objective.nfev


@pytest.mark.parametrize("search", SEARCHES, ids=repr)
def test_at_rounding_level_slopes_decide(search):
    """1e8 + x²: all values near the start are the same number, the slope still shows the way."""
    f, g = (lambda x: 1e8 + x * x), (lambda x: 2 * x)
    line, _, _ = ray(f, g, x0=-1e-5)
    found = search(line, 1e-5 * 0.9)
    assert found is not None
    assert abs(found.slope) < 0.9 * 2e-5


@pytest.mark.parametrize("search", SEARCHES, ids=repr)
def test_no_step_is_found_where_all_are_higher(search):
    """A slope that lies: the search says so after a bounded number of trials."""
    line, calls, _ = ray(lambda a: 1.0 + abs(a), lambda a: -1.0 if a == 0 else 1.0)
    assert search(line, 1.0) is None
    assert len(calls) <= 60


def test_a_falling_line_is_followed_to_minus_infinity():
    line, _, _ = ray(lambda a: -(a**3) - a, lambda a: -3 * a * a - 1)
    assert gd.StrongWolfe()(line, 1.0).value < -1e20


@pytest.mark.parametrize(
    "make",
    [
        lambda: gd.Armijo(c1=0.0),
        lambda: gd.StrongWolfe(c1=0.5, c2=0.4),
        lambda: gd.StrongWolfe(c2=1.0),
        lambda: gd.HagerZhang(delta=0.6),
    ],
)
def test_constants_outside_their_domain(make):
    with pytest.raises(OptionError, match=r"c1|delta"):
        make()

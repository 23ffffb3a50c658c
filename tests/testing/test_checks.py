"""The checker itself: a rule that is 0.1 % wrong, or wrong in form, must fail and be named."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.layers import Elementwise, Jacobian, Layer
from gdnet.maps import Map, symmetric
from gdnet.testing import CheckFailed, Report, check_layer, check_map

BACKEND = get_backend("cpu")


class WrongRow(gd.Sigmoid):
    """A sigmoid with one row off by a factor."""

    def __init__(self, row, factor):
        rule = getattr(gd.Sigmoid, row)
        setattr(self, row, lambda *args: factor * rule(self, *args))


@pytest.mark.parametrize("factor", [1.001, 0.999])
@pytest.mark.parametrize(("row", "named"), [("f", "jvp"), ("df", "jvp"), ("d2f", "curve")])
def test_wrong_row_fails(row, named, factor):
    assert check_layer(WrongRow(row, 1.0), (4,))
    with pytest.raises(CheckFailed, match=named):
        check_layer(WrongRow(row, factor), (4,))


class WrongPart(Layer):
    """A layer whose Jacobian gives one thing wrong: `spoil` maps the right answer to another."""

    def __init__(self, layer, part, spoil):
        self.layer, self.part, self.spoil = layer, part, spoil

    def shapes(self, in_shape):
        return self.layer.shapes(in_shape)

    def out_shape(self, in_shape):
        return self.layer.out_shape(in_shape)

    def forward(self, params, x, context):
        y, J = self.layer.forward(params, x, context)
        rule, spoil = getattr(J, self.part), self.spoil

        def spoiled(*args):
            return spoil(rule(*args))

        setattr(J, self.part, spoiled)
        return y, J


def off(value):
    """0.1 % off in everything."""
    if isinstance(value, tuple):
        return tuple(map(off, value))
    if isinstance(value, dict):
        return {name: off(part) for name, part in value.items()}
    return None if value is None else 1.001 * value


def off_in_bias(value):
    """0.1 % off in the bias alone."""
    dparams, dx = value
    return {name: off(part) if name.endswith("b") else part for name, part in dparams.items()}, dx


def nothing(value):
    return value


@pytest.mark.parametrize(
    "layer", [gd.Dense(3), gd.Sequential(gd.Dense(3), gd.Tanh()), gd.Residual(gd.Dense(4))], ids=repr
)
@pytest.mark.parametrize("part", ["jvp", "vjp", "vjp_x", "curve", "rows", "gram", "dvjp"])
def test_wrong_part_fails(layer, part):
    assert check_layer(WrongPart(layer, part, nothing), (4,))
    named = {"dvjp": "hvp"}.get(part, part if part != "vjp" else "Jᵀ|dense|batch|vjp|rows")
    with pytest.raises(CheckFailed, match=named):
        check_layer(WrongPart(layer, part, off), (4,))


@pytest.mark.parametrize("part", ["vjp", "rows"])
def test_wrong_bias_fails(part):
    spoil = off_in_bias if part == "vjp" else lambda rows: off_in_bias((rows, None))[0]
    with pytest.raises(CheckFailed):
        check_layer(WrongPart(gd.Dense(3), part, spoil), (4,))


def test_vjp_into_off_fails():
    class Off(gd.Dense):
        def forward(self, params, x, context):
            y, J = super().forward(params, x, context)
            rule = J.vjp_into

            def vjp_into(dy, windows):
                dx = rule(dy, windows)
                windows["b"][...] = 1.001 * windows["b"]
                return dx

            J.vjp_into = vjp_into
            return y, J

    with pytest.raises(CheckFailed, match="vjp_into"):
        check_layer(Off(3), (4,))


class Rule(Elementwise):
    """y = x³, written by hand so that each test can break one habit."""

    def f(self, backend, x):
        return x**3

    def df(self, backend, x, y):
        return 3.0 * x**2

    def d2f(self, backend, x, y):
        return 6.0 * x


class LeaksFloat64(Rule):
    def f(self, backend, x):
        return np.asarray(x, dtype=np.float64) ** 3


class MixesExamples(Rule):
    def forward(self, params, x, context):
        mean = x.mean(axis=0)
        y = x + mean
        return y, Jacobian(
            lambda dp, dx: dx + dx.mean(axis=-2, keepdims=True),
            lambda dy: ({}, dy + dy.mean(axis=-2, keepdims=True)),
            lambda dp, dx, gy: ({}, None),
        )


class ForgetsLeadingAxes(Rule):
    def forward(self, params, x, context):
        y, d = x**3, 3.0 * x**2
        return y, Jacobian(
            lambda dp, dx: dx * d,
            lambda dy: ({}, dy * d if dy.ndim == 2 else 0.0 * dy),
            lambda dp, dx, gy: ({}, gy * dx * 6.0 * x),
        )


class WritesIntoItsInput(Rule):
    def f(self, backend, x):
        x[0, 0] += 1e-4
        return x**3


class WritesOnce(gd.Dense):
    def forward(self, params, x, context):
        params["b"][...] = 1.0  # a second call changes nothing: the first must be seen
        return super().forward(params, x, context)


class WrongShape(Rule):
    def out_shape(self, in_shape):
        return (*in_shape[:-1], in_shape[-1] + 1)


class LosesAParameter(gd.Dense):
    def init(self, in_shape, rng):
        return {"W": super().init(in_shape, rng)["W"], "b": np.zeros(5)}


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (LeaksFloat64(), "float32 stays float32"),
        (MixesExamples(), "single examples"),
        (ForgetsLeadingAxes(), "leading axes|dense"),
        (WritesIntoItsInput(), "left alone|differences"),
        (WritesOnce(3), "differences"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_bad_habits_fail(layer, named):
    assert check_layer(Rule(), (4,))
    with pytest.raises(CheckFailed, match=named):
        check_layer(layer, (4,))


def test_a_jvp_that_needs_all_parameters_is_told_what_lacks():
    class Gain(Layer):
        def shapes(self, in_shape):
            return {"g": in_shape}

        def forward(self, params, x, context):
            g = params["g"]
            return x * g, Jacobian(
                lambda dparams, dx: dx * g + x * dparams["g"][..., None, :],
                lambda dy: ({"g": (x * dy).sum(axis=-2)}, dy * g),
            )

    with pytest.raises(CheckFailed, match=r"dparams\['g'\]: with empty dparams x alone moves"):
        check_layer(Gain(), (3,))


@pytest.mark.parametrize("layer", [WrongShape(), LosesAParameter(3)], ids=lambda value: type(value).__name__)
def test_wrong_shapes_fail(layer):
    with pytest.raises((CheckFailed, ValueError)):
        check_layer(layer, (4,))


def test_kinks_are_dodged():
    class Zigzag(Elementwise):
        kinks = (-1.0, -0.5, 0.0, 0.5, 1.0)

        def f(self, backend, x):
            return np.abs(np.abs(np.abs(x) - 0.5) - 0.5)

        def df(self, backend, x, y):
            return np.sign(np.abs(np.abs(x) - 0.5) - 0.5) * np.sign(np.abs(x) - 0.5) * np.sign(x)

        def d2f(self, backend, x, y):
            return np.zeros_like(x)

    assert check_layer(Zigzag(), (200,), batch=2)
    # inside a composite the kinks are where nobody can tell beforehand: such points are drawn again
    for seed in range(10):
        assert check_layer(gd.Sequential(gd.Dense(30), gd.ReLU(), gd.Dense(2), gd.HardTanh()), (3,), batch=4, seed=seed)


def test_report():
    report = check_layer(gd.Dense(3), (4,))
    assert report
    assert report.worst.error < 1e-9
    for line in ("Dense(3): right", "jvp against differences", "<u, J v> = <Jᵀ u, v>", "dense against columns", "gram"):
        assert line in str(report)
    with pytest.raises(CheckFailed) as caught:
        check_layer(WrongPart(gd.Dense(3), "gram", off), (4,))
    assert not caught.value.report
    assert caught.value.report.worst.name == "gram"
    assert isinstance(caught.value, AssertionError)


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [([1.0, np.nan], [1.0, 2.0]), ([1.0, 2.0], [1.0, np.inf]), ([1.0], [1.0, 2.0]), ([0.0, 1e-6], [0.0, 0.0])],
)
def test_report_is_not_fooled(claimed, expected):
    report = Report("rule", 1e-7)
    report.compare("x", np.asarray(claimed), np.asarray(expected))
    assert not report


def matrix_map(A, B=None, *tags):
    """v -> A v, with Bᵀ for the transpose."""
    B = A if B is None else B
    return Map(BACKEND, (A.shape[1],), (A.shape[0],), np.float64, lambda v: v @ A.T, lambda u: u @ B, set(tags))


A = np.random.default_rng(0).standard_normal((3, 3))


def test_check_map():
    assert check_map(matrix_map(A))
    assert check_map(matrix_map(np.ones((2, 5))))
    assert check_map(matrix_map(A @ A.T, None, "symmetric", "psd"))
    assert check_map(symmetric(BACKEND, (2, 3), np.float64, lambda v: 3.0 * v, "diagonal"))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: matrix_map(A, 1.001 * A), "Aᵀ"),
        (lambda: matrix_map(A, None, "symmetric"), "symmetric|T"),
        (lambda: matrix_map(A + A.T, None, "symmetric", "diagonal"), "diagonal"),
        (lambda: matrix_map(-A @ A.T, None, "symmetric", "psd"), "psd"),
        (lambda: Map(BACKEND, (3,), (3,), np.float64, lambda v: v + 1e-3, lambda u: u), "linear"),
        (lambda: Map(BACKEND, (3,), (3,), np.float64, lambda v: v * (v.ndim == 1), lambda u: u * (u.ndim == 1)),
         "leading|dense"),
    ],
)  # fmt: skip
def test_wrong_maps_fail(wrong, named):
    with pytest.raises(CheckFailed, match=named):
        check_map(wrong())


def test_network_jacobian_is_a_true_map(bk):
    """check_map on each array library, with a whole network's Jacobian."""
    rng = np.random.default_rng(0)
    x = bk.put(rng.standard_normal((2, 3)))
    net = gd.Sequential(gd.Dense(3, 2), gd.Tanh(), gd.Dense(2))
    objective = gd.Objective(
        net, gd.SquaredError(), x, bk.put(np.zeros((2, 2))), backend=bk.backend, layout=net.layout()
    )
    at = objective(net.parameters(like=x))
    assert check_map(at.jacobian)
    assert check_map(at.gauss_newton)

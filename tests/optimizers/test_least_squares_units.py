"""No tolerance of Levenberg-Marquardt depends on the units of residuals, data or parameters."""

import numpy as np
import pytest

import gdnet as gd

T = np.linspace(0.0, 4.0, 50)
NOISE = 0.02 * np.random.default_rng(0).standard_normal(50)
MODELS = {
    "exponential": (lambda p: p[0] * np.exp(-p[1] * T), [2.0, 1.7], [1.0, 1.0], [0]),
    "gaussian": (lambda p: p[0] * np.exp(-0.5 * ((T - p[1]) / p[2]) ** 2), [2.0, 2.2, 0.6], [1.0, 2.0, 1.0], [0]),
    "decay and offset": (lambda p: p[0] * np.exp(-p[1] * T) + p[2], [2.0, 1.7, 0.5], [1.0, 1.0, 1.0], [0, 2]),
    "logistic": (lambda p: p[0] / (1.0 + np.exp(-p[1] * (T - p[2]))), [2.0, 3.0, 1.7], [1.0, 1.0, 1.0], [0]),
    "lorentzian": (lambda p: p[0] / (1.0 + ((T - p[1]) / p[2]) ** 2), [2.0, 2.2, 0.4], [1.0, 2.0, 1.0], [0]),
    "michaelis": (lambda p: p[0] * (T + 0.1) / (p[1] + T + 0.1), [2.0, 0.7], [1.0, 1.0], [0]),
}


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("factor", [1.0, 1e12])
@pytest.mark.parametrize("unit", [1e-6, 1e-9, 1e-12, 1e-15, 1e-44])
@pytest.mark.parametrize("name", MODELS)
def test_data_in_small_units_from_a_start_of_one(name, unit, factor, bounded):
    """The start is 1, as of curve_fit; the amplitudes are 1e-6 to 1e-44."""
    model, truth, start, linear = MODELS[name]
    sizes = np.ones(len(truth))
    sizes[linear] = unit
    bounds = (0.0, 10.0) if bounded else (-np.inf, np.inf)
    for noise in (0.0, 1.0):
        data = model(truth) + noise * NOISE
        best = gd.least_squares(lambda p, data=data: model(p) - data, truth)
        found = gd.least_squares(lambda p, data=data: factor * (model(p) - unit * data), start, bounds=bounds)
        assert found.success, found.message
        np.testing.assert_allclose(found.x / sizes, best.x, rtol=1e-5)


def test_a_rate_whose_amplitude_is_held_at_a_bound():
    """Its column is zero there; that of a neighbouring point must not be taken for the last one's."""
    model, truth, start, _ = MODELS["decay and offset"]
    data = 1e-12 * (model(truth) + NOISE)
    found = gd.least_squares(lambda p: model(p) - data, start, bounds=(0.0, 10.0))
    np.testing.assert_allclose(found.jac[1:, 1], (-found.x[0] * T * np.exp(-found.x[1] * T))[1:], rtol=1e-4)


# -- every unit by itself ----------------------------------------------------------------------------------------------

PLAIN, SLOPES = MODELS["decay and offset"][0], lambda p: np.stack([e := np.exp(-p[1] * T), -p[0] * T * e, T**0], axis=1)
DATA = PLAIN([2.0, 1.7, 0.5]) + NOISE


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("jac", ["exact", "2-point", "3-point", None])
def test_each_unit_scales_the_answer_and_no_more(jac, bounded):
    """That of the residuals, of each parameter, of all: the third parameter ends at its bound where there is one."""

    def fit(factor, size):
        def slopes(z):
            return factor * SLOPES(z / size) / size

        bounds = (size * [0.0, 0.0, 0.6], size * 10.0) if bounded else (-np.inf, np.inf)
        own = slopes if jac == "exact" else jac
        return gd.least_squares(lambda z: factor * (PLAIN(z / size) - DATA), size, jac=own, bounds=bounds)

    plain = fit(1.0, np.ones(3))
    assert plain.success
    assert plain.active_mask.tolist() == [0, 0, -1 if bounded else 0]
    for unit in (1e-12, 1e-7, 0.1, 1e3, 1e12):
        for which in ("residuals", 0, 1, 2, slice(None)):
            factor, size = (unit, np.ones(3)) if which == "residuals" else (1.0, np.ones(3))
            if which != "residuals":
                size[which] = unit
            found = fit(factor, size)
            np.testing.assert_allclose(found.x / size, plain.x, rtol=1e-6)
            assert (found.success, found.active_mask.tolist()) == (True, plain.active_mask.tolist()), (unit, which)
            assert abs(found.nit - plain.nit) <= 1, (unit, which, found.nit, plain.nit)


@pytest.mark.parametrize("jac", ["2-point", "3-point", None])
@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1.0, 1e6, 1e12])
def test_a_start_of_zero_tells_no_unit(jac, unit):
    def fun(z):
        with np.errstate(over="ignore"):  # the first difference step may be far too long
            return (1.0 + z[0] / unit) * np.exp(-(z[1] / unit) * T) - DATA + 0.5

    found = gd.least_squares(fun, [0.0, 0.0], jac=jac)
    best = gd.least_squares(lambda p: (1.0 + p[0]) * np.exp(-p[1] * T) - DATA + 0.5, [1.0, 1.7])
    assert found.success
    np.testing.assert_allclose(found.x / unit, best.x, rtol=1e-6)


@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (0.0, 10.0)])
@pytest.mark.parametrize("jac", ["2-point", "3-point", None])
def test_residuals_in_single_precision(jac, bounds):
    """Steps of 1e-8, made for x0 in double precision, would change nothing."""
    found = gd.least_squares(lambda p: (PLAIN(p) - DATA).astype(np.float32), np.ones(3), jac=jac, bounds=bounds)
    best = gd.least_squares(lambda p: PLAIN(p) - DATA, np.ones(3))
    assert found.success
    assert found.nfev < 100
    np.testing.assert_allclose(found.x, best.x, rtol=1e-4)

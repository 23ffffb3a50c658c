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

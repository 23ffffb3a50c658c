"""Constrained networks: non-negative weights, bounded outputs, conservation laws, exact at the end."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import OptionError, ShapeError
from gdnet.optimizers.constrained.bounds import bound_vector
from gdnet.optimizers.constrained.interior_point import InteriorPoint
from gdnet.optimizers.constrained.network_functions import OutputConstraint, output_bounds
from gdnet.vector import Layout

X = np.linspace(-3.0, 3.0, 60)[:, None]
MONOTONE = X + np.sin(X)


def model(*layers, seed=0, **options):
    return gd.Model(gd.Sequential(*layers), loss=gd.SquaredError(), seed=seed, **{"dtype": "float64"} | options)


def tanh_net(seed=0, **options):
    return model(gd.Dense(1, 10), gd.Tanh(), gd.Dense(10, 1), seed=seed, **options)


def weights(m):
    theta = m.backend.to_numpy(m.theta)
    return np.concatenate([theta[m.layout.slices[name]] for name in m.layout if name.endswith("W")])


def test_non_negative_weights_against_lbfgsb():
    """Five starts each: no weight below 0, a monotone function, a loss within 1e-6 of the best of L-BFGS-B or below."""
    minimize = pytest.importorskip("scipy.optimize").minimize
    ours, theirs = [], []
    for seed in range(5):
        m = tanh_net(seed)
        nonnegative = np.array([m.layout.locate(i)[0].endswith("W") for i in range(m.layout.size)])
        at = m.objective(X, MONOTONE)
        start = np.where(nonnegative, np.maximum(m.theta, 0.0), m.theta)
        found = minimize(
            lambda v, at=at: (float(at(v).value), np.asarray(at(v).gradient)), start, jac=True, method="L-BFGS-B",
            bounds=[(0, None) if w else (None, None) for w in nonnegative], options={"maxiter": 300, "ftol": 1e-15},
        )  # fmt: skip
        theirs.append(found.fun)
        m.fit(X, MONOTONE, optimizer=InteriorPoint(lower={"W": 0.0}), epochs=200, batch_size=None, verbose=0)
        ours.append(float(m.objective(X, MONOTONE)(m.theta).value))
        assert weights(m).min() >= 0.0
        assert np.all(np.diff(m.predict(np.linspace(-5, 5, 400)[:, None])[:, 0]) >= 0.0)
    assert min(ours) <= min(theirs) + 1e-6


def test_the_stop_reason_reaches_the_history():
    m = model(gd.Dense(1, 1))
    history = m.fit(
        X, 2.0 * X - 1.0, optimizer=InteriorPoint(upper={"b": -2.0}), epochs=100, batch_size=None, verbose=0
    )
    assert history.stop_reason == "converged"
    assert m.theta == pytest.approx([2.0, -2.0], abs=1e-6)
    assert m.theta[1] <= -2.0


@pytest.mark.parametrize("curvature", ["auto", "exact", "gauss_newton", "bfgs"])
def test_every_curvature(curvature):
    m = model(gd.Dense(1, 2), gd.Tanh(), gd.Dense(2, 1))
    t = np.tanh(X)
    before = float(m.objective(X, t)(m.theta).value)
    m.fit(X, t, optimizer=InteriorPoint(lower={"W": 0.0}, curvature=curvature), epochs=150, batch_size=None, verbose=0)
    assert weights(m).min() >= 0.0
    assert float(m.objective(X, t)(m.theta).value) < 1e-2 * before


def test_single_precision_respects_the_bounds():
    m = tanh_net(dtype="float32")
    x, t = X.astype(np.float32), MONOTONE.astype(np.float32)
    m.fit(x, t, optimizer=InteriorPoint(lower={"0.W": 0.1, "2.W": 0.0}), epochs=100, batch_size=None, verbose=0)
    assert m.theta.dtype == np.float32
    assert m.theta[m.layout.slices["0.W"]].astype(np.float64).min() >= 0.1
    assert weights(m).min() >= 0.0
    assert float(m.objective(x, t)(m.theta).value) < 0.05


def test_bounded_outputs():
    """No output above 1 at the training inputs, though the data go to 1.5; weights within ±5 keep the fit finite."""
    m = model(gd.Dense(1, 3), gd.Tanh(), gd.Dense(3, 1))
    optimizer = InteriorPoint(lower=-5.0, upper=5.0, g_le=output_bounds(lower=-1.0, upper=1.0))
    x = X[::3]
    history = m.fit(x, 1.5 * np.tanh(x), optimizer=optimizer, epochs=300, batch_size=None, verbose=0)
    assert history.stop_reason in ("converged", "acceptable")
    y = m.predict(x)
    assert np.max(np.abs(y)) <= 1.0 + 1e-8
    assert np.max(y) > 0.99  # the constraint is active
    assert np.max(np.abs(m.theta)) <= 5.0
    assert history["loss"][-1] < 0.2


@pytest.mark.parametrize("jac", [None, lambda y: np.repeat(np.eye(len(y))[:, :, None], 2, axis=2)])
def test_conservation_law(jac):
    """y₀ + y₁ = 1 at twelve inputs: more rows than the network has ways to break it."""
    m = model(gd.Dense(1, 3), gd.Tanh(), gd.Dense(3, 2))
    x = np.linspace(-2, 2, 12)[:, None]
    t = np.concatenate([np.tanh(x), 1.2 - np.tanh(x)], axis=1)
    law = OutputConstraint(lambda y: y[:, 0] + y[:, 1] - 1.0, jac)
    history = m.fit(x, t, optimizer=InteriorPoint(h_eq=law), epochs=200, batch_size=None, verbose=0)
    assert np.max(np.abs(np.sum(m.predict(x), axis=1) - 1.0)) <= 1e-8
    assert history["loss"][-1] == pytest.approx(0.02, rel=0.05)  # 0.1² + 0.1² cannot be fitted


def test_a_killed_run_goes_on(tmp_path):
    """From its checkpoint to the same weights, bit for bit."""
    path = str(tmp_path / "run.safetensors")

    def fit(epochs, **more):
        m = tanh_net()
        m.fit(X, MONOTONE, optimizer=InteriorPoint(lower={"W": 0.0}), epochs=epochs, batch_size=None, verbose=0, **more)
        return m.theta

    whole = fit(12)
    fit(5, callbacks=[gd.Checkpoint(path)])
    assert np.array_equal(fit(12, callbacks=[gd.Checkpoint(path)], resume=path), whole)


def test_other_libraries():
    torch = pytest.importorskip("torch")
    m = tanh_net(backend="torch")
    x, t = torch.asarray(X), torch.asarray(MONOTONE)
    m.fit(x, t, optimizer=InteriorPoint(lower={"W": 0.0}), epochs=40, batch_size=None, verbose=0)
    same = tanh_net()
    same.fit(X, MONOTONE, optimizer=InteriorPoint(lower={"W": 0.0}), epochs=40, batch_size=None, verbose=0)
    assert weights(m).min() >= 0.0
    assert float(m.objective(x, t)(m.theta).value) == pytest.approx(
        float(same.objective(X, MONOTONE)(same.theta).value), rel=0.5, abs=1e-3
    )


LAYOUT = Layout({"0.W": (2, 2), "0.b": (2,), "1.W": (2, 1)})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, [-np.inf] * 8),
        (0.5, [0.5] * 8),
        (np.arange(8.0), list(range(8))),
        ({"W": 0.0}, [0, 0, 0, 0, -np.inf, -np.inf, 0, 0]),
        ({"W": 0.0, "1.W": 1.0}, [0, 0, 0, 0, -np.inf, -np.inf, 1, 1]),
        ({"0.b": [1.0, 2.0]}, [-np.inf] * 4 + [1, 2] + [-np.inf] * 2),
        ({"W": None}, [-np.inf] * 8),
    ],
)
def test_bounds_by_name(given, expected):
    assert bound_vector(given, 8, -np.inf, LAYOUT, "lower").tolist() == expected


@pytest.mark.parametrize(
    ("error", "given"),
    [(OptionError, {"V": 0.0}), (ShapeError, {"0.b": [1.0, 2.0, 3.0]}), (ShapeError, np.zeros(3))],
)
def test_wrong_bounds_are_an_error(error, given):
    with pytest.raises(error):
        bound_vector(given, 8, -np.inf, LAYOUT, "lower")


def test_what_is_refused():
    m = tanh_net()
    with pytest.raises(OptionError):  # mini-batches: another objective at each step
        m.fit(X, MONOTONE, optimizer=InteriorPoint(lower=0.0), epochs=1, batch_size=10, verbose=0)
    with pytest.raises(OptionError):  # names without a network
        gd.minimize(lambda x: x @ x, np.ones(2), method="interior_point", options={"mu_init": -1.0})
    with pytest.raises(OptionError):
        InteriorPoint(lower={"W": 0.0}).run(gd.FunctionObjective(lambda x: x @ x), np.ones(2))
    with pytest.raises(OptionError):
        InteriorPoint(g_le=output_bounds(upper=1.0)).run(gd.FunctionObjective(lambda x: x @ x), np.ones(2))
    with pytest.raises(OptionError):
        output_bounds()

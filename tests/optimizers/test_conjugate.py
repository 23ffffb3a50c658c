"""Conjugate gradients, scaled conjugate gradients and gradient descent: rules, finite termination, every library."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import OptionError
from gdnet.optimizers.unconstrained.conjugate_gradient import RULES, Products


def quadratic(put, xp, n, condition, seed=0):
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    host = (Q * np.geomspace(1, condition, n)) @ Q.T
    A, c = put(host), put(rng.standard_normal(n))
    return gd.FunctionObjective(
        lambda x: 0.5 * xp.sum((x - c) * (A @ (x - c))), lambda x: A @ (x - c), hessp=lambda x, v: A @ v
    ), c


@pytest.mark.parametrize(
    "solver",
    [*(gd.ConjugateGradient(rule) for rule in RULES), gd.ScaledConjugateGradient(), gd.GradientDescent(),
     gd.ScaledConjugateGradient(hvp="difference")],
    ids=[*RULES, "scg", "gd", "scg-difference"],
)  # fmt: skip
def test_quadratics_are_solved_on_every_library(bk, solver):
    objective, c = quadratic(bk.put, bk.xp, 8, 30.0)
    found = solver.run(objective, bk.put(np.zeros(8)))
    assert found.success, found.message
    np.testing.assert_allclose(bk.get(found.x), bk.get(c), atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_with_exact_searches_every_rule_ends_in_n_steps(rule):
    """On a quadratic all rules are linear conjugate gradients."""
    objective, _ = quadratic(np.asarray, np, 6, 20.0)
    found = gd.ConjugateGradient(rule, gd.StrongWolfe(c1=1e-12, c2=1e-9), min_grad=1e-6).run(objective, np.zeros(6))
    assert found.success
    assert found.nit <= 7


def test_scaled_conjugate_gradients_end_in_n_steps():
    objective, _ = quadratic(np.asarray, np, 6, 20.0)
    found = gd.ScaledConjugateGradient(scale=1e-12, min_grad=1e-6).run(objective, np.zeros(6))
    assert found.success
    assert found.nit <= 7
    assert found.nhev == found.nit


def test_the_rules_are_their_formulas():
    rng = np.random.default_rng(2)
    g, h, d = rng.standard_normal((3, 7))
    y = h - g
    p = Products(g @ g, h @ h, h @ y, y @ y, d @ y, d @ g, d @ h, d @ d)
    expected = {
        "fletcher_reeves": (h @ h) / (g @ g),
        "polak_ribiere": max(0, h @ y / (g @ g)),
        "hestenes_stiefel": max(0, h @ y / (d @ y)),
        "dai_yuan": h @ h / (d @ y),
        "hager_zhang": max(
            (y - 2 * d * (y @ y) / (d @ y)) @ h / (d @ y),
            0.4 * (d @ g) / (d @ d),
        ),
    }
    for name, rule in RULES.items():
        assert rule(p) == pytest.approx(expected[name], rel=1e-12), name


def test_the_first_steps_of_moller_are_his():
    """Three iterations written out from the article's steps, with its differences of gradients."""

    def f(x):
        return float(np.sum(np.cosh(x)) + 0.5 * x[0] * x[1])

    def g(x):
        return np.sinh(x) + 0.5 * x[::-1]

    w, lam = np.array([1.0, -0.4]), None
    solver = gd.ScaledConjugateGradient(hvp="difference", min_grad=0.0)
    objective = gd.FunctionObjective(f, g)
    theta, state = w, solver.init(w)
    r = p = -g(w)
    for k in range(1, 4):
        sigma = 5e-5 * np.linalg.norm(w) / np.linalg.norm(p)  # Møller's σ and λ are absolute: these are their units
        curvature = p @ ((g(w + sigma * p) - g(w)) / sigma)
        lam = 5e-7 * curvature / (p @ p) if lam is None else lam
        delta = curvature + lam * (p @ p)
        mu = p @ r
        new = w + mu / delta * p
        ratio = 2 * delta * (f(w) - f(new)) / mu**2
        assert ratio > 0.75
        w, lam, old, r = new, lam / 4, r, -g(new)
        p = r if k % 2 == 0 else r + (r @ r - r @ old) / mu * p
        theta, state, _ = solver.step(objective, theta, state)
        np.testing.assert_allclose(theta, w, rtol=1e-7)
    assert state.memory.scale == pytest.approx(lam)


def test_a_bad_scale_is_raised_until_the_step_falls():
    """At the start the curvature is negative: λ has to grow."""
    f = gd.FunctionObjective(
        lambda x: float(np.sum(x**4 / 4 - x**2 / 2)), lambda x: x**3 - x, hessp=lambda x, v: (3 * x**2 - 1) * v
    )
    found = gd.ScaledConjugateGradient().run(f, np.array([0.01, -0.02]))
    assert found.success
    np.testing.assert_allclose(np.abs(found.x), 1.0, atol=1e-5)


def test_unknown_rules_and_products():
    with pytest.raises(OptionError, match="fletcher_reeves"):
        gd.ConjugateGradient("polack")
    with pytest.raises(OptionError, match="difference"):
        gd.ScaledConjugateGradient(hvp="finite")

"""BFGS and L-BFGS against their definitions, on every array library, and in steps."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.errors import OptionError
from gdnet.optimizers.point import Point
from gdnet.optimizers.unconstrained import bfgs, lbfgs


def quadratic(bk, n=12, condition=1e3, seed=0):
    """½ (x - c)ᵀ A (x - c) on this library, and its minimum."""
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    A, c = bk.put((Q * np.geomspace(1, condition, n)) @ Q.T), bk.put(rng.standard_normal(n))
    xp = bk.xp
    return gd.FunctionObjective(lambda x: 0.5 * xp.sum((x - c) * (A @ (x - c))), lambda x: A @ (x - c)), bk.get(c)


@pytest.mark.parametrize("solver", [gd.BFGS(), gd.BFGS(self_scaling=False), gd.LBFGS(), gd.LBFGS(history=3)],
                         ids=["bfgs", "bfgs-unscaled", "lbfgs", "lbfgs-3"])  # fmt: skip
def test_quadratics_are_solved_on_every_library(bk, solver):
    objective, minimum = quadratic(bk)
    found = solver.run(objective, bk.put(np.zeros(12)))
    assert found.success, found.message
    np.testing.assert_allclose(bk.get(found.x), minimum, atol=1e-5)
    assert found.nfev <= 400


@pytest.mark.parametrize("solver", [gd.BFGS(), gd.LBFGS()], ids=["bfgs", "lbfgs"])
def test_all_libraries_walk_the_same_way(bk, solver):
    objective, _ = quadratic(bk, n=6)
    values, expected = [], []
    solver.run(objective, bk.put(np.zeros(6)), lambda r: values.append(r.fun) or None)

    class Host:
        xp = np
        put = staticmethod(np.asarray)
        get = staticmethod(np.asarray)

    solver.run(quadratic(Host, n=6)[0], np.zeros(6), lambda r: expected.append(r.fun) or None)
    np.testing.assert_allclose(values[:10], expected[:10], rtol=1e-8)


def test_exact_searches_solve_a_quadratic_in_n_steps():
    class Host:
        xp = np
        put = staticmethod(np.asarray)
        get = staticmethod(np.asarray)

    objective, _ = quadratic(Host, n=6, condition=50)
    exact = gd.StrongWolfe(c1=1e-12, c2=1e-8)
    found = gd.BFGS(self_scaling=False, line_search=exact, min_grad=1e-7).run(objective, np.zeros(6))
    assert found.success
    assert found.nit <= 7
    assert gd.BFGS(line_search=exact, min_grad=1e-7).run(objective, np.zeros(6)).success


def test_update_satisfies_the_secant_equation_and_stays_positive_definite():
    rng = np.random.default_rng(0)
    B = rng.standard_normal((5, 5))
    H = B @ B.T + np.eye(5)
    for _ in range(20):
        s, y = rng.standard_normal(5), rng.standard_normal(5)
        y = y if s @ y > 0 else -y
        H = bfgs._update(H, H @ y, s, s @ y, y @ H @ y)
        np.testing.assert_allclose(H @ y, s, rtol=1e-6, atol=1e-8 * np.abs(H).max())
        assert np.array_equal(H, H.T)
        assert np.linalg.eigvalsh(H).min() > -1e-12 * np.abs(H).max()


def test_self_scaling_fits_a_network_more_closely():
    """The same 400 iterations of both forms on three fits of a smooth curve."""
    losses = {True: [], False: []}
    for seed in range(3):
        x = np.random.default_rng(seed).uniform(-1, 1, (100, 1))
        for scaled, found in losses.items():
            net = gd.Sequential(gd.Dense(1, 8), gd.Tanh(), gd.Dense(8, 1))
            model = gd.Model(net, loss=gd.SquaredError(), dtype="float64", seed=seed)
            optimizer = gd.BFGS(self_scaling=scaled)
            history = model.fit(x, np.sin(5 * x), optimizer=optimizer, epochs=400, batch_size=None, verbose=0)
            found.append(history["loss"][-1])
    assert np.median(np.array(losses[True]) / np.array(losses[False])) < 0.5, losses


def two_loops(pairs, g):
    """Nocedal and Wright, algorithm 7.4."""
    q, kept = g.copy(), []
    for s, y in reversed(pairs):
        a = (s @ q) / (s @ y)
        kept.append(a)
        q = q - a * y
    s, y = pairs[-1]
    r = (s @ y) / (y @ y) * q
    for (s, y), a in zip(pairs, reversed(kept)):
        r = r + s * (a - (y @ r) / (s @ y))
    return -r


def test_compact_form_is_the_two_loop_recursion(bk):
    """Twelve pairs into five rows: the ring wraps more than twice."""
    rng = np.random.default_rng(3)
    A = rng.standard_normal((9, 9))
    A = A @ A.T + np.eye(9)
    pairs, memory, m = [], lbfgs.LBFGSMemory(), 5
    for _ in range(12):
        s, g = rng.standard_normal(9), rng.standard_normal(9)
        y = A @ s
        memory = lbfgs._remember(bk.backend, memory, m, bk.put(s), bk.put(y), bk.put(g))
        pairs = [*pairs, (s, y)][-m:]
        np.testing.assert_allclose(
            bk.get(lbfgs._direction(bk.backend, memory, bk.put(g))), two_loops(pairs, g), rtol=1e-8, atol=1e-10
        )


def test_pairs_without_curvature_are_not_used(bk):
    rng = np.random.default_rng(4)
    s, y, g = rng.standard_normal((3, 6))
    y = y if s @ y > 0 else -y
    memory = lbfgs._remember(bk.backend, lbfgs.LBFGSMemory(), 3, bk.put(s), bk.put(y), bk.put(g))
    assert memory.order == (0,)
    h = rng.standard_normal(6)
    after = lbfgs._remember(bk.backend, memory, 3, bk.put(s), bk.put(-y), bk.put(h))
    assert after.order == (0,)
    np.testing.assert_allclose(
        bk.get(lbfgs._direction(bk.backend, after, bk.put(h))), two_loops([(s, y)], h), rtol=1e-9
    )
    assert lbfgs._remember(bk.backend, lbfgs.LBFGSMemory(), 3, bk.put(s), bk.put(-y), bk.put(g)).order == ()


def test_the_ring_goes_on_after_a_pair_was_refused():
    """Full ring, a refused pair in the middle of it, more pairs: still the recursion over the pairs in use."""
    rng, backend = np.random.default_rng(6), get_backend("cpu")
    pairs, memory = {}, lbfgs.LBFGSMemory()
    for k in range(14):
        s, g = rng.standard_normal((2, 5))
        y = s * np.linspace(1, 3, 5) * (-1.0 if k in (6, 7, 11) else 1.0)
        before = memory.order
        memory = lbfgs._remember(backend, memory, 4, s.copy(), y.copy(), g)
        for row in set(before) - set(memory.order):
            del pairs[row]
        if memory.order and memory.order != before:
            if s @ y > 0:
                pairs[memory.order[-1]] = (s, y)
            assert len(set(memory.order)) == len(memory.order) <= 4
        expected = two_loops([pairs[row] for row in memory.order], g)
        np.testing.assert_allclose(lbfgs._direction(backend, memory, g), expected, rtol=1e-8)


def test_one_read_a_direction(monkeypatch):
    backend, reads = get_backend("cpu"), []
    monkeypatch.setattr(type(backend), "to_numpy", lambda self, a: reads.append(a.size) or np.array(a))
    monkeypatch.setattr(type(backend), "read", lambda self, a: reads.append(1) or float(a))
    rng = np.random.default_rng(5)
    s, y, g = rng.standard_normal((3, 40))
    y = y if s @ y > 0 else -y
    memory = lbfgs._remember(backend, lbfgs.LBFGSMemory(), 10, s, y, g)
    lbfgs._direction(backend, memory, g)
    assert len(reads) == 1


@pytest.mark.parametrize("solver", [gd.BFGS(), gd.LBFGS(history=4), gd.ConjugateGradient(), gd.NewtonCG()], ids=repr)
def test_a_dropped_cache_changes_no_bit(solver):
    """A checkpoint keeps numbers and arrays only; the evaluation is worked out again."""

    def rosenbrock():
        return gd.FunctionObjective(
            lambda x: float(100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2),
            lambda x: np.array([-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)]),
        )

    theta = [np.array([-1.2, 1.0])] * 2
    state = [solver.init(theta[0])] * 2
    for _ in range(15):
        theta[0], state[0], info = solver.step(rosenbrock(), theta[0], state[0])
        theta[1], state[1], _ = solver.step(rosenbrock(), theta[1].copy(), state[1]._replace(at=None))
        assert np.array_equal(theta[0], theta[1])
        assert info.new_value <= float(info.value)


def test_a_saved_run_of_a_network_ends_like_an_uninterrupted_one(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (60, 1))
    t = np.sin(4 * x)

    def model():
        net = gd.Sequential(gd.Dense(1, 6), gd.Tanh(), gd.Dense(6, 1))
        return gd.Model(net, loss=gd.SquaredError(), dtype="float64", seed=0)

    whole, first, second = model(), model(), model()
    whole.fit(x, t, optimizer=gd.LBFGS(history=3), epochs=20, batch_size=None, verbose=0)
    path = tmp_path / "run.safetensors"

    class Stop(gd.Callback):
        def on_epoch_end(self, run):
            if run.epoch == 9:
                raise KeyboardInterrupt

    checkpoint = gd.Checkpoint(str(path), every=(1, "epoch"))
    first.fit(
        x, t, optimizer=gd.LBFGS(history=3), epochs=20, batch_size=None, verbose=0, callbacks=[checkpoint, Stop()]
    )
    second.fit(
        x, t, optimizer=gd.LBFGS(history=3), epochs=20, batch_size=None, verbose=0,
        callbacks=[gd.Checkpoint(str(path), every=(1, "epoch")), Stop()], resume=str(path),
    )  # fmt: skip
    assert np.array_equal(whole.theta, second.theta)


@pytest.mark.parametrize("solver", [gd.BFGS(min_grad=1e-3), gd.LBFGS(min_grad=1e-3)], ids=["bfgs", "lbfgs"])
def test_float32_stays_float32_and_is_solved(bk, solver):
    xp, c = bk.xp, bk.put(np.arange(5.0), "float32")
    objective = gd.FunctionObjective(lambda x: xp.sum((x - c) ** 2) + 1.0, lambda x: 2 * (x - c))
    found = solver.run(objective, bk.put(np.zeros(5), "float32"))
    assert found.success
    assert "float32" in str(found.x.dtype)
    np.testing.assert_allclose(bk.get(found.x), np.arange(5.0), atol=1e-3)


def test_options_are_checked():
    with pytest.raises(OptionError, match="history"):
        gd.LBFGS(history=0)
    with pytest.raises(OptionError, match="min_grad"):
        gd.BFGS(min_grad=-1.0)


def test_points_read_value_and_norm_once():
    objective = gd.FunctionObjective(lambda x: float(x @ x), lambda x: 2 * x)
    at = Point(get_backend("cpu"), objective(np.array([1.0, -3.0])), np.array([1.0, -3.0]))
    assert (at.value, at.norm, at.value) == (10.0, 6.0, 10.0)
    assert (objective.nfev, objective.njev) == (1, 1)

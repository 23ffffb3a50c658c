"""Steps on cut vectors give what the step itself gives, and nobody outside can tell a cut vector from an array."""

import copy
import pickle

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import backend_of, get_backend
from gdnet.training.step import step_on

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

from gdnet.backend.jax import segments as jax_segments  # noqa: E402
from gdnet.backend.jax.cut import Cut  # noqa: E402
from gdnet.backend.jax.segments import CutStep  # noqa: E402

NUMPY, JAX = get_backend("cpu"), get_backend("cpu", "jax")
NETWORKS = {
    "sequential": lambda: gd.Sequential(gd.Dense(4, 8), gd.Tanh(), gd.Dense(8, 8), gd.ReLU(), gd.Dense(8, 3)),
    "dropout": lambda: gd.Sequential(gd.Dense(4, 8), gd.Tanh(), gd.Dropout(0.5), gd.Dense(8, 3)),
    "residual": lambda: gd.Sequential(gd.Dense(4, 8), gd.Residual(gd.Dense(8, 8), gd.Tanh()), gd.Dense(8, 3)),
    "parallel": lambda: gd.Sequential(gd.Parallel(gd.Dense(4, 8), gd.Dense(4, 8)), gd.GELU(), gd.Dense(8, 3)),
}
OPTIONS = {"weight_decay": 0.1, "decay_on": "W", "l1": 0.01, "clip_value": 0.5, "clip_norm": 0.1}
CASES = {
    "SGD": (gd.SGD(lr=0.1), "dropout"),
    "Momentum": (gd.Momentum(lr=0.1), "residual"),
    "Nesterov": (gd.Nesterov(lr=0.1), "parallel"),
    "AdaGrad": (gd.AdaGrad(lr=0.1), "sequential"),
    "RMSProp": (gd.RMSProp(), "sequential"),
    "Adam": (gd.Adam(), "sequential"),
    "AdamW, by name": (gd.AdamW(decay_on="W", clip_norm=0.1), "sequential"),
    "NAdam, all options": (gd.NAdam(**OPTIONS), "dropout"),
    "Lion": (gd.Lion(**OPTIONS), "residual"),
    "Rprop": (gd.Rprop(), "sequential"),
    "averaged": (gd.Averaged(gd.Adam(lr=gd.StepDecay(0.1, 2)), decay=0.9), "parallel"),
}
SEVERAL = ("AdamW, by name", "NAdam, all options", "Lion", "averaged")
"""Also with batches of another size, which is another program."""


@pytest.fixture
def always(monkeypatch):
    """Networks so small are cut too."""
    monkeypatch.setattr(jax_segments, "WORTHWHILE", 1)


def problem(net_name, optimizer):
    """The same step on NumPy and on JAX, and where it begins."""
    net = NETWORKS[net_name]()
    layout = net.layout((4,))
    return net.initial(0, (4,)), {
        b: (step_on(b, net, gd.CrossEntropy(), optimizer, layout, 0), optimizer.bind(layout)) for b in (NUMPY, JAX)
    }


def batches(sizes=(16,)):
    """Those of five examples with weights."""
    rng = np.random.default_rng(0)
    for n in sizes:
        x, t = rng.normal(size=(n, 4)), rng.integers(0, 3, n)
        yield (x, t) if n == 16 else (x, t, rng.uniform(0.5, 2.0, n))


def close(found, expected):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_equal_to_the_step_itself(name, always):
    optimizer, net_name = CASES[name]
    start, steps = problem(net_name, optimizer)
    step, rule = steps[NUMPY]
    theta = start.copy()
    state = rule.init(theta)
    compiled = JAX.compile(steps[JAX][0], donate=(0, 1))
    theta_cut = JAX.asarray(start)
    state_cut = rule.init(theta_cut)
    for batch in batches((16, 16, 5, 16) if name in SEVERAL else (16, 16, 16)):
        theta, state, value = step(theta, state, *batch)
        theta_cut, state_cut, value_cut = compiled(theta_cut, state_cut, *map(JAX.asarray, batch))
        assert isinstance(theta_cut, Cut)
        assert type(state_cut) is type(state)
        assert isinstance(value_cut, jax.Array)
        close(value_cut, value)
    close(theta_cut, theta)
    for found, expected in zip(state_cut, state, strict=True):
        assert isinstance(found, Cut if np.ndim(expected) else jax.Array)
        close(found, expected)


@pytest.mark.parametrize("name", SEVERAL)
def test_nothing_is_put_together(name, always):
    """No value of the lowered program is as long as theta."""
    optimizer, net_name = CASES[name]
    start, steps = problem(net_name, optimizer)
    step, rule = steps[JAX]
    theta, batch = JAX.asarray(start), [JAX.asarray(a) for a in next(batches())]
    state = rule.init(theta)
    long = f"tensor<{start.size}x"
    assert long in jax.jit(step).lower(theta, state, *batch).as_text()
    assert long not in JAX.compile(step, donate=(0, 1)).lower(theta, state, *batch).as_text()


def test_what_is_donated_is_gone(always):
    start, steps = problem("sequential", gd.Adam())
    step, rule = steps[JAX]
    compiled = JAX.compile(step, donate=(0, 1))
    theta, batch = JAX.asarray(start), [JAX.asarray(a) for a in next(batches())]
    state = rule.init(theta)
    theta2, state2, _ = compiled(theta, state, *batch)
    assert theta.is_deleted()
    assert state.m.is_deleted()
    assert not batch[0].is_deleted()
    where = [part.unsafe_buffer_pointer() for part in theta2.parts]
    theta3, _, _ = compiled(theta2, state2, *batch)
    assert all(part.is_deleted() for part in (*theta2.parts, *state2.m.parts, *state2.v.parts))
    assert [part.unsafe_buffer_pointer() for part in theta3.parts] == where  # written over


def test_whole_and_cut_vectors_may_be_mixed(always):
    """A caller who puts an array in the place of theta or of one state vector."""
    start, steps = problem("sequential", gd.Adam())
    step, rule = steps[JAX]
    batch = [JAX.asarray(a) for a in next(batches())]
    compiled, plain = JAX.compile(step, donate=(0, 1)), JAX.compile(step)
    theta, state = JAX.asarray(start), rule.init(JAX.asarray(start))
    expected = plain(*plain(theta, state, *batch)[:2], *batch)
    for change in (
        lambda theta, state: (JAX.whole(theta), state),
        lambda theta, state: (theta, state._replace(v=JAX.whole(state.v))),
        lambda theta, state: (Cut([theta[:7], theta[7:]]), state),
    ):
        theta, state, _ = compiled(JAX.asarray(start), rule.init(JAX.asarray(start)), *batch)
        theta, state, value = compiled(*change(theta, state), *batch)
        close(theta, expected[0])
        close(state.v, expected[1].v)
        close(value, expected[2])


def test_small_vectors_stay_whole():
    start, steps = problem("sequential", gd.Adam())
    step, rule = steps[JAX]
    theta, batch = JAX.asarray(start), [JAX.asarray(a) for a in next(batches())]
    theta, state, _ = JAX.compile(step, donate=(0, 1))(theta, rule.init(theta), *batch)
    assert isinstance(theta, jax.Array)
    assert isinstance(state.m, jax.Array)


def test_without_donation_results_are_arrays(always):
    start, steps = problem("sequential", gd.Adam())
    step, rule = steps[JAX]
    theta, batch = JAX.asarray(start), [JAX.asarray(a) for a in next(batches())]
    assert isinstance(JAX.compile(step)(theta, rule.init(theta), *batch)[0], jax.Array)


def test_a_step_may_be_traced_by_its_caller(always):
    start, steps = problem("sequential", gd.SGD(lr=0.1))
    step, rule = steps[JAX]
    compiled = JAX.compile(step, donate=(0, 1))
    theta, batch = JAX.asarray(start), [JAX.asarray(a) for a in next(batches())]
    host_step, host_rule = steps[NUMPY]
    expected = host_step(start, host_rule.init(start), *next(batches()))[0]
    found = jax.jit(lambda theta, state: compiled(theta, state, *batch)[0])(theta, rule.init(theta))
    assert isinstance(found, jax.Array)
    close(found, expected)


def odd(theta, state):
    """Windows of theta, and operations for which there is a rule, in part, or none."""
    a, b, rest = theta[:6], theta[6:16], theta[16:]
    g = jnp.concatenate([jnp.sin(b), a * a, rest])  # joined otherwise than theta is cut
    g = g + theta[::-1] * jnp.cumsum(theta) + jnp.roll(state, 3)
    g = g + jnp.max(theta) * jnp.min(g) + jnp.dot(theta, g) + jnp.prod(jnp.tanh(theta))
    g = g + theta[3:9].sum() + theta[jnp.argmax(g)] + jax.nn.silu(g) + jax.nn.relu(theta)
    g = jnp.where(jnp.any(theta > 0.0) & jnp.all(g > -1e9), g, 0.0) + jnp.ones(20).at[2:9].set(7.0)
    g = g + jax.lax.scan(lambda c, _: (c * 0.5, None), g, None, length=3)[0]
    g = g + jnp.reshape(jnp.reshape(g, (4, 5)) @ jnp.ones((5, 5)), (-1,)) + jnp.linspace(0.0, 1.0, 20)
    return theta - 0.01 * g, jnp.clip(state + g, -3.0, 3.0), (g, jnp.sort(theta))


def test_any_operation_is_carried_out():
    theta, state = (JAX.asarray(v) for v in np.random.default_rng(1).normal(size=(2, 20)))
    expected = jax.jit(odd)(theta, state)
    for shapes in (((6,), (2, 5), (4,)), ((1, 1), (11,), (2, 2, 2))):
        step = CutStep(odd, (0, 1))
        step.shapes[(20,)] = shapes
        found = step(jnp.array(theta), jnp.array(state))
        assert found[0].shapes == shapes
        assert isinstance(found[2][0], jax.Array)
        for a, b in zip(jax.tree.leaves(map_whole(found)), jax.tree.leaves(expected), strict=True):
            close(a, b)


def test_parts_have_the_shapes_in_which_the_step_uses_them(always):
    start, steps = problem("sequential", gd.AdamW(decay_on="W", clip_norm=0.1))  # which looks at windows as vectors too
    step, rule = steps[JAX]
    theta = JAX.asarray(start)
    theta, state, _ = JAX.compile(step, donate=(0, 1))(theta, rule.init(theta), *next(batches()))
    assert theta.shapes == state.m.shapes == ((4, 8), (8,), (8, 8), (8,), (8, 3), (3,))


def test_windows_with_strides_and_cut_vectors_of_another_length(always):
    def step(theta, teacher):
        a, b = jnp.reshape(theta[:12:2], (2, 3)), theta[8:]
        g = jnp.concatenate([jnp.sum(a) * theta[:8], b * b])
        return theta - 0.1 * g * jnp.max(teacher), jnp.sum(teacher)

    theta, teacher = jnp.arange(20.0), jnp.arange(30.0)
    expected = step(theta, teacher)
    cut_step = CutStep(step, (0,))
    for longer in (teacher, Cut([teacher[:7], teacher[7:].reshape(1, 23)])):
        found = cut_step(jnp.array(theta), longer)
        assert found[0].shapes == ((8,), (12,))
        close(found[0], expected[0])
        close(found[1], expected[1])


def map_whole(tree):
    return jax.tree.map(JAX.whole, tree, is_leaf=lambda a: isinstance(a, Cut))


def test_a_cut_vector_looks_like_an_array():
    host = np.arange(5.0)
    cut, array = Cut([jnp.arange(2.0), jnp.arange(2.0, 5.0)]), jnp.arange(5.0)
    assert (cut.shape, cut.dtype, cut.ndim, cut.size, len(cut)) == ((5,), array.dtype, 1, 5, 5)
    assert backend_of(cut) is backend_of(array)
    assert backend_of(cut, array) is JAX
    assert isinstance(JAX.whole(cut), jax.Array)
    assert JAX.whole(array) is array
    assert type(JAX.to_numpy(cut)) is np.ndarray
    assert JAX.read(cut[1]) == 1.0
    assert np.asarray(cut, "float32").dtype == np.float32
    assert cut.block_until_ready() is cut
    assert repr(cut) == repr(array)
    for found in (
        cut, -cut * -1.0, cut + 0.0 * array, array * 0.0 + cut, cut[:], cut.copy(), jnp.abs(cut), jnp.stack([cut])[0],
        jax.jit(lambda v: v * 1.0)(cut), jax.tree.map(jnp.abs, cut), copy.deepcopy(cut),
        pickle.loads(pickle.dumps(cut)), list(cut), host * 0.0 + cut,
    ):  # fmt: skip
        np.testing.assert_array_equal(np.array(found), host)
    with pytest.raises(AttributeError):
        _ = cut.no_such_thing


class Watch(gd.Callback):
    """Looks at and changes what a callback may."""

    def on_epoch_end(self, run):
        self.seen = np.array(run.theta), run.backend.to_numpy(run.state.m), float(run.theta[0]), run.lr
        run.lr = run.lr * 0.5


def test_fit_leaves_arrays_behind(always, tmp_path):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)
    models, seen = {}, {}
    for name in ("numpy", "jax"):
        model = models[name] = gd.Model(
            NETWORKS["dropout"](), loss=gd.CrossEntropy(), backend=name, dtype="float64", seed=3
        )
        watch, path = Watch(), tmp_path / f"{name}.safetensors"
        common = {"optimizer": gd.Averaged(gd.Adam(lr=0.05)), "batch_size": 16, "validation_data": (x, t), "verbose": 0}
        callbacks = [watch, gd.EarlyStopping(patience=3), gd.Checkpoint(path, every=(2, "iteration"))]
        model.fit(x, t, epochs=2, callbacks=callbacks, **common)
        callbacks = [watch, gd.EarlyStopping(patience=3), gd.Checkpoint(path)]
        model.fit(x, t, epochs=4, callbacks=callbacks, resume=path, **common)
        seen[name] = watch.seen
    assert isinstance(models["jax"].theta, jax.Array)
    close(models["jax"].theta, models["numpy"].theta)
    for found, expected in zip(seen["jax"], seen["numpy"], strict=True):
        close(found, expected)


@pytest.mark.parametrize(
    "step",
    [
        lambda v, x: (v - 0.1 * v[:1500] @ v[1500:], jnp.sum(jnp.concatenate([v, x]) ** 2)),
        lambda v, x: (v + jnp.hstack([v, x])[10:], jnp.hstack([x, v[:1500], v])),
        lambda v, x: (v * jnp.concatenate([v[:1000], v[1500:], v[1000:1500]]), v[:1500] @ jnp.ones((1500, 2))),
        lambda v, x: (v - v[1500:1501], jnp.dot(v, jnp.ones((3000, 4))) + v[:1500].sum()),
        lambda v, x: (v + v[:1500].sum(), jnp.einsum("p,pk->k", v, jnp.ones((3000, 2)))),
    ],
)
def test_cut_vectors_joined_with_others_and_multiplied_by_matrices(step, always):
    rng = np.random.default_rng(0)
    v, x = rng.normal(size=3000), rng.normal(size=10)
    expected = step(jnp.asarray(v), jnp.asarray(x))
    found = CutStep(step, (0,))(jnp.asarray(v), jnp.asarray(x))
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-12, atol=1e-12)

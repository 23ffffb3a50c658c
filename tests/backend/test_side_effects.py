"""A layer that does more than give results: run as it is on NumPy, as on PyTorch; refused in one sentence by JAX."""

import gc
import pickle

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.backend.numpy.compiler.step import Program
from gdnet.backend.numpy.compiler.trace import Traced
from gdnet.backend.side_effects import Snapshot
from gdnet.errors import CompileError

KEPT = {"mean": 0.0}
SEEN = 0


class Watching(gd.Layer):
    """y = x, and a note of it."""

    def out_shape(self, in_shape):
        return in_shape

    def forward(self, params, x, context):
        if context.need_dx or context.key is not None:
            self.note(x, context.xp)
        return x, gd.Jacobian(lambda dparams, dx: dx, lambda dy: ({}, dy))

    def memory(self):
        """What has been kept, as numbers."""
        return [
            np.array(v, float) for name, v in sorted(vars(self).items()) if not name.startswith("_") and name != "name"
        ]


class Attribute(Watching):
    def __init__(self):
        self.mean = 0.0

    def note(self, x, xp):
        self.mean = 0.9 * self.mean + 0.1 * xp.mean(x, axis=0)


class FromNone(Watching):
    mean = None

    def note(self, x, xp):
        mean = xp.mean(x, axis=0)
        self.mean = mean if self.mean is None else 0.9 * self.mean + 0.1 * mean


class InPlace(Watching):
    def __init__(self):
        self.mean = np.zeros(3)

    def note(self, x, xp):
        self.mean *= 0.9
        self.mean += 0.1 * np.asarray(xp.mean(x, axis=0))


class InDictionary(Watching):
    def __init__(self):
        self.kept = {"mean": 0.0}

    def note(self, x, xp):
        self.kept["mean"] = 0.9 * self.kept["mean"] + 0.1 * xp.mean(x)

    def memory(self):
        return [np.array(self.kept["mean"], float)]


class InObject(InDictionary):
    def __init__(self):
        self.kept = [Attribute(), 0]

    def note(self, x, xp):
        self.kept[0].note(x, xp)
        self.kept[1] += 1

    def memory(self):
        return [*self.kept[0].memory(), np.array(self.kept[1])]


class Appending(Watching):
    def __init__(self):
        self.means = []

    def note(self, x, xp):
        self.means.append(xp.mean(x))


class Counting(Watching):
    def __init__(self):
        self.calls = 0

    def note(self, x, xp):
        self.calls += 1


class CountingFromNothing(Watching):
    def note(self, x, xp):
        self.calls = getattr(self, "calls", 0) + 1


class GlobalArray(Watching):
    def __init__(self):
        KEPT["mean"] = 0.0

    def note(self, x, xp):
        KEPT["mean"] = 0.9 * KEPT["mean"] + 0.1 * xp.mean(x)

    def memory(self):
        return [np.array(KEPT["mean"], float)]


class GlobalNumber(Watching):
    def __init__(self):
        globals()["SEEN"] = 0

    def note(self, x, xp):
        global SEEN
        SEEN += 1

    def memory(self):
        return [np.array(SEEN)]


class Enclosed(Watching):
    def __init__(self):
        calls = 0

        def note(x, xp):
            nonlocal calls
            calls += 1

        self.note, self.memory = note, lambda: [np.array(calls)]


class Rng(Watching):
    def __init__(self):
        self.rng = np.random.default_rng(3)

    def note(self, x, xp):
        self.draw = self.rng.random()

    def memory(self):
        return [np.array(self.rng.bit_generator.state["state"]["state"] % 2**50)]


KINDS = [
    Attribute, FromNone, InDictionary, InObject, Appending, Counting, CountingFromNothing, GlobalArray, GlobalNumber,
    Enclosed, Rng,
]  # fmt: skip
X = np.random.default_rng(0).standard_normal((40, 3))


def stepped(backend, kind, compiled, calls=7):
    """What a layer of this kind keeps after some calls, and the step."""
    layer = kind()
    net, rule = gd.Sequential(gd.Dense(3, 3), layer, gd.Dense(3, 1)), gd.Momentum(lr=0.01)
    step = gd.training_step(net, gd.SquaredError(), rule)
    if compiled:
        step = backend.compile(step, donate=(0, 1))
    theta = backend.asarray(net.initial(0))
    state = rule.init(theta)
    for k in range(calls):
        x = backend.asarray(X[5 * (k % 3) : 5 * (k % 3) + 5])
        theta, state, _ = step(theta, state, x, x[:, :1])
    return [*layer.memory(), backend.to_numpy(theta)], step


@pytest.mark.parametrize("kind", [*KINDS, InPlace], ids=lambda kind: kind.__name__)
def test_numpy_runs_a_step_that_keeps_something_as_it_is(kind):
    expected, _ = stepped(get_backend(), kind, compiled=False)
    found, step = stepped(get_backend(), kind, compiled=True)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert step.reason
    assert not any(isinstance(program, Program) for program in step.programs.values())


@pytest.mark.parametrize(
    "kind", [Attribute, Counting, InDictionary, Enclosed, GlobalNumber], ids=lambda kind: kind.__name__
)
def test_the_reason_names_the_class_and_what_it_changes(kind):
    _, step = stepped(get_backend(), kind, compiled=True)
    assert {
        Attribute: "Attribute changes its attribute 'mean'",
        Counting: "Counting changes its attribute 'calls'",
        InDictionary: "the step changes the item 'mean' of a dictionary",
        Enclosed: "the step changes a variable of the function around it",
        GlobalNumber: "the step changes the global variable 'SEEN'",
    }[kind] in step.reason


class Caching(Watching):
    """What is computed once, or the same every time, is no change."""

    def __init__(self):
        self.ones, self.first = {}, None

    def note(self, x, xp):
        self.ones.setdefault(x.shape, xp.ones(x.shape[-1]))
        self.latest = x.shape
        self.first = self.first or float(np.sqrt(2.0))

    def memory(self):
        return list(self.ones.values())


def test_a_cache_is_no_change():
    expected, _ = stepped(get_backend(), Caching, compiled=False)
    found, step = stepped(get_backend(), Caching, compiled=True)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert step.reason is None


def test_jax_refuses_a_step_that_keeps_something():
    jax = pytest.importorskip("jax")
    backend = get_backend("cpu", "jax")
    for kind in KINDS:
        if kind is CountingFromNothing:
            continue  # for JAX, a value that appears is one computed once
        for donate in ((0, 1), ()):
            layer = kind()
            net = gd.Sequential(gd.Dense(3, 3), layer, gd.Dense(3, 1))
            step = backend.compile(gd.training_step(net, gd.SquaredError(), gd.SGD(lr=0.1)), donate=donate)
            theta, x = backend.asarray(net.initial(0)), backend.asarray(X)
            before = layer.memory()
            with pytest.raises(CompileError, match="JAX runs a step's Python code once") as caught:
                step(theta, gd.SGD(lr=0.1).init(theta), x, x[:, :1])
            assert any(word in str(caught.value) for word in (kind.__name__, "the step", "Attribute"))
            for a, b in zip(layer.memory(), before, strict=False):  # no tracer is left behind
                np.testing.assert_array_equal(a, b)
            assert not any(isinstance(v, jax.core.Tracer) for v in vars(layer).values())


def test_an_array_kept_where_nobody_looks_is_found_and_behaves_like_any_other():
    class Hidden:
        __slots__ = ("array",)

    hidden = Hidden()

    def deeper(x):
        hidden.array = y = x * 2.0
        return (y + 1.0,)

    compiled = get_backend().compile(deeper)
    np.testing.assert_array_equal(compiled(np.ones(3))[0], np.full(3, 3.0))
    assert "keeps an array" in compiled.reason
    left = Hidden()

    def leaking(x):
        left.array = getattr(left, "array", x)  # the array of the trace stays
        return (x * 2.0,)

    compiled = get_backend().compile(leaking)
    for _ in range(4):
        np.testing.assert_array_equal(compiled(np.ones(3))[0], np.full(3, 2.0))
    assert isinstance(left.array, Traced)
    y = 0.5 * left.array + left.array.T.reshape(3)
    assert type(y) is np.ndarray
    assert float(left.array[0]) == 1.0
    assert left.array.sum().item() == 3.0
    assert left.array.copy().tolist() == [1.0, 1.0, 1.0]
    left.array += 1.0
    assert list(pickle.loads(pickle.dumps(left.array)) * 1.0) == [2.0, 2.0, 2.0]


def test_a_snapshot_puts_everything_back():
    class Holder:
        def __init__(self):
            self.number, self.list, self.set, self.array = 1, [1, 2], {1}, np.ones(3)
            self.nested = {"a": [np.zeros(2)]}

    holder, calls = Holder(), 0

    def function():
        nonlocal calls
        calls += 1
        holder.number, holder.new = 2, 3
        holder.list.append(3)
        holder.set.add(2)
        holder.array += 1.0
        holder.nested["a"][0][1] = 5.0

    before = Snapshot(function)
    assert before.changes() == []
    function()
    assert len(before.changes()) == 6
    assert len(before.restore()) == 6
    assert before.changes() == []
    assert (calls, holder.number, holder.list, holder.set, hasattr(holder, "new")) == (0, 1, [1, 2], {1}, False)
    assert holder.array.tolist() == [1.0, 1.0, 1.0]
    assert holder.nested["a"][0].tolist() == [0.0, 0.0]
    gc.collect()


def test_batch_normalisation_with_running_statistics_is_the_same_on_numpy_and_torch():
    pytest.importorskip("torch")

    class BatchNorm(gd.Layer):
        """y = (x - mean) / sqrt(var + 1e-5), with the running mean and variance of training where no key comes."""

        def __init__(self):
            self.mean, self.var = 0.0, 1.0

        def out_shape(self, in_shape):
            return in_shape

        def forward(self, params, x, context):
            xp, n = context.xp, x.shape[0]
            if not context.need_dx:
                s = (self.var + 1e-5) ** 0.5
                return (x - self.mean) / s, gd.Jacobian(lambda dparams, dx: dx / s, lambda dy: ({}, dy / s))
            mean = xp.mean(x, axis=0)
            var = xp.mean((x - mean) ** 2, axis=0)
            self.mean, self.var = 0.9 * self.mean + 0.1 * mean, 0.9 * self.var + 0.1 * var
            s = (var + 1e-5) ** 0.5
            z = (x - mean) / s

            def product(d):
                return (d - xp.sum(d, axis=-2, keepdims=True) / n - z * xp.sum(d * z, axis=-2, keepdims=True) / n) / s

            return z, gd.Jacobian(lambda dparams, dx: product(dx), lambda dy: ({}, product(dy)))

    rng = np.random.default_rng(0)
    x = 30.0 + 3.0 * rng.standard_normal((64, 4))
    t = np.tanh(x[:, :1] - 30.0)
    found = {}
    for backend in ("numpy", "torch"):
        layer = BatchNorm()
        net = gd.Sequential(gd.Dense(4, 6), layer, gd.Tanh(), gd.Dense(6, 1))
        model = gd.Model(net, loss=gd.SquaredError(), backend=backend, dtype="float64", seed=1)
        model.fit(x, t, optimizer=gd.Adam(lr=0.01), batch_size=16, epochs=20, verbose=0)
        found[backend] = [model.evaluate(x, t)["loss"], *np.asarray(layer.mean), *np.asarray(layer.var)]
    np.testing.assert_allclose(found["numpy"], found["torch"], rtol=1e-9)
    assert found["numpy"][0] < 0.5

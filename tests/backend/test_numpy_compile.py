"""A compiled step gives what the step gives, bit for bit, or is not used."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend, numpy_chain
from gdnet.backend.numpy_compile import CHECKED_CALLS, CompiledStep
from gdnet.backend.numpy_trace import opaque
from gdnet.backend.tree import flatten, unflatten
from gdnet.testing.cases_optimizers import FIRST_ORDER

RNG = np.random.default_rng(0)


def compiled_equals(step, make_arguments, calls=6):
    """Call both side by side on fresh data; return the compiled one."""
    compiled = get_backend().compile(step)
    for _ in range(calls):
        args = make_arguments()
        kept = [a.copy() for a in args]
        for a, b in zip(flatten(step(*args))[0], flatten(compiled(*args))[0], strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        for a, b in zip(args, kept, strict=True):
            np.testing.assert_array_equal(a, b)
    return compiled


def used(compiled):
    """Whether every signature seen has a program that passed its checks."""
    return all(p is not None and p.checks_left == 0 for p in compiled.programs.values()) and bool(compiled.programs)


NETS = {
    "dense": lambda: gd.Sequential(gd.Dense(6, 5), gd.Tanh(), gd.Dense(4), gd.ReLU(), gd.Dense(3)),
    "nested": lambda: gd.Sequential(gd.Dense(6, 5), gd.Sigmoid(), gd.Residual(gd.Dense(5), gd.GELU()), gd.Dense(3)),
    "branches": lambda: gd.Sequential(
        gd.Dense(6, 4), gd.Parallel(gd.SiLU(), gd.Softmax(), combine="concat"), gd.Dense(3)
    ),
    "dropout": lambda: gd.Sequential(gd.Dense(6, 8), gd.ReLU(), gd.Dropout(0.4), gd.Dense(3)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("loss", ["CrossEntropy", "SquaredError", "Huber", "LogCosh"])
def test_training_steps_are_compiled_and_equal(net, loss, dtype):
    net = NETS[net]()
    step = gd.training_step(net, getattr(gd, loss)(), gd.SGD(lr=0.1))
    compiled = get_backend().compile(step)
    theta = net.parameters(like=np.zeros((1, 6)), dtype=dtype)
    a, b = (theta, gd.SGD(lr=0.1).init(theta)), (theta, gd.SGD(lr=0.1).init(theta))
    for n in [7, 7, 7, 3, 7, 3, 3, 7]:  # a short batch has a program of its own
        x = RNG.standard_normal((n, 6)).astype(dtype)
        t = RNG.integers(0, 3, n) if loss == "CrossEntropy" else RNG.standard_normal((n, 3)).astype(dtype)
        *a, value_a = step(*a, x, t)
        *b, value_b = compiled(*b, x, t)
        assert value_a == value_b
        np.testing.assert_array_equal(a[0], b[0])
        assert b[0].dtype == dtype
    assert used(compiled)


@pytest.mark.parametrize("case", FIRST_ORDER, ids=lambda case: case.name)
@pytest.mark.parametrize("donate", [(), (0, 1)], ids=["kept", "donated"])
def test_every_first_order_optimizer_is_compiled_and_equal(case, donate):
    net = gd.Sequential(gd.Dense(6, 5), gd.Tanh(), gd.Dense(1))
    optimizer = case.optimizer.bind(net.layout())
    step = gd.training_step(net, gd.SquaredError(), optimizer)
    compiled = get_backend().compile(step, donate)
    theta = net.parameters(like=np.zeros((1, 6), np.float32))
    a, b = (theta, optimizer.init(theta)), (theta, optimizer.init(theta))
    for _ in range(30):
        x, t = RNG.standard_normal((7, 6), dtype=np.float32), RNG.standard_normal((7, 1), dtype=np.float32)
        *a, value_a = step(*a, x, t)
        *b, value_b = compiled(*b, x, t)
        assert value_a == value_b
        np.testing.assert_array_equal(a[0], b[0])
    assert used(compiled)


def test_what_is_written_in_place_stays_in_order():
    def step(x, y):
        z = x @ y
        a = z + 1.0
        z += 2.0
        b = z + 1.0  # not the same as a, though the call is
        w = np.empty_like(z)
        w[...] = a * b
        v = w[1:]
        w[0] = 5.0
        return w.T @ v.reshape(-1, 3).T, (v * v, np.sum(w, axis=0))

    assert used(compiled_equals(step, lambda: [RNG.random((3, 3)), RNG.random((3, 3))]))


def test_results_survive_the_next_call():
    compiled = get_backend().compile(lambda x: (x * 2.0, (x + 1.0)[1:]))
    xs = [RNG.random(5) for _ in range(6)]
    results = [compiled(x) for x in xs]
    for x, (double, tail) in zip(xs, results, strict=True):
        np.testing.assert_array_equal(double, 2 * x)
        np.testing.assert_array_equal(tail, (x + 1)[1:])


def test_donated_arguments_give_their_memory_and_others_do_not():
    def step(theta, state, x):
        return theta - 0.5 * x, (state[0] + x, state[1]), x + 1.0

    compiled = get_backend().compile(step, donate=(0, 1))
    theta, state, x = np.zeros(5), (np.ones(5), np.full(5, 2.0)), np.arange(5.0)
    for n in range(1, 7):
        before = theta
        theta, state, y = compiled(theta, state, x)
        np.testing.assert_array_equal(theta, -0.5 * n * x)
        np.testing.assert_array_equal(state[0], 1 + n * x)
        np.testing.assert_array_equal(y, x + 1)
        assert np.shares_memory(before, theta) == (n > CHECKED_CALLS)
    np.testing.assert_array_equal(x, np.arange(5.0))


@pytest.mark.parametrize("size", [1, 100, 1 << 16, 200_000, 1_100_000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("written", [True, False], ids=["chain.c", "numpy"])
def test_a_compiled_update_is_one_chain_and_gives_the_same_bits(size, dtype, written, monkeypatch):
    if not written:
        monkeypatch.setattr(numpy_chain, "compiled", None)
    rule = gd.Adam(lr=0.01)
    update = get_backend().compile(lambda theta, state, g: rule.apply(g, state, theta), donate=(0, 1))
    theta = RNG.standard_normal(size).astype(dtype)
    a, b = (theta.copy(), rule.init(theta)), (theta.copy(), rule.init(theta))
    for _ in range(5):
        g = RNG.standard_normal(size).astype(dtype)
        a, b = rule.apply(g, a[1], a[0]), update(*b, g)
        for x, y in zip(flatten(a)[0], flatten(b)[0], strict=True):
            np.testing.assert_array_equal(x, y)
    assert used(update)
    (program,) = update.programs.values()
    assert program.source.count("chain_") == (1 if written or size > numpy_chain.BLOCK else 0)
    assert "empty" not in program.source  # the results lie where the arguments lay


def test_a_repeated_expression_is_computed_once():
    compiled = compiled_equals(lambda x, y: ((x - y) * (x - y), (x - y) + 1.0), lambda: [RNG.random(5), RNG.random(5)])
    assert used(compiled)
    (program,) = compiled.programs.values()
    assert program.source.count("subtract") == 1


@pytest.mark.parametrize(
    "step",
    [
        lambda x: x * (2.0 if float(x[0]) > 0.5 else 3.0),
        lambda x: x[x > 0.5].sum() + 0 * x if bool(np.any(x > 2)) else x + 1.0,
        lambda x: np.asarray(x) * 2.0 + x,
        lambda x: x + float(np.asarray(x).sum()),
        lambda x: np.full(5, 3.0),
    ],
    ids=["reads a value", "branches", "loses the trace", "reads behind the trace", "depends on nothing"],
)
def test_a_step_that_cannot_be_written_down_is_simply_run(step):
    compiled = compiled_equals(step, lambda: [RNG.random(5)])
    assert not used(compiled)


def test_an_own_kernel_is_one_call():
    @opaque
    def kernel(backend, x, y):
        return np.add(x, y), x * y

    compiled = compiled_equals(lambda x, y: kernel(None, x, y + 1.0), lambda: [RNG.random(4), RNG.random(4)])
    assert used(compiled)
    (program,) = compiled.programs.values()
    assert program.source.count("kernel") == 1


def test_only_so_many_programs_are_kept():
    compiled = CompiledStep(lambda x: (x + 1.0,))
    for n in range(1, 30):
        compiled(np.zeros(n))
    assert len(compiled.programs) <= 8
    assert CHECKED_CALLS >= 2


def test_nested_tuples_come_back_as_they_were():
    state = gd.SGD(lr=0.1).init(np.zeros(2))
    tree = (1, None, (state, (2,)), ())
    leaves, form = flatten(tree)
    again = unflatten(form, iter(leaves))
    assert repr(again) == repr(tree)
    assert type(again[2][0]) is type(state)


def test_threads_may_share_a_compiled_step():
    from concurrent.futures import ThreadPoolExecutor

    compiled = get_backend().compile(lambda x: np.tanh(x @ x) @ x)
    inputs = [RNG.standard_normal((60, 60)) for _ in range(8)]
    expected = [np.tanh(x @ x) @ x for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            for found, right in zip(pool.map(compiled, inputs), expected, strict=True):
                np.testing.assert_array_equal(found, right)

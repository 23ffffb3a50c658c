"""A compiled step gives what the step gives, bit for bit, or is not used."""

import textwrap

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.backend.numpy import compiler
from gdnet.backend.numpy.compiler import chain
from gdnet.backend.numpy.compiler.step import CHECKED_CALLS, MAX_PROGRAMS, WORTHWHILE, CompiledStep, Program
from gdnet.backend.numpy.compiler.trace import opaque
from gdnet.backend.tree import flatten, unflatten
from gdnet.errors import CompileError
from gdnet.testing.cases_optimizers import FIRST_ORDER

RNG = np.random.default_rng(0)
SCRATCH = np.empty(5)


def compiled_equals(step, make_arguments, calls=6, strict=True, donate=()):
    """Call both side by side on fresh data; return the compiled one. Unless `strict` is False, it must be used."""
    compiled = get_backend().compile(step, donate, strict)
    for _ in range(calls):
        args = make_arguments()
        kept = [a.copy() for a in args]
        expected = flatten(step(*(a.copy(order="K") for a in args)))[0]
        for a, b in zip(expected, flatten(compiled(*args))[0], strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        for a, b in zip(args[len(donate) :], kept[len(donate) :], strict=True):
            np.testing.assert_array_equal(a, b)
    assert used(compiled) == strict
    assert (compiled.reason is None) == strict
    return compiled


def used(compiled):
    """Whether every signature seen has a program that passed its checks."""
    found = list(compiled.programs.values())
    return bool(found) and all(isinstance(p, Program) and p.checks_left == 0 for p in found)


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
    compiled = get_backend().compile(step, strict=True)
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
    compiled = get_backend().compile(step, donate, strict=True)
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

    compiled_equals(step, lambda: [RNG.random((3, 3)), RNG.random((3, 3))])


def test_results_survive_the_next_call():
    compiled = get_backend().compile(lambda x: (x * 2.0, (x + 1.0)[1:]), strict=True)
    xs = [RNG.random(5) for _ in range(6)]
    results = [compiled(x) for x in xs]
    for x, (double, tail) in zip(xs, results, strict=True):
        np.testing.assert_array_equal(double, 2 * x)
        np.testing.assert_array_equal(tail, (x + 1)[1:])
    assert used(compiled)


def test_donated_arguments_give_their_memory_and_others_do_not():
    def step(theta, state, x):
        return theta - 0.5 * x, (state[0] + x, state[1]), x + 1.0

    compiled = get_backend().compile(step, donate=(0, 1), strict=True)
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
        monkeypatch.setattr(chain, "compiled", None)
    rule = gd.Adam(lr=0.01)
    update = get_backend().compile(lambda theta, state, g: rule.apply(g, state, theta), donate=(0, 1), strict=True)
    theta = RNG.standard_normal(size).astype(dtype)
    a, b = (theta.copy(), rule.init(theta)), (theta.copy(), rule.init(theta))
    for _ in range(5):
        g = RNG.standard_normal(size).astype(dtype)
        a, b = rule.apply(g, a[1], a[0]), update(*b, g)
        for x, y in zip(flatten(a)[0], flatten(b)[0], strict=True):
            np.testing.assert_array_equal(x, y)
    assert used(update)
    (program,) = update.programs.values()
    assert program.source.count("chain_") == (1 if written or size > chain.BLOCK else 0)
    assert "empty" not in program.source  # the results lie where the arguments lay


def test_a_repeated_expression_is_computed_once():
    compiled = compiled_equals(lambda x, y: ((x - y) * (x - y), (x - y) + 1.0), lambda: [RNG.random(5), RNG.random(5)])
    assert used(compiled)
    (program,) = compiled.programs.values()
    assert program.source.count("subtract") == 1


READS = "reads a value on the host"


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda x: x * (2.0 if float(x[0]) > 0.5 else 3.0), READS),
        (lambda x: x[x > 0.5].sum() + 0 * x if bool(np.any(x > 2)) else x + 1.0, READS),
        (lambda x: x * x.sum().item(), READS),
        (lambda x: np.asarray(x) * 2.0 + x, "on other numbers"),
        (lambda x: x + float(np.asarray(x).sum()), "on other numbers"),
        (lambda x: np.full(5, 3.0), "does not depend on the arguments"),
        (lambda x: np.add(x, x, out=SCRATCH) + x, "an array from outside the step"),
        (lambda x: x + RNG.random(), "draws from a random generator"),
        (lambda x: x + np.random.rand(), "draws from a random generator"),  # noqa: NPY002
    ],
)
def test_a_step_that_cannot_be_written_down_is_simply_run(step, reason):
    """The generators stand where the step alone would leave them."""
    compiled = get_backend().compile(step)
    for _ in range(6):
        x = np.arange(5.0) / 3.0
        before = RNG.bit_generator.state, np.random.get_state()  # noqa: NPY002
        expected = step(x.copy())
        RNG.bit_generator.state = before[0]
        np.random.set_state(before[1])  # noqa: NPY002
        np.testing.assert_array_equal(compiled(x), expected)
    assert not used(compiled)
    assert reason in compiled.reason
    with pytest.raises(CompileError, match=reason):
        get_backend().compile(step, strict=True)(np.arange(5.0))


def test_an_error_of_the_step_is_the_steps_own():
    compiled = get_backend().compile(lambda x, y: x @ y)
    with pytest.raises(ValueError, match="mismatch"):
        compiled(np.ones((2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(compiled(np.ones((2, 3)), np.ones((3, 1))), np.full((2, 1), 3.0))


def test_an_own_kernel_is_one_call():
    @opaque
    def kernel(backend, x, y):
        return np.add(x, y), x * y

    compiled = compiled_equals(lambda x, y: kernel(None, x, y + 1.0), lambda: [RNG.random(4), RNG.random(4)])
    assert used(compiled)
    (program,) = compiled.programs.values()
    assert program.source.count("kernel") == 1


def test_a_shape_that_comes_often_takes_the_place_of_the_one_that_rested_longest():
    compiled = CompiledStep(lambda x: (x + 1.0,), strict=True)

    def call(n, times):
        for _ in range(times):
            np.testing.assert_array_equal(compiled(np.zeros(n))[0], np.ones(n))
        return [key[0][0][0] for key in compiled.programs]

    for n in range(1, MAX_PROGRAMS + 1):
        call(n, 1)
    assert call(1, 1) == [*range(2, MAX_PROGRAMS + 1), 1]  # 1 was used, 2 rests longest
    assert call(33, WORTHWHILE - 1) == [*range(2, MAX_PROGRAMS + 1), 1]
    assert call(33, CHECKED_CALLS) == [*range(3, MAX_PROGRAMS + 1), 1, 33]
    assert compiled.programs[next(reversed(compiled.programs))].checks_left == 0


def test_shapes_in_turn_do_not_drive_each_other_out():
    compiled = CompiledStep(lambda x: (x + 1.0,))
    for _ in range(3 * WORTHWHILE):
        for n in range(1, MAX_PROGRAMS + 2):
            compiled(np.zeros(n))
    assert used(compiled)
    assert [key[0][0][0] for key in compiled.programs] == [*range(1, MAX_PROGRAMS + 1)]
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

    compiled = get_backend().compile(lambda x: np.tanh(x @ x) @ x, strict=True)
    inputs = [RNG.standard_normal((60, 60)) for _ in range(8)]
    expected = [np.tanh(x @ x) @ x for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            for found, right in zip(pool.map(compiled, inputs), expected, strict=True):
                np.testing.assert_array_equal(found, right)
    assert used(compiled)


ONES, LEFT = np.ones(3), np.asarray([1.0, 2.0, 3.0])


def baked_copy(x):
    return (np.array(x) + x,)


def baked_conversion(x):
    return (np.asarray(x, np.float32) + x,)


def sorted_in_place(x):
    z = x * 1.0
    z.sort()
    return (z + 0.0 * x,)


def written_through_a_view(x):
    z = np.zeros(6)
    z[:3] = x
    return (z * 2.0,)


@pytest.mark.parametrize("step", [baked_copy, baked_conversion, sorted_in_place, written_through_a_view])
def test_what_passes_by_the_tape_is_found_though_the_first_batches_are_equal(step):
    compiled = get_backend().compile(step)
    with pytest.raises(CompileError):
        get_backend().compile(step, strict=True)(LEFT)
    for x in [LEFT, LEFT, LEFT, LEFT[::-1].copy(), RNG.random(3)]:
        np.testing.assert_array_equal(compiled(x.copy())[0], step(x.copy())[0])
    assert compiled.reason


def test_two_results_of_one_memory_are_not_overwritten_through_each_other():
    def step(a, b, x):
        m = a + x
        return m, m, b + m

    compiled = get_backend().compile(step, donate=(0, 1))
    a = b = c = d = np.ones(50)
    for _ in range(6):
        x = RNG.random(50)
        (a, b, y), (c, d, z) = step(a, b, x), compiled(c, d, x)
        np.testing.assert_array_equal(y, z)
        np.testing.assert_array_equal(a, c)
    assert "two results share memory" in compiled.reason


def test_donated_arguments_that_are_one_array():
    def step(a, b, x):
        return a + x, b * x

    compiled = get_backend().compile(step, donate=(0, 1), strict=True)
    for _ in range(6):
        a, x = RNG.random(50), RNG.random(50)
        expected = step(a, a, x)
        for found, wanted in zip(compiled(a, a, x), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert used(compiled)


@pytest.mark.parametrize("data", [np.zeros((4, 6)), RNG.random((4, 6))], ids=["zeros", "random"])
def test_a_row_of_an_operand_outlives_the_place_of_the_whole(data):
    def step(a):
        p = a * 2.0
        q = p + a[0]
        return p, q

    compiled = get_backend().compile(step, donate=(0,), strict=True)
    for k in range(6):
        a = data.copy() if k < 3 else RNG.random((4, 6))
        for found, wanted in zip(compiled(a.copy()), step(a), strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert used(compiled)


def test_many_arrays_of_one_row():
    arrays = [np.ones((1, 7)) for _ in range(12)]

    def step(*parts):
        return (sum(p * (k + 1.5) for k, p in enumerate(parts)) * parts[3],)

    compiled = get_backend().compile(step, strict=True)
    for k in range(6):
        given = [a.copy() if k < 3 else RNG.random((1, 7)) for a in arrays]
        np.testing.assert_array_equal(compiled(*given)[0], compiled.step(*given)[0])
    assert used(compiled)


def test_numbers_change_in_place_for_nobody_else():
    def step(x, y):
        s = x.sum()
        t = s
        s += y.sum()
        return x * s, x * t

    compiled_equals(step, lambda: [RNG.random(5), RNG.random(5)])


@pytest.mark.parametrize("written", [True, False], ids=["chain.c", "numpy"])
@pytest.mark.parametrize(
    "step",
    [
        lambda x: ((x > 0.5).astype(x.dtype).T,),
        lambda x: (np.greater(x, 0.5, out=np.empty_like(x)),),
        lambda x: (np.isnan(x, out=np.empty_like(x)) + x,),
        lambda x: ((x > 0.5).astype(x.dtype)[1:] * 2.0, x > 0.5),
    ],
)
def test_truth_values_keep_their_dtype(step, written, monkeypatch):
    if not written:
        monkeypatch.setattr(chain, "compiled", None)
    compiled_equals(step, lambda: [RNG.random((300, 300))], calls=4)


@pytest.mark.parametrize(
    "step",
    [
        lambda x: (x.mean() * x, x.std() + x),
        lambda x: (np.reshape(x, (3, 4), order="F") * 2.0,),
        lambda x: (np.ldexp(x, 2),),
        lambda x: tuple(np.linalg.slogdet(x @ x.T + np.eye(4))),
        lambda x: (np.matmul(x, x.T, out=np.empty((4, 8))[:, :4]),),
        lambda x: (np.broadcast_to(x[0], (4, 3)), x + 1.0),
        lambda x: (np.matmul(x, x.T, dtype=np.float64),),
    ],
)
def test_what_cannot_be_written_down_runs_as_it_is(step):
    compiled = get_backend().compile(step)
    for _ in range(5):
        x = RNG.random((4, 3))
        for a, b in zip(compiled(x.copy()), step(x), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_result_that_refuses_to_be_overwritten_comes_back():
    def step(a, x):
        return np.broadcast_to(np.sum(a * x), (3,)) + 0.0 * x[:0].sum(), x * 2.0

    def fixed(a, x):
        return np.broadcast_to(np.sum(a * x), (3,)), x * 2.0

    for own in (step, fixed):
        compiled, a, b = get_backend().compile(own, donate=(0,), strict=True), ONES, ONES
        for _ in range(6):
            x = RNG.random(3)
            (a, y), (b, z) = own(a, x), compiled(b, x)
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(y, z)
        assert compiled.reason is None


def test_other_strides_are_another_program():
    compiled = get_backend().compile(lambda x: (np.sum(x * 3.0, axis=0), np.sum(x.T * 3.0)), strict=True)
    for k in range(12):
        x = RNG.random((40, 30))
        x = np.asfortranarray(x) if k % 2 else x
        for a, b in zip(compiled(x), compiled.step(x), strict=True):
            np.testing.assert_array_equal(a, b)
    assert used(compiled)
    assert len(compiled.programs) == 2


def test_arguments_that_are_no_arrays():
    compiled = get_backend().compile(lambda x, rate: (x * rate,))
    for rate in (0.5, 0.5, 0.5, 0.25):
        np.testing.assert_array_equal(compiled(ONES, rate)[0], ONES * rate)
    assert "not an array" in compiled.reason


def test_unaligned_arrays():
    raw = np.zeros(8 * 64 + 1, np.uint8)
    x = raw[1:].view(np.float64)
    compiled = get_backend().compile(lambda x: (x * 2.0 + 1.0,), strict=True)
    for k in range(5):
        x[...] = k
        np.testing.assert_array_equal(compiled(x)[0], x * 2.0 + 1.0)
    assert used(compiled)


def test_one_number_times_a_row_keeps_the_rule_of_matmul():
    compiled = get_backend().compile(lambda a, b: (a @ b,), strict=True)
    for _ in range(5):
        a, b = np.zeros((1, 1)), np.asarray([[np.inf, 1.0]])
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(compiled(a, b)[0], a @ b)
    assert used(compiled)


@pytest.mark.skipif(chain.compiled is None, reason="chains are joined in another way without the compiled loops")
def test_the_program_in_the_description_of_the_compiler_is_the_one_that_is_written():
    def step(w, x):
        y = x @ w
        y += 1.0
        return w - 0.1 * (x.T @ (y * y))

    compiled = get_backend().compile(step, donate=(0,), strict=True)
    compiled(np.ones((3, 2)), np.ones((4, 3)))
    (program,) = compiled.programs.values()
    assert textwrap.indent(program.source, "    ") in compiler.__doc__


def written_between(x, y):
    z = x * 3.0
    head = z[:2]
    head += 1.0
    a = np.sqrt(z)
    head += 2.0  # the root of z is another one now
    return a * 2.0, np.sqrt(z) * 3.0


def copied_and_read(x, y):
    z, v = np.empty_like(x), x * 2.0
    z[...] = v
    return z + 1.0, v * 3.0 - z


def compared_and_read(x, y):
    above = x > 0.5
    return above.astype(x.dtype) * y, np.where(above, y, 0.0)


def compared_and_written(x, y):
    z = np.zeros_like(x)
    z[...] = x @ np.ones((5, 5))
    above = z > 2.0
    head = z[:2]
    head[...] = 7.0
    return above.astype(x.dtype) * y + 0.0 * z


def product_and_read(x, y):
    a = x * 0.5
    return a + y, a * a


def narrow_into_wide(x, y):
    z = np.zeros_like(x)
    row = x[0] * 1.0
    np.add(row, row, out=z)
    return (z * y,)


def needed_between(x, y):
    a = x * 2.0 + 1.0
    b = np.sum(a, axis=0)
    return a * b + y, b


def views_of_buffers(x, y):
    a = x * y + 1.0
    left, right = a[:, :2].T, a[:, 2:]
    b = x + 2.0  # must not lie where a lies
    return left @ b, right * 2.0


def results_of_different_sizes(x, y):
    a = np.tanh(x @ y.T)
    b = np.tanh(a.reshape(-1) * 2.0)
    c = np.tanh(x[:2] * 3.0)
    d = np.tanh(a @ a)
    return np.sum(b) * d, np.sum(c) + np.sum(a, axis=0)


@pytest.mark.parametrize("written", [True, False], ids=["chain.c", "numpy"])
@pytest.mark.parametrize(
    "step",
    [
        written_between, copied_and_read, compared_and_read, compared_and_written, product_and_read, narrow_into_wide,
        needed_between, views_of_buffers, results_of_different_sizes,
    ],
    ids=lambda step: step.__name__,
)  # fmt: skip
def test_what_is_read_again_is_there_and_as_it_was(step, written, monkeypatch):
    if not written:
        monkeypatch.setattr(chain, "compiled", None)
    compiled_equals(step, lambda: [RNG.random((5, 5)), RNG.random((5, 5))])


def test_one_donated_argument_makes_room_for_one_result_only():
    def step(a, b, x):
        return a + x, a - x, b

    compiled = get_backend().compile(step, donate=(0, 1), strict=True)
    for _ in range(5):
        a, b, x = RNG.random((3, 50))
        expected = step(a.copy(), b, x)
        for found, wanted in zip(compiled(a, b.copy(), x), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert used(compiled)


def test_a_donated_argument_that_another_one_shows():
    compiled = get_backend().compile(lambda a, x: (a * 2.0, a[0] + x), donate=(0,), strict=True)
    for _ in range(6):
        whole = RNG.random(60)
        expected = whole[:50] * 2.0, whole[0] + whole[10:]
        for found, wanted in zip(compiled(whole[:50], whole[10:]), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        kept = whole[10:].copy()
        compiled(whole[:50], whole[10:])
        np.testing.assert_array_equal(whole[10:], kept)  # what was not donated is as it was
    assert used(compiled)

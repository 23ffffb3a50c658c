"""The logic of captured steps without a GPU: a stand-in records NumPy calls as closures over the arrays they write."""

import contextlib
import sys
import warnings
from typing import ClassVar

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend.cupy.graph import CapturedStep, destination
from gdnet.backend.cupy.sources import UPDATES
from gdnet.backend.numpy.backend import NumpyBackend
from gdnet.errors import OptionError


class Taped(np.ndarray):
    """An array whose operations can be done again on the same memory, as a graph does them."""

    tape: ClassVar[list | None] = None

    @classmethod
    def note(cls, run):
        if cls.tape is not None:
            cls.tape.append(run)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        f, plain = getattr(ufunc, method), [untaped(a) for a in inputs]
        if out is not None:
            target = untaped(out[0])
            f(*plain, out=target, **kwargs)
            Taped.note(lambda: f(*plain, out=target, **kwargs))
            return out[0]
        return repeated(lambda: f(*plain, **kwargs), ())

    def __array_function__(self, function, types, args, kwargs):
        plain, options = untaped(args), {k: untaped(v) for k, v in kwargs.items()}
        return repeated(lambda: function(*plain, **options), plain)

    def __setitem__(self, index, value):
        target, plain = untaped(self), untaped(value)
        target[index] = plain
        Taped.note(lambda: target.__setitem__(index, plain))

    def astype(self, *args, **kwargs):
        plain = untaped(self)
        return repeated(lambda: plain.astype(*args, **kwargs), ())

    def _read(self, *args):
        raise RuntimeError("a value was read on the host")

    __float__ = __bool__ = __int__ = _read


def untaped(a):
    if isinstance(a, Taped):
        return a.view(np.ndarray)
    return type(a)(map(untaped, a)) if type(a) in (list, tuple) else a


def repeated(run, args):
    """The result of `run()`, which is brought up to date when the tape is played; views need no more than that."""
    found = np.asarray(run())
    inputs = [a for a in args if isinstance(a, np.ndarray)]
    if not any(np.may_share_memory(found, a) for a in inputs):
        Taped.note(lambda: np.copyto(found, run()))
    return found.view(Taped)


class Recorder:
    """Stands for `CudaRecorder`."""

    def __init__(self, fail_at=""):
        self.fail_at, self.copies, self.launches, self.nodes = fail_at, 0, 0, []
        self._fail("recorder")

    def _fail(self, where):
        if where == self.fail_at:
            raise RuntimeError(f"no {where}")

    def copy(self, array):
        self.copies += 1
        return repeated(lambda: np.array(untaped(array)), ())

    def overlap(self, a, b):
        return np.may_share_memory(untaped(a), untaped(b))

    @contextlib.contextmanager
    def recording(self):
        try:
            yield self
        finally:
            Taped.tape = None

    def begin(self):
        self._fail("begin")
        Taped.tape = []

    def end(self):
        self._fail("end")
        tape, Taped.tape = Taped.tape, None
        self.nodes.append(len(tape))

        def launch():
            self.launches += 1
            for run in tape:
                run()

        return launch


@pytest.fixture(autouse=True)
def plain_bodies(monkeypatch):
    monkeypatch.setattr(NumpyBackend, "kernels", {})


def capture(step, donate=(0, 1), fail_at="", strict=False):
    """(captured step, list of the recorders that were made)"""
    made = []

    def recorder():
        made.append(Recorder(fail_at))
        return made[-1]

    return CapturedStep(recorder, step, donate, strict=strict), made


def data(n=8):
    rng = np.random.default_rng(n)
    return rng.standard_normal((n, 4)), rng.integers(0, 3, n)


def problem(optimizer, dropout=0.3):
    net = gd.Sequential(gd.Dense(4, 5), gd.Tanh(), gd.Dropout(dropout), gd.Dense(3))
    step = gd.training_step(net, gd.CrossEntropy(), optimizer)
    theta = net.parameters(like=np.zeros((1, 4)))
    return step, theta, optimizer.init(theta)


def same(a, b):
    if isinstance(a, tuple):
        assert type(a) is type(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        # NumPy's power rounds differently for scalars, which the eager step has, and arrays.
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-14, atol=0)


OPTIMIZERS = [
    gd.SGD(lr=0.1), gd.Adam(), gd.NAdam(), gd.Rprop(), gd.Lion(weight_decay=0.1, l1=0.01),
    gd.Momentum(lr=gd.CosineDecay(0.1, T_max=10), clip_norm=1.0), gd.Averaged(gd.Adam()),
    gd.Averaged(gd.SGD(lr=0.1), decay=None),
]  # fmt: skip


@pytest.mark.parametrize("donate", [(), (0, 1)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_captured_equals_eager(optimizer, donate):
    """Over many steps, with a short last batch now and then; the dropout masks advance with the step."""
    step, theta, state = problem(optimizer)
    captured, made = capture(step, donate)
    eager = theta, state
    for i in range(24):
        x, t = data(3 if i % 6 == 5 else 8)
        *eager, value = step(*eager, x + i, t)
        theta, state, found = captured(theta, state, x + i, t)
        same((theta, state, found), (*eager, value))
    assert len(made) == 1
    assert made[0].launches == 24 - 1 - 4, "all but the first and the short ones"


def test_dropout_masks_advance():
    step, theta, state = problem(gd.SGD(lr=1e-9), dropout=0.5)
    captured, _ = capture(step)
    values = set()
    for _ in range(10):
        theta, state, value = captured(theta, state, *data())
        values.add(round(float(np.asarray(value)), 6))
    assert len(values) > 5


def test_donated_arrays_have_two_places_and_are_not_copied():
    step, theta, state = problem(gd.Adam())
    captured, made = capture(step)
    seen = []
    for _ in range(6):
        theta, state, _ = captured(theta, state, *data())
        seen.append((theta, *state))
    before = made[0].copies
    theta, state, _ = captured(theta, state, *data())
    assert made[0].copies - before == 1, "the loss alone is copied out"
    assert all(a is b for a, b in zip(seen[-2], (theta, *state), strict=True)), "every second call the same place"
    assert seen[-1][0] is not seen[-2][0]
    assert seen[-1][3] is not seen[-2][3]
    assert state.lr is seen[-1][2], "what is handed through has one place"


def one_kernel(name):
    """An update as one operation, like CUDA's: its results are where `destination` says."""
    given, made = ([part.split()[-1] for part in text.split(", ")] for text in UPDATES[name][:2])
    models = [given.index(result.removesuffix("1")) for result in made]
    modules = [module for path, module in sys.modules.items() if path.startswith("gdnet.optimizers.")]
    (body,) = {vars(module)[name].body for module in modules if name in vars(module)}

    def kernel(backend, *args):
        outs = [destination(args[i], lambda a: np.empty_like(untaped(a)).view(Taped)) for i in models]

        def run():
            for out, found in zip(outs, body(backend.xp, *untaped(args)), strict=True):
                np.copyto(untaped(out), found)

        run()
        Taped.note(run)
        return tuple(outs)

    return kernel


PLAIN = [
    gd.SGD(lr=0.1), gd.Momentum(lr=0.1), gd.Nesterov(lr=0.1), gd.AdaGrad(), gd.RMSProp(), gd.Adam(), gd.NAdam(),
    gd.Lion(), gd.Rprop(),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", PLAIN, ids=repr)
def test_an_update_is_one_node(optimizer, monkeypatch):
    """Its results are written where they belong: θ, m, v and the number of the step are copied nowhere."""
    monkeypatch.setattr(NumpyBackend, "kernels", {name: one_kernel(name) for name in UPDATES})

    def step(theta, state, gradient):
        return optimizer.apply(gradient, state, theta)

    captured, made = capture(step)
    theta = np.linspace(-1.0, 1.0, 7)
    eager = theta, optimizer.init(theta)
    theta, state = np.array(theta), optimizer.init(theta)
    rng = np.random.default_rng(0)
    for _ in range(9):
        gradient = rng.standard_normal(7)
        eager = step(*eager, gradient)
        theta, state = captured(theta, state, gradient)
        same((theta, state), eager)
    assert made[0].nodes == [1, 1], "one graph each way"
    assert made[0].launches == 8


def ahead(theta, state, gradient):
    """A rule of a user's own: half of Adam's way, and what Adam would have done beside it."""
    there, state = gd.Adam(lr=0.1).apply(gradient, state, theta)
    return 0.5 * (theta + there), state, there


def twice(theta, state, gradient):
    theta, _ = gd.Adam(lr=0.1).apply(gradient, state, theta)
    theta, state = gd.Adam(lr=0.1).apply(2.0 * gradient, state, theta)
    return theta, state, theta[1:]


def again(theta, state, gradient):
    """Both updates start from the same parameters; the first one's results are none of the step's."""
    there, _ = gd.Adam(lr=0.1).apply(gradient, state, theta)
    theta, state = gd.Adam(lr=0.1).apply(-gradient, state, theta)
    return theta, state, there - theta


def only_asks(theta, state, gradient):
    """Parameters that are handed through have one place: what Adam would have done must not go there."""
    there, state = gd.Adam(lr=0.1).apply(gradient, state, theta)
    return theta, state, there


@pytest.mark.parametrize("step", [ahead, twice, again, only_asks])
def test_an_update_that_is_not_the_steps_last_word(step, monkeypatch):
    monkeypatch.setattr(NumpyBackend, "kernels", {name: one_kernel(name) for name in UPDATES})
    captured, made = capture(step)
    theta = np.linspace(-1.0, 1.0, 7)
    eager = theta, gd.Adam().init(theta)
    theta, state = np.array(theta), gd.Adam().init(theta)
    rng = np.random.default_rng(0)
    for _ in range(7):
        gradient = rng.standard_normal(7)
        *eager, expected = step(*eager, gradient)
        theta, state, found = captured(theta, state, gradient)
        same((theta, state, found), (*eager, expected))
    assert made[0].launches == 6


def test_without_donation_nothing_old_changes():
    step, theta, state = problem(gd.Adam())
    captured, _ = capture(step, ())
    trail, kept = [(theta, state)], []
    for _ in range(6):
        kept.append(np.array(trail[-1][0]))
        theta, state, _ = captured(*trail[-1], *data())
        trail.append((theta, state))
    for (theta, _), copy in zip(trail, kept, strict=False):
        np.testing.assert_array_equal(np.asarray(theta), copy)


def test_capturing_leaves_its_arguments_alone():
    step, theta, state = problem(gd.Adam())
    captured, made = capture(step)
    before = [np.array(a) for a in (theta, *state)]
    captured(theta, state, *data())
    captured(theta, state, *data())
    assert made
    for a, b in zip((theta, *state), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_new_learning_rate_is_used():
    optimizer = gd.SGD(lr=0.1)
    step, theta, state = problem(optimizer)
    captured, made = capture(step)
    eager = theta, state
    for i in range(8):
        if i % 3 == 2:
            eager = eager[0], optimizer.with_lr(eager[1], 0.1 / i)
            state = optimizer.with_lr(state, 0.1 / i)
        *eager, _ = step(*eager, *data())
        theta, state, _ = captured(theta, state, *data())
        same((theta, state), tuple(eager))
    assert len(made) == 1


def swap(a, b, x):
    return b, a, a + x


def hand_on(a, b, x):
    return a + x, b, a


def windows(a, b, x):
    return np.concat([b[1:], a[:1]]), a[::-1], x


@pytest.mark.parametrize("step", [swap, hand_on, windows])
def test_results_that_show_arguments(step):
    """Moves of results into places must not change what is still to be moved or given back."""
    captured, made = capture(step)
    a = eager_a = np.arange(3.0)
    b = eager_b = np.arange(3.0) + 10
    for i in range(6):
        x = np.full(3, float(i))
        eager_a, eager_b, eager_c = step(eager_a, eager_b, x)
        a, b, c = captured(a, b, x)
        same((a, b, c), (eager_a, eager_b, eager_c))
    assert made[0].launches == 5


def test_arguments_that_change_places():
    def step(a, b, x):
        return a + x, 2.0 * b, a * b

    captured, made = capture(step)
    a = eager_a = np.arange(3.0)
    b = eager_b = np.ones(3)
    for _ in range(6):
        eager_b, eager_a, eager_c = step(eager_a, eager_b, np.ones(3))
        b, a, c = captured(a, b, np.ones(3))
        same((a, b, c), (eager_a, eager_b, eager_c))
    assert made[0].launches == 5


def looks(a, b, x):
    return (a + x if float(a.sum()) > 0 else a), b, x


def widens(a, b, x):
    return a.astype("float64"), b, x


@pytest.mark.parametrize(
    ("step", "fail_at"), [(swap, "recorder"), (swap, "begin"), (swap, "end"), (looks, ""), (widens, "")]
)
def test_what_cannot_be_captured_runs_eagerly_after_one_warning(step, fail_at):
    captured, made = capture(step, fail_at=fail_at)
    a, b, x = np.arange(3, dtype="float32"), np.ones(3, "float32"), np.ones(3, "float32")
    captured(a, b, x)
    with pytest.warns(UserWarning, match="runs eagerly") as caught:
        found = captured(a, b, x)
    assert len(caught) == 1
    same(found, step(a, b, x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(captured(a, b, x), step(a, b, x))
    assert len(made) <= 1


def test_shapes_that_never_repeat_are_not_captured():
    captured, made = capture(swap)
    for n in (3, 4, 3, 4, 3):
        captured(np.ones(n), np.ones(n), np.ones(n))
    assert not made


@pytest.mark.parametrize("donate", [(1,), (1, 0), (0, 2)])
def test_only_leading_arguments_can_be_donated(donate):
    with pytest.raises(OptionError, match="first"):
        capture(swap, donate=donate)


def test_strict_makes_a_failed_capture_an_error():
    captured, _ = capture(swap, fail_at="end", strict=True)
    captured(np.ones(3), np.ones(3), np.ones(3))
    with pytest.raises(RuntimeError, match="no end"):
        captured(np.ones(3), np.ones(3), np.ones(3))


LIBRARY = """
def solve(recording, error, a):
    if recording():
        raise error
    return a
"""


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (NotImplementedError("calling cuSOLVER API during stream capture is currently unsupported"), "factorisations"),
        (NotImplementedError("calling cuBLAS API during stream capture is currently unsupported"), "backend.matmul"),
        (NotImplementedError("calling cuRAND API during stream capture is currently unsupported"), "key.uniform"),
        (RuntimeError("cudaErrorStreamCaptureUnsupported: operation not permitted"), "xp.where"),
        (RuntimeError("the current stream is capturing, so synchronous API calls are disallowed"), "xp.where"),
        (ValueError("something else"), r"something else\)$"),
    ],
)
def test_the_warning_names_the_line_and_what_to_write(error, remedy, monkeypatch):
    """It stands at the user's line, not at those of the library or of gdnet that the line calls."""
    names = {"__name__": "cupy.linalg"}
    exec(compile(LIBRARY, "/somewhere/cupy/linalg.py", "exec"), names)

    class Own(gd.Layer):
        def forward(self, params, x, context):
            y = names["solve"](lambda: Taped.tape is not None, error, x)  # the line to change
            return y, gd.Jacobian(lambda dparams, dx: dx, lambda dy: ({}, dy))

    step = gd.training_step(gd.Sequential(gd.Dense(4, 3), Own()), gd.CrossEntropy(), gd.SGD())
    captured, _ = capture(step)
    theta = gd.Sequential(gd.Dense(4, 3), Own()).parameters(like=np.zeros((1, 4)))
    state = gd.SGD().init(theta)
    x, t = data()
    captured(theta, state, x, t)
    with pytest.warns(UserWarning, match=remedy) as caught:
        captured(theta, state, x, t)
    (warning,) = caught
    line = Own.forward.__code__.co_firstlineno + 1
    assert (warning.filename, warning.lineno) == (__file__, line)
    assert f"{__file__}:{line}, `y = names" in str(warning.message)

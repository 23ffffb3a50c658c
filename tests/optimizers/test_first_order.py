"""First-order rules: the same 100 steps on every library, compiled or not, and the same as torch's."""

from types import SimpleNamespace

import numpy as np
import pytest

import gdnet.optimizers
from gdnet.optimizers import SGD, Adam, Averaged, FirstOrder
from gdnet.testing.backends import backend_under_test, installed
from gdnet.testing.cases_optimizers import FIRST_ORDER

SIZE = 7
rng = np.random.default_rng(0)
A = rng.standard_normal((SIZE, SIZE))
A = A @ A.T / SIZE + 0.1 * np.eye(SIZE)
CENTRE = rng.standard_normal(SIZE)
# So far away that no rule arrives in 100 steps: around a minimum, rules that normalise the gradient are chaotic.
START = CENTRE + rng.choice([-1.0, 1.0], SIZE) * rng.uniform(6.0, 8.0, SIZE)

cases = pytest.mark.parametrize("case", FIRST_ORDER, ids=lambda case: case.name)


def problem(bk, dtype="float64"):
    """A bowl with ripples: J = ½ (θ - c)ᵀ A (θ - c) - Σ cos(3 θ) / 10."""
    xp, a, c = bk.xp, bk.put(A, dtype), bk.put(CENTRE, dtype)

    def objective(theta):
        pull = a @ (theta - c)
        value = 0.5 * xp.sum((theta - c) * pull) - 0.1 * xp.sum(xp.cos(3.0 * theta))
        return SimpleNamespace(value=value, gradient=pull + 0.3 * xp.sin(3.0 * theta))

    return objective


def trajectory(bk, optimizer, steps=100, dtype="float64", compiled=False):
    objective, theta = problem(bk, dtype), bk.put(START, dtype)

    def one(theta, state):
        return optimizer.step(objective, theta, state)[:2]

    step, state, path = bk.backend.compile(one) if compiled else one, optimizer.init(theta), []
    with bk.no_host_reads():
        for _ in range(steps):
            theta, state = step(theta, state)
            path.append(theta)
    assert all(dtype in str(p.dtype) for p in (path[-1], *state[1:]))
    assert "int32" in str(state.step.dtype)
    assert int(bk.get(state.step)) == steps
    return np.stack([bk.get(p) for p in path])


@pytest.fixture
def torch(request):
    if not installed("torch"):
        (pytest.fail if request.config.getoption("--require-all") else pytest.skip)("torch is not installed")
    import torch

    return torch


def gradients(theta):
    return problem(backend_under_test("numpy"))(theta).gradient


@pytest.mark.parametrize("case", [c for c in FIRST_ORDER if c.torch], ids=lambda case: case.name)
def test_equals_torch(torch, case):
    leaf = torch.tensor(START, requires_grad=True)
    theirs, path = getattr(torch.optim, case.torch)([leaf], **case.options), []
    for _ in range(100):
        leaf.grad = torch.tensor(gradients(leaf.detach().numpy()))
        theirs.step()
        path.append(leaf.detach().numpy().copy())
    np.testing.assert_allclose(trajectory(backend_under_test("numpy"), case.optimizer), path, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", [c for c in FIRST_ORDER if c.torch is None], ids=lambda case: case.name)
def test_lion_equals_its_paper(case):
    """Chen et al. 2023, algorithm 2, in scalars."""
    (b1, b2), lr, decay = case.options["betas"], case.options["lr"], case.options["weight_decay"]
    theta, m, path = START.tolist(), [0.0] * SIZE, []
    for _ in range(100):
        g = gradients(np.asarray(theta)).tolist()
        for i in range(SIZE):
            c = b1 * m[i] + (1 - b1) * g[i]
            theta[i] -= lr * (np.sign(c) + decay * theta[i])
            m[i] = b2 * m[i] + (1 - b2) * g[i]
        path.append(list(theta))
    np.testing.assert_allclose(trajectory(backend_under_test("numpy"), case.optimizer), path, rtol=1e-10)


@cases
def test_defaults_are_the_tables(case):
    """A case without options is the rule with torch's defaults, spelled out by nobody."""
    if not case.options:
        assert case.optimizer == type(case.optimizer)()


@cases
def test_same_everywhere(bk, case):
    expected = trajectory(backend_under_test("numpy"), case.optimizer)
    np.testing.assert_allclose(trajectory(bk, case.optimizer, compiled=True), expected, rtol=1e-10, atol=1e-12)


@cases
def test_float32_stays_float32(bk, case):
    """The dtype is checked inside; the digits show that no correction cancels."""
    found = trajectory(bk, case.optimizer, steps=30, dtype="float32", compiled=True)
    expected = trajectory(backend_under_test("numpy"), case.optimizer, steps=30)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_bias_correction_keeps_its_digits():
    """The first step of Adam is lr sign(g), whatever β₂; 1 - 0.999999 in float32 would be 5 % off."""
    theta = np.zeros(1, np.float32)
    rule = Adam(lr=1.0, betas=(0.9, 0.999999), eps=1e-20)
    moved, _ = rule.apply(np.full(1, 0.3, np.float32), rule.init(theta), theta)
    np.testing.assert_allclose(moved, [-1.0], rtol=1e-6)


def test_numpy_numbers_as_options_do_not_widen():
    theta = np.zeros(3, np.float32)
    rule = Adam(np.float64(0.1), [np.float64(0.9), np.float64(0.99)], eps=np.float64(1e-8), l1=np.float64(0.1))
    moved, state = rule.apply(theta + 1, rule.init(theta), theta)
    assert moved.dtype == state.m.dtype == state.v.dtype == np.float32


def test_every_public_rule_is_in_the_table():
    public = {
        value
        for name in gdnet.optimizers.__all__
        if isinstance(value := getattr(gdnet.optimizers, name), type) and issubclass(value, FirstOrder)
    } - {FirstOrder}
    assert {type(case.optimizer) for case in FIRST_ORDER} == public


@cases
def test_inputs_are_left_alone(case):
    objective, theta = problem(backend_under_test("numpy")), START.copy()
    state = case.optimizer.init(theta)
    theta, state, _ = case.optimizer.step(objective, theta, state)
    kept, kept_state = theta.copy(), [np.array(part) for part in state]
    case.optimizer.step(objective, theta, state)
    np.testing.assert_array_equal(theta, kept)
    for part, before in zip(state, kept_state, strict=True):
        np.testing.assert_array_equal(part, before)


def test_another_rate_is_not_another_compilation(capsys):
    bk = backend_under_test("jax") if installed("jax") else backend_under_test("numpy")
    optimizer = Adam(lr=0.1)
    objective, theta = problem(bk), bk.put(START)

    def one(theta, state):
        print("traced")
        return optimizer.step(objective, theta, state)[:2]

    step, state = bk.backend.compile(one), optimizer.init(theta)
    theta, state = step(theta, state)
    before = theta
    assert "traced" in capsys.readouterr().out
    theta, state = step(theta, optimizer.with_lr(state, 1e-9))
    np.testing.assert_allclose(bk.get(theta), bk.get(before), atol=1e-7)
    assert optimizer.lr_of(state) == pytest.approx(1e-9)
    if bk.name == "jax":  # NumPy's compiled step watches its first calls
        assert "traced" not in capsys.readouterr().out


@pytest.mark.parametrize("decay", [0.9, None])
def test_average_equals_torchs(torch, decay):
    module = torch.nn.ParameterList([torch.tensor(START)])
    kind = None if decay is None else torch.optim.swa_utils.get_ema_avg_fn(decay)
    mean = torch.optim.swa_utils.AveragedModel(module, avg_fn=kind)
    rule = Averaged(Adam(lr=0.05), decay)
    objective, theta = problem(backend_under_test("numpy")), START
    state = rule.init(theta)
    np.testing.assert_array_equal(rule.solution(state, theta), START)
    for _ in range(50):
        theta, state, _ = rule.step(objective, theta, state)
        with torch.no_grad():
            module[0].copy_(torch.tensor(theta))
        mean.update_parameters(module)
        np.testing.assert_allclose(rule.solution(state, theta), mean.module[0].detach().numpy(), rtol=1e-10)


@pytest.mark.parametrize("decay", [0.9, None])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_average_everywhere(bk, decay, dtype):
    rule = Averaged(Adam(lr=0.05), decay)
    found = trajectory(bk, rule, steps=10, dtype=dtype, compiled=True)
    np.testing.assert_allclose(found, trajectory(bk, rule.optimizer, steps=10, dtype=dtype), rtol=1e-6)
    state = rule.init(bk.put(START))
    assert state._fields == ("step", "lr", "m", "v", "average")
    assert rule.lr_of(rule.with_lr(state, 0.5)) == 0.5


def test_base_solution_is_theta():
    rule = SGD()
    assert rule.solution(rule.init(START), START) is START

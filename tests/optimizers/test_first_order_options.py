"""Options that all first-order rules share, schedules, and what is refused."""

import json
from dataclasses import fields

import numpy as np
import pytest

from gdnet.errors import ArrayError, OptionError, ShapeError
from gdnet.optimizers import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Averaged,
    ConstantRate,
    CosineDecay,
    ExponentialDecay,
    LinearWarmup,
    Lion,
    Momentum,
    NAdam,
    OneCycle,
    RMSProp,
    Rprop,
    Schedule,
    StepDecay,
)
from gdnet.testing.backends import backend_under_test, installed
from gdnet.testing.cases_optimizers import FIRST_ORDER
from gdnet.vector import Layout

LAYOUT = Layout({"0.W": (2, 2), "0.b": (2,), "1.W": (2, 1), "1.b": (1,)})
rng = np.random.default_rng(1)
START = rng.standard_normal(LAYOUT.size)
GRADIENTS = 3.0 * rng.standard_normal((20, LAYOUT.size))


@pytest.fixture
def torch(request):
    if not installed("torch"):
        (pytest.fail if request.config.getoption("--require-all") else pytest.skip)("torch is not installed")
    import torch

    return torch


def run(bk, optimizer, dtype="float64", compiled=True):
    """θ after one step along each of the gradients."""

    def one(gradient, state, theta):
        return optimizer.apply(gradient, state, theta)

    step = bk.backend.compile(one) if compiled else one
    theta, gradients = bk.put(START, dtype), [bk.put(g, dtype) for g in GRADIENTS]
    state, path = optimizer.init(theta), []
    with bk.no_host_reads():
        for gradient in gradients:
            theta, state = step(gradient, state, theta)
            path.append(theta)
    assert dtype in str(theta.dtype)
    return np.stack([bk.get(p) for p in path])


def run_torch(torch, make, prepare=lambda leaves: None, groups=False):
    """The same with torch: one leaf, or one for each name."""
    parts = [torch.tensor(w, requires_grad=True) for w in LAYOUT.split(START.copy()).values()]
    optimizer, path = make(parts), []
    for gradient in GRADIENTS:
        for part, g in zip(parts, LAYOUT.split(gradient).values(), strict=True):
            part.grad = torch.tensor(g)
        prepare(parts)
        optimizer.step()
        path.append(np.concatenate([p.detach().numpy().reshape(-1) for p in parts]))
    return np.stack(path)


HOST = backend_under_test("numpy")


def test_clip_value(torch):
    theirs = run_torch(
        torch, lambda p: torch.optim.SGD(p, lr=0.1), lambda p: torch.nn.utils.clip_grad_value_(p, 1.5)
    )  # fmt: skip
    np.testing.assert_allclose(run(HOST, SGD(lr=0.1, clip_value=1.5)), theirs, rtol=1e-12)


@pytest.mark.parametrize("norm", [2.0, 8.0, 1e3])
def test_clip_norm(torch, norm):
    theirs = run_torch(
        torch, lambda p: torch.optim.Adam(p, lr=0.1), lambda p: torch.nn.utils.clip_grad_norm_(p, norm)
    )  # fmt: skip
    np.testing.assert_allclose(run(HOST, Adam(lr=0.1, clip_norm=norm)), theirs, rtol=1e-10)


@pytest.mark.parametrize("decay_on", ["W", ("W",), ("0.W", "1.W"), lambda name: name.endswith("W")])
@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_decay_by_name_is_torchs_parameter_groups(torch, kind, decay_on):
    def make(parts):
        weights, biases = parts[::2], parts[1::2]
        groups = [{"params": weights, "weight_decay": 0.3}, {"params": biases, "weight_decay": 0.0}]
        return getattr(torch.optim, kind)(groups, lr=0.1)

    ours = {"Adam": Adam, "AdamW": AdamW}[kind](lr=0.1, weight_decay=0.3, decay_on=decay_on)
    np.testing.assert_allclose(run(HOST, ours.bind(LAYOUT)), run_torch(torch, make), rtol=1e-10)


def test_l1(torch):
    def penalise(parts):
        for part in parts:
            part.grad += 0.2 * torch.sign(part.detach())

    theirs = run_torch(torch, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), penalise)
    np.testing.assert_allclose(run(HOST, Momentum(lr=0.1, l1=0.2)), theirs, rtol=1e-12)


OPTIONS = {
    "clip": {"clip_value": 1.0, "clip_norm": 2.0},
    "penalties": {"weight_decay": 0.1, "l1": 0.05, "decay_on": "W"},
    "schedule": {"lr": LinearWarmup(CosineDecay(0.1, T_max=15), total_iters=4)},
    "all": {"lr": OneCycle(0.1, 20), "weight_decay": 0.1, "l1": 0.05, "decay_on": "W", "clip_norm": 2.0},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_options_everywhere(bk, kind, options):
    rule = kind(**options).bind(LAYOUT)
    expected = run(HOST, rule)
    np.testing.assert_allclose(run(bk, rule), expected, rtol=1e-10)
    np.testing.assert_allclose(run(bk, rule, compiled=False), expected, rtol=1e-10)
    np.testing.assert_allclose(run(bk, rule, "float32"), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("case", FIRST_ORDER, ids=lambda case: case.name)
def test_a_masked_parameter_moves_as_without_penalty(case):
    plain = {**case.optimizer.config(), "weight_decay": 0.0}
    penalised = {**plain, "weight_decay": 0.2, "l1": 0.1, "decay_on": "W"}
    kind = type(case.optimizer)
    free, bound = run(HOST, kind(**plain)), run(HOST, kind(**penalised).bind(LAYOUT))
    biases = LAYOUT.mask(lambda name: name.endswith("b")) == 1
    np.testing.assert_array_equal(bound[:, biases], free[:, biases])
    assert np.any(bound[-1, ~biases] != free[-1, ~biases])


def test_the_mask_is_made_once():
    rule = Adam(weight_decay=0.1, decay_on="W").bind(LAYOUT)
    run(HOST, rule)
    (kept,) = rule._kept.values()
    run(HOST, rule)
    assert list(map(id, rule._kept.values())) == [id(kept)]


def test_names_need_a_layout():
    rule = Adam(weight_decay=0.1, decay_on="W")
    state = rule.init(START)
    with pytest.raises(OptionError, match=r"bind\(net.layout\(\)\)"):
        rule.apply(START, state, START)
    with pytest.raises(OptionError, match=r"none of the parameters \['0.W'"):
        Adam(weight_decay=0.1, decay_on="kernel").bind(LAYOUT)
    with pytest.raises(ShapeError, match=r"layout of 9 parameters.*\(4,\)"):
        rule.bind(LAYOUT).apply(START[:4], rule.init(START[:4]), START[:4])
    assert rule.bind(LAYOUT) == rule
    assert SGD().bind(LAYOUT) == SGD()
    averaged = Averaged(rule).bind(LAYOUT)
    averaged.apply(START, averaged.init(START), START)


# -- schedules ---------------------------------------------------------------------------------------------------------

SCHEDULES = {
    "step": (StepDecay(0.2, step_size=7, gamma=0.3), "StepLR", {"step_size": 7, "gamma": 0.3}),
    "exponential": (ExponentialDecay(0.2, gamma=0.95), "ExponentialLR", {"gamma": 0.95}),
    "cosine": (CosineDecay(0.2, T_max=40, eta_min=0.01), "CosineAnnealingLR", {"T_max": 40, "eta_min": 0.01}),
    "warm_up": (
        LinearWarmup(0.2, total_iters=9, start_factor=0.1),
        "LinearLR",
        {"total_iters": 9, "start_factor": 0.1},
    ),
    "one_cycle": (OneCycle(0.2, 40), "OneCycleLR", {"max_lr": 0.2, "total_steps": 40}),
    "one_cycle_early": (
        OneCycle(0.2, 41, pct_start=0.11, div_factor=5.0, final_div_factor=50.0),
        "OneCycleLR",
        {"max_lr": 0.2, "total_steps": 41, "pct_start": 0.11, "div_factor": 5.0, "final_div_factor": 50.0},
    ),
}


@pytest.mark.parametrize(("schedule", "name", "options"), SCHEDULES.values(), ids=SCHEDULES.keys())
def test_rates_equal_torchs(torch, schedule, name, options):
    leaf = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([leaf], lr=0.2)
    theirs, rates = getattr(torch.optim.lr_scheduler, name)(optimizer, **options), []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    np.testing.assert_allclose([schedule(i) for i in range(40)], rates, rtol=1e-12, atol=1e-16)
    assert isinstance(schedule(3), float)


EVERY = [*(s for s, _, _ in SCHEDULES.values()), ConstantRate(0.1), LinearWarmup(StepDecay(0.1, 3), total_iters=4)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rates_everywhere(bk, dtype):
    steps = bk.put(np.arange(60), "int32")
    for schedule in EVERY:
        with bk.no_host_reads():
            found = bk.backend.compile(lambda s, f=schedule: f(s, bk.xp, bk.backend.dtype(dtype)))(steps)
        assert dtype in str(found.dtype)
        expected = [schedule(i) for i in range(60)]
        np.testing.assert_allclose(bk.get(found), expected, rtol=1e-12 if dtype == "float64" else 1e-4, atol=1e-7)


def test_schedules_end_and_wrap():
    cosine = CosineDecay(0.2, T_max=10, eta_min=0.01)
    assert cosine(10) == cosine(25) == pytest.approx(0.01)
    cycle = OneCycle(0.2, 20)
    assert cycle(19) == cycle(100) == pytest.approx(0.2 / 25 / 1e4)
    warm = LinearWarmup(cosine, total_iters=5, start_factor=0.2)
    assert [warm(0), warm(5), warm(9)] == pytest.approx([0.04, 0.2, cosine(4)])
    np.testing.assert_allclose(warm(np.arange(8)), [warm(i) for i in range(8)], rtol=1e-14)


def test_registry_of_schedules():
    assert {type(s) for s in EVERY} == set(Schedule.__subclasses__())


def test_the_rate_in_the_state_is_the_one_used(bk):
    schedule = ExponentialDecay(0.5, gamma=0.5)
    rule, theta = SGD(lr=schedule), bk.put(np.zeros(2))
    state = rule.init(theta)
    assert rule.lr_of(state) == 0.5
    for i in range(4):
        before = bk.get(theta)
        theta, state = rule.apply(bk.put(np.ones(2)), state, theta)
        np.testing.assert_allclose(before - bk.get(theta), schedule(i))
        assert rule.lr_of(state) == schedule(i)
    with pytest.raises(OptionError, match="schedule ExponentialDecay"):
        rule.with_lr(state, 0.1)


# -- refusals ----------------------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("lr", [0, 0.0, -1.0, NAN, INF, "fast", None, True, [0.1], 1j])
@pytest.mark.parametrize("kind", sorted({type(c.optimizer) for c in FIRST_ORDER}, key=lambda k: k.__name__))
def test_bad_rate(kind, lr):
    with pytest.raises(OptionError, match=rf"{kind.__name__}: lr must be a positive finite number, got"):
        kind(lr=lr)


@pytest.mark.parametrize(("kind", "options"), [
    (Momentum, {"momentum": 1.0}), (Momentum, {"momentum": -0.1}), (RMSProp, {"alpha": 1.0}), (RMSProp, {"eps": 0.0}),
    (AdaGrad, {"eps": -1e-8}), (AdaGrad, {"lr_decay": -1.0}), (AdaGrad, {"initial_accumulator_value": -1.0}),
    (Adam, {"betas": (1.0, 0.9)}), (Adam, {"betas": (0.9, NAN)}), (Adam, {"betas": (0.9,)}), (Adam, {"betas": 0.9}),
    (Adam, {"eps": 0.0}), (Adam, {"weight_decay": -1e-3}), (AdamW, {"weight_decay": NAN}), (Adam, {"l1": -1.0}),
    (Adam, {"weight_decay": None}), (Adam, {"clip_value": 0.0}), (Adam, {"clip_norm": -1.0}),
    (Adam, {"clip_norm": "1"}), (NAdam, {"momentum_decay": -1.0}), (Lion, {"betas": (-0.1, 0.9)}),
    (Rprop, {"etas": (1.2, 0.5)}), (Rprop, {"step_sizes": (1.0, 0.1)}), (Rprop, {"lr": ConstantRate(0.1)}),
    (Averaged, {"optimizer": SGD(), "decay": 1.0}), (Averaged, {"optimizer": "sgd"}),
    (ConstantRate, {"lr": 0.0}), (StepDecay, {"lr": 0.1, "step_size": 0}),
    (StepDecay, {"lr": 0.1, "step_size": 1.5}), (ExponentialDecay, {"lr": 0.1, "gamma": 0.0}),
    (CosineDecay, {"lr": 0.1, "T_max": 0}), (CosineDecay, {"lr": 0.1, "T_max": 5, "eta_min": -1.0}),
    (LinearWarmup, {"schedule": 0.0}), (LinearWarmup, {"schedule": 0.1, "start_factor": 0.0}),
    (LinearWarmup, {"schedule": 0.1, "total_iters": 0}), (OneCycle, {"max_lr": -1.0, "total_steps": 5}),
    (OneCycle, {"max_lr": 0.1, "total_steps": 5, "pct_start": 1.0}),
])  # fmt: skip
def test_bad_option(kind, options):
    with pytest.raises(OptionError, match=r"must|wraps|adapts"):
        kind(**options)


@pytest.mark.parametrize("kind", sorted({type(c.optimizer) for c in FIRST_ORDER}, key=lambda k: k.__name__))
def test_a_class_is_no_option(kind):
    for name in (f.name for f in fields(kind) if f.init):
        with pytest.raises(OptionError, match=rf"{kind.__name__}: {name} is the class CosineDecay.*CosineDecay\("):
            kind(**{name: CosineDecay})


@pytest.mark.parametrize("make", [lambda: LinearWarmup(CosineDecay), lambda: ConstantRate(CosineDecay),
                                  lambda: Adam(betas=CosineDecay(0.1, T_max=3)),
                                  lambda: ConstantRate(CosineDecay(0.1, T_max=3))])  # fmt: skip
def test_a_schedule_stands_for_a_rate_alone(make):
    with pytest.raises(OptionError, match=r"write CosineDecay\(|must be"):
        make()


def test_refusals_of_calls():
    rule = SGD()
    state = rule.init(START)
    for lr in (0.0, -1.0, NAN):
        with pytest.raises(OptionError, match="lr must be"):
            rule.with_lr(state, lr)
    with pytest.raises(OptionError, match="Rprop"):
        Rprop().with_lr(Rprop().init(START), 0.1)
    with pytest.raises(ArrayError, match="theta must be an array"):
        rule.init([1.0, 2.0])
    with pytest.raises(AttributeError):
        rule.lr = 0.1  # frozen


def test_config_is_json_and_tells_rules_apart():
    rule = Averaged(AdamW(lr=LinearWarmup(CosineDecay(0.1, 9)), decay_on="W"), decay=0.9)
    config = json.loads(json.dumps(rule.config()))
    assert config["optimizer"]["type"] == "AdamW"
    assert config["optimizer"]["lr"]["schedule"] == {"type": "CosineDecay", "lr": 0.1, "T_max": 9, "eta_min": 0.0}
    assert config["optimizer"]["betas"] == [0.9, 0.999]
    assert json.loads(json.dumps(SGD(decay_on=len).config()))["decay_on"] == "len"
    assert Adam().config() == Adam().config() != Adam(eps=1e-7).config()
    assert repr(rule) == (
        "Averaged(optimizer=AdamW(lr=LinearWarmup(schedule=CosineDecay(lr=0.1, T_max=9)), decay_on='W'), decay=0.9)"
    )
    assert repr(SGD()) == "SGD(lr=0.001)"

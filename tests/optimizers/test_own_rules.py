"""First-order rules and options of a user's own: domains are those of their fields, whatever the names."""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import OptionError
from gdnet.optimizers.options import FRACTION, domain_of
from gdnet.testing import CheckFailed, check_optimizer
from gdnet.testing.backends import backend_under_test
from gdnet.testing.cases_optimizers import FIRST_ORDER


class AdanState(NamedTuple):
    step: Any
    lr: Any
    m: Any
    v: Any
    n: Any
    previous: Any


@dataclass(frozen=True, repr=False)
class Adan(gd.FirstOrder):
    """X. Xie et al., "Adan: adaptive Nesterov momentum algorithm", 2022, without bias correction."""

    betas: tuple = (0.98, 0.92, 0.99)
    eps: float = 1e-8

    def start(self, xp, theta, step, lr):
        return AdanState(step, lr, *(xp.zeros_like(theta) for _ in range(4)))

    def update(self, gradient, state, theta):
        b1, b2, b3 = self.betas
        xp = gd.backend_of(theta).xp
        change = (gradient - state.previous) * xp.astype(state.step > 0, theta.dtype)
        m = b1 * state.m + (1.0 - b1) * gradient
        v = b2 * state.v + (1.0 - b2) * change
        n = b3 * state.n + (1.0 - b3) * (gradient + b2 * change) ** 2
        theta = theta - state.lr * (m + b2 * v) / (xp.sqrt(n) + self.eps)
        return theta, AdanState(state.step + 1, state.lr, m, v, n, gradient)


class PlainState(NamedTuple):
    step: Any
    lr: Any


@dataclass(frozen=True, repr=False)
class Own(gd.FirstOrder):
    step_size: float = 0.01
    gamma: float = 0.0
    decay: float = 1.0
    alpha: float = 2.0
    momentum: float = -0.5
    max_iter: float = 0.5
    tol: float = -1.0
    history: str = "none"
    share: float = gd.option(0.5, FRACTION)

    def start(self, xp, theta, step, lr):
        return PlainState(step, lr)

    def update(self, gradient, state, theta):
        return theta - state.lr * self.step_size * gradient, PlainState(state.step + 1, state.lr)


@dataclass(frozen=True, repr=False)
class RowNorm(Own):
    """It divides the gradient of each matrix by its norm: it has to know the shapes."""

    def bind(self, layout):
        return super().bind(layout).knowing(shapes=layout.shapes)

    def update(self, gradient, state, theta):
        xp = gd.backend_of(theta).xp
        parts, start = [], 0
        for shape in self.shapes.values():
            size = int(np.prod(shape))
            part = gradient[start : start + size]
            parts.append(part / (xp.sqrt(xp.sum(part * part)) + 1e-12) if len(shape) == 2 else part)
            start += size
        return super().update(xp.concat(parts), state, theta)


def test_names_that_other_classes_use_are_free():
    assert Adan(betas=(0.9, 0.5, 0.1)).betas == (0.9, 0.5, 0.1)
    rule = Own()
    for name in ("step_size", "gamma", "decay", "alpha", "momentum", "max_iter", "tol", "history"):
        assert domain_of(Own, name) is None
        assert getattr(rule, name) == getattr(Own, name)


def test_a_class_with_the_name_of_a_solver_is_not_that_solver():
    @dataclass(frozen=True, repr=False)
    class LBFGS(Own):
        history: str = "long"
        max_products: float = 0.5

    assert LBFGS().history == "long"
    with pytest.raises(OptionError, match="history"):
        gd.LBFGS(history="long")


@pytest.mark.parametrize("options", [{"share": 1.0}, {"lr": -1.0}, {"weight_decay": -1.0}, {"clip_norm": "a"}])
def test_domains_of_the_fields_hold(options):
    (name, value) = next(iter(options.items()))
    with pytest.raises(OptionError, match=f"^Own: {name} must be .*, got {value!r}"):
        Own(**options)


def test_a_redefined_default_keeps_the_domain():
    @dataclass(frozen=True, repr=False)
    class Fast(gd.Adam):
        lr: float = 0.5
        eps: float = 1.0

    assert Fast().lr == 0.5
    for options in ({"lr": 0.0}, {"eps": -1.0}, {"betas": (0.5, 1.0)}):
        with pytest.raises(OptionError, match=r"^Fast: "):
            Fast(**options)


def subclasses(kind):
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_every_option_of_gdnets_rules_and_schedules_has_a_domain():
    free = {"optimizer", "schedule"}  # objects, which check themselves
    for kind in subclasses(gd.FirstOrder) | subclasses(gd.Schedule) | {gd.Averaged}:
        if kind.__module__.startswith("gdnet."):
            for field in fields(kind):
                assert not field.init or field.name in free or domain_of(kind, field.name), (kind, field.name)


@pytest.mark.parametrize(
    "rule", [Adan(), Own(lr=gd.CosineDecay(0.1, T_max=5)), RowNorm(decay_on="W", weight_decay=0.1)]
)
def test_check_optimizer_accepts_rules_of_ones_own(rule):
    assert check_optimizer(rule)


@pytest.mark.parametrize("case", FIRST_ORDER, ids=lambda case: case.name)
def test_check_optimizer_accepts_gdnets_rules(case):
    assert check_optimizer(case.optimizer, libraries=["numpy-readonly", "strict-no-host-reads"])


def test_check_optimizer_accepts_an_average():
    assert check_optimizer(gd.Averaged(gd.Adam(), decay=0.9))


@dataclass(frozen=True, repr=False)
class Reads(Own):
    def update(self, gradient, state, theta):
        factor = 2.0 if float(gradient[0]) > 0.0 else 1.0
        return theta - factor * state.lr * gradient, PlainState(state.step + 1, state.lr)


@dataclass(frozen=True, repr=False)
class Writes(Own):
    def update(self, gradient, state, theta):
        gradient *= 2.0
        return theta - state.lr * gradient, PlainState(state.step + 1, state.lr)


@dataclass(frozen=True, repr=False)
class Remembers(Own):
    def bind(self, layout):
        return super().bind(layout).knowing(seen=[0])

    def update(self, gradient, state, theta):
        self.seen[0] += 1
        return theta - state.lr * self.seen[0] * gradient, PlainState(state.step + 1, state.lr)


@dataclass(frozen=True, repr=False)
class Widens(Own):
    def update(self, gradient, state, theta):
        return theta - np.float64(0.1) * gradient, PlainState(state.step + 1, state.lr)


@dataclass(frozen=True, repr=False)
class Fixed(Own):
    def start(self, xp, theta, step, lr):
        return PlainState(step, lr)

    def with_lr(self, state, lr):
        return state


@pytest.mark.parametrize(("rule", "libraries"), [
    (Reads(), ["strict-no-host-reads"]), (Writes(), ["numpy-readonly"]), (Reads(), ["jax"]),
])  # fmt: skip
def test_check_optimizer_stops_at_what_no_library_can_do(rule, libraries):
    backend_under_test(libraries[0])  # what is not installed is left out, and would stop nothing
    with pytest.raises(Exception, match=r"read-only|host|trac|Tracer|concrete"):
        check_optimizer(rule, libraries=libraries)


@pytest.mark.parametrize(("rule", "says"), [
    (Remembers(), "resumed"), (Widens(), "float32 stays float32"), (Fixed(), "learning rate can be set"),
])  # fmt: skip
def test_check_optimizer_finds(rule, says):
    with pytest.raises(CheckFailed, match=says):
        check_optimizer(rule, libraries=["numpy"])

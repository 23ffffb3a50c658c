"""A check of a loss: every rule against an independent witness, on any array library."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gdnet.backend import Backend, get_backend
from gdnet.losses import Loss
from gdnet.testing.backends import fresh
from gdnet.testing.layers import MIXES
from gdnet.testing.report import CheckFailed, Report

TOLERANCE = 1e-6
"""What central differences in float64 reach with ease, and a thousandth of the error of a rule that is 0.1 % wrong."""
STEP = 6e-6
"""Near the cube root of float64's eps: the differences err by STEP² and eps / STEP."""


def check_loss(
    loss: Loss,
    out_shape: tuple[int, ...],
    target: Any = None,
    backend: Backend | None = None,
    *,
    prediction: Any = None,
    n: int = 5,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> Report:
    """Check a loss's value, gradient, Hessian, root and residual against each other and against differences.

    Parameters
    ----------
    loss : Loss
    out_shape : tuple of int
        The shape of one prediction.
    target : array on the host, optional
        Targets (n, ...) as the loss expects them; standard normal numbers of the prediction's shape by default.
    backend : Backend, optional
        Where to compute; NumPy by default. It must be able to do float64.
    prediction : array on the host, optional
        (n, *out_shape); standard normal numbers by default. Keep away from kinks, where differences mean nothing.
    n, seed : int
        How many examples and which random numbers.
    tolerance : float
        The largest error allowed, relative to the largest entry of what is compared.

    Returns
    -------
    Report
        Truthy; prints the worst entry of each comparison.

    Raises
    ------
    CheckFailed
        An `AssertionError` that names the comparison and the entry that is wrong.

    >>> from gdnet.losses import Huber
    >>> list(check_loss(Huber(), (3,)).findings)
    ['gradient', 'hessian', 'symmetry', 'root', 'weights', 'spec makes it again', 'target unharmed']
    """
    backend = get_backend("cpu") if backend is None else backend
    rng, get = np.random.default_rng(seed), backend.to_numpy
    n = n if target is None else len(target)
    y = rng.standard_normal((n, *out_shape)) if prediction is None else np.array(prediction, dtype=np.float64)
    t = rng.standard_normal(y.shape) if target is None else np.array(target)
    w = rng.uniform(0.5, 2.0, n)
    report = Report(repr(loss), tolerance)
    check = report.compare

    def put(host: Any) -> Any:
        return fresh(backend, host)

    def at(y: np.ndarray, weight: np.ndarray | None = w) -> Any:
        return loss(put(y), target_array, None if weight is None else put(weight))

    target_array = put(t)
    here = at(y)
    for name in ("value", "gradient"):
        if getattr(here, name, None) is None:
            raise CheckFailed(f"{loss!r} gives no {name}: what `at` returns needs value and gradient", report)
    gradient, value = get(here.gradient), float(get(here.value))

    check("gradient", gradient.reshape(-1), _differences(lambda p: get(at(p).value), y).reshape(-1))
    bend, factor = getattr(here, "hessian", None), getattr(here, "root", None)  # first-order methods need neither
    hessian = differences = _differences(lambda p: get(at(p).gradient), y).reshape(y.size, y.size).T
    if bend is not None:
        hessian = get(bend.dense())
        check("hessian", hessian, differences)
        check("symmetry", hessian, hessian.T)
    if factor is not None:
        root = get(factor.dense())
        check("root", root.T @ root, hessian)
        probe = rng.standard_normal(factor.out_shape)
        check("root", get(factor.T(put(probe))).reshape(-1), root.T @ probe.reshape(-1))
    if here.residual is not None:
        r = get(here.residual)
        check("residual", np.asarray(0.5 * np.sum(r * r)), np.asarray(value))
        report.require("residual", factor is not None, "a residual r without its derivative `root` serves no method")
        if factor is not None:
            check("residual", root, _differences(lambda p: get(at(p).residual), y).reshape(y.size, r.size).T)
    if not loss.mixes_examples:
        singles = [loss(put(y[i : i + 1]), put(t[i : i + 1])) for i in range(n)]
        values = np.asarray([float(get(alone.value)) for alone in singles])
        gradients = np.stack([get(alone.gradient)[0] for alone in singles])
        for weight in (w, None):  # the batch is the weighted mean of its examples: the share of each is wₙ / Σ w
            share, batch = np.full(n, 1.0 / n) if weight is None else weight / weight.sum(), at(y, weight)
            check("weights", get(batch.value), share @ values, hint=MIXES)
            shares = share.reshape(-1, *[1] * (y.ndim - 1))
            check("weights", get(batch.gradient), shares * gradients, hint=MIXES)
    again = report.rebuilt(loss)
    if again is not None:
        other = again(put(y), target_array, put(w))
        check("spec makes it again", get(other.value), np.asarray(value))
        check("spec makes it again", get(other.gradient), gradient)
    check("target unharmed", np.asarray(get(target_array), np.float64), np.asarray(t, np.float64))
    return report.checked()


def _differences(f: Callable[[np.ndarray], np.ndarray], y: np.ndarray, h: float = STEP) -> np.ndarray:
    """(f(y + h eᵢ) - f(y - h eᵢ)) / 2h for every entry i of y, stacked on axis 0."""
    rows = []
    for i in np.ndindex(y.shape):
        step = np.zeros_like(y)
        step[i] = h
        rows.append((np.asarray(f(y + step)) - np.asarray(f(y - step))) / (2.0 * h))
    return np.stack(rows)

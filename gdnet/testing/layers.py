"""A check of a layer: every claim against an independent witness, on any array library.

Four checks hold for every rule: `jvp` against central differences; <u, J v> = <Jᵀ u, v>; the dense matrix against
its columns; a batch against its examples one at a time. The others compare each faster form with what it stands for.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gdnet.backend import Array, Backend, Key, get_backend
from gdnet.layers import Context, Jacobian, Layer
from gdnet.layers.jacobian import Pull
from gdnet.testing.backends import fresh
from gdnet.testing.report import CheckFailed, Report

Host = dict[str, np.ndarray]
"""Arrays by name; "x" is the input, or what belongs to it."""

TOLERANCE = 1e-7
"""A ten-thousandth of the error of a rule that is 0.1 % wrong; the differences here stay below 1e-8 for gdnet's own."""
MIXES = ": if it means to mix examples, declare mixes_examples = True"
STEP = 1e-3
"""Small against the curvature of the rules, large against rounding: the differences err by STEP⁴ and eps / STEP."""


def check_layer(
    layer: Layer,
    in_shape: tuple[int, ...],
    *,
    backend: Backend | None = None,
    batch: int = 3,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> Report:
    """Check everything that a layer and its Jacobian claim, in float64, at a random point away from its kinks.

    Parameters
    ----------
    layer : Layer
        Composites are layers too.
    in_shape : tuple of int
        The shape of one example; keep it small, since dense matrices are formed.
    backend : Backend, optional
        Where to compute, such as `get_backend("cuda")`; NumPy by default. It must be able to do float64.
    batch, seed : int
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

    >>> from gdnet.layers import Tanh
    >>> bool(check_layer(Tanh(), (2,)))
    True
    """
    backend = get_backend("cpu") if backend is None else backend
    report = Report(repr(layer), tolerance)
    for attempt in range(20):
        subject = _Subject(layer, tuple(in_shape), backend, batch, seed + 1000 * attempt)
        if subject.smooth():
            break
    for check in (_outside, _text, _first, _dense, _leading, _single, _second, _forms):
        check(subject, report)
    report.compare("arguments left alone", subject.flat(subject.read(subject.point)), subject.flat(subject.start))
    return report.checked()


class _Subject:
    """A layer at one random point, with a random tangent v and a random cotangent u."""

    def __init__(self, layer: Layer, in_shape: tuple[int, ...], backend: Backend, n: int, seed: int) -> None:
        self.layer, self.in_shape, self.backend, self.n = layer, in_shape, backend, n
        self.rng = np.random.default_rng(seed)
        self.key = Key(seed, backend.asarray(np.asarray(3, dtype=np.int32))) if layer.stochastic else None
        self.out_shape = tuple(layer.out_shape(in_shape))
        self.initial = layer.init(in_shape, self.rng)
        self.start = {name: value + 0.3 * self.normal(*value.shape) for name, value in self.initial.items()}
        self.start["x"] = _dodge(1.5 * self.normal(n, *in_shape), layer.kinks)
        self.point = self.place(self.start)
        self.v = self.tangent()
        self.u = self.normal(n, *self.out_shape)
        self.y, self.J = self.call(self.point)

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape)

    def tangent(self, *lead: int) -> Host:
        """A random tangent of params and x."""
        return {name: self.normal(*lead, *value.shape) for name, value in self.start.items()}

    # -- to the array library and back -------------------------------------------------------------------------------

    def put(self, host: np.ndarray) -> Array:
        return fresh(self.backend, np.asarray(host, dtype=np.float64))

    def get(self, array: Array) -> np.ndarray:
        return self.backend.to_numpy(array)

    def place(self, host: Host) -> dict[str, Array]:
        return {name: self.put(value) for name, value in host.items()}

    def read(self, arrays: dict[str, Array]) -> Host:
        return {name: self.get(value) for name, value in arrays.items()}

    def pulled(self, result: Pull) -> Host:
        """What a transposed product gave, on the host; a dx of None is zero."""
        dparams, dx = result
        found = self.read(dparams)
        return found if dx is None else found | {"x": self.get(dx)}

    def flat(self, host: Host, *lead: int) -> np.ndarray:
        """All values as one vector, the parameters in their order, x last and zero where it is missing."""
        zero = np.zeros((*lead, *self.start["x"].shape))
        values = [host[name] for name in self.start if name != "x"] + [host.get("x", zero)]
        return np.concatenate([np.reshape(value, (*lead, -1)) for value in values], axis=-1)

    # -- the layer -----------------------------------------------------------------------------------------------------

    def call(self, point: dict[str, Array], training: bool = True, need_dx: bool = True) -> tuple[Array, Jacobian]:
        return self.layer.forward(_without_x(point), point["x"], self.context(training, need_dx))

    def context(self, training: bool = True, need_dx: bool = True) -> Context:
        return Context(self.backend, training, self.key, need_dx)

    def moves(self, v: Host) -> tuple[dict[str, Array], Array]:
        """A tangent as (dparams, dx)."""
        return self.place(_without_x(v)), self.put(v["x"])

    def jvp(self, v: Host) -> np.ndarray:
        return self.get(self.J.jvp(*self.moves(v)))

    def vjp(self, u: np.ndarray, J: Jacobian | None = None) -> Host:
        return self.pulled((J or self.J).vjp(self.put(u)))

    def curve(self, v: Host, gy: np.ndarray) -> Host:
        return self.pulled(self.J.curve(*self.moves(v), self.put(gy)))

    def quotients(self, f: Callable[[dict[str, Array]], np.ndarray], v: Host) -> tuple[np.ndarray, np.ndarray]:
        """Central differences of f along v with steps h and 2 h."""

        def central(h: float) -> np.ndarray:
            ahead = f(self.place({name: value + h * v[name] for name, value in self.start.items()}))
            behind = f(self.place({name: value - h * v[name] for name, value in self.start.items()}))
            return (ahead - behind) / (2.0 * h)

        return central(STEP), central(2.0 * STEP)

    def slope(self, f: Callable[[dict[str, Array]], np.ndarray], v: Host) -> np.ndarray:
        """The derivative of f along v: two central differences, combined so that their errors in h² cancel."""
        near, far = self.quotients(f, v)
        return (4.0 * near - far) / 3.0

    def output(self, point: dict[str, Array]) -> np.ndarray:
        return self.get(self.call(point)[0])

    def pullback(self, point: dict[str, Array]) -> np.ndarray:
        return self.flat(self.vjp(self.u, self.call(point)[1]))

    def smooth(self) -> bool:
        """Whether no kink lies between the points that the differences use: then halving the step changes little."""
        for f in (self.output, self.pullback):
            near, far = self.quotients(f, self.v)
            if near.size and np.max(np.abs(near - far)) > 1e-3 * max(1.0, np.max(np.abs(near))):
                return False
        return True


def _without_x(point: dict[str, Any]) -> dict[str, Any]:
    """The parameters, or their tangents, of a point or a tangent that holds x beside them."""
    return {name: value for name, value in point.items() if name != "x"}


def _dodge(x: np.ndarray, kinks: tuple[float, ...]) -> np.ndarray:
    """x with everything closer than 0.1 to a kink moved to that distance."""
    for kink in kinks:
        x = np.where(np.abs(x - kink) < 0.1, kink + np.where(x >= kink, 0.1, -0.1), x)
    return x


def _outside(s: _Subject, report: Report) -> None:
    """Shapes, names and dtypes are those declared."""
    report.require(
        "output's shape", tuple(s.y.shape) == (s.n, *s.out_shape), f"{tuple(s.y.shape)}, expected {s.out_shape}"
    )
    declared = {name: tuple(shape) for name, shape in s.layer.shapes(s.in_shape).items()}
    drawn = {name: tuple(value.shape) for name, value in s.initial.items()}
    report.require("parameters' shapes", declared == drawn, f"init gives {drawn}, shapes {declared}")
    single = {name: s.backend.asarray(value, "float32") for name, value in s.start.items()}
    y, J = s.call(single)
    dparams, dx = J.vjp(s.backend.asarray(s.u, "float32"))
    found = {"y": y, "dx": dx, **dparams}
    leaks = {name: str(value.dtype) for name, value in found.items() if "32" not in str(value.dtype)}
    report.require("float32 stays float32", not leaks, f"{leaks}")


def _text(s: _Subject, report: Report) -> None:
    """What a file makes of the layer is equal to it, and gives the same y."""
    again = report.rebuilt(s.layer)
    if again is not None:
        y, _ = again.forward(_without_x(s.point), s.point["x"], s.context())
        report.compare("spec makes it again", s.get(y), s.get(s.y))


def _first(s: _Subject, report: Report) -> None:
    """jvp against central differences, along a joint tangent and along its parts; vjp as its transpose."""
    still = {name: np.zeros_like(value) for name, value in s.v.items()}
    moved = s.jvp(s.v)
    report.compare("jvp against differences", moved, s.slope(s.output, s.v))
    try:
        only_x = s.get(s.J.jvp({}, s.put(s.v["x"])))
    except KeyError as error:
        raise CheckFailed(
            f"{s.layer!r}: jvp({{}}, dx) looked for dparams[{error}]: with empty dparams x alone moves", report
        ) from error
    report.compare("jvp of x alone", only_x, s.slope(s.output, still | {"x": s.v["x"]}))
    if len(s.start) > 1:
        report.compare("jvp of parameters alone", s.jvp(s.v | {"x": still["x"]}), moved - only_x)
    pulled, v, out = s.flat(s.vjp(s.u)), s.flat(s.v), s.u * moved
    scale = max(1e-3, float(np.sum(np.abs(out))))  # the sum may nearly cancel
    report.compare("<u, J v> = <Jᵀ u, v>", np.sum(out) / scale, pulled @ v / scale, at_least=1.0)


def _dense(s: _Subject, report: Report) -> None:
    """The whole matrix: its columns by jvp, one at a time; its rows by vjp, four at once in two leading axes."""
    sizes = [value.size for value in s.start.values()]
    columns = []
    for unit in np.eye(sum(sizes)):
        parts = np.split(unit, np.cumsum(sizes)[:-1])
        columns.append(s.jvp({name: part.reshape(s.start[name].shape) for name, part in zip(s.start, parts)}))
    matrix = np.stack([column.reshape(-1) for column in columns], axis=1)
    units = np.eye(-(-s.u.size // 4) * 4, s.u.size).reshape(-1, 2, 2, *s.u.shape)  # filled up with zeros
    rows = np.concatenate([s.flat(s.vjp(four), 2, 2).reshape(4, -1) for four in units])
    report.compare("dense against columns", rows[: s.u.size], matrix)


def _leading(s: _Subject, report: Report) -> None:
    """Axes before the examples: many tangents or cotangents at once are each as if alone."""
    u, v = s.normal(2, 2, *s.u.shape), s.tangent(2, 2)
    indices = list(np.ndindex(2, 2))
    alone = np.stack([s.flat(s.vjp(u[i])) for i in indices])
    report.compare("vjp with leading axes", s.flat(s.vjp(u), 2, 2), alone.reshape(2, 2, -1))
    forward = np.stack([s.jvp({name: value[i] for name, value in v.items()}) for i in indices])
    report.compare("jvp with leading axes", s.jvp(v), forward.reshape(u.shape))


def _single(s: _Subject, report: Report) -> None:
    """A batch against its examples, one at a time. (What is random in training is drawn for a batch as a whole.)"""
    if s.layer.mixes_examples:
        return
    training = not s.layer.stochastic
    y, J = s.call(s.point, training)
    pulled, rows = s.vjp(s.u, J), s.read(J.rows(s.put(s.u[None])))
    ys, xs, singles = [], [], []
    for i in range(s.n):
        one, K = s.call(s.point | {"x": s.put(s.start["x"][i : i + 1])}, training)
        ys.append(s.get(one))
        own = s.vjp(s.u[i : i + 1], K)
        xs.append(own.pop("x"))
        singles.append(own)
    report.compare("batch against single examples", s.get(y), np.concatenate(ys), hint=MIXES)
    report.compare("batch against single examples", pulled.pop("x"), np.concatenate(xs), hint=MIXES)
    for name, value in pulled.items():
        each = np.stack([own[name] for own in singles])
        report.compare("batch against single examples", value, each.sum(axis=0), hint=MIXES)
        report.compare("rows against single examples", rows[name][0], each, hint=MIXES)


def _second(s: _Subject, report: Report) -> None:
    """curve against central differences of vjp; hvp against what it stands for; leading axes of both."""
    if not s.J.has_curve:
        return
    bent = s.flat(s.curve(s.v, s.u))
    report.compare("curve against differences of vjp", bent, s.slope(s.pullback, s.v))
    w = s.normal(*s.u.shape)
    report.compare(
        "curve is linear in gy", s.flat(s.curve(s.v, 2.0 * s.u - 3.0 * w)), 2.0 * bent - 3.0 * s.flat(s.curve(s.v, w))
    )
    v, u = s.tangent(2), s.normal(2, *s.u.shape)
    each = [{name: value[i] for name, value in v.items()} for i in range(2)]

    def lead(found: Host, *others: np.ndarray) -> None:
        full = {name: np.broadcast_to(value, (2, *s.start[name].shape)) for name, value in found.items()}
        report.compare("curve with leading axes", s.flat(full, 2), np.stack(others))

    lead(s.curve(v, s.u), *(s.flat(s.curve(each[i], s.u)) for i in range(2)))
    lead(s.curve(s.v, u), *(s.flat(s.curve(s.v, u[i])) for i in range(2)))
    lead(s.curve(v, u), *(s.flat(s.curve(each[i], u[i])) for i in range(2)))
    whole = s.pulled(s.J.hvp(*s.moves(s.v), s.put(s.u), lambda dy: 0.7 * dy))
    report.compare("hvp", s.flat(whole), s.flat(s.vjp(0.7 * s.jvp(s.v))) + bent)


def _forms(s: _Subject, report: Report) -> None:
    """The faster forms against the plain ones."""
    u = s.normal(2, *s.u.shape)
    pulled = s.vjp(u)
    report.compare("vjp_x", s.get(s.J.vjp_x(s.put(u))), pulled["x"])
    rows = s.read(s.J.rows(s.put(u)))
    slow = s.read(Jacobian.rows(s.J, s.put(u)))
    report.require("rows' names", rows.keys() == slow.keys(), f"{sorted(rows)}, expected {sorted(slow)}")
    gram = np.zeros((2 * s.n, 2 * s.n))
    for name in rows.keys() & slow.keys():
        report.compare("rows", rows[name], slow[name])
        flat = slow[name].reshape(2 * s.n, -1)
        gram += flat @ flat.T
    report.compare("gram", s.get(s.J.gram(s.put(u))), gram.reshape(2, s.n, 2, s.n))
    squares = s.read(s.J.squares(s.put(u)))
    for name in rows.keys() & slow.keys():
        report.compare("squares", squares[name], np.sum(slow[name] ** 2, axis=(0, 1)))
    if s.backend.mutable:
        windows = {name: s.backend.xp.full_like(value, 7.0) for name, value in _without_x(s.point).items()}
        dx = s.J.vjp_into(s.put(s.u), windows)
        report.compare("vjp_into", s.flat(s.read(windows) | {"x": s.get(dx)}), s.flat(s.vjp(s.u)))
    _, J = s.call(s.point, need_dx=False)
    without = s.pulled(J.vjp(s.put(s.u))) | {"x": s.vjp(s.u)["x"]}
    report.compare("without dx", s.flat(without), s.flat(s.vjp(s.u)))
    if not J.needs_dx and len(s.start) > 1:
        dparams, _ = s.moves(s.v)
        report.compare("without dx", s.get(J.jvp(dparams, None)), s.jvp(s.v | {"x": np.zeros_like(s.v["x"])}))

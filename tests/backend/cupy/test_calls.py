"""What a training step asks of an array library, noted call by call on NumPy.

From the notes: how many kernels a step launches on a GPU, that nothing in it copies from the host or waits for the
device, and (where CuPy is installed; no GPU is needed) that CuPy has every function with these arguments.
"""

import importlib.util
import inspect
import operator
import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import Backend, get_backend
from gdnet.backend import numpy as numpy_room
from gdnet.backend.cupy.sources import ACTIVATIONS, BIASED, LOSSES, UPDATES
from gdnet.backend.linalg import cholesky_factor
from gdnet.layers import Jacobian
from gdnet.maps.solve import cholesky
from gdnet.testing.cases import LAYERS
from gdnet.testing.cases_losses import LOSSES as LOSS_CASES
from gdnet.testing.cases_optimizers import FIRST_ORDER
from gdnet.training.scorer import Scorer

HOST = get_backend("cpu")
VIEWS = {"reshape", "expand_dims", "getitem", "broadcast_to", "matrix_transpose", "moveaxis", "permute_dims", "squeeze",
         "empty", "empty_like", "isdtype", "finfo"}  # fmt: skip
"""Calls that launch nothing."""
REFUSED = {
    "asarray": "copies from the host",
    "@": "goes past backend.matmul, which knows TF32 and writes into windows",
    "matmul": "goes past backend.matmul, which knows TF32 and writes into windows",
    "mask": "reads a count on the host",
    "nonzero": "reads a count on the host",
    "unique_values": "reads a count on the host",
    "repeat": "reads the counts on the host",
    "read": "reads a value on the host",
}


@dataclass
class Call:
    name: str
    args: tuple = ()
    kwargs: dict | None = None


class Noted(np.ndarray):
    """An array whose operators are noted."""

    log: ClassVar[list[Call]] = []

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        Noted.log.append(Call("@" if ufunc is np.matmul else ufunc.__name__, inputs))
        options = kwargs if out is None else {**kwargs, "out": plain(out[0])}
        found = getattr(ufunc, method)(*plain(inputs), **options)
        return noted(found) if out is None else out[0]

    def __getitem__(self, index):
        arrays = [i for i in (index if isinstance(index, tuple) else (index,)) if isinstance(i, (list, np.ndarray))]
        Noted.log.append(Call("mask" if arrays else "getitem"))
        return noted(plain(self)[index])

    def __setitem__(self, index, value):
        Noted.log.append(Call("setitem"))
        plain(self)[plain(index)] = plain(value)

    def item(self, *args):
        Noted.log.append(Call("read"))
        return plain(self).item(*args)

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        return bool(self.item())


def plain(a):
    if isinstance(a, Noted):
        return a.view(np.ndarray)
    if type(a) in (list, tuple):
        return type(a)(map(plain, a))
    return {k: plain(v) for k, v in a.items()} if isinstance(a, dict) else a


def noted(a):
    if isinstance(a, tuple):
        return tuple(map(noted, a))
    return np.asarray(a).view(Noted) if isinstance(a, (np.ndarray, np.generic)) else a


class Names:
    """The namespace; it notes the functions that are called."""

    def __init__(self, module=np, prefix=""):
        self.module, self.prefix = module, prefix
        if module is np:
            self.linalg = Names(np.linalg, "linalg.")

    def __getattr__(self, name):
        found = getattr(HOST.xp if self.module is np else self.module, name)  # of NumPy 2.0 by array-api-compat
        if isinstance(found, type) or not callable(found):
            return found

        def call(*args, **kwargs):
            Noted.log.append(Call(self.prefix + name, args, kwargs))
            return noted(found(*plain(args), **plain(kwargs)))

        return call


def bodies() -> dict[str, Any]:
    """The agnostic body of every kernel, by name."""
    modules = [module for name, module in sys.modules.items() if name.startswith("gdnet.")]
    found = {
        name: f.body for m in modules for name, f in vars(m).items() if inspect.isfunction(f) and hasattr(f, "body")
    }
    for name in ACTIVATIONS:

        def activation(xp, x, name=name, **config):
            rule = getattr(gd, name)(**config)
            y = rule.f(HOST, x)
            return y, rule.df(HOST, x, y)

        def biased(xp, z, b, rule=activation, **config):
            return rule(xp, z + b, **config)

        found[name], found[f"bias_{name}"] = activation, biased
    for name in LOSSES:

        def loss(xp, y, t, share, name=name, **config):
            rule = getattr(gd, name)(**config)
            return share * rule.l(np, y, t), share * rule.dl(np, y, t)

        found[name] = loss
    return found


class Notebook(Backend):
    """NumPy that notes its calls; with `fused`, it has the kernels that CUDA has."""

    name = "notebook"
    mutable = True

    def __init__(self, fused):
        super().__init__(Names(), "cpu")
        names = {*ACTIVATIONS, *BIASED, *LOSSES, *UPDATES, "softmax_cross_entropy", "uniform_numbers"}
        self.kernels = {name: self._kernel(name, body) for name, body in bodies().items() if name in names and fused}
        assert not fused or set(self.kernels) == names

    @staticmethod
    def _kernel(name, body):
        def kernel(backend, *args, **config):
            Noted.log.append(Call(f"kernel {name}"))
            return noted(body(HOST.xp, *plain(args), **config))

        return kernel

    def asarray(self, host, dtype=None):
        Noted.log.append(Call("asarray"))
        return noted(np.asarray(host, dtype=dtype))

    def matmul(self, a, b, out=None):
        Noted.log.append(Call("gemm"))
        if out is None:
            return noted(np.matmul(plain(a), plain(b)))
        np.matmul(plain(a), plain(b), out=plain(out))
        return out

    def sum_rows(self, a, out):
        Noted.log.append(Call("sum_rows"))
        np.sum(plain(a), axis=0, out=plain(out))

    def erf(self, x):
        Noted.log.append(Call("erf"))
        return noted(HOST.erf(plain(x)))


@pytest.fixture(params=[True, False], ids=["fused", "agnostic"])
def notebook(request, monkeypatch):
    return install(monkeypatch, request.param)


def install(monkeypatch, fused):
    backend = Notebook(fused)
    monkeypatch.setattr(
        numpy_room, "host_backend", lambda: backend
    )  # what every NumPy array, and so every noted one, is taken for
    return backend


def calls(net, loss, optimizer, x, t, weight=None):
    """The calls of the second step."""
    x, t = noted(np.asarray(x, "float32")), noted(t if np.issubdtype(t.dtype, np.integer) else t.astype("float32"))
    step = gd.training_step(net, loss, optimizer)
    theta = net.parameters(like=x)
    state = optimizer.init(theta)
    arrays = (x, t) if weight is None else (x, t, noted(weight))
    theta, state, _ = step(theta, state, *arrays)
    Noted.log.clear()
    theta, state, value = step(theta, state, *arrays)
    assert theta.dtype == value.dtype == np.float32
    return list(Noted.log)


def launches(log):
    return [call.name for call in log if call.name not in VIEWS]


def dense(*sizes, activation):
    layers = []
    for n_in, n_out in pairwise(sizes):
        layers += [gd.Dense(n_in, n_out), activation()]
    return gd.Sequential(*layers[:-1])


@pytest.mark.parametrize(
    ("sizes", "batch", "activation", "loss", "optimizer", "count", "agnostic"),
    [
        ((784, 50, 10), 100, gd.Sigmoid, gd.CrossEntropy(), gd.SGD(), 13, 39),
        ((784, 256, 128, 10), 128, gd.ReLU, gd.CrossEntropy(), gd.Adam(), 19, 62),
        ((8, 50, 50, 1), 32, gd.Tanh, gd.SquaredError(), gd.Adam(), 19, 53),
    ],
)
def test_launches_a_step(monkeypatch, sizes, batch, activation, loss, optimizer, count, agnostic):
    """An eager step on a GPU costs some ten microseconds a launch: they are counted, and must not grow."""
    rng = np.random.default_rng(0)
    t = rng.integers(0, 10, batch, dtype=np.int32) if sizes[-1] == 10 else rng.standard_normal((batch, 1))
    net, x = dense(*sizes, activation=activation), rng.standard_normal((batch, sizes[0]))
    install(monkeypatch, fused=False)
    assert len(launches(calls(net, loss, optimizer, x, t))) == agnostic
    install(monkeypatch, fused=True)
    log = calls(net, loss, optimizer, x, t)
    assert len(launches(log)) == count, launches(log)
    assert sum(name == "gemm" for name in launches(log)) == 3 * (len(sizes) - 1) - 1
    assert count <= 25


class Wrapped(gd.Layer):
    """A dense layer by the two products that every layer must have: without `vjp_into`, as a user's own may be."""

    def __init__(self, *features):
        self.dense = gd.Dense(*features)
        self.shapes, self.out_shape, self.init = self.dense.shapes, self.dense.out_shape, self.dense.init

    def forward(self, params, x, context):
        y, J = self.dense.forward(params, x, context)
        return y, Jacobian(J.jvp, J.vjp)


def everything():
    """One step of each layer, loss and optimizer: (id, net, loss, optimizer, x, t, weight)."""
    rng = np.random.default_rng(0)
    plain_net = gd.Sequential(gd.Dense(4, 5), gd.Tanh(), gd.Dropout(0.3), gd.Dense(5, 3))
    x, t = rng.standard_normal((6, 4)), rng.integers(0, 3, 6)
    for case in LAYERS:
        out = case.layer.out_shape(case.in_shape)
        net = gd.Sequential(case.layer, *([gd.Flatten()] if len(out) != 1 else []), gd.Dense(3))
        yield f"layer {case.name}", net, gd.CrossEntropy(), gd.SGD(), rng.standard_normal((6, *case.in_shape)), t, None
    own = gd.Sequential(Wrapped(4, 5), gd.Tanh(), Wrapped(3))
    yield "a layer of the user's", own, gd.CrossEntropy(), gd.SGD(), x, t, None
    for case in LOSS_CASES:
        size = int(np.prod(case.out_shape))
        net = gd.Sequential(gd.Dense(4, size), gd.Reshape(*case.out_shape))
        for weight in (None, np.ones(6, "float32")):
            yield f"loss {case.name}", net, case.loss, gd.SGD(), x, case.draw(6)[1], weight
    extra = [
        gd.SGD(lr=gd.OneCycle(0.1, total_steps=9), weight_decay=0.1, decay_on="W", l1=0.1, clip_norm=1.0, clip_value=2),
        gd.SGD(lr=gd.LinearWarmup(gd.StepDecay(0.1, step_size=3))), gd.SGD(lr=gd.ExponentialDecay(0.1, gamma=0.9)),
        gd.Averaged(gd.Adam(lr=gd.CosineDecay(0.1, T_max=5))), gd.Averaged(gd.SGD(), decay=None),
    ]  # fmt: skip
    for optimizer in (*[case.optimizer for case in FIRST_ORDER], *extra):
        yield f"optimizer {optimizer!r}", plain_net, gd.CrossEntropy(), optimizer, x, t, None


CASES = list(everything())


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_a_step_neither_copies_from_the_host_nor_waits(notebook, case):
    for call in calls(*case[1:]):
        assert call.name not in REFUSED, f"{call.name} {REFUSED[call.name]}"
        if call.name in ("concat", "stack"):
            assert len(call.args[0]) <= 8, "CuPy uploads a table of pointers for more"


def test_a_step_that_looks_is_found(monkeypatch):
    install(monkeypatch, fused=True)
    Noted.log.clear()
    x = noted(np.ones((2, 2)))
    float(x[0, 0])
    x[np.ones(2, bool)]
    x @ x
    assert {call.name for call in Noted.log} >= {"read", "mask", "@"}


@pytest.fixture(scope="module")
def cupy_names(request):
    if importlib.util.find_spec("cupy") is None:
        require = request.config.getoption("--require-all")
        (pytest.fail if require else pytest.skip)('needs the extra kernel-check: pip install -e ".[kernel-check]"')
    from gdnet.backend.cupy.namespace import namespace

    return namespace()


def accepts(function, args, kwargs):
    """Whether a function of CuPy's takes these arguments; its ufuncs have no signature."""
    if type(function).__name__ == "ufunc":
        return len(args) <= function.nin and set(kwargs) <= {"out", "dtype"}
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def test_cupy_has_every_function_with_these_arguments(cupy_names, monkeypatch):
    names = set()
    for fused in (True, False):
        notebook = install(monkeypatch, fused)
        for _, net, loss, optimizer, x, t, weight in CASES:
            log = calls(net, loss, optimizer, x, t, weight)
            Noted.log.clear()
            Scorer(notebook, net, loss, net.layout(x.shape[1:]))._score(
                net.parameters(like=noted(x)), noted(x), noted(t)
            )
            for call in (*log, *Noted.log):
                names.add(call.name)
                check_call(cupy_names, call)
    assert len(names) > 40


def check_call(cupy_names, call):
    """Whether CuPy has the function, with these arguments."""
    import cupy

    if call.kwargs is None:  # an operator: CuPy's ufunc of that name is behind it
        own = call.name in ("gemm", "sum_rows", "erf", "getitem", "setitem", "asarray", "@", "read", "mask")
        assert own or call.name.startswith("kernel ") or hasattr(cupy, call.name), call.name
    else:
        assert accepts(operator.attrgetter(call.name)(cupy_names), call.args, call.kwargs), call


PUBLIC = {getattr(gd, name) for name in dir(gd)} - {gd.Solver}
SOLVERS = sorted((k for k in PUBLIC if inspect.isclass(k) and getattr(k, "full_batch", False) is True), key=str)


@pytest.mark.parametrize("kind", SOLVERS, ids=lambda kind: kind.__name__)
def test_cupy_has_every_function_of_a_solver(cupy_names, notebook, kind, tmp_path):
    """Solvers read the device, and so are not captured; but a function that CuPy lacks would end them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 3))
    t = np.sin(x[:, :1])
    model = gd.Model(gd.Sequential(gd.Dense(3, 5), gd.Tanh(), gd.Dense(1)), gd.SquaredError(), dtype="float64")
    Noted.log.clear()
    losses = model.fit(x, t, optimizer=kind(), batch_size=None, epochs=6, verbose=0)["loss"]
    assert losses[-1] < losses[0]
    assert len(Noted.log) > 100
    for call in Noted.log:
        check_call(cupy_names, call)


def test_cupy_has_every_function_of_a_model(cupy_names, notebook, tmp_path):
    """fit, predict, evaluate, derivatives of all kinds, save and load."""
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((20, 3)).astype("float32"), rng.integers(0, 3, 20)
    net = gd.Sequential(gd.Dense(3, 5), gd.GELU(), gd.Residual(gd.Dense(5), gd.Tanh()), gd.Dropout(0.1), gd.Dense(3))
    Noted.log.clear()
    model = gd.Model(net, gd.CrossEntropy())
    model.fit(x, t, validation_data=(x, t), class_weight="balanced", batch_size=8, verbose=0, metrics=["accuracy"])
    model.predict(x)
    model.evaluate(x, t, sample_weight=np.ones(20, "float32"))
    model.numerical_gradient(x, t)
    at = model.objective(x, t)(model.theta)
    for made in (at.hessian @ model.theta, at.gauss_newton @ model.theta, at.rows(), at.jacobian.dense(), at.gradient):
        assert made.dtype == np.float32
    model.save(tmp_path / "m.safetensors")
    assert gd.load(tmp_path / "m.safetensors").predict(x).dtype == np.float32
    for call in Noted.log:
        check_call(cupy_names, call)


def test_the_traps_of_compat_are_replaced(cupy_names):
    import array_api_compat.cupy as compat

    for name in ("sign", "clip"):
        assert getattr(cupy_names, name) is not getattr(compat, name)
    assert accepts(cupy_names.clip, (1, 0, 2), {})
    assert not accepts(cupy_names.sum, (1,), {"dims": 0}), "a wrong argument is found"


def test_every_kernel_has_a_cuda_override(cupy_names):
    from gdnet.backend.cupy.kernels import KERNELS

    others = {"softmax_cross_entropy", "uniform_numbers", "triangular_solution"}
    assert set(KERNELS) == {*ACTIVATIONS, *BIASED, *LOSSES, *UPDATES, *others}
    known = bodies()
    assert set(KERNELS) <= set(known), "an override of a body that nobody has"
    missing = {name for name in known if name not in KERNELS}
    assert missing <= {"rank_one_cross_entropy"}, "bodies without a kernel"


def factor_as_cupy_leaves_it(A):
    """The lower triangle up to the first pivot that is not positive, which stays as it is, and A's after it."""
    L = np.tril(A)
    for j in range(len(A)):
        L[j, j] -= L[j, :j] @ L[j, :j]
        if L[j, j] <= 0:
            return L
        L[j, j] **= 0.5
        L[j + 1 :, j] = (L[j + 1 :, j] - L[j + 1 :, :j] @ L[j, :j]) / L[j, j]
    return L


@pytest.mark.parametrize("factor", [cholesky, cholesky_factor])
def test_a_factor_that_cupy_did_not_finish_is_none(factor, notebook, monkeypatch):
    """CuPy does not look at the solver's report, for that would wait for the device."""
    monkeypatch.setattr(notebook.xp.linalg, "cholesky", lambda A: noted(factor_as_cupy_leaves_it(plain(A))), False)
    good = np.asarray([[4.0, 2.0, 0.4], [2.0, 5.0, 1.0], [0.4, 1.0, 9.0]])
    np.testing.assert_allclose(factor(notebook, noted(good)), np.linalg.cholesky(good), rtol=1e-14)
    for i in range(3):
        bad = good.copy()
        bad[i, i] = -9.0
        assert factor(notebook, noted(bad)) is None

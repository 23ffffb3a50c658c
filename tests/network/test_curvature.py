"""Second derivatives of whole networks against torch, differences, complex steps and each other; rows, Gram, blocks."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import Key, get_backend
from gdnet.errors import OptionError
from gdnet.layers import Elementwise, Jacobian
from gdnet.network import curvature
from gdnet.testing.backends import backend_under_test
from gdnet.testing.cases import LAYERS
from gdnet.testing.cases_losses import LOSSES

LOSS = {case.name: case for case in LOSSES}
NETS = {
    "chain": (gd.Sequential(gd.Dense(3, 4), gd.Tanh(), gd.Dense(4), gd.Sigmoid(), gd.Dense(3)), "squared_error"),
    "kinks": (gd.Sequential(gd.Dense(3, 4), gd.ReLU(), gd.Dense(4), gd.ELU(), gd.Dense(4)), "cross_entropy_labels"),
    "residual": (
        gd.Sequential(gd.Dense(3, 4), gd.Residual(gd.Tanh(), gd.Dense(4), gd.SiLU()), gd.Dense(1)),
        "binary_cross_entropy",
    ),
    "parallel": (
        gd.Sequential(
            gd.Parallel(gd.Dense(3, 2), gd.Sequential(gd.Tanh(), gd.Dense(2)), gd.Identity(), combine="concat"),
            gd.Parallel(gd.Dense(3), gd.Residual(gd.Dense(7), gd.Softplus()), gd.Dense(4), combine="concat"),
            gd.Dense(4, bias=False),
        ),
        "cross_entropy_probabilities",
    ),
    "nested": (
        gd.Parallel(
            gd.Sequential(gd.Dense(3, 3), gd.Residual(gd.GELU(), gd.Parallel(gd.Dense(3), gd.Tanh())), gd.Softmax()),
            gd.Sequential(gd.Residual(gd.Sigmoid(), gd.Dense(3)), gd.LogSoftmax()),
        ),
        "poisson",
    ),
    "log_cosh": (gd.Sequential(gd.Tanh(), gd.Dense(3, 2), gd.Sequential(gd.Tanh(), gd.Dense(3))), "log_cosh"),
    "huber": (gd.Sequential(gd.Dense(3, 3), gd.Tanh(), gd.Dense(3)), "huber"),
}  # fmt: skip
N = 5
NET = pytest.mark.parametrize("name", NETS)
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch.func's own
WEIGHTS = np.asarray([1.0, 0.5, 3.0, 0.0, 2.0])


def data(name, n=N):
    """(theta, x, t, weights) on the host."""
    net, loss = NETS[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    theta = net.initial(seed=2, in_shape=(3,))
    return (
        theta + 0.3 * rng.standard_normal(theta.size), rng.standard_normal((n, 3)), LOSS[loss].target(rng, n),
        np.resize(WEIGHTS, n),
    )  # fmt: skip


def at(bk, name, n=N, dtype=None, **options):
    net, loss = NETS[name]
    theta, x, t, w = data(name, n)
    t = bk.put(t) if t.dtype.kind in "iu" else bk.put(t, dtype)
    objective = gd.Objective(
        net, LOSS[loss].loss, bk.put(x, dtype), t, bk.put(w, dtype), backend=bk.backend, layout=net.layout((3,)),
        **options,
    )  # fmt: skip
    return objective(bk.put(theta, dtype))


def close(found, expected, rtol=1e-10):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * max(1e-3, np.abs(expected).max(initial=0.0)))


# -- torch's autograd over the same network ---------------------------------------------------------------------------


def torch_net(torch, layer, p, x, prefix=""):
    """The network written with torch's operations; `p` holds the parameters by their names."""
    kind, F = type(layer).__name__, torch.nn.functional
    if kind == "Dense":
        y = x @ p[f"{prefix}W"]
        return y + p[f"{prefix}b"] if layer.bias else y
    if kind in ("Sequential", "Residual"):
        y = x
        for i, inner in enumerate(layer.layers):
            y = torch_net(torch, inner, p, y, f"{prefix}{i}.")
        return x + y if kind == "Residual" else y
    if kind == "Parallel":
        ys = [torch_net(torch, branch, p, x, f"{prefix}{i}.") for i, branch in enumerate(layer.layers)]
        return torch.cat(ys, -1) if layer.combine == "concat" else sum(ys)
    return {
        "Identity": lambda x: x, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid, "ReLU": torch.relu, "ELU": F.elu,
        "SiLU": F.silu, "GELU": F.gelu, "Softplus": lambda x: F.softplus(x, threshold=40),
        "Softmax": lambda x: torch.softmax(x, -1), "LogSoftmax": lambda x: torch.log_softmax(x, -1),
    }[kind](x)  # fmt: skip


@cache
def reference(name):
    """Every derivative as a dense matrix, by torch.func in float64."""
    torch = pytest.importorskip("torch")
    net, loss = NETS[name]
    layout = net.layout((3,))
    theta, x, t, w = (torch.tensor(a) for a in data(name))

    def predict(theta, x):
        p = {key: theta[part].reshape(layout.shapes[key]) for key, part in layout.slices.items()}
        return torch_net(torch, net, p, x)

    def each(y):
        """The weighted loss of every example."""
        F = torch.nn.functional
        return torch.stack([w[n] / w.sum() * LOSS[loss].torch(F, y[n : n + 1], t[n : n + 1]) for n in range(N)])

    def value(theta):
        return each(predict(theta, x)).sum()

    y = predict(theta, x)
    P = theta.numel()
    J = torch.func.jacrev(predict)(theta, x).reshape(-1, P)
    H = torch.func.hessian(lambda y: each(y).sum())(y).reshape(J.shape[0], J.shape[0])
    found = {
        "gradient": torch.func.grad(value)(theta), "jacobian": J, "gauss_newton": J.T @ H @ J,
        "hessian": torch.func.hessian(value)(theta),
        "input": torch.func.jacrev(predict, argnums=1)(theta, x).reshape(J.shape[0], -1),
        "rows": torch.func.jacrev(lambda theta: each(predict(theta, x)))(theta),
    }  # fmt: skip
    return {key: matrix.numpy() for key, matrix in found.items()}


def test_products_equal_torch(bk):
    products_equal_torch(bk, "parallel")


@NET
def test_products_of_every_network_equal_torch(name):
    products_equal_torch(backend_under_test("strict-no-host-reads"), name)


def products_equal_torch(bk, name):
    """J v, Jᵀ u, Gauss-Newton and Hessian products, two at once, with no value read on the host."""
    torch, ev = reference(name), at(bk, name)
    rng = np.random.default_rng(3)
    v, u = rng.standard_normal((2, torch["jacobian"].shape[1])), rng.standard_normal((2, *ev.prediction.shape))
    z = rng.standard_normal((2, N, 3))
    on, up, through = bk.put(v), bk.put(u), bk.put(z)
    with bk.no_host_reads():
        found = {
            "gradient": ev.gradient, "rows": ev.rows(), "Jv": ev.jacobian(on), "Ju": ev.jacobian.T(up),
            "Gv": ev.gauss_newton(on), "Hv": ev.hessian(on), "xv": ev.input_jacobian(through),
            "xu": ev.input_jacobian.T(up), "one Hv": ev.hessian(on[0, :]), "one Gv": ev.gauss_newton(on[0, :]),
        }  # fmt: skip
    found = {key: bk.get(array) for key, array in found.items()}
    close(found["gradient"], torch["gradient"])
    close(found["rows"], torch["rows"])
    close(found["Jv"].reshape(2, -1), v @ torch["jacobian"].T)
    close(found["Ju"], u.reshape(2, -1) @ torch["jacobian"])
    close(found["Gv"], v @ torch["gauss_newton"])
    close(found["Hv"], v @ torch["hessian"])
    close(found["xv"].reshape(2, -1), z.reshape(2, -1) @ torch["input"].T)
    close(found["xu"].reshape(2, -1), u.reshape(2, -1) @ torch["input"])
    close(found["one Hv"], found["Hv"][0], 1e-13)
    close(found["one Gv"], found["Gv"][0], 1e-13)


def test_matrices_equal_torch(bk):
    """What is formed otherwise than by products: dense matrices, A Aᵀ, AᵀA, their diagonals, per-example blocks."""
    matrices_equal_torch(bk, "kinks")


@NET
def test_matrices_of_every_network_equal_torch(name):
    matrices_equal_torch(backend_under_test("numpy"), name)


def matrices_equal_torch(bk, name):
    torch, ev = reference(name), at(bk, name)
    J, G, H, A, get = ev.jacobian, ev.gauss_newton, ev.hessian, ev.root_jacobian, bk.get
    close(get(J.dense()), torch["jacobian"])
    close(get(J.gram()), torch["jacobian"] @ torch["jacobian"].T)
    close(get(J.normal()), torch["jacobian"].T @ torch["jacobian"])
    close(get(J.normal_diagonal()), np.sum(torch["jacobian"] ** 2, axis=0))
    close(get(G.dense()), torch["gauss_newton"])
    close(get(G.diagonal()), np.diag(torch["gauss_newton"]))
    close(get(H.dense()), torch["hessian"])
    close(get(H.diagonal()), np.diag(torch["hessian"]))
    close(get(ev.input_jacobian.dense()), torch["input"])
    rows = get(A.dense())
    close(rows.T @ rows, torch["gauss_newton"])
    close(get(A.gram()), rows @ rows.T)
    close(get(A.diagonal()), np.diag(torch["gauss_newton"]))
    assert float(get(G.trace())) == pytest.approx(np.trace(torch["gauss_newton"]), rel=1e-10)
    blocks = torch["input"].reshape(N, -1, N, 3)[np.arange(N), :, np.arange(N), :]
    close(get(ev.input_jacobian.blocks()), blocks)


@NET
def test_identities(name):
    """Symmetric, positive semidefinite, rows that sum to the gradient, the curvature of the network as what is left."""
    ev = at(backend_under_test("numpy"), name)
    H, G, g = ev.hessian.dense(), ev.gauss_newton.dense(), ev.gradient
    close(H, H.T, 1e-13)
    close(G, G.T, 1e-13)
    assert np.linalg.eigvalsh(G).min() > -1e-13 * np.abs(G).max()
    close(ev.rows().sum(axis=0), g, 1e-13)
    layout, J, v = ev.objective.layout, ev._forward[1], np.random.default_rng(0).standard_normal(g.size)
    left = layout.join(J.curve(layout.split(v), None, ev._loss.gradient)[0])
    close(ev.hessian(v), ev.gauss_newton(v) + left, 1e-12)
    if ev.residual is not None:
        close(ev.root_jacobian.T(ev.root_jacobian.residual), g, 1e-12)


# -- witnesses that share no code with the rules ----------------------------------------------------------------------


@NET
def test_hessian_against_differences_of_the_value(name):
    """vᵀ H v from second quotients of the value alone: no derivative rule takes part."""
    ev = at(backend_under_test("numpy"), name)
    H, f, scale = ev.hessian.dense(), ev.objective, np.abs(ev.hessian.dense()).max()

    def quotient(v, h):
        return (f(ev.theta + h * v).value - 2.0 * ev.value + f(ev.theta - h * v).value) / h**2

    for v in np.random.default_rng(0).standard_normal((20, ev.theta.size)) / ev.theta.size**0.5:
        found = (4.0 * quotient(v, 1e-3) - quotient(v, 2e-3)) / 3.0  # errors in h² cancel
        np.testing.assert_allclose(v @ H @ v, found, atol=1e-8 * max(scale, 1.0))


@NET
def test_jacobian_against_differences(name):
    ev = at(backend_under_test("numpy"), name)
    found = gd.numerical_jacobian(lambda theta: ev.objective(theta).prediction, ev.theta)
    close(ev.jacobian.dense(), found.reshape(-1, ev.theta.size), 1e-8)


class Logistic(Elementwise):
    """The sigmoid as ½ (1 + tanh ½ x): without |x|, so that it holds for complex numbers too."""

    def f(self, backend, x):
        return 0.5 * (1.0 + backend.xp.tanh(0.5 * x))

    def df(self, backend, x, y):
        return y * (1.0 - y)


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy_labels"])
@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "nested"])
def test_hessian_products_equal_complex_steps_of_the_gradient(kind, loss):
    """H v = Im g(θ + i h v) / h, to rounding: the gradient's rules run on complex numbers."""
    rng = np.random.default_rng(0)

    def make(activation):
        out = gd.Dense(LOSS[loss].out_shape[0])
        if kind != "nested":
            return gd.Sequential(gd.Dense(3, 6), activation(), gd.Dense(5), activation(), out)
        inner = gd.Parallel(gd.Dense(2), gd.Residual(activation(), gd.Dense(6)), combine="concat")
        return gd.Sequential(gd.Dense(3, 6), activation(), inner, activation(), out)

    net, twin = make(gd.Tanh if kind == "tanh" else gd.Sigmoid), make(gd.Tanh if kind == "tanh" else Logistic)
    x, t = rng.standard_normal((7, 3)), LOSS[loss].target(rng, 7)
    w, layout = rng.uniform(0.5, 2.0, 7), net.layout()
    theta = net.initial(seed=1) + 0.2 * rng.standard_normal(layout.size)
    objective, analytic = (
        gd.Objective(n, LOSS[loss].loss, x, t, w, backend=get_backend("cpu"), layout=layout) for n in (net, twin)
    )
    V = np.concatenate([np.eye(layout.size)[:20], rng.standard_normal((3, layout.size))])
    found = objective(theta).hessian(V)
    h = 1e-30
    for v, product in zip(V, found):
        expected = analytic(theta + 1j * h * v).gradient.imag / h
        np.testing.assert_allclose(product, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


def test_linear_least_squares_has_no_curvature_of_its_own():
    net = gd.Sequential(gd.Dense(3, 2))
    x, t = np.random.default_rng(0).standard_normal((2, 6, 3))
    ev = gd.Objective(net, gd.SquaredError(), x, t[:, :2], backend=get_backend("cpu"), layout=net.layout())(np.ones(8))
    np.testing.assert_allclose(ev.hessian.dense(), ev.gauss_newton.dense(), atol=1e-14)


# -- memory -----------------------------------------------------------------------------------------------------------


def wide():
    """Many outputs: one example's rows alone fill a block."""
    net = gd.Sequential(gd.Dense(3, 4), gd.Tanh(), gd.Dense(40))
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((6, 3)), rng.standard_normal((6, 40))
    layout = net.layout()
    return gd.Objective(net, gd.SquaredError(), x, t, backend=get_backend("cpu"), layout=layout)(net.initial())


def test_row_blocks_keep_to_the_limit():
    for ev in (wide(), at(backend_under_test("numpy"), "chain", n=50)):
        for A in (ev.jacobian, ev.root_jacobian):
            whole, p = A.dense(), A.shape[1]
            for rows in (1, 7, 100):
                limit = 3 * rows * p * 8
                blocks = list(A._blocks(limit))
                assert max(block.nbytes for block in blocks) <= max(limit // 3, p * 8)
                assert sum(block.shape[0] for block in blocks) == A.shape[0]
                close(sum(b.T @ b for b in blocks), whole.T @ whole, 1e-12)
            close(A.normal(2 * p * p * 8 + 3 * p * 8), whole.T @ whole, 1e-12)
            with pytest.raises(OptionError, match="does not fit"):
                A.normal(2 * p * p * 8 - 1)
            with pytest.raises(OptionError, match="does not fit"):
                A.dense(whole.nbytes)


def test_diagonals_form_no_rows(monkeypatch):
    """Exact from squares, in as many outputs at once as fit."""
    ev = wide()
    A = ev.root_jacobian
    expected, counts = np.sum(A.dense() ** 2, axis=0), []
    plain = type(A.J).squares

    def counted(J, dy):
        counts.append(dy.shape[0])
        return plain(J, dy)

    def forbidden(*args):
        raise AssertionError("rows were formed")

    monkeypatch.setattr(type(A.J), "squares", counted)
    for kind in {type(J) for J in (A.J, *A.J.jacobians)}:
        monkeypatch.setattr(kind, "rows", forbidden)
    close(A.diagonal(), expected, 1e-12)
    close(A.diagonal(16 * A.work * 8), expected, 1e-12)
    close(ev.gauss_newton.diagonal(), expected, 1e-12)
    assert counts == [40, 16, 16, 8, 40]


def test_the_dense_hessian_is_one_batched_pass_where_it_fits():
    ev = at(backend_under_test("numpy"), "chain")
    expected, J, sizes = ev.hessian.dense(), ev._forward[1], []
    plain = J.hvp

    def counted(dparams, *args):
        sizes.append(next(iter(dparams.values())).shape[0])
        return plain(dparams, *args)

    J.hvp = counted
    H, P = ev.hessian, ev.theta.size
    close(H.dense(), expected, 1e-15)
    close(H.dense(max_bytes=10 * H.work * 8), expected, 1e-13)
    assert sizes[0] == P
    assert max(sizes[1:]) == 10
    with pytest.raises(OptionError, match="GiB"):
        H.dense(max_bytes=P * P * 8 - 1)


def test_gauss_newton_of_many_outputs_comes_from_products(monkeypatch):
    ev = wide()
    rows = ev.root_jacobian.dense()
    monkeypatch.setattr(curvature.PredictionJacobian, "normal", None)
    close(ev.gauss_newton.dense(), rows.T @ rows, 1e-12)


# -- what is drawn, what is missing, what is narrow -------------------------------------------------------------------


def test_dropout_keeps_its_draw_in_every_form():
    """Blocks of rows must not draw other masks than the whole batch did."""
    net = gd.Sequential(gd.Dense(3, 8), gd.Tanh(), gd.Dropout(0.5), gd.Dense(2))
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((12, 3)), rng.integers(0, 2, 12)
    objective = gd.Objective(
        net, gd.CrossEntropy(), x, t, backend=get_backend("cpu"), layout=net.layout(), training=True, key=Key(5)
    )
    ev = objective(net.initial())
    J = np.stack([ev.jacobian.T(u.reshape(12, 2)) for u in np.eye(24)])
    p = J.shape[1]
    assert (J == 0).any(axis=0).any()
    close(ev.jacobian.dense(), J, 1e-13)
    close(ev.jacobian.normal(2 * p * p * 8 + 3 * 5 * p * 8), J.T @ J, 1e-12)
    close(ev.jacobian.normal_diagonal(), np.sum(J * J, axis=0), 1e-12)
    close(ev.jacobian.gram(), J @ J.T, 1e-12)
    H = gd.numerical_jacobian(lambda theta: objective(theta).gradient, ev.theta)
    np.testing.assert_allclose(ev.hessian.dense(), H, atol=1e-8 * np.abs(H).max())


def test_a_layer_without_curve_falls_back_and_says_so(bk):
    class Cube(Elementwise):
        def forward(self, params, x, context):
            d = 3.0 * x * x
            return x**3, Jacobian(lambda dparams, dx: dx * d, lambda dy: ({}, dy * d))

    class Own(Elementwise):
        def f(self, backend, x):
            return x**3

        def df(self, backend, x, y):
            return 3.0 * x * x

        def d2f(self, backend, x, y):
            return 6.0 * x

    rng, found = np.random.default_rng(0), []
    x, t, v = rng.standard_normal((4, 3)), rng.standard_normal((4, 2)), rng.standard_normal((2, 26))
    for layer in (Cube(), Own()):
        net = gd.Sequential(gd.Dense(3, 4), layer, gd.Dense(2))
        objective = gd.Objective(net, gd.SquaredError(), bk.put(x), bk.put(t), backend=bk.backend, layout=net.layout())
        found.append(objective(bk.put(net.initial())))
    with pytest.warns(UserWarning, match=r"Cube\(\) has no `curve`"):
        product = bk.get(found[0].hessian(bk.put(v)))
    close(product, bk.get(found[1].hessian(bk.put(v))), 1e-8)
    close(bk.get(found[0].gauss_newton(bk.put(v))), bk.get(found[1].gauss_newton(bk.put(v))), 1e-13)


def test_single_precision_stays_single(bk):
    ev, double = at(bk, "kinks", dtype="float32"), at(backend_under_test("numpy"), "kinks")
    v, u = np.random.default_rng(0).standard_normal(ev.theta.shape), np.ones(ev.prediction.shape)

    def all_of(ev, dtype):
        on, up = (ev.objective.backend.asarray(a, dtype) for a in (v, u))
        J, A = ev.jacobian, ev.root_jacobian
        return (
            J(on), J.T(up), ev.gauss_newton(on), ev.hessian(on), ev.rows(), J.gram(), J.normal(), J.normal_diagonal(),
            A.gram(), ev.gauss_newton.dense(), ev.gauss_newton.diagonal(), ev.hessian.dense(), ev.hessian.diagonal(),
            ev.input_jacobian.blocks(),
        )  # fmt: skip

    for one, two in zip(all_of(ev, "float32"), all_of(double, "float64")):
        assert "32" in str(one.dtype)
        np.testing.assert_allclose(bk.get(one), two, atol=2e-5 * np.abs(two).max(), rtol=1e-3)


def test_a_compiled_hessian_product():
    """The whole product, from theta on, as one compiled function."""
    jax = pytest.importorskip("jax")
    bk = backend_under_test("jax")
    objective, theta = at(bk, "parallel").objective, at(bk, "parallel").theta
    v = bk.put(np.random.default_rng(0).standard_normal(theta.shape))
    product = jax.jit(lambda theta, v: (objective(theta).hessian(v), objective(theta).gauss_newton.diagonal()))
    found = [bk.get(a) for a in product(theta, v)]
    torch = reference("parallel")
    close(found[0], torch["hessian"] @ bk.get(v))
    close(found[1], np.diag(torch["gauss_newton"]))


# -- every layer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
def test_squares_are_those_of_the_rows(bk, case):
    rng = np.random.default_rng(0)
    params = {name: bk.put(rng.standard_normal(shape)) for name, shape in case.layer.shapes(case.in_shape).items()}
    y, J = case.layer(params, bk.put(rng.standard_normal((3, *case.in_shape))))
    dy = bk.put(rng.standard_normal((2, *y.shape)))
    rows, squares = J.rows(dy), J.squares(dy)
    assert rows.keys() == squares.keys() == params.keys()
    for key, row in rows.items():
        close(bk.get(squares[key]), np.sum(bk.get(row) ** 2, axis=(0, 1)), 1e-12)


PRODUCTS = ("jvp", "vjp", "vjp_x", "vjp_into", "curve", "dvjp", "rows", "squares", "gram")
PAGE = Path(__file__).parents[2] / "docs" / "curvature.md"


def form(layer, J, product):
    """How a layer comes by a product: a rule of its own, derived from its other rules, or differences."""
    if isinstance(J, gd.layers.elementwise.ElementwiseJacobian) and product == "curve":
        return "own" if type(layer).d2f is not Elementwise.d2f else "differences"
    if product == "curve" and not J.has_curve:
        return "differences"
    own = product in J.__dict__ or getattr(type(J), product) is not getattr(Jacobian, product)
    return "own" if own else "derived"


def table():
    """One line a layer of the library, one column a product."""
    seen = {}
    rng = np.random.default_rng(0)
    for case in LAYERS:
        kind = type(case.layer).__name__
        if kind not in seen:
            params = {name: rng.standard_normal(shape) for name, shape in case.layer.shapes(case.in_shape).items()}
            J = case.layer(params, rng.standard_normal((2, *case.in_shape)), training=True, key=Key(0))[1]
            seen[kind] = [form(case.layer, J, product) for product in PRODUCTS]
    head = f"| layer | {' | '.join(f'`{p}`' for p in PRODUCTS)} |\n|{'---|' * (len(PRODUCTS) + 1)}"
    return "\n".join([head, *(f"| {kind} | {' | '.join(forms)} |" for kind, forms in sorted(seen.items()))])


def test_the_page_tells_how_every_layer_comes_by_every_product():
    lines = table().splitlines()
    assert len(lines) >= 23
    assert not any("differences" in line for line in lines), "a layer of the library has no second derivative"
    assert table() in PAGE.read_text(), f"docs/curvature.md needs this table:\n\n{table()}"


def test_working_size_counts_the_inputs_of_every_layer_in_every_nest():
    ev = at(backend_under_test("numpy"), "parallel")
    first, second, last = 3 * (1 + 2 + 1 + 1), 7 * (1 + 3) + 7 * 2, 14
    assert ev.jacobian.work <= 2 * (ev.theta.size + N * (3 + first + 7 + second + last))
    assert ev.jacobian.work >= 2 * (ev.theta.size + N * (first + second))

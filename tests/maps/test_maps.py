"""The algebra of maps, stated once for every kind of map, on every array library."""

import math

import numpy as np
import pytest

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.errors import OptionError, ShapeError
from gdnet.losses import CrossEntropy, Huber, SquaredError
from gdnet.maps import BATCH_BYTES, Map, diagonal, symmetric
from gdnet.maps.solve import Matrix
from gdnet.testing.backends import backend_under_test
from gdnet.testing.maps import check_map

RNG = np.random.default_rng(0)
WIDE, TALL, SQUARE = (RNG.standard_normal(shape) for shape in ((3, 5), (6, 4), (4, 4)))
SPD = SQUARE @ SQUARE.T
D = np.asarray([[1.0, 2.0, 0.5], [3.0, 0.0, 1.0]])
LOGITS = RNG.standard_normal((3, 4))


def plain(bk, A, *tags, in_shape=None, out_shape=None):
    """A matrix as a map by its two products alone, over arrays of any shape."""
    rows, columns = A.shape
    in_shape, out_shape = in_shape or (columns,), out_shape or (rows,)
    a, xp = bk.put(A), bk.xp

    def through(matrix, before, after):
        return lambda v: xp.reshape(
            xp.reshape(v, (*v.shape[: v.ndim - len(before)], -1)) @ matrix,
            (*v.shape[: v.ndim - len(before)], *after),
        )

    return Map(
        bk.backend, in_shape, out_shape, a.dtype, through(a.T, in_shape, out_shape), through(a, out_shape, in_shape),
        set(tags),
    )  # fmt: skip


def evaluation(bk):
    net = gd.Sequential(gd.Dense(2, 3), gd.Tanh(), gd.Dense(2))
    x, t = bk.put(RNG.standard_normal((3, 2))), bk.put(np.asarray([0, 1, 1]))
    objective = gd.Objective(net, gd.CrossEntropy(), x, t, backend=bk.backend, layout=net.layout())
    return objective(bk.put(net.initial(seed=1)))


KINDS = {
    "wide": lambda bk: plain(bk, WIDE),
    "tall": lambda bk: plain(bk, TALL),
    "one number": lambda bk: plain(bk, np.asarray([[-2.0]])),
    "over matrices": lambda bk: plain(bk, TALL, in_shape=(2, 2), out_shape=(3, 2)),
    "positive definite": lambda bk: symmetric(bk.backend, (4,), bk.put(SPD).dtype, lambda v: v @ bk.put(SPD), "psd"),
    "matrix": lambda bk: Matrix(bk.backend, bk.put(WIDE)),
    "diagonal": lambda bk: diagonal(bk.backend, bk.put(D), "psd"),
    "indefinite diagonal": lambda bk: diagonal(bk.backend, bk.put(D - 1.0)),
    "transposed": lambda bk: plain(bk, TALL).T,
    "product": lambda bk: plain(bk, TALL) @ plain(bk, SQUARE),
    "product of diagonals": lambda bk: diagonal(bk.backend, bk.put(D)) @ diagonal(bk.backend, bk.put(D)),
    "sum": lambda bk: Matrix(bk.backend, bk.put(SPD), "psd") + diagonal(bk.backend, bk.put(D[0, [0, 1, 2, 0]]), "psd"),
    "difference": lambda bk: plain(bk, WIDE) - plain(bk, 0.5 * WIDE),
    "multiple": lambda bk: 3.0 * Matrix(bk.backend, bk.put(SPD), "psd"),
    "negative": lambda bk: -Matrix(bk.backend, bk.put(SPD), "psd"),
    "loss hessian": lambda bk: CrossEntropy()(bk.put(LOGITS), bk.put(np.asarray([1, 0, 3]))).hessian,
    "loss root": lambda bk: CrossEntropy()(bk.put(LOGITS), bk.put(np.asarray([1, 0, 3]))).root,
    "diagonal loss hessian": lambda bk: Huber()(bk.put(LOGITS), bk.put(0.5 * LOGITS)).hessian,
    "diagonal loss root": lambda bk: SquaredError()(bk.put(LOGITS), bk.put(0.5 * LOGITS)).root,
    "jacobian": lambda bk: evaluation(bk).jacobian,
    "root jacobian": lambda bk: evaluation(bk).root_jacobian,
    "input jacobian": lambda bk: evaluation(bk).input_jacobian,
    "gauss-newton": lambda bk: evaluation(bk).gauss_newton,
    "hessian": lambda bk: evaluation(bk).hessian,
    "layer by W": lambda bk: gd.Dense(2, 3).jacobian(
        {"W": bk.put(WIDE[:2, :3]), "b": bk.put(WIDE[0, :3])}, bk.put(TALL[:, :2])
    )["W"],
}
KIND = pytest.mark.parametrize("kind", KINDS)


def columns(bk, A):
    """The matrix, one product a column."""
    units = np.eye(A.shape[1]).reshape(-1, *A.in_shape)
    return np.stack([bk.get(A.forward(bk.put(unit))).reshape(-1) for unit in units], axis=1)


@KIND
def test_is_linear_transposes_and_tells_the_truth(bk, kind):
    assert check_map(KINDS[kind](bk))


@KIND
def test_algebra(bk, kind):
    A = KINDS[kind](bk)
    M = columns(bk, A)
    rng = np.random.default_rng(1)
    v, u = bk.put(rng.standard_normal(A.in_shape)), bk.put(rng.standard_normal(A.out_shape))
    near = {"rtol": 1e-12, "atol": 1e-12 * max(1.0, np.abs(M).max() ** 2)}

    def same(found, expected):
        np.testing.assert_allclose(bk.get(found).reshape(-1), expected, **near)

    x, y = bk.get(v).reshape(-1), bk.get(u).reshape(-1)
    same(A @ v, M @ x)
    same(A.T @ u, M.T @ y)
    same((A.T @ A)(v), M.T @ (M @ x))
    same((A @ A.T)(u), M @ (M.T @ y))
    same((A + A)(v), 2 * M @ x)
    same((A + 2.5 * A)(v), 3.5 * M @ x)
    same((A * np.float64(2.0)).T(u), 2 * M.T @ y)
    same((np.float64(2.0) * A)(v), 2 * M @ x)
    same((A - A)(v), 0 * M @ x)
    same((-A).T(u), -M.T @ y)
    same((A @ A.T @ A).T(u), M.T @ (M @ (M.T @ y)))
    assert (A.T.shape, A.T.T.shape) == (A.shape[::-1], A.shape)


@KIND
def test_algebra_gives_maps(kind):
    A = KINDS[kind](backend_under_test("numpy"))
    for B in (A + A, 2.0 * A, -A, A.T, A.T @ A):
        assert check_map(B)


@KIND
def test_as_a_matrix(bk, kind):
    A = KINDS[kind](bk)
    M = columns(bk, A)
    near = {"rtol": 1e-12, "atol": 1e-13 * max(1.0, np.abs(M).max())}
    np.testing.assert_allclose(bk.get(A.dense()), M, **near)
    limited = A.T if isinstance(A, Matrix) else A  # a matrix exists already, whatever its size
    with pytest.raises(OptionError):
        limited.dense(M.size * 8 - 1)
    normal = A.T @ A
    np.testing.assert_allclose(bk.get(normal.diagonal()).reshape(-1), np.sum(M * M, axis=0), **near)
    assert float(bk.get(normal.trace())) == pytest.approx(np.sum(M * M), rel=1e-11)
    if A.in_shape == A.out_shape and not kind.startswith("root"):
        found = bk.get(A.diagonal())
        assert found.shape == A.in_shape
        np.testing.assert_allclose(found.reshape(-1), np.diag(M), **near)
        assert float(bk.get(A.trace())) == pytest.approx(np.trace(M), rel=1e-11, abs=1e-12)
    elif kind != "root jacobian":
        with pytest.raises(ShapeError, match="square"):
            A.diagonal()


@KIND
def test_to_scipy(bk, kind):
    A = KINDS[kind](bk)
    M, L = columns(bk, A), A.to_scipy()
    rng = np.random.default_rng(1)
    assert (L.shape, L.dtype) == (M.shape, np.float64)
    for lead in ((), (1,), (3,)):
        v, u = rng.standard_normal((M.shape[1], *lead)), rng.standard_normal((M.shape[0], *lead))
        near = {"rtol": 1e-12, "atol": 1e-12 * max(1.0, np.abs(M).max())}
        np.testing.assert_allclose(L @ v, M @ v, **near)
        np.testing.assert_allclose(L.T @ u, M.T @ u, **near)
        np.testing.assert_allclose(L.rmatmat(u) if lead else L.rmatvec(u), M.T @ u, **near)


def test_scipy_solves_with_a_map_in_single_precision():
    """SciPy's vectors are float64; the map's arrays stay float32."""
    from scipy.sparse.linalg import cg, eigsh

    seen = set()

    def apply(v):
        seen.add(str(v.dtype))
        return v @ SPD.astype("float32")

    L = symmetric(get_backend("cpu"), (4,), np.dtype("float32"), apply, "psd").to_scipy()
    b = np.ones(4)
    np.testing.assert_allclose(cg(L, b, rtol=1e-6)[0], np.linalg.solve(SPD, b), rtol=2e-2)
    np.testing.assert_allclose(eigsh(L, k=1)[0], np.linalg.eigvalsh(SPD)[-1:], rtol=1e-4)
    assert seen == {"float32"}


def test_basis_vectors_go_through_in_blocks():
    """What one product needs says how many vectors go together; the matrix does not depend on it."""
    A, sizes = np.arange(12.0).reshape(4, 3), []

    def forward(v):
        sizes.append(v.shape[0])
        return v @ A.T

    def make(work):
        return Map(get_backend("cpu"), (3,), (4,), np.dtype("float64"), forward, lambda u: u @ A, work=work)

    for work, expected in ((0, [3]), (BATCH_BYTES // 16, [2, 1]), (BATCH_BYTES, [1, 1, 1])):
        sizes.clear()
        np.testing.assert_array_equal(make(work).dense(), A)
        assert sizes == expected
    sizes.clear()
    make(1000).dense(max_bytes=2 * 1000 * 8)
    assert sizes == [2, 1]
    assert (2.0 * make(1000).T @ make(500)).work == 1000


def test_blocks(bk):
    """Maps that act on each example alone give one matrix an example, without the zeros between them."""
    ev = evaluation(bk)
    for A in (ev.input_jacobian, ev._loss.hessian, ev._loss.root, ev._loss.hessian @ ev.input_jacobian):
        n, k, m = A.in_shape[0], math.prod(A.out_shape[1:]), math.prod(A.in_shape[1:])
        blocks = bk.get(A.blocks())
        assert blocks.shape == (n, k, m)
        whole = np.zeros((n, k, n, m))
        whole[np.arange(n), :, np.arange(n), :] = blocks
        np.testing.assert_allclose(bk.get(A.dense()), whole.reshape(n * k, n * m), atol=1e-14)
    with pytest.raises(OptionError, match="per_example"):
        ev.jacobian.blocks()


def test_tags_follow_from_tags():
    cpu = get_backend("cpu")
    psd, d = Matrix(cpu, SPD, "psd"), diagonal(cpu, np.ones(4))
    assert (psd + psd).tags >= {"psd", "symmetric"}
    assert (psd + d).tags == {"symmetric"}
    assert (2.0 * psd).tags == psd.tags
    for negative in (-1.0 * psd, -psd, np.asarray(2.0) * psd):
        assert "psd" not in negative.tags
        assert "symmetric" in negative.tags
    assert (psd @ psd).tags == frozenset()
    assert (d @ d).tags == {"diagonal"}


def test_errors():
    cpu = get_backend("cpu")
    A, B = Matrix(cpu, WIDE), Matrix(cpu, TALL)
    with pytest.raises(ShapeError, match="compose"):
        _ = A @ B
    with pytest.raises(ShapeError, match="add"):
        _ = A + B
    with pytest.raises(ShapeError, match="takes arrays"):
        A(np.ones(3))
    with pytest.raises(TypeError):
        _ = A + 1.0
    with pytest.raises(TypeError):
        _ = A * A

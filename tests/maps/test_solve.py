"""Solving with matrices and maps, on every array library."""

import numpy as np
import pytest

from gdnet.errors import ShapeError
from gdnet.maps import solve


def spd(n, seed=0, condition=1e3):
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    return (Q * np.geomspace(1, condition, n)) @ Q.T, rng.standard_normal(n)


def test_matrix_is_a_map(bk):
    A = np.arange(6.0).reshape(2, 3)
    M = solve.Matrix(bk.backend, bk.put(A))
    v, u = np.array([1.0, 2.0, 3.0]), np.array([[1.0, -1.0], [2.0, 0.5]])
    assert M.shape == (2, 3)
    np.testing.assert_allclose(bk.get(M(bk.put(v))), A @ v)
    np.testing.assert_allclose(bk.get(M(bk.put(np.stack([v, 2 * v])))), np.stack([A @ v, 2 * A @ v]))
    np.testing.assert_allclose(bk.get(M.T(bk.put(u))), u @ A)
    np.testing.assert_allclose(bk.get(M.dense()), A)
    np.testing.assert_allclose(bk.get(M.T.dense()), A.T)
    with pytest.raises(ShapeError, match="two axes"):
        solve.Matrix(bk.backend, bk.put(v))


def test_cholesky_and_what_is_not_positive_definite(bk):
    A, _ = spd(5)
    L = bk.get(solve.cholesky(bk.backend, bk.put(A)))
    np.testing.assert_allclose(L @ L.T, A, rtol=1e-10)
    assert np.all(np.triu(L, 1) == 0)
    assert solve.cholesky(bk.backend, bk.put(np.diag([1.0, -1.0]))) is None


@pytest.mark.parametrize(
    "eigenvalues", [[1.0, 2.0], [1.0, 0.0], [3.0, -2.0], [-1.0, -1.0], [0.0, 0.0], [1e-30, -1e-30]]
)
def test_modified_cholesky_adds_what_is_needed_and_no_more(bk, eigenvalues):
    c, s = np.cos(0.3), np.sin(0.3)
    Q = np.array([[c, -s], [s, c]])
    A = (Q * np.array(eigenvalues)) @ Q.T
    shifted, tau = solve.modified_cholesky(bk.backend, bk.put(A))
    found = np.linalg.eigvalsh(bk.get(shifted))
    assert found.min() > 0
    np.testing.assert_allclose(bk.get(shifted), A + tau * np.eye(2), atol=1e-14)
    if min(eigenvalues) > 0 and max(eigenvalues) < 10 and min(eigenvalues) > 1e-3:
        assert tau == 0
    assert tau <= 4 * max(-min(eigenvalues), 0) + 1e-2 * max(1e-30, np.max(np.abs(A))) + (1.0 if not A.any() else 0)


def test_absolute_solve(bk):
    rng = np.random.default_rng(1)
    Q, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    values, b = np.array([3.0, -2.0, 1.0, -0.5]), rng.standard_normal(4)
    x = solve.absolute_solve(bk.backend, bk.put((Q * values) @ Q.T), bk.put(b))
    np.testing.assert_allclose(bk.get(x), (Q / np.abs(values)) @ Q.T @ b, rtol=1e-10)

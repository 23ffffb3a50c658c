"""A check of a linear map: that it is one, and what it says of itself."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gdnet.backend import Array
from gdnet.maps import Map
from gdnet.testing.report import Report


def check_map(map: Map, *, seed: int = 0, tolerance: float = 1e-10) -> Report:
    """Check a linear map: it is linear, its transpose is one, axes before are batch axes, its tags tell the truth.

    Returns
    -------
    Report

    Raises
    ------
    CheckFailed
        An `AssertionError` that names the comparison and the entry that is wrong.

    >>> from gdnet.backend import get_backend
    >>> from gdnet.maps import symmetric
    >>> bool(check_map(symmetric(get_backend("cpu"), (3,), np.float64, lambda v: 2.0 * v, "diagonal", "psd")))
    True
    """
    backend, rng, report = map.backend, np.random.default_rng(seed), Report(f"Map {map.shape}", tolerance)
    rows, columns = map.shape

    def apply(f: Callable[[Array], Array], *vectors: np.ndarray) -> Any:
        found = [backend.to_numpy(f(backend.asarray(v))) for v in vectors]
        return found[0] if len(found) == 1 else found

    v, w = rng.standard_normal((2, *map.in_shape))
    u = rng.standard_normal(map.out_shape)
    Av, Aw, combined = apply(map, v, w, 2.0 * v - 3.0 * w)
    report.compare("linear", combined, 2.0 * Av - 3.0 * Aw)
    scale = max(1e-3, float(np.sum(np.abs(u * Av))))
    back = apply(map.adjoint, u)
    report.compare("<u, A v> = <Aᵀ u, v>", np.sum(u * Av) / scale, np.sum(back * v) / scale, at_least=1.0)
    report.compare("T", apply(map.T, u), back)

    units = np.eye(columns).reshape(columns, *map.in_shape)
    A = np.stack([apply(map, unit).reshape(-1) for unit in units], axis=1)
    report.compare("dense against columns", backend.to_numpy(map.dense()), A)
    report.compare("T.dense", backend.to_numpy(map.T.dense()), A.T)
    for lead in ((2,), (2, 2)):
        many = rng.standard_normal((*lead, *map.in_shape))
        report.compare("leading axes", apply(map, many).reshape(*lead, rows), many.reshape(*lead, columns) @ A.T)
        many = rng.standard_normal((*lead, *map.out_shape))
        report.compare("leading axes", apply(map.adjoint, many).reshape(*lead, columns), many.reshape(*lead, rows) @ A)
    if map.tags & {"symmetric", "psd", "diagonal"}:
        report.compare("symmetric", A, A.T)
    if "diagonal" in map.tags:
        report.compare("diagonal", A, np.diag(np.diag(A)))
    if "psd" in map.tags:
        least, largest = np.linalg.eigvalsh((A + A.T) / 2.0)[[0, -1]]
        report.require("psd", least >= -1e-10 * max(abs(largest), 1e-3), f"the least eigenvalue is {least:.3g}")
    return report.checked()

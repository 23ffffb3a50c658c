"""Error of difference quotients against the step h: the V-curve, in float32 and float64.

    python -m benchmarks.step_curve --plot out.png

The error is the largest over all entries, relative to the largest entry, against backpropagation in float64, for a
64-30-10 network with sigmoid and cross-entropy on 100 random examples.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import gdnet as gd
from gdnet.backend import get_backend
from gdnet.network.structured_gradient import numerical_gradient_of

METHODS = ("forward", "central")


def objective(dtype: str) -> tuple[gd.Objective, np.ndarray]:
    rng = np.random.default_rng(0)
    net = gd.Sequential(gd.Dense(64, 30), gd.Sigmoid(), gd.Dense(30, 10))
    x, t = rng.random((100, 64)).astype(dtype), rng.integers(0, 10, 100)
    backend = get_backend("cpu")
    return gd.Objective(net, gd.CrossEntropy(), x, t, backend=backend, layout=net.layout()), net.initial(0).astype(
        dtype
    )


def relative_error(dtype: str, method: str, h: float | None) -> float:
    """max |numerical - exact| / max |exact|."""
    exact_objective, exact_theta = objective("float64")
    exact = exact_objective(exact_theta.astype(dtype).astype("float64")).gradient
    found = numerical_gradient_of(*objective(dtype), method, h)
    return float(np.max(np.abs(found - exact)) / np.max(np.abs(exact)))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plot", type=Path, help="write a picture to this file")
    options = parser.parse_args(argv)
    steps = {"float64": [10.0**-k for k in range(1, 12)], "float32": [10.0**-k for k in range(1, 6)]}
    curves = {(d, m): [relative_error(d, m, h) for h in steps[d]] for d in steps for m in METHODS}
    print("h        " + "".join(f"{dtype + ' ' + method:>18}" for dtype, method in curves))
    for k, h in enumerate(steps["float64"]):
        print(f"{h:<9.0e}" + "".join(f"{c[k]:>18.1e}" if k < len(c) else f"{'':>18}" for c in curves.values()))
    print("h=None   " + "".join(f"{relative_error(d, m, None):>18.1e}" for d, m in curves))
    if options.plot:
        from gdnet.report.plots import new_figure

        figure = new_figure(6.4, 4.0)
        axes = figure.subplots()
        for (dtype, method), errors in curves.items():
            axes.loglog(steps[dtype], errors, "o-", label=f"{dtype}, {method}")
        axes.set(xlabel="step h", ylabel="largest error / largest entry")
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(options.plot, dpi=120)
    return 0


if __name__ == "__main__":
    sys.exit(main())

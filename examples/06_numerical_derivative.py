"""The error of a difference quotient against its step h: truncation on one side, rounding on the other.

By Taylor the forward quotient is wrong by h f''/2 and the central one by h² f'''/6; rounding adds about ε/h.
Give --plot to draw the curves (needs matplotlib).
"""

import sys

import numpy as np

import gdnet as gd

exact = np.cos(1.0)
curves = {}
for dtype, smallest in (("float64", 13), ("float32", 6)):
    x = np.asarray([1.0], dtype=dtype)
    steps = 10.0 ** -np.arange(1, smallest + 1)
    for method in ("forward", "backward", "central"):
        found = [float(gd.numerical_derivative(np.sin, x, method=method, h=h)[0]) for h in steps]
        curves[method, dtype] = steps, np.abs(np.asarray(found) - exact)

print("d sin(x)/dx at x = 1: absolute error")
for dtype in ("float64", "float32"):
    print(f"\n{dtype}\n{'h':>8} {'forward':>10} {'backward':>10} {'central':>10}")
    rows = zip(curves["forward", dtype][0], *(curves[m, dtype][1] for m in ("forward", "backward", "central")))
    for h, *errors in rows:
        print(f"{h:8.0e} " + " ".join(f"{e:10.1e}" for e in errors))

print("\nBest steps:")
for (method, dtype), (steps, errors) in curves.items():
    print(f"  {method:8} {dtype}: h = {steps[errors.argmin()]:.0e}, error {errors.min():.0e}")
chosen = gd.numerical_derivative(np.sin, np.asarray([1.0]))
print(f"gdnet's own step (h=None, central, float64): error {abs(float(chosen[0]) - exact):.0e}")

if "--plot" in sys.argv:
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    axes = figure.subplots()
    for (method, dtype), (steps, errors) in curves.items():
        axes.loglog(steps, errors + 1e-17, "o-" if dtype == "float64" else "s--", label=f"{method}, {dtype}")
    axes.set(xlabel="h", ylabel="error of the derivative of sin at 1")
    axes.legend()
    figure.savefig("numerical_derivative.png")

"""Newton's quadratic convergence: the right digits double in every step, beside methods that know less of the surface.

First a logistic regression whose five inputs have different units, then Rosenbrock's curved valley by `gd.minimize`.
"""

import numpy as np

import gdnet as gd

rng = np.random.default_rng(0)
x = rng.standard_normal((200, 5)) * [0.5, 1.0, 2.0, 3.0, 5.0]
t = (x @ [2.0, -1.0, 0.5, 0.3, -0.2] + rng.logistic(size=200) > 0).astype(float)[:, None]


class Path(gd.Callback):
    """The parameters after every step."""

    def on_train_begin(self, run):
        self.points = [run.theta]

    def on_epoch_end(self, run):
        self.points.append(run.theta)


def path(optimizer):
    """All points of a run from zero, by the same `fit` as for every other network."""
    model = gd.Model(gd.Sequential(gd.Dense(5, 1, init=gd.zeros())), loss=gd.BinaryCrossEntropy(), dtype="float64")
    steps = Path()
    model.fit(x, t, optimizer=optimizer, epochs=1000, batch_size=None, callbacks=[steps], verbose=0)
    return np.asarray(steps.points)


methods = (gd.GradientDescent, gd.ConjugateGradient, gd.LBFGS, gd.BFGS, gd.Newton)
minimum, shown = path(gd.Newton(min_grad=0.0))[-1], (0, 1, 2, 3, 4, 5, 6, 10, 20, 30, 500)
print("logistic regression: max|θ - θ*| after so many steps")
print(f"{'':18}" + "".join(f"{k:>9}" for k in shown))
for method in methods:
    errors = np.abs(path(method(min_grad=1e-12)) - minimum).max(axis=1)
    print(f"{method.__name__:18}" + "".join(f"{errors[k]:9.0e}" for k in shown if k < len(errors)))


def rosenbrock(v):
    """100 (y - x²)² + (1 - x)², its gradient with it; the minimum is (1, 1)."""
    x, fold = v[0], v[1] - v[0] ** 2
    return 100 * fold**2 + (1 - x) ** 2, np.asarray([-400 * x * fold - 2 * (1 - x), 200 * fold])


def hessian(v):
    return np.asarray([[1200 * v[0] ** 2 - 400 * v[1] + 2, -400 * v[0]], [-400 * v[0], 200.0]])


given = {"jac": True, "hess": hessian, "tol": 1e-8, "options": {"max_iter": 5000}}
print("\nRosenbrock's valley   steps  evaluations  max|x - 1|")
for method in ("gd", "cg", "lbfgs", "bfgs", "newton_cg", "newton"):
    found = gd.minimize(rosenbrock, [-1.2, 1.0], method=method, **given)
    print(f"{method:20} {found.nit:6} {found.nfev:12} {np.abs(found.x - 1).max():11.0e}   {found.stop_reason}")

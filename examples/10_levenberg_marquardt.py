"""Levenberg-Marquardt beside Adam: the same network, start and data, the loss against steps and against time.

sinc(10x) = sin(10x) / 10x on 1000 points is learned by a 1-20-1 tanh network, 61 parameters, full batch. One step of
Levenberg-Marquardt solves a 61 x 61 system made of all residuals' derivatives: dearer, and worth it.
"""

import time

import numpy as np

import gdnet as gd

x = np.linspace(-1, 1, 1000)[:, None]
t = np.sinc(10 * x / np.pi)  # NumPy's sinc is sin(πx) / πx


class Clock(gd.Callback):
    """The seconds since the start at which each loss was known."""

    def on_train_begin(self, run):
        self.start, self.seconds = time.perf_counter(), []

    def on_epoch_end(self, run):
        self.seconds.append(time.perf_counter() - self.start)


def train(optimizer, steps):
    """(losses, seconds, model) of a full-batch run from one and the same start."""
    net = gd.Sequential(gd.Dense(1, 20), gd.Tanh(), gd.Dense(20, 1))
    model, clock = gd.Model(net, loss=gd.SquaredError(), dtype="float64", seed=0), Clock()
    history = model.fit(x, t, optimizer=optimizer, epochs=steps, batch_size=None, callbacks=[clock], verbose=0)
    return np.asarray(history["loss"]), np.asarray(clock.seconds), model


train(gd.LevenbergMarquardt(), 3)  # what is slow the first time, such as starting threads, counts for nobody
runs = {
    "Levenberg-Marquardt": train(gd.LevenbergMarquardt(), 150),
    "Adam(lr=0.01)": train(gd.Adam(lr=0.01), 5000),
    "Adam(lr=0.03)": train(gd.Adam(lr=0.03), 5000),
}

print("steps (and seconds) until the loss is at most ...")
print(f"{'':20}" + "".join(f"{goal:>18.0e}" for goal in (1e-2, 1e-3, 1e-4, 1e-6, 1e-9)))
for name, (losses, seconds, _) in runs.items():
    cells = []
    for goal in (1e-2, 1e-3, 1e-4, 1e-6, 1e-9):
        k = int(np.argmax(losses <= goal))
        cells.append(f"{k:6} ({seconds[k]:.3f} s)" if losses[k] <= goal else "-")
    print(f"{name:20}" + "".join(f"{cell:>18}" for cell in cells))

common = min(seconds[-1] for _, seconds, _ in runs.values())
print(f"\nlowest loss            after {common:.2f} s (steps)      at the end   largest error between the points then")
between = np.linspace(-0.999, 0.999, 999)[:, None]
for name, (losses, seconds, model) in runs.items():
    k = int(np.searchsorted(seconds, common, side="right"))
    error = np.abs(model.predict(between) - np.sinc(10 * between / np.pi)).max()
    print(f"{name:20} {losses[:k].min():12.1e} ({k:4}) {losses.min():19.1e} {error:16.1e}")

"""A training run in a process of its own that may kill itself at a given moment: `killed_run.py case file delay`."""

import hashlib
import os
import signal
import sys
import threading

import numpy as np

import gdnet as gd

CASES = {
    "sgd, schedule, early stopping, by iterations": lambda path: (
        [], gd.SGD(lr=0.3), (7, "iteration"),
        [gd.LearningRateSchedule(lambda epoch: 1.0 / (1 + epoch)), gd.EarlyStopping(patience=8)],
    ),
    "adam, dropout, by iterations": lambda path: (
        [gd.Dropout(0.3)], gd.Adam(lr=gd.CosineDecay(0.01, T_max=600)), (5, "iteration"), [],
    ),
    "averaged momentum, plateau, by epochs": lambda path: (
        [], gd.Averaged(gd.Momentum(lr=0.1)), (1, "epoch"), [gd.CSVLog(f"{path}.csv"), gd.StopOnNaN()],
    ),
    "bfgs, full batch": lambda path: ([], gd.BFGS(), (1, "epoch"), [gd.EarlyStopping(patience=30)]),
}  # fmt: skip


def run(case: str, path: str, delay: float = 0.0) -> str:
    """SHA-256 of theta and of the history at the end of the run."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((90, 5))
    t = (x[:, 0] * x[:, 1] > 0).astype(int)
    extra, optimizer, every, callbacks = CASES[case](path)
    net = gd.Sequential(gd.Dense(5, 8), gd.Tanh(), *extra, gd.Dense(8, 2))
    model = gd.Model(net, loss=gd.CrossEntropy(), dtype="float64", seed=3)
    if delay:
        killer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL))
        killer.daemon = True
        killer.start()
    history = model.fit(
        x, t, optimizer=optimizer, epochs=40, batch_size=None if optimizer.full_batch else 7, validation_split=0.2,
        sample_weight=rng.random(90) + 0.1, callbacks=[*callbacks, gd.Checkpoint(path, every)],
        resume=path if os.path.exists(path) else None, verbose=0,
    )  # fmt: skip
    record = repr((dict(history), history.epochs, history.stop_reason))
    return hashlib.sha256(model.theta.tobytes() + record.encode()).hexdigest()


if __name__ == "__main__":
    print(run(sys.argv[1], sys.argv[2], float(sys.argv[3])), flush=True)
    os._exit(0)  # a kill that comes too late shall not count

"""What users get wrong: a clear error at the edge, and the model as it was."""

import numpy as np
import pytest

import gdnet as gd
from gdnet.errors import ArrayError, DataError, DeviceError, FileError, NotBuilt, OptionError, ShapeError
from gdnet.model import Model, load

RNG = np.random.default_rng(0)
X, T = RNG.standard_normal((20, 4)).astype("float32"), RNG.integers(0, 3, 20)
Y = RNG.standard_normal((20, 3)).astype("float32")


def with_value(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def model(loss=None, outputs=3):
    return Model(gd.Sequential(gd.Dense(4, 5), gd.Tanh(), gd.Dense(5, outputs)), loss=loss or gd.CrossEntropy())


class NotACallback:
    pass


FIT = {
    # name: (loss, x, t, options, error, words that the message must hold)
    "too few features": (None, X[:, :3], T, {}, ShapeError, "layer 0.*Dense.*expects 4 features, got 3"),
    "one axis": (None, X[0], T[:4], {}, ShapeError, "x must have shape"),
    "image instead of rows": (None, X.reshape(20, 2, 2), T, {}, ShapeError, "Flatten"),
    "label too large": (None, X, with_value(T, 3, 7), {}, DataError, "7"),
    "label negative": (None, X, with_value(T, 3, -1), {}, DataError, "-1"),
    "float labels": (None, X, T.astype("float32"), {}, (DataError, ArrayError), "int"),
    "text labels": (None, X, np.asarray(["a"] * 20), {}, (DataError, ArrayError), "text"),
    "object x": (None, X.astype(object), T, {}, ArrayError, "x must hold real numbers"),
    "complex x": (None, X.astype(complex), T, {}, ArrayError, "complex"),
    "empty": (None, X[:0], T[:0], {}, DataError, "empty"),
    "no features": (None, X[:, :0], T, {}, (DataError, ShapeError), "empty"),
    "NaN in x": (None, with_value(X, (2, 1), np.nan), T, {}, DataError, r"x contains 1 value.*\(2, 1\)"),
    "infinity in x": (None, with_value(X, (2, 1), np.inf), T, {}, DataError, "infinite"),
    "NaN in t": (gd.SquaredError(), X, with_value(Y, (5, 0), np.nan), {}, DataError, r"t .*\(5, 0\)"),
    "different lengths": (None, X, T[:-1], {}, ShapeError, "20 examples and t has 19"),
    "t missing": (None, X, None, {}, ArrayError, "t is missing"),
    "list": (None, X.tolist(), T, {}, ArrayError, "array"),
    "integer x": (None, np.ones((20, 4), int), T, {}, ArrayError, "astype"),
    "loss and outputs": (gd.SquaredError(), X, Y[:, :2], {}, ShapeError, r"\(20, 3\)"),
    "one target axis too few": (gd.SquaredError(), X, Y[:, 0], {}, ShapeError, r"\(20, 3\)"),
    "one-hot of another size": (None, X, np.eye(4)[T], {}, ShapeError, r"\(20, 3\)"),
    "batch size 0": (None, X, T, {"batch_size": 0}, OptionError, "batch_size"),
    "batch size negative": (None, X, T, {"batch_size": -5}, OptionError, "batch_size"),
    "batch size too large": (None, X, T, {"batch_size": 21}, OptionError, "batch_size.*20"),
    "batch size a float": (None, X, T, {"batch_size": 5.0}, OptionError, "batch_size"),
    "batch size text": (None, X, T, {"batch_size": "all"}, OptionError, "batch_size"),
    "epochs 0": (None, X, T, {"epochs": 0}, OptionError, "epochs"),
    "epochs negative": (None, X, T, {"epochs": -1}, OptionError, "epochs"),
    "epochs a float": (None, X, T, {"epochs": 1.5}, OptionError, "epochs"),
    "optimizer a class": (None, X, T, {"optimizer": gd.SGD}, OptionError, r"gd\.SGD\(\)"),
    "optimizer a string": (None, X, T, {"optimizer": "sgd"}, OptionError, "Optimizer"),
    "split 1": (None, X, T, {"validation_split": 1.0}, OptionError, "validation_split"),
    "split negative": (None, X, T, {"validation_split": -0.1}, OptionError, "validation_split"),
    "split that leaves nothing": (None, X, T, {"validation_split": 0.001}, OptionError, "too few"),
    "split and data": (
        None, X, T, {"validation_split": 0.5, "validation_data": (X, T)}, OptionError, "not both",
    ),
    "validation not a pair": (None, X, T, {"validation_data": X}, OptionError, r"\(x, t\)"),
    "validation too narrow": (None, X, T, {"validation_data": (X[:, :2], T)}, ShapeError, "4 features, got 2"),
    "validation NaN": (None, X, T, {"validation_data": (X * np.nan, T)}, DataError, "validation x"),
    "callback a class": (None, X, T, {"callbacks": [gd.EarlyStopping]}, OptionError, r"gd\.EarlyStopping\("),
    "callback something else": (None, X, T, {"callbacks": [NotACallback()]}, OptionError, "NotACallback"),
    "callbacks a number": (None, X, T, {"callbacks": 3}, OptionError, "callbacks"),
    "early stopping without validation": (
        None, X, T, {"callbacks": [gd.EarlyStopping()]}, OptionError, "val_loss.*validation_data",
    ),
    "unknown metric": (None, X, T, {"metrics": ["rmse"]}, OptionError, "accuracy"),
    "weights negative": (None, X, T, {"sample_weight": -np.ones(20)}, DataError, "negative"),
    "weights all zero": (None, X, T, {"sample_weight": np.zeros(20)}, DataError, "zero"),
    "weights too few": (None, X, T, {"sample_weight": np.ones(19)}, ShapeError, "20 examples"),
    "class weight text": (None, X, T, {"class_weight": "heavy"}, OptionError, "balanced"),
    "class weight negative": (None, X, T, {"class_weight": {0: -1.0}}, OptionError, "class_weight"),
    "resume missing": (None, X, T, {"resume": "nowhere/run.safetensors"}, FileError, "does not exist"),
    "checkpoint unwritable": (
        None, X, T, {"callbacks": [gd.Checkpoint("nowhere/run.safetensors")]}, FileError, "cannot be written",
    ),
    "log unwritable": (None, X, T, {"callbacks": [gd.CSVLog("nowhere/log.csv")]}, FileError, "cannot be written"),
}  # fmt: skip


@pytest.mark.parametrize("name", FIT)
def test_fit_refuses(name):
    loss, x, t, options, error, words = FIT[name]
    m = model(loss)
    before = m.theta.copy()
    with pytest.raises(error, match=words) as caught:
        m.fit(x, t, **{"optimizer": gd.SGD(), "batch_size": 10, "verbose": 0, **options})
    assert isinstance(caught.value, gd.errors.GdnetError)
    np.testing.assert_array_equal(m.theta, before)


def rows(name):
    torch = pytest.importorskip("torch")
    return {"x": torch.zeros((20, 4)), "t": torch.zeros(20, dtype=torch.int64)}[name]


OTHER = {
    "unknown device": (lambda: Model(gd.Dense(4, 1), gd.SquaredError(), device="gpu"), DeviceError, "cuda"),
    "unknown backend": (lambda: Model(gd.Dense(4, 1), gd.SquaredError(), backend="tf"), DeviceError, "torch"),
    "half precision": (lambda: Model(gd.Dense(4, 1), gd.SquaredError(), dtype="float16"), OptionError, "float32"),
    "net a class": (lambda: Model(gd.Dense, gd.SquaredError()), OptionError, "network"),
    "loss a class": (lambda: Model(gd.Dense(4, 1), gd.SquaredError), OptionError, r"gd\.SquaredError\(\)"),
    "seed negative": (lambda: Model(gd.Dense(4, 1), gd.SquaredError(), seed=-1), OptionError, "seed"),
    "in_shape does not fit": (lambda: Model(gd.Dense(4, 1), gd.SquaredError(), in_shape=(5,)), ShapeError, "4"),
    "not built": (lambda: Model(gd.Dense(3), gd.SquaredError()).theta, NotBuilt, "in_shape"),
    "save not built": (lambda: Model(gd.Dense(3), gd.SquaredError()).save("m.safetensors"), NotBuilt, "in_shape"),
    "predict too few": (lambda: model().predict(X[:, :3]), ShapeError, "expects 4 features, got 3"),
    "predict NaN": (lambda: model().predict(X * np.nan), DataError, "x contains"),
    "predict empty": (lambda: model().predict(X[:0]), DataError, "empty"),
    "predict integers": (lambda: model().predict(np.ones((2, 4), int)), ArrayError, "astype"),
    "predict batch 0": (lambda: model().predict(X, batch_size=0), OptionError, "batch_size"),
    "predict another library": (lambda: model().predict(rows("x")), ArrayError, "torch"),
    "evaluate without t": (lambda: model().evaluate(X), ArrayError, "t is missing"),
    "evaluate label": (lambda: model().evaluate(X, T + 5), DataError, "0"),
    "evaluate another library": (lambda: model().evaluate(rows("x"), rows("t")), ArrayError, "torch"),
    "fit another library": (lambda: model().fit(rows("x"), rows("t"), verbose=0), ArrayError, "torch"),
    "fit mixed": (lambda: model().fit(X, rows("t"), verbose=0), ArrayError, "torch"),
    "gradient lengths": (lambda: model().gradient(X, T[:3]), ShapeError, "20 examples and t has 3"),
    "theta of another size": (lambda: setattr(model(), "theta", np.zeros(3)), ShapeError, "theta must have shape"),
    "load missing": (lambda: load("nowhere.safetensors"), FileError, "does not exist"),
    "load custom": (lambda: load("nowhere.safetensors", custom={"A": int}), OptionError, "custom"),
    "save unwritable": (lambda: model().save("nowhere/m.safetensors"), FileError, "cannot be written"),
    "save into a folder": (lambda: model().save("."), FileError, "folder"),
    "every 0": (lambda: gd.Checkpoint("a", every=(0, "epoch")), OptionError, "positive"),
    "every week": (lambda: gd.Checkpoint("a", every=(1, "week")), OptionError, "iteration"),
    "patience 0": (lambda: gd.EarlyStopping(patience=0), OptionError, "patience"),
    "no time": (lambda: gd.TimeLimit(0), OptionError, "seconds"),
    "factor 2": (lambda: gd.ReduceOnPlateau(factor=2.0), OptionError, "factor"),
    "schedule a number": (lambda: gd.LearningRateSchedule(0.1), OptionError, "function"),
    "unknown difference": (lambda: model().numerical_gradient(X, T, method="up"), OptionError, "central"),
}


@pytest.mark.parametrize("name", OTHER)
def test_refused(name):
    call, error, words = OTHER[name]
    with pytest.raises(error, match=words):
        call()

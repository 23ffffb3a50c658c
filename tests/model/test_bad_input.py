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
    "x missing": (None, None, T, {}, ArrayError, "x must be an array"),
    "x masked": (None, np.ma.masked_array(X, mask=X > 1), T, {}, ArrayError, "masked"),
    "t masked": (gd.SquaredError(), X, np.ma.masked_array(Y, mask=Y > 1), {}, ArrayError, "masked"),
    "x a matrix": (None, X.view(np.matrix), T, {}, ArrayError, r"numpy\.asarray"),
    "x beyond float32": (None, X.astype("float64") * 1e300, T, {}, DataError, "float32 can hold"),
    "t beyond float32": (gd.SquaredError(), X, Y.astype("float64") * 1e300, {}, DataError, "float32 can hold"),
    "validation beyond float32": (
        None, X, T, {"validation_data": (X.astype("float64") * 1e300, T)}, DataError, "validation x.*float32 can hold",
    ),
    "one weight": (None, X, T, {"sample_weight": np.asarray(1.0)}, ShapeError, "single number"),
    "weights tiny": (None, X, T, {"sample_weight": np.full(20, 1e-300)}, DataError, "ratios"),
    "weights huge": (None, X, T, {"sample_weight": np.full(20, 1e300)}, DataError, "ratios"),
    "class weights all zero": (None, X, T, {"class_weight": {0: 0, 1: 0, 2: 0}}, OptionError, "class_weight"),
    "class weight huge": (None, X, T, {"class_weight": {0: 1e300}}, OptionError, "class_weight"),
    "Dataset and t": (None, gd.data.Dataset(X, T), T, {}, OptionError, "Dataset"),
    "Dataset and weights": (None, gd.data.Dataset(X, T), None, {"sample_weight": T + 1.0}, OptionError, "Dataset"),
    "Dataset without t": (None, gd.data.Dataset(X), None, {}, ArrayError, "t is missing"),
    "metrics none": (None, X, T, {"metrics": None}, OptionError, "metrics"),
    "resume a number": (None, X, T, {"resume": 3}, OptionError, "file name"),
    "resume a folder": (None, X, T, {"resume": "."}, FileError, "folder"),
    "checkpoint name too long": (None, X, T, {"callbacks": [gd.Checkpoint("a" * 300)]}, FileError, "cannot be written"),
    "checkpoint name impossible": (None, X, T, {"callbacks": [gd.Checkpoint("a\0b")]}, FileError, "cannot be written"),
    "rate text": (
        None, X, T, {"callbacks": [gd.LearningRateSchedule(lambda epoch: "fast")]}, OptionError, r"rate\(0\).*positive",
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
    "predict nothing": (lambda: model().predict(None), ArrayError, "x must be an array"),
    "theta a list": (lambda: setattr(model(), "theta", [1.0]), ArrayError, "theta must be an array"),
    "theta complex": (lambda: setattr(model(), "theta", np.zeros(43, complex)), ArrayError, "theta must be float"),
    "theta text": (lambda: setattr(model(), "theta", np.asarray(["a"] * 43)), ArrayError, "theta must be float"),
    "theta objects": (lambda: setattr(model(), "theta", np.zeros(43, object)), ArrayError, "theta must be float"),
    "theta NaN": (lambda: setattr(model(), "theta", np.full(43, np.nan)), DataError, "theta contains"),
    "theta huge": (lambda: setattr(model(), "theta", np.full(43, 1e300)), DataError, "float32 can hold"),
    "in_shape a number": (lambda: Model(gd.Dense(3), gd.SquaredError(), in_shape=4), OptionError, "in_shape"),
    "in_shape negative": (lambda: Model(gd.Dense(3), gd.SquaredError(), in_shape=(-4,)), OptionError, "in_shape"),
    "in_shape zero": (lambda: Model(gd.Dense(3), gd.SquaredError(), in_shape=(0,)), OptionError, "in_shape"),
    "in_shape a fraction": (lambda: Model(gd.Dense(3), gd.SquaredError(), in_shape=(4.5,)), OptionError, "in_shape"),
    "in_shape text": (lambda: Model(gd.Dense(3), gd.SquaredError(), in_shape="4"), OptionError, "in_shape"),
    "step optimizer a class": (lambda: model().training_step(gd.SGD), OptionError, r"gd\.SGD\(\)"),
    "save nameless": (lambda: model().save(None), OptionError, "file name"),
    "save name too long": (lambda: model().save("a" * 300), FileError, "cannot be written"),
    "save name impossible": (lambda: model().save("a\0b"), FileError, "cannot be written"),
    "load nameless": (lambda: load(None), OptionError, "file name"),
    "load a folder": (lambda: load("."), FileError, "folder"),
    "load name too long": (lambda: load("a" * 5000), FileError, "cannot be read"),
    "load custom list": (lambda: load("nowhere.safetensors", custom=[gd.Dense]), OptionError, "custom"),
    "patience text": (lambda: gd.EarlyStopping(patience="5"), OptionError, "patience"),
    "min_delta text": (lambda: gd.EarlyStopping(min_delta="0"), OptionError, "min_delta"),
    "monitor a number": (lambda: gd.EarlyStopping(monitor=5), OptionError, "monitor"),
    "time text": (lambda: gd.TimeLimit("5"), OptionError, "seconds"),
    "factor text": (lambda: gd.ReduceOnPlateau(factor="0.1"), OptionError, "factor"),
    "min_lr negative": (lambda: gd.ReduceOnPlateau(min_lr=-1.0), OptionError, "min_lr"),
    "log nameless": (lambda: gd.CSVLog(3), OptionError, "file name"),
    "init NaN": (
        lambda: Model(gd.Dense(3, 4, init=lambda rng, shape: np.full(shape, np.nan)), gd.SquaredError()),
        OptionError,
        "finite",
    ),
    "init text": (
        lambda: Model(gd.Dense(1, 1, init=lambda rng, shape: [["a"]]), gd.SquaredError()),
        OptionError,
        "<U1",
    ),
    "batches of unequal arrays": (lambda: list(gd.data.batches(X, T[:3], batch_size=2)), ShapeError, "equally many"),
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


def one_step(**changed):
    net, rule, x = gd.Sequential(gd.Dense(4, 3)), gd.SGD(), X.astype("float64")
    given = {"net": net, "loss": gd.CrossEntropy(), "theta": net.parameters(like=x), "x": x, "t": T, "w": None}
    given |= changed
    step = gd.training_step(given["net"], given["loss"], rule)
    return step(given["theta"], rule.init(given["theta"]), given["x"], given["t"], given["w"])


STEP = {
    "net a class": ({"net": gd.Dense}, OptionError, "network"),
    "loss a class": ({"loss": gd.CrossEntropy}, OptionError, "gd.SquaredError"),
    "mixed precision": ({"x": X}, ArrayError, "float32 and float64"),
    "integer x": ({"x": np.ones((20, 4), int)}, ArrayError, "one float type"),
    "unequal lengths": ({"t": T[:3]}, ShapeError, "equally many"),
    "labels in a column": ({"t": T[:, None]}, ShapeError, "integer labels"),
    "loss and shape": ({"loss": gd.SquaredError(), "t": Y[:, 0]}, ShapeError, r"\(20, 3\)"),
    "weights in a column": ({"w": np.ones((20, 1))}, ShapeError, "sample_weight"),
}


@pytest.mark.parametrize("name", STEP)
def test_training_step_refuses(name):
    changed, error, words = STEP[name]
    with pytest.raises(error, match=words):
        one_step(**changed)


def test_training_step_takes_a_single_layer():
    theta, _, value = one_step(net=gd.Dense(4, 3))
    again, _, same = one_step()
    assert value == same
    np.testing.assert_array_equal(theta, again)

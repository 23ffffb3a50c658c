"""Files that somebody has altered, with a checksum that fits: refused in words, or read, and nothing else."""

import json
import random
import tracemalloc

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import gdnet as gd
from gdnet.errors import FileError
from gdnet.files import archive

RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 3))
T = np.arange(24) % 3
VALUES = (None, True, -1, 0, 1, 3, 2**70, -0.5, 1e308, float("nan"), float("inf"), "", "theta", "Dense", "Elementwise",
          "float32", "own.Layer", [], [0], [-1], [[]], {}, {"type": "Dense"}, {"value": 1},
          {"array": "theta"})  # fmt: skip


def opened(path):
    with safe_open(path, framework="numpy") as file:
        return {k: file.get_tensor(k) for k in file.keys()}, json.loads(file.metadata()["gdnet"])  # noqa: SIM118


def write(path, tensors, content):
    text = json.dumps(content)
    save_file(tensors, path, metadata={"gdnet": text, "sha256": archive.digest(tensors, text)})


def altered(chance, tensors, content):
    """A copy with one or two places of the JSON text or one tensor changed."""
    content, tensors = json.loads(json.dumps(content)), dict(tensors)
    for _ in range(chance.choice((1, 1, 2))):
        places = [(content, key) for key in content]
        for owner, key in places:
            inner = owner[key]
            places += [(inner, k) for k in (inner if isinstance(inner, dict) else range(len(inner)))] if isinstance(
                inner, (dict, list)) else []  # fmt: skip
        owner, key = chance.choice(places)
        what = chance.randrange(5)
        if what == 0:
            del owner[key]
        elif what == 1:
            owner[key] = owner[chance.choice(list(owner) if isinstance(owner, dict) else range(len(owner)))]
        elif what == 2 and isinstance(owner[key], list):
            owner[key] = owner[key] * 2
        else:
            owner[key] = chance.choice(VALUES)
    if chance.random() < 0.3:
        name = chance.choice(list(tensors))
        tensor = tensors[name]
        change = chance.choice((
            lambda: tensors.pop(name), lambda: tensors.update({name: tensor.astype("float32")}),
            lambda: tensors.update({name: np.ravel(tensor)[:-1].copy()}), lambda: tensors.update(more=np.zeros(3)),
            lambda: tensors.update({name: np.full_like(tensor, np.nan if tensor.dtype.kind == "f" else 9)}),
            lambda: tensors.update({name: tensor[None].copy()}),
        ))  # fmt: skip
        change()
    return tensors, content


def made():
    net = gd.Sequential(
        gd.Dense(3, 4, init=gd.normal(0.5)), gd.LeakyReLU(0.1), gd.Residual(gd.Dense(4, 4)), gd.Dense(3)
    )
    return gd.Model(net, gd.CrossEntropy(0.1), dtype="float64")


OPTIMIZERS = {
    "Adam": gd.Adam(),
    "averaged": gd.Averaged(gd.Momentum()),
    "LBFGS": gd.LBFGS(),
    "LM": gd.LevenbergMarquardt(),
}


def train(path, name, resume=None, epochs=2):
    model, optimizer = made(), OPTIMIZERS[name]
    model.fit(X, T, optimizer=optimizer, epochs=epochs, batch_size=None if optimizer.full_batch else 10, verbose=0,
              callbacks=[gd.EarlyStopping(monitor="loss"), gd.ReduceOnPlateau(monitor="loss") if name == "Adam" else
                         gd.StopOnNaN(), gd.Checkpoint(path, (2, "iteration") if name == "Adam" else (1, "epoch"))],
              resume=resume)  # fmt: skip
    return model


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    model = made()
    model.fit(X, T, epochs=1, verbose=0)
    model.save(folder / "model.safetensors")
    for name in OPTIMIZERS:
        train(folder / f"{name}.safetensors", name)
    return folder


@pytest.mark.parametrize("name", ["model", *OPTIMIZERS])
@pytest.mark.parametrize("seed", range(2))
def test_a_file_with_a_checksum_that_fits(name, seed, originals, tmp_path):
    chance, refused, path = random.Random(f"{name} {seed}"), 0, tmp_path / "altered.safetensors"
    whole = opened(originals / f"{name}.safetensors")
    known = made()
    before = known.theta.copy()
    for _ in range(100):
        write(path, *altered(chance, *whole))
        loaded, sound = None, True
        try:
            loaded = gd.load(path)
            loaded.predict(np.ones((2, *loaded.in_shape), loaded.dtype))
        except FileError:
            sound = False
        if loaded is not None:
            assert np.isfinite(loaded.theta).all()
        try:
            known.load_parameters(path)
        except FileError:
            np.testing.assert_array_equal(known.theta, before)
        assert known.theta.shape == before.shape
        assert known.theta.dtype == before.dtype
        assert np.isfinite(known.theta).all()
        known.theta = before
        if name != "model":
            try:
                model = train(tmp_path / "next.safetensors", name, resume=path, epochs=3)
                assert model.theta.shape == before.shape
            except FileError:
                sound = False
        refused += not sound
    assert refused > 50


def test_nothing_is_made_for_parameters_that_are_not_there(tmp_path):
    path = tmp_path / "m.safetensors"
    gd.Model(gd.Sequential(gd.Dense(3, 2)), gd.SquaredError()).save(path)
    tensors, content = opened(path)
    content["network"]["config"]["layers"][0]["config"]["features"] = [9000, 9000]
    content["in_shape"], content["layout"] = [9000], [["0.W", [9000, 9000]], ["0.b", [9000]]]
    claims = dict(content)
    claims["layout"] = [["0.W", [3, 2]], ["0.b", [2]]]  # as the arrays are, but not as the network says
    for case in (content, claims):
        write(path, tensors, case)
        tracemalloc.start()
        with pytest.raises(FileError):
            gd.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()


def test_nothing_is_drawn_for_parameters_that_are_read(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    made().fit(X, T, verbose=0)
    model = made()
    model.build((3,))
    model.save(path)

    def draw(*args):
        raise AssertionError("drawn")

    monkeypatch.setattr(gd.Sequential, "initial", draw)
    np.testing.assert_array_equal(gd.load(path).theta, model.theta)
    fresh = gd.Model(gd.Sequential(*(gd.Dense(k) if k else gd.LeakyReLU(0.1) for k in (4, 0))), gd.SquaredError())
    with pytest.raises(FileError, match="another network"):
        fresh.load_parameters(path)
    assert fresh.in_shape is None


def test_parameters_that_are_not_finite(tmp_path):
    path = tmp_path / "m.safetensors"
    model = gd.Model(gd.Sequential(gd.Dense(3, 2)), gd.SquaredError(), dtype="float64")
    model.save(path)
    tensors, content = opened(path)
    for bad in (np.nan, np.inf):
        tensors["0.W"][1, 0] = bad
        write(path, tensors, content)
        for read in (gd.load, model.load_parameters):
            with pytest.raises(FileError, match=r"NaN or infinity \(0\.W\)"):
                read(path)
    tensors["0.W"][1, 0] = 1e200
    write(path, tensors, content)
    with pytest.raises(gd.errors.DataError, match="more than float32 can hold"):
        gd.load(path, dtype="float32")


class Own:
    class Dense(gd.Dense):
        """A class of the user's own that is called as one of gdnet's."""


def test_a_class_handed_over_changes_nothing_else(tmp_path):
    known = dict(gd.Layer.known)
    own, plain = tmp_path / "own.safetensors", tmp_path / "plain.safetensors"
    gd.Model(gd.Sequential(Own.Dense(3, 2), gd.Dense(2)), gd.SquaredError()).save(own)
    gd.Model(gd.Sequential(gd.Dense(3, 2)), gd.SquaredError()).save(plain)
    mixed = gd.load(own, custom={"Dense": Own.Dense})
    assert [type(layer) for layer in mixed.net.layers] == [Own.Dense, gd.Dense]
    assert type(gd.load(plain).net.layers[0]) is gd.Dense
    assert type(gd.load(plain, custom={"Dense": Own.Dense}).net.layers[0]) is gd.Dense
    assert known == gd.Layer.known
    tensors, content = opened(own)
    for disguise in ({"type": Own.Dense.type_name()}, content["network"]["config"]["layers"][0] | {"more": 1}):
        content["network"]["config"]["layers"][0] = disguise
        write(own, tensors, content)
        with pytest.raises(FileError, match="custom="):
            gd.load(own)


@pytest.mark.parametrize("change", [lambda loss: None, lambda loss: loss[:-1], lambda loss: []])
def test_a_history_that_lacks_epochs_is_not_gone_on_with(change, tmp_path):
    """Otherwise the losses of the resumed run would stand at the wrong epochs."""
    path = tmp_path / "c.safetensors"
    train(path, next(iter(OPTIMIZERS)))
    tensors, content = opened(path)
    values = content["history"]["values"]
    values["loss"] = change(values["loss"])
    if values["loss"] is None:
        del values["loss"]
    write(path, tensors, content)
    with pytest.raises(FileError, match="history"):
        train(tmp_path / "new.safetensors", next(iter(OPTIMIZERS)), resume=path, epochs=4)

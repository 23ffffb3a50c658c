"""Files are whole or refused, and the one before is still there."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import gdnet as gd
from gdnet.errors import FileError, OptionError
from gdnet.files import archive
from gdnet.model import Model, load

TENSORS = {"a": np.arange(6.0).reshape(2, 3), "b": np.asarray(7, dtype=np.int32), "empty": np.zeros((0, 2))}


def written(tmp_path, n=1, name="f.safetensors"):
    path = tmp_path / name
    for k in range(n):
        archive.write(path, "test", TENSORS | {"k": np.asarray(k)}, {"k": k})
    return path


def test_what_is_written_is_read(tmp_path):
    tensors, content = archive.read(written(tmp_path), ("test",))
    assert content["k"] == 0
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(tensors[name], tensor)
    assert [p.name for p in tmp_path.iterdir()] == ["f.safetensors"]  # nothing temporary is left


def test_previous_file_is_kept(tmp_path):
    path = written(tmp_path, n=3)
    assert archive.read(path, ("test",))[1]["k"] == 2
    assert archive.read(archive.previous(path), ("test",))[1]["k"] == 1
    assert {p.name for p in tmp_path.iterdir()} == {"f.safetensors", "f.previous.safetensors"}


def test_every_truncation_is_refused(tmp_path):
    path = written(tmp_path, n=2)
    whole = path.read_bytes()
    for size in range(0, len(whole), 23):
        path.write_bytes(whole[:size])
        with pytest.raises(FileError, match=r"f\.previous\.safetensors"):
            archive.read(path, ("test",))


def test_every_altered_byte_is_refused(tmp_path):
    path = written(tmp_path)
    whole = path.read_bytes()
    for at in range(0, len(whole), 5):
        changed = bytearray(whole)
        changed[at] ^= 0x04
        path.write_bytes(bytes(changed))
        try:
            tensors, content = archive.read(path, ("test",))
        except FileError:
            continue
        # A byte of the safetensors header that means nothing (a space) may differ; the content may not.
        assert content == {"kind": "test", "version": 1, "k": 0}
        assert all(np.array_equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_other_files_are_refused(tmp_path):
    save_file({"a": np.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(FileError, match="gdnet did not write it"):
        archive.read(tmp_path / "foreign.safetensors", ("test",))
    with pytest.raises(FileError, match="is a test file, and a model file is needed"):
        archive.read(written(tmp_path), ("model",))
    text = json.dumps({"kind": "test", "version": 99})
    save_file({}, tmp_path / "new.safetensors", metadata={"gdnet": text, "sha256": archive.digest({}, text)})
    with pytest.raises(FileError, match="newer gdnet"):
        archive.read(tmp_path / "new.safetensors", ("test",))
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(FileError, match="damaged"):
        archive.read(tmp_path / "text.safetensors", ("test",))


class Scale(gd.Layer):
    """A layer of the user's own."""

    def __init__(self, factor=2.0):
        self.factor = factor

    def forward(self, params, x, context):
        return self.factor * x, gd.Jacobian(lambda dparams, dx: self.factor * dx, lambda dy: ({}, self.factor * dy))

    def config(self):
        return {"factor": self.factor}


class HalfSquares(gd.SquaredError):
    """A loss of the user's own."""


def test_custom_classes_must_be_handed_over(tmp_path):
    path = tmp_path / "m.safetensors"
    inner = gd.Sequential(gd.Dense(3, 3), Scale(0.5))
    model = Model(gd.Sequential(gd.Residual(inner), gd.Dense(3, 1)), loss=HalfSquares(), seed=4)
    model.save(path)
    for custom in ({}, {"HalfSquares": HalfSquares}, {"Scale": Scale}):
        with pytest.raises(FileError, match="custom="):
            load(path, custom=custom)
    again = load(path, custom={"Scale": Scale, "HalfSquares": HalfSquares})
    assert isinstance(again.loss, HalfSquares)
    assert again.net == model.net
    x = np.ones((2, 3), dtype="float32")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_parameters_of_another_network_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    Model(gd.Sequential(gd.Dense(3, 2)), loss=gd.SquaredError()).save(path)
    other = Model(gd.Sequential(gd.Dense(3, 4)), loss=gd.SquaredError())
    before = other.theta.copy()
    with pytest.raises(FileError, match=r"another network.*0\.W \(3, 2\).*0\.W \(3, 4\)"):
        other.load_parameters(path)
    np.testing.assert_array_equal(other.theta, before)
    same = Model(gd.Sequential(gd.Dense(2)), loss=gd.SquaredError(), seed=9)  # not built yet
    same.load_parameters(path)
    np.testing.assert_array_equal(same.theta, load(path).theta)


def test_layer_that_has_no_text(tmp_path):
    model = Model(gd.Sequential(gd.Dense(3, 2), Scale(object())), loss=gd.SquaredError())
    with pytest.raises(FileError, match="cannot be written"):
        model.save(tmp_path / "m.safetensors")
    with pytest.raises(OptionError, match="custom"):
        load(tmp_path / "m.safetensors", custom={"Scale": Scale()})


def test_initializers_survive(tmp_path):
    model = Model(gd.Sequential(gd.Dense(3, 2, init=gd.normal(0.01))), loss=gd.CrossEntropy(0.1), dtype="float64")
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert (again.net, again.loss, again.dtype) == (model.net, model.loss, "float64")
    np.testing.assert_array_equal(again.theta, model.theta)
    assert load(tmp_path / "m.safetensors", dtype="float32").theta.dtype == np.float32

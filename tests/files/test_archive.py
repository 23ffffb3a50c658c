"""Files are whole or refused, and the one before is still there."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import gdnet as gd
from gdnet.errors import FileError, OptionError
from gdnet.files import archive, whole
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


# -- whatever stands at the path ---------------------------------------------------------------------------------------


def small():
    return Model(gd.Sequential(gd.Dense(2, 1)), loss=gd.SquaredError())


def save(path):
    small().save(path)


def checkpoint(path):
    x = np.ones((4, 2), "float32")
    small().fit(x, x[:, :1], callbacks=[gd.Checkpoint(path)], verbose=0)


def log(path):
    x = np.ones((4, 2), "float32")
    small().fit(x, x[:, :1], epochs=2, callbacks=[gd.CSVLog(path)], verbose=0)


WRITERS = [save, checkpoint, log]


@pytest.mark.parametrize("write", WRITERS)
def test_what_is_no_file_is_not_replaced(write, tmp_path):
    pipe, folder, loop = tmp_path / "pipe", tmp_path / "folder", tmp_path / "loop"
    os.mkfifo(pipe), folder.mkdir(), loop.symlink_to(loop)
    for path, what in (
        (pipe, "a pipe"),
        (folder, "a folder"),
        (Path(os.devnull), "a device"),
        (loop, "symbolic links"),
    ):
        with pytest.raises(FileError, match=what):
            write(path)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "loop", "pipe"]


@pytest.mark.parametrize("write", WRITERS)
def test_links_are_followed_and_permissions_are_kept(write, tmp_path):
    (tmp_path / "there").mkdir()
    target, link, dangling = tmp_path / "there" / "m.safetensors", tmp_path / "m.safetensors", tmp_path / "new"
    target.write_text("old"), target.chmod(0o640)
    link.symlink_to(target), dangling.symlink_to(tmp_path / "there" / "fresh")
    write(link), write(dangling)
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert target.read_bytes() != b"old"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    mask = os.umask(0o077)
    try:
        write(tmp_path / "private")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".")]


def test_other_peoples_files_beside_are_left_alone(tmp_path):
    path, victim = tmp_path / "m.safetensors", tmp_path / "victim"
    victim.write_text("mine")
    for name in (".m.safetensors.new", ".m.safetensors.old", ".m.safetensors.trial"):
        (tmp_path / name).symlink_to(victim)
    checkpoint(path), checkpoint(path)
    assert victim.read_text() == "mine"
    assert sum(p.is_symlink() for p in tmp_path.iterdir()) == 3


def test_what_a_killed_writer_has_left_is_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid in (dead.pid, os.getpid()):
        (tmp_path / f"{whole.MARK}-{pid}-00").write_text("half")
    save(tmp_path / "m.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{whole.MARK}-{os.getpid()}-00", "m.safetensors"]


def test_two_writers_at_one_path(tmp_path):
    path, failed = tmp_path / "f.safetensors", []
    path_of = {k: np.full(1000, k) for k in range(4)}

    def work(k):
        try:
            for _ in range(25):
                archive.write(path, "test", {"a": path_of[k]}, {"k": k})
                tensors, content = archive.read(path, ("test",))
                assert np.all(tensors["a"] == content["k"])
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in path_of]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failed
    archive.read(archive.previous(path), ("test",))
    assert {p.name for p in tmp_path.iterdir()} == {"f.safetensors", "f.previous.safetensors"}


def test_the_previous_file_is_kept_where_there_are_no_links(tmp_path, monkeypatch):
    def no_links(*args):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", no_links)
    path = written(tmp_path, n=3)
    assert archive.read(path, ("test",))[1]["k"] == 2
    assert archive.read(archive.previous(path), ("test",))[1]["k"] == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = written(tmp_path)
    for name in ("fsync", "replace"):

        def full(*args):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(FileError, match="could not be written: No space left on device"):
                written(tmp_path)
    assert archive.read(path, ("test",))[1]["k"] == 0
    assert len(list(tmp_path.iterdir())) == 1


def test_reading_what_is_no_file(tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    model = small()
    for read in (load, model.load_parameters):
        with pytest.raises(FileError, match="a pipe, no regular file"):
            read(pipe)
        with pytest.raises(FileError, match="is a folder"):
            read(tmp_path)
        with pytest.raises(FileError, match=r"does not exist$"):
            read(tmp_path / "none.safetensors")
        for odd in ("a\0b", "x" * 5000, "\udce4"):
            with pytest.raises(FileError, match=r"cannot be read|does not exist"):
                read(odd)
        for odd in (None, 3, b"m.safetensors"):
            with pytest.raises(OptionError, match="must be a file name"):
                read(odd)
    path = written(tmp_path)

    def forbidden(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(FileError, match="cannot be read: Permission denied"):
        archive.read(path, ("test",))

"""The embedded digits, and MNIST from official files, altered files and a server that misbehaves."""

import functools
import gzip
import hashlib
import http.server
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from gdnet.data import load_digits, load_mnist, mnist, read_idx
from gdnet.data.download import download
from gdnet.errors import FileError, OptionError


def test_digits_are_whole():
    (x, t), (x_test, t_test) = load_digits()
    assert (x.shape, t.shape, x_test.shape, t_test.shape) == ((1437, 64), (1437,), (360, 64), (360,))
    assert (x.dtype, t.dtype) == (np.float32, np.int64)
    assert (x.min(), x.max()) == (0.0, 1.0)
    counts = np.bincount(np.concatenate([t, t_test]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert set(np.bincount(t_test)) <= {35, 36, 37}
    # The sum over all pixels of the data set as UCI and scikit-learn distribute it.
    raw = load_digits(dtype="uint8", flatten=False)
    assert raw[0][0].shape == (1437, 8, 8)
    assert sum(int(x.sum()) for x, _ in raw) == 561718


def test_digits_equal_scikit_learns():
    sklearn = pytest.importorskip("sklearn.datasets")
    every = sklearn.load_digits()
    found = np.concatenate([x for x, _ in load_digits(dtype="uint8")])
    labels = np.concatenate([t for _, t in load_digits()])
    order, theirs = np.lexsort(np.c_[found, labels].T), np.lexsort(np.c_[every.data, every.target].T)
    np.testing.assert_array_equal(found[order], every.data[theirs])
    np.testing.assert_array_equal(labels[order], every.target[theirs])


def test_digits_come_as_asked():
    assert load_digits(dtype="float64")[0][0].dtype == np.float64
    with pytest.raises(OptionError, match="float32, float64 or uint8"):
        load_digits(dtype="int32")


def test_mnist_from_the_official_files(mnist_folder):
    (x, t), (x_test, t_test) = load_mnist(mnist_folder)
    assert (x.shape, t.shape, x_test.shape, t_test.shape) == ((60000, 784), (60000,), (10000, 784), (10000,))
    assert (x.dtype, t.dtype) == (np.float32, np.int64)
    assert (x.min(), x.max()) == (0.0, 1.0)
    assert t[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert t_test[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert abs(x.mean(dtype="float64") - 0.1306604762738429) < 1e-8  # float32 rounds each pixel


# -- small files of the same form -------------------------------------------------------------------------------------


def idx(values):
    """An IDX file of bytes."""
    values = np.asarray(values, "uint8")
    sizes = b"".join(k.to_bytes(4, "big") for k in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with four small files, which take the place of the official ones."""
    folder = tmp_path / "small"
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = []
    for file in mnist.FILES:
        n = 6 if "train" in file.name else 3
        raw = idx(rng.integers(0, 256, (n, 2, 2)) if "images" in file.name else rng.integers(0, 10, n))
        packed = gzip.compress(raw, mtime=0)
        (folder / f"{file.name}.gz").write_bytes(packed)
        files.append(file._replace(packed=hashlib.sha256(packed).hexdigest(), plain=hashlib.sha256(raw).hexdigest()))
    monkeypatch.setattr(mnist, "FILES", tuple(files))
    monkeypatch.delenv("GDNET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_files_with_and_without_gz(small):
    packed = load_mnist(small)
    for path in list(small.iterdir()):
        (small / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    for (x, t), (x2, t2) in zip(packed, load_mnist(str(small), flatten=False), strict=True):
        np.testing.assert_array_equal(x, x2.reshape(len(x2), 4))
        np.testing.assert_array_equal(t, t2)


@pytest.mark.parametrize("below", ["", "mnist"])
def test_the_environment_variable_names_the_folder(small, tmp_path, monkeypatch, below):
    if below:
        (tmp_path / "base").mkdir()
        small.rename(tmp_path / "base" / below)
    monkeypatch.setenv("GDNET_DATA", str(tmp_path / "base" if below else small))
    assert len(load_mnist()[0][0]) == 6


def test_a_given_folder_that_lacks_files_is_an_error_and_nothing_is_downloaded(small, monkeypatch):
    monkeypatch.setattr(mnist, "MIRRORS", ())
    (small / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileError, match=r"lacks the MNIST file\(s\) t10k-labels-idx1-ubyte, with or without"):
        load_mnist(small)


def test_an_altered_file_is_refused(small):
    path = small / "train-images-idx3-ubyte.gz"
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(FileError, match="has been altered"):
        load_mnist(small)
    assert len(load_mnist(small, verify=False)[0][0]) == 6


def test_images_and_labels_must_be_equally_many(small):
    (small / "train-labels-idx1-ubyte.gz").write_bytes(idx([1, 2]))
    with pytest.raises(FileError, match="6 images, and its file of labels 2"):
        load_mnist(small, verify=False)


GOOD = idx([[1, 2, 3], [4, 5, 6]])
PACKED = gzip.compress(GOOD, mtime=0)  # without the time: it would stand in the names of tests


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is not an IDX file"),
        (b"hello world", "its magic number is 1751477356"),
        (b"\0\0\x07" + GOOD[3:], "is not an IDX file"),
        (GOOD[:-1], "18 bytes expected, 17 found"),
        (GOOD + b"\0", "18 bytes expected, 19 found"),
        (GOOD[:9], "is truncated or damaged"),
        (GOOD[:4], "is truncated or damaged"),
        (PACKED[:-12], "damaged or truncated gzip"),
        (PACKED[:12] + b"\xff\xff\xff\xff" + PACKED[16:], "damaged or truncated gzip"),
    ],
)
def test_damaged_idx_files(tmp_path, raw, message):
    (tmp_path / "file").write_bytes(raw)
    with pytest.raises(FileError, match=message):
        read_idx(tmp_path / "file", ndim=2)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (bytes([0, 0, 8, 255]) + bytes(1020), "255 axes"),
        (bytes([0, 0, 8, 70]) + b"\0\0\0\1" * 70 + b"\7", "70 axes"),
        (bytes([0, 0, 8, 5]) + bytes(4) + b"\xff" * 16, "no array has the shape"),
        (bytes([0, 0, 0x0E, 3]) + b"\xff" * 12, "bytes expected"),
        (
            gzip.compress(bytes([0, 0, 8, 2, 0, 1, 0, 0, 0, 1, 0, 0]), mtime=0),
            "more than 200 times its size",
        ),  # claims 4 GiB
        (gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 1]) + bytes(10**7), mtime=0), "9 bytes expected, more found"),
        (gzip.compress(bytes([0, 0, 8, 2, 0, 0, 0, 3]), mtime=0), "bytes expected"),
    ],
)
def test_hostile_idx_files(tmp_path, raw, message):
    (tmp_path / "file").write_bytes(raw)
    with pytest.raises(FileError, match=message):
        read_idx(tmp_path / "file")


def test_idx_of_other_kinds(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes([0, 0, 0x0D, 1, 0, 0, 0, 2]) + np.asarray([1.5, -2], ">f4").tobytes())
    assert read_idx(path).tolist() == [1.5, -2.0]
    assert read_idx(path).dtype.isnative
    with pytest.raises(FileError, match=r"with 3 axes \(magic number 2051"):
        read_idx(path, ndim=3)
    with pytest.raises(FileError, match=r"missing cannot be read: No such file"):
        read_idx(tmp_path / "missing")


# -- downloads --------------------------------------------------------------------------------------------------------


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; below /short/ it breaks off half way, below /altered/ it changes a byte, below /length/ and
    /location/ it sends headers that mean nothing."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        kind, _, name = self.path.strip("/").rpartition("/")
        if kind not in ("short", "altered", "length", "location"):
            self.path = f"/{name}"
            super().do_GET()
            return
        if kind == "location":
            self.send_response(302)
            self.send_header("Location", "http://[nowhere/")
            self.end_headers()
            return
        body = bytearray(Path(self.directory, name).read_bytes())
        self.send_response(200)
        self.send_header("Content-Length", "abc" if kind == "length" else str(len(body)))
        self.end_headers()
        body[0] ^= kind == "altered"
        self.wfile.write(body[: len(body) // 2] if kind == "short" else body)


@pytest.fixture
def server(small):
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(small)))
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_missing_files_are_downloaded_once_into_the_cache(small, server, tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "MIRRORS", (server,))
    first = load_mnist(progress=False)
    cache = tmp_path / "cache" / "gdnet" / "mnist"
    assert sorted(p.name for p in cache.iterdir()) == sorted(p.name for p in small.iterdir())
    monkeypatch.setattr(mnist, "MIRRORS", ())
    np.testing.assert_array_equal(load_mnist()[0][0], first[0][0])


@pytest.mark.parametrize("fault", ["short/", "altered/", "nowhere/nothing", "length/", "location/"])
def test_a_mirror_that_fails_is_passed_over(server, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(mnist, "MIRRORS", (server + fault, server))
    assert len(load_mnist(progress=False)[1][0]) == 3


@pytest.mark.parametrize("fault", ["short/", "altered/"])
def test_what_is_incomplete_or_altered_is_refused_and_leaves_nothing_behind(small, server, tmp_path, fault):
    name = "t10k-labels-idx1-ubyte.gz"
    good = hashlib.sha256((small / name).read_bytes()).hexdigest()
    target = tmp_path / "into" / name
    with pytest.raises(FileError, match="incomplete or altered"):
        download(name, [server + fault], target, good, progress=False)
    assert list(target.parent.iterdir()) == []
    download(name, [server], target, good, progress=False)
    assert target.read_bytes() == (small / name).read_bytes()


def test_a_download_has_an_end(small, server, tmp_path, monkeypatch):
    from gdnet.data import download as module

    name = "t10k-labels-idx1-ubyte.gz"
    for limit, value, says in (("LIMIT", 3, "larger than 3 bytes"), ("PATIENCE", -1.0, "took more than")):
        with monkeypatch.context() as m:
            m.setattr(module, limit, value)
            with pytest.raises(FileError, match=says):
                download(name, [server], tmp_path / name, "0", progress=False)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(f".{name}")] == []


def test_a_downloaded_file_is_readable_as_others_are_and_old_leftovers_go(small, server, tmp_path):
    name = "t10k-labels-idx1-ubyte.gz"
    old, new = (tmp_path / f".{name}.{word}.part" for word in ("old", "new"))
    for left in (old, new):
        left.write_bytes(b"half")
    os.utime(old, (0, 0))
    (tmp_path / "other").touch()
    good = hashlib.sha256((small / name).read_bytes()).hexdigest()
    download(name, [server], tmp_path / name, good, progress=False)
    assert (tmp_path / name).stat().st_mode == (tmp_path / "other").stat().st_mode
    assert not old.exists()
    assert new.exists()


def test_without_a_network_the_error_names_the_folder_option(small, tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/",))
    with pytest.raises(FileError, match=re.escape("load_mnist(folder) or the environment variable GDNET_DATA")):
        load_mnist(progress=False)
    assert list((tmp_path / "cache").rglob("*.gz")) == []


def test_a_folder_that_cannot_be_made_is_said(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match=r"could not be downloaded|cannot be written"):
        download("x", [server], tmp_path / "file" / "x", "0", progress=False)

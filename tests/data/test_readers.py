"""The user's own tables and archives."""

import gzip
import re

import numpy as np
import pytest

from gdnet.data import read_csv, read_npz
from gdnet.errors import FileError, OptionError


@pytest.fixture
def csv(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        "a,b,kind\n1,2,0\n3,4.5,1\n",
        "1,2,0\n3,4.5,1",
        "1;2;0\r\n3;4.5;1\r\n",
        "\n1\t2\t0\n\n3\t4.5\t1\n\n",
        "  1  2 0\n  3 4.5   1\n",
        '"a","b, c",kind\n"1",2,0\n3,4.5,1\n',
        "\ufeffa,b,kind\n1,2,0\n3,4.5e0,1\n",
    ],
)
def test_tables_in_all_usual_spellings(csv, text):
    x, t = read_csv(csv(text))
    assert x.tolist() == [[1.0, 2.0], [3.0, 4.5]]
    assert t.tolist() == [0, 1]
    assert (x.dtype, t.dtype) == (np.float64, np.int64)


@pytest.mark.parametrize(("target", "column"), [("b", 1), (0, 0), (-1, 2), (1, 1)])
def test_the_target_by_name_or_number(csv, target, column):
    x, t = read_csv(csv("a,b,c\n1.5,2.5,3.5\n4.5,5.5,6.5\n"), target)
    assert t.tolist() == [1.5 + column, 4.5 + column]
    assert x.shape == (2, 2)


def test_no_target(csv):
    x, t = read_csv(csv("1,2\n3,4\n"), None)
    assert x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert t is None


@pytest.mark.parametrize(
    ("cells", "labels", "dtype"),
    [
        ("0 1 1", None, "int64"),
        ("0 1.0 1", None, "float64"),
        ("0 1 2.5", None, "float64"),
        ("0 -1 1", None, "float64"),
        ("1990 1991 1992", None, "float64"),  # too large to be labels of three examples
        ("0 1.0 1", True, "int64"),
        ("0 1 1", False, "float64"),
    ],
)
def test_whole_numbers_are_labels(csv, cells, labels, dtype):
    _, t = read_csv(csv("".join(f"7,{c}\n" for c in cells.split())), labels=labels)
    assert t.dtype == dtype


def test_gz(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"1,2\n3,4\n"))
    assert read_csv(tmp_path / "t.csv.gz")[0].tolist() == [[1.0], [3.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b\n", "has a header and no examples"),
        ("a,b\n1,2\n3,x\n", "line 3, column 2 (b): a finite number was expected, got 'x'"),
        ("1,2\n\n3,\n", "line 3, column 2 (1): a finite number was expected, the cell is empty"),
        ("1,2\nnan,3\n", "line 2, column 1 (0): a finite number was expected, got 'nan'"),
        ("1,2\n3,inf\n", "got 'inf'"),
        ("1,2\n3,4,5\n", "line 2: 2 cells expected, as in the first line, got 3"),
        ("a,7\n1,2\n", "line 1, column 1 (0): a finite number was expected, got 'a'"),
        ("1\n2\n", "one column only"),
        (b"1,2\n\xff\xfe,3\n", "not a text file in UTF-8"),
        ('1,"2\n3,4\n', "line 2"),
    ],
)
def test_bad_tables(csv, text, message):
    with pytest.raises(FileError, match=re.escape(message)):
        read_csv(csv(text))


def test_options_of_tables(csv, tmp_path):
    path = csv("a,b\n1,2\n")
    with pytest.raises(OptionError, match="the columns are a, b"):
        read_csv(path, "c")
    with pytest.raises(OptionError, match="below 2, got 2"):
        read_csv(path, 2)
    with pytest.raises(OptionError, match="the file has no header"):
        read_csv(path, "a", header=False)
    assert read_csv(csv("1,2\n3,4\n"), "2", header=True)[1].tolist() == [4.0]
    with pytest.raises(FileError, match="values that are not labels"):
        read_csv(csv("1,0.5\n"), labels=True)
    with pytest.raises(FileError, match="cannot be read: No such file"):
        read_csv(tmp_path / "missing.csv")
    (tmp_path / "broken.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(FileError, match="cannot be read"):
        read_csv(tmp_path / "broken.csv.gz")


def test_archives(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.eye(2), t=[0, 1], y=[2, 3])
    x, t = read_npz(path)
    assert (x.tolist(), t.tolist()) == (np.eye(2).tolist(), [0, 1])
    assert read_npz(str(path), t="y")[1].tolist() == [2, 3]
    with pytest.raises(FileError, match="has no array 'z'; it holds 'x', 't', 'y'"):
        read_npz(path, t="z")
    for t in ([0, 1, 2], 1.0):
        np.savez(path, x=np.eye(2), labels=t)
        with pytest.raises(FileError, match=r"'x' of shape \(2, 2\) and 'labels' of shape .*an example"):
            read_npz(path, t="labels")


def test_bad_archives(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.asarray([{}, {}]), t=[0, 1])
    with pytest.raises(FileError, match="holds Python objects"):
        read_npz(path)
    np.savez(path, x=np.eye(20), t=[0, 1])
    whole = path.read_bytes()
    for damaged in (whole[:-30], whole[:200] + b"\1" * 50 + whole[250:], b"nothing", b""):
        path.write_bytes(damaged)
        with pytest.raises(FileError, match=r"cannot be (loaded|read)"):
            read_npz(path)
    with pytest.raises(FileError, match="No such file"):
        read_npz(tmp_path / "missing.npz")
    np.save(tmp_path / "b.npy", np.eye(2))
    with pytest.raises(FileError, match=r"not an \.npz archive"):
        read_npz(tmp_path / "b.npy")

"""The user's own tables and archives."""

import contextlib
import gzip
import io
import os
import re

import numpy as np
import pytest

from gdnet.data import read_csv, read_idx, read_npz, read_table
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


def _archive(path, members, compression=0):
    import zipfile

    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_hostile_archives(tmp_path):
    t, x = _npy(np.zeros(2)), _npy(np.eye(2))
    claims = x.replace(b"(2, 2)", b"(2, 9999999999999)".ljust(6))
    for i, members in enumerate(
        [
            {"x": b"no array", "t.npy": t},
            {"x.npy": b"no array", "t.npy": t},
            {"x.npy": claims, "t.npy": t},
            {"x.npy": x.replace(b"'<f8'", b"'<f9'"), "t.npy": t},
            {"x.npy": x.replace(b"(2, 2)", b"(2,-2)"), "t.npy": t},
            {"x.npy": x.replace(b"False", b"((((("), "t.npy": t},
        ]
    ):
        path = _archive(tmp_path / f"{i}.npz", members)
        with pytest.raises(FileError):
            read_npz(path)
    whole = bytearray(_archive(tmp_path / "a.npz", {"x.npy": x, "t.npy": t}).read_bytes())
    local, central = whole.index(b"PK\3\4"), whole.index(b"PK\1\2")
    for at_local, at_central, value in ((6, 8, 1), (8, 10, 77), (4, 6, 99)):  # encrypted, method 77, version 9.9
        harmed = whole.copy()
        harmed[local + at_local] = harmed[central + at_central] = value
        (tmp_path / "b.npz").write_bytes(harmed)
        with pytest.raises(FileError, match="cannot be loaded"):
            read_npz(tmp_path / "b.npz")


def test_flipped_bits_never_raise_another_error(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.eye(6), t=np.arange(6))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        harmed = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            harmed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(harmed)
        with contextlib.suppress(FileError):
            read_npz(path)


def test_bombs_are_not_unpacked(tmp_path, monkeypatch):
    from gdnet.data import opened

    monkeypatch.setattr(opened, "LIMIT", 2**20)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((500_000, 1)), t=np.zeros(500_000))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"0" * 4_000_000))
    for read, name in ((read_npz, "a.npz"), (read_csv, "a.csv.gz")):
        with pytest.raises(FileError, match="more than 200 times its size"):
            read(tmp_path / name)
    honest = np.random.default_rng(0).integers(0, 9, (400_000, 1))
    np.savez_compressed(tmp_path / "b.npz", x=honest, t=honest[:, 0])
    assert read_npz(tmp_path / "b.npz")[0].shape == (400_000, 1)


@pytest.mark.parametrize("read", [read_npz, read_csv, read_idx])
def test_paths_that_are_no_files(tmp_path, read):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, "nul\0", "\udcff.csv", "x" * 5000, "/dev/null"):
        with pytest.raises(FileError):
            read(path)
    for path in (None, b"bytes", 3):
        with pytest.raises(OptionError, match="path must be a file name"):
            read(path)


# -- what a number is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["2019_01", "1_1", "٣", "１", "1,5", "0x10", "1e400", "infinity", "NaN", "1d5", "--1"])
@pytest.mark.parametrize("where", ["feature", "target"])
def test_what_python_calls_a_number_is_not_always_one(csv, cell, where):
    text = f"a;b\n{cell};2\n3;4\n" if where == "feature" else f"a;b\n1;{cell}\n3;4\n"
    with pytest.raises(FileError, match=re.escape(f"got {cell!r}")):
        read_csv(csv(text))


def test_names_that_python_calls_numbers_are_names(csv):
    x, t = read_csv(csv("2019_01,nan,inf\n1,2,3\n4,5,6.5\n"))
    assert x.tolist() == [[1, 2], [4, 5]]
    assert t.tolist() == [3, 6.5]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n3,\n", "missing="),
        ("a,b\n1,2\n3,NA\n", "missing="),
        ("a;b\n1;2\n3;1,5\n", "decimal commas"),
        ("a,b\n1,2\n3,yes\n", "text, class names"),
        ("a,2020\n1,2\n", "give header=True"),
    ],
)
def test_the_advice_fits_the_cause(csv, text, says):
    with pytest.raises(FileError, match=re.escape(says)):
        read_csv(csv(text))


@pytest.mark.parametrize("names", ["0,1,2,3", "1990,1991,1992,1993", "10,20,30,40"])
def test_a_line_of_numbers_that_looks_like_names_is_told(csv, names):
    path = csv(f"{names}\n5.1,3.5,1.4,0.2\n4.9,3.0,1.4,0.3\n")
    with pytest.warns(UserWarning, match="header=True if it is"):
        assert len(read_csv(path)[0]) == 3
    assert len(read_csv(path, header=True)[0]) == 2
    assert len(read_csv(path, header=False)[0]) == 3
    assert read_csv(path, names.split(",")[0], header=True)[1].tolist() == [5.1, 4.9]


def test_a_name_that_stands_twice_is_no_target(csv):
    path = csv("a,y,y\n1,2,.1\n2,3,.2\n")
    with pytest.raises(OptionError, match="the columns 1 and 2"):
        read_csv(path, "y")
    assert read_csv(path, 2)[1].tolist() == [0.1, 0.2]


def test_comments_and_separators_of_other_programs(csv):
    for text in (
        "# a b y\n1 2 0.5\n3 4 1\n",
        "sep=;\na;b;y\n1;2;0.5\n3;4;1\n",
        "a|b|y\n1|2|0.5\n3|4|1\n",
        "# made by hand\n#a,b,y\n1,2,0.5\n# half time\n3,4,1\n",
    ):
        x, t = read_csv(csv(text))
        assert x.tolist() == [[1, 2], [3, 4]]
        assert t.tolist() == [0.5, 1]


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        ("a,b,c\n1,2.5,3\n-4,.5,6e-3\n", True),
        ("1,0.1,0.30000000000000004\n2,1e-300,123456789.123456789\n", True),
        ("a,b\n1,x\n2,y\n", True),
        ("a,b\n1,\n,2\n", True),
        ("a;b\n1,5;2\n2,5;1.000\n", True),
        ("a;b\n1,5;2\n2,5;NA\n", True),
        ("a;b\n1,5;2\n2,5;2.5\n", True),
        ("a;b\n1,5;x\n2,5;y.z\n", True),
        ("a;b\n1,234;7\n2,345;8\n", True),
        ("a;b\n1,234;7,5\n2,345;8\n", True),
        ("a,b\n1,-\n2,NULL\n3,4\n", True),
        ("a,b\n1,-NaN\n2,#N/A N/A\n3,4\n4,5\n5,6\n6,7\n", True),
        ("a,b\n1_0,2\n3,4\n", True),
        ("a,b\n1,nan\n3,inf\n", True),
        ("a,b\n1,True\n3,False\n", True),
        ("a,b\n1,2\n3\n", False),
        ("a,b\n1,2\n3,4,5\n", False),
        ("a,b\n1,2\n\n3,4\n", False),
        ('a,b\n"1",2\n3,4\n', False),
    ],
)
def test_pandas_reads_the_same(csv, monkeypatch, text, fast):
    """Answers and errors; `fast` tells whether pandas is to have read it."""
    pytest.importorskip("pandas")
    from gdnet.data import text as module

    def read(function, **options):
        try:
            found = function(path, None, **options)
        except FileError as error:
            return str(error)
        return found[0].tolist() if isinstance(found, tuple) else (found.x.tolist(), found.feature_names, found.notes)

    def everything():
        return read(read_csv), [read(read_table, missing=m, decimal=d) for m in ("error", "mean") for d in (None, ",")]

    path = csv(text)
    slow = everything()
    monkeypatch.setattr(module, "FAST_FROM", 1)
    monkeypatch.setattr(module, "_SAMPLE", 2)
    used = []
    real = module.fast_columns
    monkeypatch.setattr(module, "fast_columns", lambda *a: used.append(real(*a)) or used[-1])
    assert everything() == slow
    assert (bool(used) and used[-1] is not None) == fast

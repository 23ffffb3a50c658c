"""Tables as people have them, by `read_table`: what is decided, what is told, what is refused and with which words."""

import re
import string

import numpy as np
import pytest

import gdnet as gd
from gdnet.data import read_csv, read_table
from gdnet.errors import DataError, FileError, GdnetError, OptionError


@pytest.fixture
def table(tmp_path):
    def read(text, *arguments, **options):
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_table(path, *arguments, **options)

    return read


def told(found, words):
    return any(words in note for note in found.notes)


# -- how the file is written -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "a;b;y\n1,5;2;0,25\n2,5;3;1\n",
        "a\tb\ty\n1,5\t2\t0,25\n2,5\t3\t1\n",
        "a|b|y\n1.5|2|0.25\n2.5|3|1\n",
        'a,b,y\n"1,5","2","0,25"\n"2,5","3","1"\n',
        "a b y\n1.5  2 0.25\n2.5 3 1\n",
        "sep=;\r\na;b;y\r\n1,5;2;0,25\r\n2,5;3;1\r\n",
        "# a;b;y\n1.5;2;0.25\n2.5;3;1\n",
        "#a,b,y\n1.5,2,0.25\n# pause\n2.5,3,1\n",
        "a;b;y\n+1.5;2 ;.25\n25e-1; 3;1.\n",
        "a,b,y,\n1.5,2,0.25,\n2.5,3,1,\n",
        "a;b;y\n150 %;200%;25 %\n250%;300 %;100 %\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_one_table_in_many_spellings(table, text, encoding):
    found = table(text.encode(encoding), "y", task="regression")
    scale = 100 if "%" in text else 1
    assert (found.x / scale).tolist() == [[1.5, 2], [2.5, 3]]
    assert (found.t / scale).tolist() == [[0.25], [1]]
    assert (found.feature_names, found.target_names, found.task) == (["a", "b"], ["y"], "regression")
    assert found.x.dtype == found.t.dtype == np.float64
    assert told(found, "decimal commas") == ("1,5" in text and "1,5,2" not in text)
    assert told(found, "per cent signs were left out in a, b, y") == ("%" in text)
    assert told(found, "read as UTF-16") == (encoding == "utf-16")


@pytest.mark.parametrize(
    ("cells", "decimal", "numbers"),
    [
        (("1,234", "0,5"), None, [1.234, 0.5]),
        (("1,234", "2,345,678"), None, [1234, 2345678]),
        (("1.234,5", "6"), None, [1234.5, 6]),
        (("1,234.5", "6"), None, [1234.5, 6]),
        (("1 234", "2 345 678,5"), None, [1234, 2345678.5]),
        (("1'234.5", "2"), None, [1234.5, 2]),
        (("1,234", "2,345"), ",", [1.234, 2.345]),
        (("1,234", "2,345"), ".", [1234, 2345]),
        (("1.234", "2.345"), ",", [1234, 2345]),
        (("1.234", "2.345"), None, [1.234, 2.345]),
        (("−5", "-6,5"), None, [-5, -6.5]),
        (("1e3", "2,5E-1"), None, [1000, 0.25]),
    ],
)
def test_marks_between_digits(table, cells, decimal, numbers):
    found = table("a;y\n" + "".join(f"{cell};{i}\n" for i, cell in enumerate(cells)), decimal=decimal)
    assert found.x[:, 0].tolist() == numbers


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("a;y\n1,234;1\n2,345;2\n", {}, "line 2, column 1 (a): '1,234' is 1234 with a decimal point and 1.234"),
        ("a;b;y\n1,5;2.5;1\n2,5;3;2\n", {}, "written with decimal commas and others with decimal points"),
        ("a;y\n1.5;1\n2;2\n3;1\n", {"decimal": ","}, "line 2, column 1 (a): a number was expected, got '1.5'"),
        ("a,y\n1,5,2,5\n3,5,4,5\n", {}, "decimal commas cannot stand in a table separated by commas"),
        ("a;b;y\n1;2;3\n4;5\n", {}, "line 3: 3 cells expected, as in the first line, got 2"),
        ("a,y\n1,2\nerror,3\n4,5\n", {}, "line 3, column 1 (a): a number was expected, got 'error'; 67 % of the cells"),
        ("a,y\n1e400,2\n1,3\n", {}, "line 2, column 1 (a): a finite number was expected, got '1e400'"),
        ("a,y\n2019_01,2\n2019_02,3\n2019_03,3\n2019_04,5\n", {}, "4 different texts in 4 rows, as '2019_01'"),
        ("a,y\n1,\n2,\n", {"missing": "drop"}, "no row is left"),
        ("a,y\n1,3\n2,3\n", {}, "all examples have the same target, '3'"),
        ("a,y\n1,x\n2,x\n", {}, "all examples have the same target, 'x'"),
        ("a,y\n" + "".join(f"{i},p{i}\n" for i in range(9)), {}, "9 classes in 9 rows"),
        ("a,y\n1,x\n2,y\n", {"task": "regression"}, "line 2, column 2 (y): regression needs numbers, got 'x'"),
        ("a,y\n1,2024-01-01\n2,2024-01-02\n", {}, "column 2 (y): the column holds dates or times"),
        ("a,y\n12:30,1\n12:31,2\n", {}, "dates or times, as '12:30'"),
        ("a,y\n31.1.2024,1\n1.2.2024,2\n", {}, "dates or times, as '31.1.2024'"),
        ("y\n1\n2\n", {}, "features are missing"),
        ("a,y\n", {}, "a header and no examples"),
        ("", {}, "is empty"),
        ("\n \n", {}, "is empty"),
        (b"a,y\n1,\x00\n", {}, "contains NUL"),
        (b"a,y\n1,\x81\n", {}, "give its encoding="),
        ('a,y\n1,"2\n', {}, "line 2: this is no line of cells"),
    ],
)
def test_refusals_name_the_place_the_cause_and_the_cure(table, text, options, words):
    with pytest.raises(FileError, match=re.escape(words)):
        table(text, **options)


def test_a_decimal_comma_is_never_answered_with_advice_on_classes(table):
    for text in ("a;y\n1,5;2\n2,5;x\n3,5;4\n", "a;b;y\n1,5;2.5;1\n2,5;3;2\n", "a,y\n1,5,2,5\n3,5,4,5\n"):
        with pytest.raises(GdnetError) as error:
            table(text)
        assert "class names" not in str(error.value)


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "header", "n", "words"),
    [
        ("0,1,2,3\n5.1,3.5,1.4,0.2\n4.9,3.0,1.4,0.3\n", None, 2, "taken for names of columns: header="),
        ("1990,1991,1992\n5.1,3.5,1.4\n4.9,3.0,1.5\n", None, 2, "taken for names of columns"),
        ("0,1,2,3\n5.1,3.5,1.4,0.2\n4.9,3.0,1.4,0.3\n", False, 3, ""),
        ("1,2,3\n1.5,1,4\n1.6,2.5,2\n", None, 3, ""),
        ("a,b,2020\n1,2,3.5\n2,3,4.5\n", None, 2, "(a, b, 2020) was taken for names of columns"),
        ("5.1,3.5,setosa\n4.9,3.0,virginica\n5,3,setosa\n4,3,virginica\n", None, 4, "was taken for an example"),
    ],
)
def test_the_line_of_names(table, text, header, n, words):
    found = table(text, header=header)
    assert len(found.x) == n
    assert not words or told(found, words)


def test_columns_by_name_and_number(table):
    text = "a,2020,a b,0\n1,2,3,4.5\n2,3,5,6.5\n"
    for target, value in (("2020", 2), ("0", 4.5), (0, 1), (-1, 4.5), ("a b", 3), ("2", 3), ("-4", 1)):
        assert table(text, target, task="regression").t[0, 0] == value
    both = table(text, ["a", 3])
    assert both.t.tolist() == [[1, 4.5], [2, 6.5]]
    assert both.feature_names == ["2020", "a b"]
    assert table(text, features=["a b", "a"]).x.tolist() == [[3, 1], [5, 2]]
    assert table(text, drop=["0", "2020"]).target_names == ["a b"]
    assert table(text, drop="a,2020").feature_names == ["a b"]
    none = table(text, None)
    assert (none.t, none.task, none.x.shape) == (None, None, (2, 4))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "A"}, "did you mean 'a'?"),
        ({"target": "²"}, "target must be the name of a column or its number, from 0 to 2, got '²'"),
        ({"target": 3}, "from 0 to 2, got 3"),
        ({"target": 1.0}, "got 1.0"),
        ({"target": "b", "drop": ["b"]}, "is the target and stands in drop too"),
        ({"target": "b", "features": ["a", "b"]}, "is the target and stands in features too"),
        ({"drop": ["a", "b", "y"]}, "drop leaves no column"),
        ({"target": ["b", "y"], "task": "classification"}, "classification has one target"),
        ({"task": "clustering"}, "task must be one of 'regression', 'classification'"),
        ({"missing": "zero"}, "missing must be one of 'error', 'drop', 'mean'"),
        ({"decimal": ";"}, "decimal must be one of"),
        ({"sep": ",,"}, "sep must be one character"),
        ({"encoding": "klingon"}, "encoding must be the name of one"),
    ],
)
def test_options_out_of_their_domain(table, options, words):
    with pytest.raises(OptionError, match=re.escape(words)):
        table("a,b,y\n1,2,3.5\n2,3,4.5\n", **options)


def test_names_that_stand_twice(table):
    text = "a,y,y\n1,2,.1\n2,3,.2\n"
    for options in ({}, {"target": "y"}, {"target": "a", "drop": ["y"]}):
        with pytest.raises(OptionError, match="'y' stands above the columns 1 and 2"):
            table(text, **options)
    assert table(text, 2, drop=[1]).t.tolist() == [[0.1], [0.2]]


def test_index_columns_are_left_out_and_told(table):
    for text in (",a,y\n0,5,1.5\n1,7,2.5\n", "Unnamed: 0,a,y\n0,5,1.5\n1,7,2.5\n", '"a","y"\n"1",5,1.5\n"2",7,2.5\n'):
        found = table(text)
        assert found.feature_names == ["a"]
        assert told(found, "counts the rows: it was left out")
    assert table(",a,y\n0,5,1.5\n1,7,2.5\n", features=[0, 1]).x.tolist() == [[0, 5], [1, 7]]
    assert table(",a,y\n3,5,1.5\n1,7,2.5\n").x.tolist() == [[3, 5], [1, 7]]
    assert table("n,a,y\n0,5,1.5\n1,7,2.5\n").x.tolist() == [[0, 5], [1, 7]]


# -- what is missing ---------------------------------------------------------------------------------------------------

GAPS = "a,kind,y\n1,x,1.5\n,y,2.5\n3,NA,3.5\n4,x,\n?,x,4.5\n"


def test_missing_values_are_counted_dropped_or_filled(table):
    with pytest.raises(
        FileError, match=r"4 values in 4 of 5 rows are missing \(2 in a, 1 in kind, 1 in y\), the first in line 3"
    ):
        table(GAPS)
    dropped = table(GAPS + "7,y,6.5\n", missing="drop")
    assert (dropped.x.tolist(), dropped.t.tolist()) == ([[1, 1, 0], [7, 0, 1]], [[1.5], [6.5]])
    assert told(dropped, "4 rows were left out")
    filled = table(GAPS, missing="mean")
    assert filled.feature_names == ["a", "kind=x", "kind=y"]
    mean = (1 + 3) / 2
    assert filled.x.tolist() == [[1, 1, 0], [mean, 0, 1], [3, 0, 0], [mean, 1, 0]]
    assert filled.t[:, 0].tolist() == [1.5, 2.5, 3.5, 4.5]
    assert told(filled, "4 values in 4 of 5 rows are missing")
    assert told(filled, "1 rows were left out for want of a target")


@pytest.mark.parametrize("word", ["", "NA", "n/a", "NaN", "nan", "null", "None", "?", "-", ".", "#N/A", "<NA>", " "])
def test_words_for_what_is_missing(table, word):
    found = table(f"a,y\n1,1.5\n{word},2.5\n3,3.5\n", missing="drop")
    assert found.x.tolist() == [[1], [3]]
    assert told(found, "1 values in 1 of 3 rows")


def test_what_is_not_used_may_be_missing(table):
    assert table("a,b,y\n1,,1.5\n2,,2.5\n").feature_names == ["a"]  # empty, and told
    assert told(table("a,b,y\n1,,1.5\n2,,2.5\n"), "empty columns were left out: b")
    assert table("a,b,y\n1,,1.5\n2,7,2.5\n", drop=["b"]).x.tolist() == [[1], [2]]


# -- the task ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "task", "classes"),
    [
        (["yes", "no", "yes"], "classification", ["no", "yes"]),
        (["True", "False", "True"], "classification", ["False", "True"]),
        (["-1", "1", "1"], "classification", ["-1", "1"]),
        (["0.0", "1.0", "1.0"], "classification", ["0", "1"]),
        (["1", "2", "3"] * 3, "classification", ["1", "2", "3"]),
        (["1", "2", "3"] * 2, "regression", []),  # twice each is too few to be sure
        ([str(i) for i in range(20)] * 3, "classification", [str(i) for i in range(20)]),
        ([str(i) for i in range(21)] * 9, "regression", []),
        (["0"] * 5 + ["1"] * 5 + ["59"], "regression", []),
        (["0.5", "1.5"], "regression", []),
        ([*string.ascii_lowercase, *string.ascii_lowercase], "classification", list(string.ascii_lowercase)),
    ],
)
def test_what_is_a_class(table, cells, task, classes):
    found = table("a,y\n" + "".join(f"{i / 7},{cell}\n" for i, cell in enumerate(cells)))
    assert (found.task, found.class_names) == (task, classes)
    assert told(found, f"{task}: the target y")
    if classes:
        assert found.t.dtype == np.int64
        assert [classes[i] for i in found.t] == [f"{float(c):g}" if c[-1].isdigit() else c for c in cells]


def test_labels_with_gaps_make_no_dead_outputs(table):
    found = table("a,y\n" + "".join(f"{i},{(1, 7, 59)[i % 3]}\n" for i in range(9)), task="classification")
    assert found.class_names == ["1", "7", "59"]
    assert found.t.tolist() == [0, 1, 2] * 3
    assert found.notes == []


# -- data frames -------------------------------------------------------------------------------------------------------


def test_frames_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "a": pandas.array([1, None, 3, 4], dtype="Int64"),
            "kind": pandas.Categorical(["x", "y", "x", None]),
            "b": [1.5, 2.5, float("nan"), 4.5],
            "on": [True, False, True, True],
            "y": ["yes", "no", "no", "yes"],
        },
        index=[7, 8, 9, 10],
    )
    with pytest.raises(DataError, match=r"the table: 3 values in 3 of 4 rows are missing .*the first in row 1"):
        read_table(frame)
    found = read_table(frame, missing="mean")
    assert found.feature_names == ["a", "kind=x", "kind=y", "b", "on=False", "on=True"]
    assert found.x[:, 0].tolist() == [1, 8 / 3, 3, 4]
    assert found.x[3, 1:3].tolist() == [0, 0]
    assert (found.t.tolist(), found.class_names) == ([1, 0, 0, 1], ["no", "yes"])
    frame["day"] = pandas.to_datetime(["2024-01-01"] * 4)
    with pytest.raises(DataError, match="dates or times, as '2024-01-01'"):
        read_table(frame, "y", missing="mean")
    with pytest.raises(DataError, match="complex"):
        read_table(pandas.DataFrame({"a": [1j, 2], "y": [1.5, 2.5]}))
    with pytest.raises(DataError, match="one value a row, got list"):
        read_table(pandas.DataFrame({"a": [[1], [2]], "y": [1.5, 2.5]}))
    assert read_table(pandas.DataFrame([[1, 2.5], [2, 3.5]]), 1).x.tolist() == [[1], [2]]
    doubled = pandas.DataFrame([[1, 2, 3.5], [2, 5, 4.5]], columns=["a", "a", "y"])
    assert read_table(doubled).x.tolist() == [[1, 2], [2, 5]]


def test_frames_that_only_look_like_those_of_polars():
    class Series:
        def __init__(self, values):
            self.values = values

        def to_numpy(self):
            return np.asarray(self.values)

    class Frame:
        columns, shape = ("a", "y"), (3, 2)

        def get_columns(self):
            return [Series([1, 2, 3]), Series(["yes", "no", "no"])]

    found = read_table(Frame())
    assert (found.x.tolist(), found.t.tolist(), found.class_names) == ([[1], [2], [3]], [1, 0, 0], ["no", "yes"])


# -- both readers ------------------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_strict_reader(tmp_path):
    x = np.random.default_rng(0).standard_normal((50, 4)) * [1, 1e-8, 1e8, 1e300]
    path = tmp_path / "t.csv"
    path.write_text("a,b,c,y\n" + "\n".join(",".join(map(repr, row)) for row in x.tolist()))
    found, strict = read_table(path), read_csv(path)
    np.testing.assert_array_equal(found.x, x[:, :3])
    np.testing.assert_array_equal(found.x, strict[0])
    np.testing.assert_array_equal(found.t[:, 0], strict[1])


def test_altered_tables_end_in_a_table_or_an_error_of_gdnets(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "t.csv"
    seeds = [
        b"a,b,y\n1,2,0\n3,4,1\n5,6,0\n7,8,1\n",
        "Temp [°C];k;y\n1,5;rot;0,1\n2,5;grün;1.000,5\n3,5;rot;2\n".encode(),
        b",a,day,y\n0,1,2024-01-01,yes\n1,NA,2024-01-02,no\n2,3,2024-01-02,no\n",
    ]
    pieces = [
        *(bytes([c]) for c in b',;\n\r"#\0_-.%\xff\x1c|\xa0 '),
        b"NA",
        b"inf",
        b"1e400",
        "−".encode(),
        "٣".encode(),
    ]
    for _ in range(1500):
        text = bytearray(seeds[rng.integers(len(seeds))])
        for _ in range(rng.integers(1, 5)):
            at = rng.integers(0, len(text))
            text[at : at + rng.integers(0, 3)] = pieces[rng.integers(len(pieces))]
        path.write_bytes(bytes(text))
        for read in (read_csv, lambda p: read_table(p, missing="mean")):
            try:
                found = read(path)
            except GdnetError:
                continue
            except UserWarning:
                continue
            x = found[0] if isinstance(found, tuple) else found.x
            assert np.isfinite(x).all()


def test_a_table_trains(table):
    rng = np.random.default_rng(0)
    a, kind = rng.standard_normal(200), np.arange(200) % 3
    text = "a;kind;y\n" + "".join(f"{v:.4f};{'ABC'[k]};{v + k:.4f}\n" for v, k in zip(a, kind, strict=True))
    found = table(text.replace(".", ","))
    model = gd.Model(gd.Sequential(gd.Dense(1)), loss=gd.SquaredError(), dtype="float64")
    model.fit(found.x, found.t, optimizer=gd.LevenbergMarquardt(), epochs=20, batch_size=None, verbose=0)
    assert model.evaluate(found.x, found.t)["rmse"] < 1e-3


def test_two_years_as_names_are_asked_about(tmp_path):
    """Two numbers are too few to be taken for names, and too odd to be taken for an example without a word."""
    (tmp_path / "years.csv").write_text("2019,2020\n0.1,0.2\n0.3,0.1\n0.2,0.4\n")
    table = gd.data.read_table(tmp_path / "years.csv")
    assert len(table.x) == 4
    assert any("line 1 (2019, 2020) was taken for an example" in note for note in table.notes)
    (tmp_path / "plain.csv").write_text("0.2,2\n0.1,0.2\n0.3,0.1\n0.2,0.4\n")
    assert not any("line 1" in note for note in gd.data.read_table(tmp_path / "plain.csv").notes)
    rows = "".join(f"C{i},0.{i + 1},0.{i + 3}\n" for i in range(150))
    (tmp_path / "named.csv").write_text("country,2019,2020\n" + rows)
    with pytest.raises(FileError, match=r"different texts.*was taken for an example: header="):
        gd.data.read_table(tmp_path / "named.csv")

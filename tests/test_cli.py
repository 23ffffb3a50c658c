"""The command line, from end to end."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import gdnet as gd
from gdnet.cli import main


def test_info_tells_what_is_there_and_why_not(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert f"gdnet {gd.__version__}" in out
    assert "cpu" in out
    assert "numpy" in out


def test_train_digits_leaves_model_history_and_picture(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "digits", "--epochs", "12", "--hidden", "40", "--quiet", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    accuracy = float(printed.split("accuracy ")[1].split()[0])
    assert accuracy > 0.93
    written = {p.name for p in out.iterdir()}
    assert written >= {"model.safetensors", "checkpoint.safetensors", "history.csv", "learning-curve.png"}
    assert set(printed.split(f"in {out}: ")[1].strip().split(", ")) == written
    with (out / "history.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 12
    (_, _), (x, t) = gd.data.load_digits()
    assert gd.load(out / "model.safetensors").evaluate(x, t)["accuracy"] == pytest.approx(accuracy, abs=1e-4)


def test_train_resumes(tmp_path, capsys):
    short, long = tmp_path / "short", tmp_path / "long"
    common = ["train", "digits", "--hidden", "10", "--quiet", "--out"]
    assert main([*common, str(long), "--epochs", "4"]) == 0
    assert main([*common, str(short), "--epochs", "2"]) == 0
    assert main([*common, str(short), "--epochs", "4", "--resume"]) == 0
    a, b = (gd.load(folder / "model.safetensors").theta for folder in (long, short))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("suffix", ["csv", "npz"])
@pytest.mark.parametrize("kind", ["labels", "numbers", "large whole numbers"])
def test_train_on_a_file_of_the_users(tmp_path, capsys, suffix, kind):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((150, 3))
    t = (x[:, 0] > 0).astype(int) if kind == "labels" else x @ [1.0, -2.0, 0.5] + 0.25
    if kind == "large whole numbers":
        t = (1000 * t + 20000).astype(int)
    path = tmp_path / f"data.{suffix}"
    if suffix == "csv":
        rows = [",".join([*(f"{v:.6f}" for v in row), f"{y}"]) for row, y in zip(x, t, strict=True)]
        path.write_text("a,b,c,target\n" + "\n".join(rows) + "\n")
    else:
        np.savez(path, x=x, t=t)
    arguments = ["train", str(path), "--epochs", "30", "--hidden", "8", "--lr", "0.02", "--quiet"]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    if kind == "labels":
        assert float(printed.split("accuracy ")[1].split()[0]) > 0.85
    else:
        assert float(printed.split("test r2 ")[1].split()[0]) > 0.9
        rmse = float(printed.split("test rmse ")[1].split()[0])  # the saved model takes and gives the file's own units
        error = gd.load(tmp_path / "run" / "model.safetensors").predict(x.astype("float32"))[:, 0] - t
        assert np.sqrt(np.mean(error**2)) < 2 * rmse


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "nothing.txt"], "digits"),
        (["train", "nothing.csv"], "nothing.csv"),
        (["train", "digits", "--epochs", "0"], "epochs"),
        (["train", "digits", "--lr", "-1"], "lr"),
        (["train", "digits", "--seed", "-1"], "seed"),
        (["train", "digits", "--device", "tpu"], "tpu"),
        (["train", "digits", "--hidden", "0"], "Dense"),
        (["train", "digits", "--resume"], "checkpoint"),
        (["check", "--device", "cuda:99"], "cuda"),
    ],
)
def test_errors_are_one_line_and_a_status(tmp_path, capsys, arguments, says):
    if arguments[0] == "train":
        arguments = [*arguments, "--quiet", "--out", str(tmp_path / "run")]
    assert main(arguments) == 1
    error = capsys.readouterr().err.strip()
    assert says in error
    assert len(error.splitlines()) == 1


def test_check_runs_every_rule(capsys):
    from gdnet.testing.cases import LAYERS
    from gdnet.testing.cases_losses import LOSSES

    assert main(["check", "--verbose"]) == 0
    out = capsys.readouterr().out
    assert "FAIL" not in out
    assert out.count("ok ") >= len(LAYERS) + len(LOSSES)


def test_check_fails_on_a_wrong_rule(capsys, monkeypatch):
    def wrong(self, backend, x, y):
        return 1.001 * (1.0 - y * y)

    monkeypatch.setattr(gd.Tanh, "df", wrong)
    assert main(["check"]) == 1
    assert "FAIL" in capsys.readouterr().out


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def train(tmp_path, capsys):
    """Runs `gdnet train` on a table and gives (status, what it said)."""

    def run(table, *arguments, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(table if isinstance(table, bytes) else table.encode(encoding))
        status = main(["train", str(path), "--quiet", "--out", str(tmp_path / "run"), *arguments])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def csv_of(names, *columns, sep=","):
    return sep.join(names) + "\n" + "".join(sep.join(map(str, row)) + "\n" for row in zip(*columns, strict=True))


def figure(said, name):
    return float(said.split(f"test {name} ")[1].split()[0])


A, B = np.random.default_rng(1).normal(size=(2, 600))
SMALL = ("--hidden", "16", "--lr", "0.02", "--epochs", "40", "--activation", "tanh")


@pytest.mark.parametrize(
    ("offset_x", "spread_x", "offset_t", "spread_t"),
    [
        (100, 5, 0, 1),
        (2460000, 1, 0, 1),
        (1.7e12, 60, 0, 1),
        (1e12, 1, 0, 1),
        (0, 1, 1420405751.768, 9),
        (0, 1, 632991.21, 0.017),
        (0, 1e-9, 0, 1e-9),
        (0, 1e9, 1e9, 1e-3),
    ],
)
def test_the_saved_model_is_as_good_as_the_trained_one_in_any_unit(
    train, tmp_path, offset_x, spread_x, offset_t, spread_t
):
    a, b, wanted = offset_x + spread_x * A, offset_x + spread_x * B, offset_t + spread_t * (A + np.tanh(2 * B))
    status, said = train(csv_of("abt", *(map(repr, v.tolist()) for v in (a, b, wanted))), *SMALL)
    assert status == 0
    assert figure(said, "r2") > 0.98
    model = gd.load(tmp_path / "run" / "model.safetensors")
    assert model.dtype == "float64"
    error = model.predict(np.stack([a, b], axis=1))[:, 0] - wanted
    assert np.sqrt(np.mean(error**2)) < 0.12 * wanted.std()
    assert figure(said, "rmse") == pytest.approx(np.sqrt(np.mean(error**2)), rel=0.6)
    assert ("too much for float32" in said) == (max(offset_x / spread_x, offset_t / spread_t) > 1e4)


def test_a_feature_beyond_float64_is_told(train):
    t = A > 0
    status, said = train(csv_of("at", (1e15 + np.arange(600) % 7).astype(np.int64), t.astype(int)), "--epochs", "1")
    assert status == 0
    assert "too much for float64: subtract a constant" in said


def test_three_parts_none_of_which_is_in_another(train):
    _, said = train(csv_of("abt", A, B, A + B), "--epochs", "1")
    assert "420 examples to train, 90 to validate (the learning curve), 90 to test" in said


def test_digits_have_three_parts_too(tmp_path, capsys):
    assert main(["train", "digits", "--epochs", "1", "--hidden", "--quiet", "--out", str(tmp_path)]) == 0
    assert "1221 examples to train, 216 to validate (the learning curve), 360 to test" in capsys.readouterr().out


def test_classes_have_names_a_base_rate_and_a_share_found(train, tmp_path):
    kind = np.where(A > 1.2, "rare", "usual")
    status, said = train(csv_of(("a", "b", "kind"), A, B, kind), *SMALL)
    assert status == 0
    assert "classification: the target kind is text" in said
    assert "what always answering 'usual' would reach" in said
    assert 0.8 < float(said.split("base rate ")[1].split(":")[0]) < 0.95
    assert "found of each class: rare " in said
    described = json.loads((tmp_path / "run" / "table.json").read_text(encoding="utf-8"))
    assert (described["features"], described["targets"], described["classes"]) == (
        ["a", "b"],
        ["kind"],
        ["rare", "usual"],
    )
    y = np.argmax(gd.load(tmp_path / "run" / "model.safetensors").predict(np.asarray([[2.0, 0], [-1, 0]])), axis=1)
    assert [described["classes"][i] for i in y] == ["rare", "usual"]


def test_class_weights_find_more_of_a_rare_class(train):
    a, b = np.random.default_rng(2).normal(size=(2, 3000))
    table = csv_of("abt", a, b, (a + b > 2.6).astype(int))
    found = []
    for weight in ((), ("--class-weight", "balanced")):
        _, said = train(table, "--hidden", "--epochs", "5", *weight)
        found.append(int(said.split(" 1 ")[-1].split()[0]))
    assert found[1] > found[0]
    assert "for classes" in train(csv_of("abt", A, B, A), "--class-weight", "balanced")[1]


@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        ((A > 0).astype(int), "classification", ["0", "1"]),
        (np.where(A > 0, 1, -1), "classification", ["-1", "1"]),
        (np.where(A > 0, "1.0", "0.0"), "classification", ["0", "1"]),
        (np.clip(np.rint(A + 3), 1, 5).astype(int), "classification", ["1", "2", "3", "4", "5"]),
        (np.where(A > 0, "True", "False"), "classification", ["False", "True"]),
        (np.random.default_rng(0).poisson(np.exp(2 + A)), "regression", []),
        (np.rint(40 + 10 * A).astype(int), "regression", []),
        (np.where(np.arange(600) == 7, 59, (A > 0) + 2 * (B > 0)), "regression", []),
        (np.round(A, 3), "regression", []),
    ],
)
def test_the_task_is_told_with_its_reason_and_the_switch(train, tmp_path, target, task, classes):
    table = csv_of("abt", A, B, target)
    status, said = train(table, "--epochs", "1")
    assert status == 0
    assert f"{task}: the target t" in said
    assert json.loads((tmp_path / "run" / "table.json").read_text())["classes"] == classes
    if np.asarray(target).dtype.kind != "U" and not (target % 1).any():
        other = {"regression": "classification", "classification": "regression"}[task]
        assert f"--task {other}" in said
        status, said = train(table, "--epochs", "1", "--task", other)
        assert status == 0
        assert ("test accuracy" in said) == (other == "classification")


def test_options_of_the_table(train):
    rows = [
        np.round(A, 3),
        np.round(B, 3),
        np.where(A > 0, "x", "y"),
        [f"2024-01-{i % 28 + 1:02d}" for i in range(600)],
    ]
    table = csv_of(("a", "b", "kind", "day"), *rows)
    assert "dates or times, as '2024-01-01'" in train(table)[1]
    for arguments, parameters in (
        (("--drop", "day"), "2 -> 2"),
        (("--drop", "day", "b"), "1 -> 2"),
        (("--drop", "day,b"), "1 -> 2"),
        (("--drop", "3", "--target", "a"), "3 -> 1"),
        (("--features", "kind", "--target", "a", "b"), "2 -> 2"),
        (("--drop", "day", "--target", "-2"), "2 -> 2"),
    ):
        status, said = train(table, *arguments, "--hidden", "--epochs", "1")
        assert status == 0, said
        inputs, outputs = map(int, parameters.split(" -> "))
        assert f": {(inputs + 1) * outputs} parameters" in said


@pytest.mark.parametrize("arguments", [["--hidden", "4", "4"], ["--drop", "b"], ["--hidden"], ["--target", "t"]])
def test_an_option_of_several_values_leaves_the_file_alone(tmp_path, capsys, arguments):
    path = tmp_path / "my table.csv"
    path.write_text(csv_of("abt", A, B, A))
    assert main(["train", "--quiet", "--epochs", "1", "--out", str(tmp_path / "run"), *arguments, str(path)]) == 0
    assert "420 examples" in capsys.readouterr().out
    assert main(["train", "--quiet", "--hidden", "4", "x", "--out", str(tmp_path / "run")]) == 1
    assert "whole numbers, got 'x'" in capsys.readouterr().err


def test_tables_of_other_places(train):
    german = csv_of(("Temperatur [°C]", "Druck [bar]", "y"), A.round(2), B.round(2), A.round(3), sep=";").replace(
        ".", ","
    )
    for table, arguments, says in (
        (german, (), "decimal commas, as in Temperatur [°C]"),
        (german.encode("cp1252"), (), "read as cp1252"),
        (german.encode("utf-16"), ("--decimal", ","), "read as UTF-16"),
        (german.encode("latin-1"), ("--encoding", "latin-1", "--sep", ";"), "decimal commas"),
        (csv_of(("", "a", "t"), range(600), A, B), (), "counts the rows: it was left out"),
        (csv_of(("0", "1", "2"), A.round(3), B.round(3), A.round(3)), (), "line 1 (0, 1, 2) was taken for names"),
        (csv_of(("a", "b", "2020"), A, B, A), ("--target", "2020"), "line 1 (a, b, 2020) was taken for names"),
    ):
        status, said = train(table, "--epochs", "1", *arguments)
        assert status == 0, said
        assert says in said
        assert "420 examples to train" in said
    assert (
        "601 rows" in train(csv_of("012", A, B, A), "--no-header", "--missing", "drop", "--task", "classification")[1]
    )


def test_a_checkpoint_of_standardised_features_is_refused(train, tmp_path):
    train(csv_of("abt", A, B, A), "--epochs", "1")
    for use in (gd.load, gd.load(tmp_path / "run" / "model.safetensors").load_parameters):
        with pytest.raises(gd.errors.FileError, match=r"takes standardised features.*load model\.safetensors"):
            use(tmp_path / "run" / "checkpoint.safetensors")


def test_a_table_resumes_from_its_checkpoint(train, tmp_path):
    table, thetas = csv_of("abt", A, B, A + B), []
    for runs in ((("--epochs", "4"),), (("--epochs", "2"), ("--epochs", "4", "--resume"))):
        for arguments in runs:
            assert train(table, *arguments, "--patience", "3")[0] == 0
        thetas.append(gd.load(tmp_path / "run" / "model.safetensors").theta)
    np.testing.assert_array_equal(*thetas)


def test_archives_of_other_kinds(tmp_path, capsys):
    good, path = {"x": np.stack([A, B], axis=1), "t": A}, tmp_path / "a.npz"
    for arrays, status, says in (
        ({"X": good["x"], "y": good["t"]}, 0, "r2"),
        (good | {"t": np.where(A > 0, "yes", "no")}, 0, "what always answering"),
        (good | {"t": np.stack([A, B], axis=1)}, 0, "r2"),
        (good | {"x": good["x"].reshape(600, 1, 2).astype("float32")}, 0, "r2"),
        (good | {"x": good["x"] + 1j}, 1, "complex numbers"),
        (good | {"t": A + 1j}, 1, "complex numbers"),
        (good | {"t": np.arange(600).astype("datetime64[D]")}, 1, "dates or times"),
        (good | {"x": np.full((600, 2), "text 1")}, 0, "r2"),
        (good | {"x": np.asarray([[f"a{i}", "b"] for i in range(600)])}, 1, "600 different texts"),
        ({"x": np.zeros((0, 2)), "t": np.zeros(0)}, 1, "no examples"),
        ({"x": np.zeros((3, 0)), "t": np.zeros(3)}, 1, "no examples"),
        (good | {"t": np.where(A > 0, np.inf, 1.0)}, 1, "got 'inf'"),
        (good | {"t": np.where(A > 2, np.nan, A)}, 1, "are missing"),
        (good | {"t": np.where(np.arange(600) > 3, "a", "b").astype("S1")}, 0, "what always answering"),
    ):
        np.savez(path, **arrays)
        assert main(["train", str(path), "--quiet", "--epochs", "1", "--out", str(tmp_path / "run")]) == status
        printed = capsys.readouterr()
        assert says in printed.out + printed.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--target", "²"], "target must be the name of a column"),
        (["--target", "nothing"], "the columns are 'a', 'b', 't'"),
        (["--target", "T"], "did you mean 't'?"),
        (["--drop", "t", "--target", "t"], "is the target and stands in drop too"),
        (["--hidden", "99999999999"], "take smaller layers"),
        (["--hidden", "1e3"], "whole numbers, got '1e3'"),
        (["--encoding", "klingon"], "encoding must be the name of one"),
        (["--sep", "ab"], "sep must be one character"),
        (["--patience", "0"], "patience"),
        (["--out", "/dev/null/x"], "cannot be made"),
        (["--out", "nul\0"], "cannot be made"),
    ],
)
def test_a_slip_ends_in_one_line(train, arguments, says):
    status, said = train(csv_of("abt", A, B, A), "--epochs", "1", *arguments)
    assert status == 1
    assert says in said.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["info"], ["train", "--help"], ["check", "--verbose"]])
def test_a_reader_that_leaves_is_no_error(arguments):
    command = [sys.executable, "-m", "gdnet", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        error = process.stderr.read()
    assert error == b""
    assert process.returncode in (0, 141)  # argparse itself lets a help text go unread


def test_names_that_the_terminal_cannot_show(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(csv_of(("Temperatur °C", "Größe"), A.round(2), A.round(2)), encoding="utf-8")
    command = [sys.executable, "-m", "gdnet", "train", str(path), "--quiet", "--epochs", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, check=False)
    assert done.returncode == 0, done.stderr
    assert rb"Gr\xf6\xdfe" in done.stdout


def test_a_full_disk_behind_the_output_is_told_in_one_line(tmp_path):
    """`gdnet ... > FILE` where nothing more can be written."""
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        found = subprocess.run([sys.executable, "-m", "gdnet", "info"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert found.returncode == 1
    assert found.stderr.startswith("gdnet: No space left on device")
    assert found.stderr.count("\n") == 1

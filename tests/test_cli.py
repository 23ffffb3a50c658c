"""The command line, from end to end."""

import csv

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

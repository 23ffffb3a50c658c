"""Every example runs in seconds on the CPU, is short, and prints what it promises."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import gdnet as gd
from gdnet.testing.backends import installed

FOLDER = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.name for path in FOLDER.glob("*.py"))


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run an example as a script, in an empty folder; what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GDNET_DATA", raising=False)

    def run(name, *arguments):
        [path] = FOLDER.glob(f"{name}*.py")
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run


def numbers(text):
    """All numbers in a text, in their order."""
    return [float(n) for n in re.findall(r"(?<![\w.])-?\d+\.?\d*(?:e[+-]?\d+)?(?!\w)", text)]


def table(text, heading):
    """The rows of numbers below a heading, by their first word."""
    rows = {}
    for line in text[text.index(heading) + len(heading) :].splitlines()[1:]:
        if not line.strip():
            break
        rows[line.split()[0]] = numbers(line)
    return rows


def test_examples_are_numbered_and_short():
    assert [name[:2] for name in NAMES] == [f"{i + 1:02}" for i in range(len(NAMES))]
    for name in NAMES:
        assert len((FOLDER / name).read_text(encoding="utf-8").splitlines()) < 60, name
        assert f"def test_{name[:2]}_" in Path(__file__).read_text(encoding="utf-8"), f"{name} is not run"


def test_01_one_layer_cannot_separate_xor_and_two_can(run):
    out = run("01")
    assert re.findall(r"(\w+) +accuracy +(\d+)%", out) == [
        ("AND", "100"), ("OR", "100"), ("XOR", "75"), ("XOR", "100"), ("XOR", "100"),
    ]  # fmt: skip


def test_02_every_derivative_equals_its_numerical_value(run):
    rows = [line.split() for line in run("02").splitlines() if line.startswith("dJ/")]
    assert [row[0] for row in rows] == [f"dJ/{v}" for v in ("dy", "dW2", "db2", "dh", "da", "dW1", "db1", "dx")]
    assert all(0 <= float(row[-1]) < 1e-8 for row in rows)
    assert all(float(row[-3]) != 0 for row in rows)


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_03_the_loop_learns_on_every_library(run, library):
    if not installed(library):
        pytest.skip(f"{library} is not installed")
    accuracies = [float(a) for a in re.findall(r"test accuracy ([\d.]+)", run("03", library, "20"))]
    assert len(accuracies) == 20
    assert accuracies[-1] > 0.92


def test_04_a_layer_of_ones_own_is_checked(run):
    out = run("04")
    assert "Gain(): right" in out
    assert "A rule that is 0.1 % wrong is found: Gain()" in out
    assert "learned factors: [1. 2. 3. 4.]" in out


def test_05_step_sizes(run):
    rows = [numbers(line) for line in run("05", "--plot").splitlines()[1:5]]
    slow, right, zigzag, diverges = (row[3] / row[1] for row in rows)
    assert slow > 0.1
    assert right < 1e-4
    assert zigzag < 1e-4
    assert diverges > 100
    assert Path("gradient_descent_paths.png").stat().st_size > 1000


def test_06_truncation_and_rounding(run):
    out = run("06", "--plot")
    rows = list(table(out, "float64\n").values())
    h, forward, backward, central = np.asarray(rows).T
    assert len(h) == 13
    # Down to h = 1e-4 nothing but truncation: a tenth of the step, a tenth or a hundredth of the error.
    np.testing.assert_allclose(np.diff(np.log10(forward[:4])), -1, atol=0.1)
    np.testing.assert_allclose(np.diff(np.log10(backward[:4])), -1, atol=0.1)
    np.testing.assert_allclose(np.diff(np.log10(central[:4])), -2, atol=0.1)
    assert central[-1] > 100 * central.min()  # rounding
    assert Path("numerical_derivative.png").stat().st_size > 1000


def test_07_all_optimizers_start_alike_and_learn(run):
    rows = table(run("07"), "optimizer")
    del rows["Rprop"]  # the last line of the text starts with its name; one step an epoch
    assert len(rows) == 9
    for name, (_, first, last, accuracy) in rows.items():
        assert last < 0.5 * first, name
        assert accuracy > 0.9, name


def test_08_initial_weights_set_the_spread_of_activations(run):
    out = run("08")
    tanh, relu = table(out, "Tanh"), table(out, "ReLU")
    assert tanh["normal(0.01)"][-2] < 1e-4  # died out
    assert tanh["normal(1)"][-1] < 0.2  # saturated: no slope left
    assert 0.2 < tanh["Glorot"][-2] < 0.7
    assert relu["normal(1)"][-2] > 1e3  # blown up
    assert 0.5 < relu["He"][-2] < 1.2


def test_09_training_error_falls_and_validation_error_turns(run):
    out = run("09", "--plot")
    _, training, validation = np.asarray([numbers(line) for line in out.splitlines()[1:6]]).T
    assert (np.diff(training) < 0).all()
    assert 0 < validation.argmin() < 4
    assert Path("overfitting.png").stat().st_size > 1000


def test_10_levenberg_marquardt_goes_where_adam_does_not(run):
    out = run("10")
    first, second = out.split("lowest loss")  # seconds, and what was reached in them, are the machine's
    steps = {line[:20].strip(): [int(n) for n in re.findall(r"(\d+) \(", line)] for line in first.splitlines()[2:]}
    ends = {line[:20].strip(): numbers(line[20:])[-2:] for line in second.splitlines()[1:]}
    assert len(steps["Levenberg-Marquardt"]) == 5
    loss, error = ends["Levenberg-Marquardt"]
    assert loss < 1e-10
    assert error < 1e-4
    for rate in ("0.01", "0.03"):
        assert len(steps[f"Adam(lr={rate})"]) == 3  # 1e-6 is out of its reach
        assert steps[f"Adam(lr={rate})"][-1] > 20 * steps["Levenberg-Marquardt"][2]
        assert ends[f"Adam(lr={rate})"][0] > 1e3 * loss


def test_11_newtons_digits_double(run):
    out = run("11")
    rows = table(out, "so many steps\n")
    newton = rows["Newton"]
    assert newton[6] < 1e-12
    # An error e becomes about c e²: the exponent at least 1.7 times as large once the error is below 0.1.
    digits = -np.log10(newton[3:6])
    assert (digits[1:] > 1.7 * digits[:-1]).all()
    assert all(rows[name][6] > 0.1 for name in ("GradientDescent", "ConjugateGradient", "LBFGS", "BFGS"))
    assert rows["GradientDescent"][-1] > 1e-4  # after 500 steps
    valley = table(out, "Rosenbrock's valley")
    assert "max_iter" in out
    assert valley.pop("gd")[0] == 5000
    for name, (steps, _, error) in valley.items():
        assert steps < 60, name
        assert error < 1e-7, name


def test_12_constraints_hold_to_the_last_digit(run):
    out = run("12")
    rows = [
        [float(n) for n in re.findall(r"(?<= )-?\d\S*", line[20:])] for line in out.splitlines() if line[:2] == "  "
    ]
    free, monotone, loose, conserved = rows
    assert free[1] > 0
    assert monotone[1] == 0.0
    assert free[2] < 0 <= monotone[2]
    assert loose[1] > 1e-3
    assert max(conserved[1:]) <= 1e-10
    assert out.count("converged") == 2
    assert free[0] < monotone[0] < 1.5 * free[0]
    assert loose[0] < conserved[0] < 1.1 * loose[0]


def test_13_saddles_hold_gradient_descent_and_not_newton(run):
    out = run("13")
    escapes = re.findall(r"^ +(\S+) +(\d+|never) +x = +(-?[\d.]+)$", out, re.MULTILINE)
    assert [steps for _, steps, _ in escapes].count("never") == 1
    # Each factor of 1000 nearer to the ridge costs the same number of steps more.
    waits = [int(steps) for start, steps, _ in escapes if float(start) in (-1e-3, -1e-6, -1e-9)]
    assert waits[2] - waits[1] == pytest.approx(waits[1] - waits[0], abs=2)
    assert {end for _, _, end in escapes} == {"-1.06", "0.12", "0.93"}
    ends = dict(re.findall(r"^ +(\w+) +x = +(-?[\d.]+) +after \d+ steps", out, re.MULTILINE))
    assert ends["gd"] == ends["bfgs"] == "0.12"
    assert ends["newton"] in ("-1.06", "0.93")
    losses = dict(re.findall(r"^  (\w+\(.*?\)) +(\d\S+) +\d\S+$", out, re.MULTILINE))
    assert float(losses["SGD(lr=0.1)"]) > 0.4
    assert float(losses["Newton()"]) < 1e-3
    assert float(losses["Newton(modification='saddle_free')"]) < 0.1  # it has left the saddle, for a flat valley


def test_calls_on_the_page_about_choosing_are_right():
    page = (FOLDER.parent / "docs" / "how-to-choose.md").read_text(encoding="utf-8")
    calls = {code for code in re.findall(r"`([^`\n]+)`", page) if code.startswith("gd.") and "..." not in code}
    assert len(calls) > 50
    for code in sorted(calls):
        eval(code, {"gd": gd})  # raises where a name or an option does not exist
    for options in re.findall(r"callbacks=(\[.*?\])`", page):
        assert eval(options, {"gd": gd})
    for method in re.findall(r'method="(\w+)"\)?`', page.split("## From SciPy")[0]):
        assert gd.minimize(lambda x: (x[0] - 1) ** 2, [0.0], method=method).success, method

"""The one command for a machine with a GPU, tried without one: limits, order of lines, arguments of its parts."""

import importlib.util
import os
import time
from pathlib import Path

import pytest

from gdnet import cli

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def gpu_check():
    spec = importlib.util.spec_from_file_location("benchmarks_gpu_check", ROOT / "benchmarks" / "gpu_check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Makes a module that `python -m` finds, and gives back its name."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    def make(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return make


def test_the_limits_fit_into_eight_minutes(gpu_check):
    assert sum(part.limit for part in gpu_check.PARTS) <= gpu_check.TOTAL == 480


def test_every_part_is_a_command_that_its_program_takes(gpu_check, tmp_path):
    for part in gpu_check.PARTS:
        program, *words = part.command.format(out=tmp_path, device="cuda").split()
        if program == "gdnet.cli":
            options = cli.parser().parse_args(words)
            assert options.command == words[0]
        else:
            assert program == "pytest"
            assert "--require-cuda" in words


def test_parts_are_shown_as_they_come_and_stopped_at_their_limit(gpu_check, program, tmp_path, capfd):
    good = program("good", "import sys; print('one'); print('two', file=sys.stderr); print(sys.argv[1:])")
    bad = program("bad", "import sys; print('before the end'); sys.exit(3)")
    slow = program(
        "slow",
        "import subprocess, sys, time; print('waits', flush=True)\n"
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])",
    )
    parts = [
        gpu_check.Part("bad", 60, bad),
        gpu_check.Part("slow", 2, slow),
        gpu_check.Part("good", 60, good + " {device} {out}"),
    ]
    began = time.perf_counter()
    assert gpu_check.main(["--out", str(tmp_path / "run"), "--device", "cuda:1"], parts) == 1
    assert time.perf_counter() - began < 50, "the child of a stopped part kept its output open"
    out = capfd.readouterr().out
    wanted = ["bad: before the end", "bad: exit status 3", "slow: waits", "slow: stopped after 2 s", "good: one",
              "good: two", f"['cuda:1', '{tmp_path / 'run'}']", "good: ok", "FAILED bad: exit status 3",
              "FAILED slow: stopped", "1 of 3 parts went well"]  # fmt: skip
    places = [out.index(text) for text in wanted]
    assert places == sorted(places)
    assert (tmp_path / "run" / "good.txt").read_text().startswith("one\ntwo\n")
    assert gpu_check.main(["--out", str(tmp_path / "run"), "--only", "good"], parts) == 0


def test_the_first_part_runs(gpu_check, tmp_path, capfd):
    assert gpu_check.main(["--out", str(tmp_path), "--device", "cpu", "--only", "info"]) == 0
    assert "info: gdnet " in capfd.readouterr().out


def test_an_unknown_part_is_refused(gpu_check, capsys):
    with pytest.raises(SystemExit):
        gpu_check.main(["--only", "speed"])
    assert "comma list of info, check, tests" in capsys.readouterr().err

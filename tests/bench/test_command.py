"""`gdnet bench` from its options to its table and files. No time is asserted."""

import argparse
import json

import pytest

from gdnet.bench import command, imports, results
from gdnet.bench.plan import SECTIONS
from gdnet.bench.summary import LINES
from gdnet.errors import DeviceError, FileError, OptionError


def bench(*arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(argparse.Namespace(**vars(parser.parse_args(arguments)), size="tiny"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One run of every section, tiny, with the peer that needs no compiler."""
    path = tmp_path_factory.mktemp("bench") / "out.json"
    assert bench("--json", str(path), "--against", "sklearn") == 0
    return results.read(path)


def test_every_section_has_rows(whole):
    assert list(whole["sections"]) == list(SECTIONS)
    assert all(whole["sections"].values())


def test_file_tells_hardware_versions_and_threads(whole):
    found = whole["environment"]
    assert found["cores"] >= 1
    assert found["versions"]["numpy"]
    assert "OMP_NUM_THREADS" in found["threads"]
    assert whole["settings"]["size"] == "tiny"


def test_peer_reaches_the_same_loss_and_is_compared_with_its_floor(whole):
    rows = {r["candidate"]: r for r in whole["sections"]["steps"]}
    assert set(rows) == {"gdnet numpy", "sklearn"}
    for row in rows.values():
        assert row["comparable"]
        assert row["seconds"] > 0
        assert row["over_floor"] == pytest.approx(row["seconds"] / row["floor_seconds"])


def test_extrapolated_gradients_are_marked(whole):
    rows = [r for r in whole["sections"]["gradient"] if "textbook_seconds" in r]
    assert rows
    for row in rows:
        assert row["textbook_extrapolated_from"] == 3
        assert row["theory_seconds"] == pytest.approx(3 * row["forward_seconds"])
        assert row["textbook_theory_seconds"] == pytest.approx(2 * row["parameters"] * row["forward_seconds"])
        assert row["largest_difference"] <= row["rounding"]


def test_memory_is_at_least_its_bound(whole):
    (row,) = whole["sections"]["memory"]
    assert row["peak_bytes"] >= row["bound_bytes"] - 4 * row["batch"] * 100
    assert row["traced_bytes"] >= row["steady_bytes"]


def test_operations_and_import(whole):
    (row,) = whole["sections"]["operations"]
    assert 0 < row["operations"] <= row["eager_operations"]
    row, other = whole["sections"]["import"]
    assert (row["candidate"], other["candidate"]) == ("gdnet", "sklearn")
    assert {"gdnet", "numpy"} <= set(row["distributions"])
    assert 100_000 < row["own_bytes"] < row["bytes"]
    assert other["bytes"] == sum(imports.size_of(name) for name in other["distributions"])


def test_table_is_short_and_progress_goes_to_stderr(capsys):
    bench("--only", "operations, gradient")
    out, err = capsys.readouterr()
    assert len(out.splitlines()) <= LINES
    assert "a step, gdnet numpy" in out
    assert "operations" in err


def test_advice_without_gpu_says_so(capsys, monkeypatch):
    monkeypatch.setattr(command, "devices", lambda: ["cpu"])
    bench("--advise", "8-50-50-1", "--batch", "4", "--backend", "numpy", "--optimizer", "sgd")
    out = capsys.readouterr().out
    assert "8-50-50-1 relu, batch 4, SGD" in out
    assert "No GPU was measured" in out
    assert 'gd.Model(..., device="cpu")' in out
    assert "fastest here" not in out, "nothing is the fastest of one"


def test_advice_uses_results_of_another_machine(whole, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "devices", lambda: ["cpu"])
    gpu = json.loads(json.dumps(whole))
    gpu["settings"]["device"], gpu["environment"]["gpu"] = "cuda", "A Fast GPU, 80 GiB"
    gpu["sections"]["grid"] = [
        {"network": "8-50-50-1", "optimizer": "sgd", "candidate": "gdnet cupy", "device": "cuda", "batch": n,
         "seconds": 1e-9, "extrapolated": False} for n in (1, 1000)
    ]  # fmt: skip
    path = tmp_path / "gpu.json"
    results.write(gpu, path)
    arguments = ("--batch", "4", "--backend", "numpy", "--optimizer", "sgd", "--results", str(path))
    bench("--advise", "8-50-50-1", *arguments)
    out = capsys.readouterr().out
    assert "On A Fast GPU, 80 GiB: gdnet cupy about" in out
    assert "times faster than here" in out
    assert "No GPU was measured" not in out


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("--only", "speed"), OptionError, "--only takes a comma list of steps, others, grid"),
        (("--against", "theano"), OptionError, "--against takes a comma list of torch, jax, sklearn"),
        (("--advise", "784x10"), OptionError, '"784-50-10"'),
        (("--advise", "8-1", "--batch", "0"), OptionError, "--batch must be at least 1"),
        (("--json", "/no/such/folder/out.json"), OptionError, "there is no folder"),
        (("--results", "/no/such/file.json"), FileError, "could not be read"),
        (("--device", "tpu"), DeviceError, "device must be"),
    ],
)
def test_errors_say_what_to_do(arguments, error, text):
    with pytest.raises(error, match=text):
        bench(*arguments)


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "other.json").write_text('{"kind": "something else"}')
    with pytest.raises(FileError, match="was not written by this version"):
        results.read(tmp_path / "other.json")

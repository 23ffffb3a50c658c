"""The page of docs/ is made from results files."""

import argparse
import importlib.util
from pathlib import Path

import pytest

from gdnet.bench import command

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("benchmarks_page", ROOT / "benchmarks" / "page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_has_every_section_and_picture(page, tmp_path):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    path = tmp_path / "out.json"
    options = parser.parse_args(["--json", str(path), "--against", "sklearn"])
    command.run(argparse.Namespace(**vars(options), size="tiny"))
    assert page.main([str(path)], out=tmp_path) == 0
    text = (tmp_path / "benchmarks.md").read_text()
    for title, _, _ in page.SECTIONS.values():
        assert f"## {title}" in text
    pictures = sorted(p.name for p in (tmp_path / "images").iterdir())
    assert pictures == ["bench_crossover.png", "bench_gradient.png", "bench_steps.png"]
    assert all(f"(images/{name})" in text for name in pictures)
    assert "\n* " not in text, "an extrapolated time's mark reads as a bullet"


def test_a_pool_of_threads_is_named_once(page):
    pools = [{"internal_api": name, "num_threads": 2} for name in ("openmp", "openblas", "openblas", "openmp")]
    environment = {"versions": {}, "threads": {"OMP_NUM_THREADS": "2"}, "blas": pools, "date": "", "python": "3",
                   "load": [], "cpu": "a CPU", "usable_cores": 2, "gpu": None}  # fmt: skip
    assert "| openmp 2; openblas 2 " in page.machines([{"environment": environment, "settings": {"device": "cpu"}}])


def test_time_for_each_unit_is_in_a_unit_that_can_be_read(page):
    rows = [{"varied": varied, "network": "784-100-10", "batch": 10, "parameters": 79510, "seconds": 2e-5,
             "seconds_each": each} for varied, each in (("N", 2.0287e-6), ("P", 6.417e-9))]  # fmt: skip
    text = page.scaling(rows)
    assert all(cell in text for cell in ("µs for each example", "| 2.03 ", "ns for each parameter", "| 6.42 "))

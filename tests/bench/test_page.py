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
    options = parser.parse_args(["--json", str(path)])
    command.run(argparse.Namespace(**vars(options), size="tiny"))
    assert page.main([str(path)], out=tmp_path) == 0
    text = (tmp_path / "benchmarks.md").read_text()
    for title, _, _ in page.SECTIONS.values():
        assert f"## {title}" in text
    pictures = sorted(p.name for p in (tmp_path / "images").iterdir())
    assert pictures == ["bench_crossover.png", "bench_gradient.png", "bench_steps.png"]
    assert all(f"(images/{name})" in text for name in pictures)

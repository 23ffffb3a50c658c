"""The programs in the README and in the pages run as they stand there, and what the pages link to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = ["README.md", "docs/concept.md"]
"""Pages whose programs are whole; the others hold fragments."""


@pytest.mark.parametrize("page", RUN)
def test_programs_run_as_they_stand(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    programs = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)
    assert programs
    names = {}
    for program in programs:
        names = {"__name__": "page"}
        exec(compile(program, page, "exec"), names)
    if page == "README.md":
        assert names["history"]["loss"][-1] < 1e-7, "the README promises far below 1e-6"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_in_pages_exist(page):
    import gdnet as gd

    names = set(re.findall(r"\bgd\.([A-Za-z_]\w*)", page.read_text(encoding="utf-8")))
    assert not [name for name in names if not hasattr(gd, name)]

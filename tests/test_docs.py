"""The site's pages: snippets print what they show, no public name and no page is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bpnet
from bpnet import formats, plots
from tests.helpers.snippets import BLOCK, printed, same, snippets

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "```python" in path.read_text("utf-8"))
NEEDS = {"guide/sklearn.md": "sklearn", "guide/machines.md": "dask", "guide/pictures.md": "matplotlib"}


@pytest.mark.parametrize("page", [path.relative_to(DOCS).as_posix() for path in PAGES])
def test_a_page_prints_what_stands_below_its_snippets(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page in NEEDS:
        pytest.importorskip(NEEDS[page])
    text = (DOCS / page).read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for code, expected in snippets(BLOCK.findall(text)):
        found = printed(code, names)
        if expected is not None:
            assert same(found, expected), found


def test_the_reference_has_every_public_name() -> None:
    reference = (DOCS / "api.rst").read_text("utf-8")
    there = set(
        re.findall(r"^\.\. (?:auto)?(?:class|function|exception|data|module):: (\S+)", reference, re.M)
    )
    public = {*bpnet.__all__, *(name for name in vars(formats) if "to_" in name)}
    public |= set(plots.__all__)
    assert public - there == {"formats", "plots"}  # whose names stand there one by one


def test_every_page_is_in_the_contents_and_every_link_leads_to_a_file() -> None:
    index = (DOCS / "index.md").read_text("utf-8")
    for path in DOCS.rglob("*.md"):
        page = path.relative_to(DOCS).with_suffix("").as_posix()
        assert page == "index" or re.search(rf"^{page}$", index, re.M), page
        for link in re.findall(r"\]\(([\w./-]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
            assert (path.parent / link).exists(), f"{page}: {link}"

"""The pages of the gallery run on made data of the same kind, and show what they show on the real data."""

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from doc_pages import ROOT
from doc_reader import small_world

PAGES = sorted((ROOT / "docs" / "gallery").glob("*.md"))
SMALLER = (("y=4, x=4", "y=1, x=1"),)
"""Changes to the code, because the made data have fewer cells."""


@pytest.fixture(scope="module")
def gallery():
    spec = spec_from_file_location("gallery", ROOT / "docs" / "gallery.py")
    module = sys.modules["gallery"] = module_from_spec(spec)  # a dataclass looks for its module there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["gallery"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    with pytest.MonkeyPatch.context() as patch:
        small_world(folder, patch)
        yield folder


def labels(text):
    """First column of the tables in a text."""
    rows = (re.match(r" *(\S+(?: \S+)*?) {2,}\S", line) for line in text.splitlines())
    return {row[1] for row in rows if row}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of few windows, and of values outside of the training range
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_the_same_on_made_data(page, gallery, world, tmp_path, monkeypatch):
    if page.stem == "rain-radar":
        pytest.importorskip("pysteps")
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    expected = None if "(not run yet)" in text else gallery.shown_in(text)
    for written, run in SMALLER:
        text = text.replace(written, run)
    shown = list(gallery.run(text))
    assert {found.kind for _, found in shown} >= {"text", "picture"}
    for (code, found), kept in zip(shown, expected or (), strict=expected is not None):
        assert found.kind == kept.kind, code
        if kept.kind == "text":
            assert labels(found.content) == labels(kept.content), code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_complete(page, gallery):
    """It has outputs and pictures, says where the data come from, and ends with what it could not do."""
    text = page.read_text()
    shown = gallery.shown_in(text)
    pictures = [one.content for one in shown if one.kind == "picture"]
    if "(not run yet)" in text:
        pytest.skip("make gallery has not run it yet")
    assert pictures
    assert all((page.parent / path).is_file() for path in pictures)
    assert re.search(r"^\*All of this page took \d+ s on", text, re.M)
    assert re.search(r"`stconv data fetch \w+`|first page", text)
    assert re.findall(r"^## (.*)$", text, re.M)[-1] == "What it could not do"


def test_what_a_page_shows_is_written_below_its_block(gallery, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```python\nx = 20\nx + 1\n```\n\n```text\nold\n```\n\nWords.\n\n```python\n# A line\n"
        "from matplotlib.figure import Figure\n\nFigure()\n```\n\n```python\nx = 2\n```\n\n```text\nnot "
        "shown\n```\n"
    )
    gallery.write(page)
    text = page.read_text()
    assert "```python\nx = 20\nx + 1\n```\n\n```text\n21\n```\n\nWords." in text
    assert "Figure()\n```\n\n![A line](images/page_2.png)\n" in text
    assert (tmp_path / "images" / "page_2.png").is_file()
    assert [one.kind for one in gallery.shown_in(text)] == ["text", "picture", "nothing"]
    before = text
    gallery.write(page)
    assert page.read_text() == before

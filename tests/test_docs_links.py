"""Internal links and anchors of README and docs lead somewhere; those of the built site, too."""

import importlib.util

import pytest

import doc_pages
from doc_pages import ROOT

DOCS = ROOT / "docs"
DRAWN = {f"explanation/pictures/{name}" for name in ("features", "filters")}
"""Pictures that docs/pictures.py draws when the pages are built."""


@pytest.fixture(scope="module")
def links():
    spec = importlib.util.spec_from_file_location("links", DOCS / "links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_link_to_what_exists(links, reference_pages):
    pages = {*doc_pages.pages(), *ROOT.glob("*.md")}
    generated = {f"reference/{name}" for name in reference_pages.PAGES}
    assert not links.faults_of_pages(pages, DOCS, generated | DRAWN)


def test_the_generated_pages_link_to_what_exists(links, reference_pages, tmp_path):
    import shutil

    docs = tmp_path / "docs"
    shutil.copytree(DOCS, docs, ignore=shutil.ignore_patterns("_build", "reference"))
    for name in ("README.md", "ARCHITECTURE.md"):
        shutil.copy(ROOT / name, tmp_path)
    written = reference_pages.write(docs / "reference")
    assert not links.faults_of_pages(written, docs)


def test_each_kind_of_fault_is_found(links, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "other.md").write_text("# Other things\n\n(here)=\n\n## Twice\n\n## Twice\n")
    page = docs / "page.md"
    page.write_text(
        "[good](other.md#other-things) [good](other.md#here) [good](other.md#twice-1) {doc}`other` "
        "{doc}`/other`\n"
        "[bad](nowhere.md) [bad](other.md#another) ![bad](images/none.png) {doc}`gone` {doc}`text <gone>`\n"
        "`[not a link](nowhere.md)` [good](https://example.org/nowhere) {doc}`made/page` "
        "[good](#a-heading)\n\n"
        "# A heading\n\n```\n[not a link](nowhere.md)\n```\n\n```{toctree}\n:maxdepth: "
        "1\n\nother\nmissing\n```\n"
    )
    faults = [fault.rpartition(": ")[2] for fault in links.faults_of_pages([page], docs, {"made/page"})]
    assert faults == [
        "no file for [...](nowhere.md)",
        "no heading for [...](other.md#another)",
        "no file for [...](images/none.png)",
        "no page gone",
        "no page gone",
        "no page missing",
    ]


def test_faults_of_the_site_are_found(links, tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="b.html#there">b</a><a href="#top">a</a><a href="https://example.org/x">out</a>'
        '<a href="c.html">c</a><a href="b.html#gone">b</a><img src="none.png">'
    )
    (tmp_path / "b.html").write_text('<p id="there">B</p>')
    assert links.faults_of_site(tmp_path) == [
        "a.html: no file for c.html",
        "a.html: no place for b.html#gone",
        "a.html: no file for none.png",
    ]

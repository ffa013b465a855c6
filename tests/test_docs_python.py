"""Snippets of Python in README and docs are Python; the README shows what the page on Python shows."""

import re

import pytest

import doc_pages
from doc_pages import PYTHON, ROOT

PAGE, README = ROOT / "docs" / "how-to" / "python.md", ROOT / "README.md"


def snippets(page):
    return [snippet.text for snippet in doc_pages.snippets(page) if snippet.kind == PYTHON]


@pytest.mark.parametrize("page", [page for page in doc_pages.pages() if snippets(page)], ids=doc_pages.name)
def test_snippets_are_python(page):
    for snippet in snippets(page):
        compile(snippet, page.name, "exec")


def test_the_readme_shows_the_first_snippet_of_the_page():
    def lines(snippet):
        return [re.sub(r" +#.*", "", line) for line in snippet.strip().splitlines()]

    assert lines(snippets(README)[0]) == lines(snippets(PAGE)[0])


def test_the_snippet_on_networks_runs():
    (snippet,) = (snippet for snippet in snippets(PAGE) if "residual_block" in snippet)
    exec(snippet, {})

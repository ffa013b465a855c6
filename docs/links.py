"""Internal links and anchors: of the Markdown pages in the repository, and of the built site.

`make docs` runs this file on the site; `tests/test_docs_links.py` runs it on the pages.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_CODE = re.compile(r"^( *)(`{3,}|~{3,})(?!\{toctree\})[^\n]*\n.*?^\1\2 *$", re.M | re.S)
_INLINE = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", re.S)
_LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_DOC = re.compile(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", re.M)
_LABEL = re.compile(r"^\(([\w-]+)\)=$", re.M)
_TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.M | re.S)


def faults_of_pages(pages: Collection[Path], docs: Path, generated: Collection[str] = ()) -> list[str]:
    """Find links of Markdown pages to files, pages and headings that do not exist.

    Args:
        pages: Pages to read.
        docs: Top folder of the documentation; `{doc}` names with a leading slash begin there.
        generated: Names of pages that are written when the documentation is built, from `docs`, without .md.
    """
    texts = {page.resolve(): page.read_text(encoding="utf-8") for page in pages}
    found = []
    for page, text in texts.items():
        plain = _INLINE.sub("", _CODE.sub("", text))
        for link in _LINK.findall(plain):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            named = (
                str(target.relative_to(docs.resolve()).with_suffix(""))
                if target.is_relative_to(docs.resolve())
                else ""
            )
            if not target.exists():
                if named not in generated:
                    found.append(f"{page}: no file for [...]({link})")
            elif parts.fragment and parts.fragment not in anchors(texts.get(target) or _read(target)):
                found.append(f"{page}: no heading for [...]({link})")
        names = _DOC.findall(_CODE.sub("", text))
        for block in _TOCTREE.findall(text):
            names += [
                line.strip() for line in block.splitlines() if line.strip() and not line.startswith(":")
            ]
        found += [
            f"{page}: no page {name}"
            for name in names
            if _page_name(name, page, docs) not in generated
            and not (docs / f"{_page_name(name, page, docs)}.md").is_file()
        ]
    return found


def anchors(text: str) -> set[str]:
    """Anchors of a Markdown page: its labels, and its headings as GitHub and MyST name them."""
    found, counts = set(_LABEL.findall(text)), dict[str, int]()
    for heading in _HEADING.findall(_CODE.sub("", text)):
        words = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        again = counts.get(slug, 0)
        counts[slug] = again + 1
        found.add(f"{slug}-{again}" if again else slug)
    return found


def faults_of_site(site: Path) -> list[str]:
    """Find links of built pages to files and ids that do not exist."""
    pages = {path: _Page.read(path) for path in sorted(site.rglob("*.html"))}
    return [fault for path, page in pages.items() for fault in _faults_of_page(path, page, pages, site)]


class _Page(HTMLParser):
    """Links and ids of a page of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()

    @classmethod
    def read(cls, path: Path) -> _Page:
        page = cls()
        page.feed(path.read_text(encoding="utf-8"))
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the address and the id of an element."""
        for name, value in attrs:
            if value is not None and name in {"href", "src"} and tag != "link":
                self.links.append(value)
            elif value is not None and name in {"id", "name"}:
                self.ids.add(value)


def _faults_of_page(path: Path, page: _Page, pages: Mapping[Path, _Page], site: Path) -> Iterator[str]:
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or link in {"#", ""}:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.exists():
            yield f"{path.relative_to(site)}: no file for {link}"
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
            yield f"{path.relative_to(site)}: no place for {link}"


def _page_name(name: str, page: Path, docs: Path) -> str:
    """Name of a page from the top of the documentation."""
    words = re.sub(r"^[^<]*<(.+)>$", r"\1", name)
    if words.startswith("/"):
        return words[1:]
    return str((page.parent / words).resolve().relative_to(docs.resolve()))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.suffix == ".md" else ""


if __name__ == "__main__":
    faults = faults_of_site(Path(sys.argv[1]).resolve())
    print("\n".join(faults))
    sys.exit(bool(faults))

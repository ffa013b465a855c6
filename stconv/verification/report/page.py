"""The frame of the page, and the building blocks of its sections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path


def html_page(title: str, body: Iterable[str]) -> str:
    """A whole page that loads no other file."""
    style, script = (Path(__file__).with_name(name).read_text() for name in ("style.css", "player.js"))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>{''.join(body)}</main><script>{script}</script></body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A section with a heading; empty if it has no content."""
    content = "".join(parts)
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def paragraph(text: str, css: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{f' class={css}' if css else ''}>{escape(text)}</p>"


def figure(address: str, caption: str, alt: str = "") -> str:
    """A picture with its caption."""
    return (
        f'<figure><img src="{address}" alt="{escape(alt or caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], css: Sequence[str] = ()) -> str:
    """A table; cells are HTML, headings are text.

    Args:
        head: Heading of each column.
        rows: Heading and cells of each row.
        css: Class of each row; none by default.
    """
    heading = "".join(f"<th>{escape(name)}</th>" for name in head)
    classes = list(css) or [""] * len(rows)
    lines = [
        f'<tr class="{name}"><th>{escape(title)}</th>{"".join(_cell(cell) for cell in cells)}</tr>'
        for (title, cells), name in zip(rows, classes, strict=True)
    ]
    return (
        f'<div class="scroll"><table><thead><tr>{heading}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(content: str) -> str:
    return content if content.startswith("<td") else f"<td>{content}</td>"


def tile(number: str, words: str, css: str = "") -> str:
    """A large number with its caption."""
    return f'<div class="tile"><b class="{css}">{escape(number)}</b><span>{escape(words)}</span></div>'


def color_bar(gradient: str, low: str, high: str) -> str:
    """A color bar with its ends."""
    return (
        f'<div class="bar" style="background:{gradient}"></div>'
        f'<div class="ends"><span>{escape(low)}</span><span>{escape(high)}</span></div>'
    )

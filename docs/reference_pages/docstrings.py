"""Docstrings, which are written like Markdown, in the markup that autodoc reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_CODE = re.compile(r"(``.+?``|`[^`]+`)")
_MARKUP = re.compile(r"(?<!\\)([|*])")


def to_markup(lines: Sequence[str]) -> list[str]:
    """Set what stands in backticks as code, show bars and asterisks as they are, and keep tables aligned."""
    return list(_converted(lines))


def _converted(lines: Sequence[str]) -> Iterator[str]:
    in_table = False
    for line in lines:
        is_row = line.lstrip().startswith("|") and line.rstrip().endswith("|") and line.count("|") > 2
        indent = " " * (len(line) - len(line.lstrip()))
        if is_row and not in_table:
            yield from ("", f"{indent}::", "")
        if in_table and not is_row:
            yield ""
        in_table = is_row
        yield f"   {line}" if is_row else "".join(map(_piece, _CODE.split(line)))


def _piece(text: str) -> str:
    if text.startswith("``"):
        return text
    return f"`{text}`" if _CODE.fullmatch(text) else _MARKUP.sub(r"\\\1", text)

"""Docstrings, which are written like Markdown, in the markup that autodoc reads."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

from reference_pages.markdown import described

_CODE = re.compile(r"(``.+?``|`[^`]+`)")
_MARKUP = re.compile(r"(?<!\\)([|*])")


def to_markup(lines: Sequence[str]) -> list[str]:
    """Set what stands in backticks as code, show bars and asterisks as they are, and keep tables aligned."""
    return list(_converted(lines))


def inherited_arguments(documented: type[Any]) -> list[str]:
    """Write a section of the arguments that a class takes and only a class above it describes."""
    above = [described(base, ["Args"]) for base in documented.__mro__]
    lines = []
    for name in inspect.signature(documented).parameters:
        text = next((entries[name] for entries in above if name in entries), "")
        if text and name not in above[0]:
            lines.append(f"    {name}: {text}")
    return ["", "Args:", *lines] if lines and not above[0] else []


def without_types(lines: Sequence[str], what: str) -> list[str]:
    """Keep napoleon from taking words before a colon for a type, in a property and in what is returned."""
    found = list(lines)
    if what in {"property", "attribute"} and found and ":" in found[0]:
        found[0] = f": {found[0]}"
    for i, line in enumerate(found[1:], 1):
        if found[i - 1].strip() in {"Returns:", "Yields:"} and ":" in line:
            found[i] = f"{line[: len(line) - len(line.lstrip())]}: {line.lstrip()}"
    return found


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

"""Pieces of Markdown: tables, and descriptions taken from docstrings in Google style."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

_ENTRY = re.compile(r"^(\w+(?:, \w+)*): (.*)$")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines) + "\n"


def code(text: object) -> str:
    """Set as code; nothing for an empty text."""
    return f"`{text}`" if str(text) else ""


def first_sentence(documented: Any) -> str:
    """First paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())


def described(documented: Any, sections: Sequence[str] = ("Args", "Attributes")) -> dict[str, str]:
    """Description of each entry in the sections of a docstring, by name."""
    found: dict[str, str] = {}
    heads = {f"{section}:" for section in sections}
    inside, name = False, ""
    for line in (inspect.getdoc(documented) or "").splitlines():
        if not line.startswith(" "):
            inside = line.strip() in heads or (inside and not line.strip())
            continue
        entry = _ENTRY.match(line[4:])
        if inside and entry:
            name = entry[1]
            found[name] = entry[2]
        elif inside and name:
            found[name] += f" {line.strip()}"
    return {name: text.replace("``", "`") for name, text in found.items()}


def written_by(module: str) -> str:
    """The remark at the top of a generated page."""
    return f"<!-- Written by docs/reference_pages/{module}.py when the documentation is built. -->\n\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())

"""The reference, written from the code at build time: a Sphinx extension, and functions that need no Sphinx.

Each module writes the Markdown of one page, or of a few pages of one kind.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reference_pages import (
    bundle_format,
    command_line,
    configuration,
    docstrings,
    error_types,
    http_routes,
    metric_names,
    public_names,
    service_settings,
)

PAGES: dict[str, Callable[[], str]] = {
    **public_names.PAGES,
    "configuration": configuration.page,
    "command-line": command_line.page,
    "http": http_routes.page,
    "service-settings": service_settings.page,
    "bundle": bundle_format.page,
    "metrics": metric_names.page,
    "errors": error_types.page,
}
"""Writer of each page of docs/reference, in the order of its table of contents."""


def write(folder: Path) -> list[Path]:
    """Write all pages, and leave alone what has not changed, so that Sphinx does not read it again."""
    folder.mkdir(exist_ok=True)
    written = []
    for name, page in PAGES.items():
        path, text = folder / f"{name}.md", page()
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
        written.append(path)
    return written


def _convert(app: Any, what: str, name: str, documented: Any, options: Any, lines: list[str]) -> None:
    if what == "class":
        lines += docstrings.inherited_arguments(documented)
    lines[:] = docstrings.to_markup(docstrings.without_types(lines, what))


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx write the pages before it looks for sources, and read docstrings as they are meant."""
    app.connect("autodoc-process-docstring", _convert, priority=400)  # before napoleon
    app.connect("config-inited", lambda app, _: write(Path(app.srcdir, "reference")))
    return {"parallel_read_safe": True}

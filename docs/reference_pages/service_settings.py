"""The page of the service's settings, from their class."""

from __future__ import annotations

import re

from reference_pages.markdown import code, table, written_by
from service.settings import PREFIX, Settings


def page() -> str:
    """Write the page."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default in (None, [], {}) or name == "cache" else default
        rows.append(
            [code(f"{PREFIX}{name}".upper()), _kind(field.annotation), code(shown), field.description or ""]
        )
    return (
        written_by("service_settings")
        + "# Settings of the service\n\nOf the environment, or of files of secrets ({doc}`/how-to/keys`); "
        "options of "
        "`stconv serve` go before them. An empty default means none.\n\n"
        + table(["variable", "type", "default", "meaning"], rows)
    )


def _kind(annotation: object) -> str:
    """A type in words of Python."""
    text = getattr(annotation, "__name__", "") if isinstance(annotation, type) else str(annotation)
    return code(re.sub(r"typing\.|pathlib\._local\.|pathlib\.|, NoDecode\b", "", text) or str(annotation))

"""The page of the bundle's format, from the code that writes and reads it."""

from __future__ import annotations

import dataclasses
import inspect

from reference_pages.markdown import code, described, table, written_by
from stconv.bundle import bundle, contract, make
from stconv.bundle.manifest import MANIFEST


def page() -> str:
    """Write the page."""
    files = inspect.getdoc(bundle) or ""
    rows = [line.split(None, 1) for line in files.splitlines()[2:] if line.strip()]
    parts = [
        written_by("bundle_format"),
        f"# The format of a bundle\n\nVersion {bundle.FORMAT_VERSION}. A bundle is a folder; nothing in it "
        "is a pickle or "
        "code. It is written whole or not at all, and refused if a file is missing or changed. Earlier "
        "versions are "
        "read.\n\n",
        table(["file", "content"], [[code(name), text] for name, text in rows]),
        f"\n{code(MANIFEST)} holds `files`: by name the number of `bytes` and the `sha256`.\n\n## "
        "spec.json\n\n",
        "Required: " + ", ".join(map(code, bundle.REQUIRED_KEYS)) + ".\n\n",
        table(["key", "content"], [[code(key), text] for key, text in keys().items()]),
    ]
    for kind in (contract.ModelVariable, contract.Output, contract.ModelGrid):
        words = described(kind)
        rows = [[code(field.name), code(field.type), words[field.name]] for field in dataclasses.fields(kind)]
        parts.append(f"\n### {kind.__name__}\n\n" + table(["key", "type", "meaning"], rows))
    return "".join(parts)


def keys() -> dict[str, str]:
    """Content of each key of spec.json."""
    return {"format_version": "version of this format"} | described(
        make.make_bundle, ["The keys of the spec"]
    )

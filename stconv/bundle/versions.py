"""Bundles of earlier format versions: their spec in the form of today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DERIVED = ("variables", "n_targets", "usual", "climatology_terms")
"""Keys of a preparation in version 1 that are no settings of today, or have another name."""


def from_version_1(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the spec of a bundle of version 1 to version 2.

    Version 1 had the settings of a preparation, its terms and its event side by side; the targets were the
    first `n_targets` of its variables, static files were named without their file, and `climatology_at_leads`
    was called `usual`. Settings that came later were left out. What is no such spec is returned as it is: the
    reader says what it lacks.
    """
    old = spec.get("preparation")
    if not isinstance(old, Mapping) or not {"variables", "n_targets", "climatology_terms"} <= set(old):
        return dict(spec)
    event = {key: value for key, value in old.items() if key == "event" or key.startswith("event_")}
    settings = {key: value for key, value in old.items() if key not in {*DERIVED, *event}}
    settings["targets"] = old["variables"][: old["n_targets"]]
    settings["climatology_at_leads"] = old.get("usual", False)
    files = (spec.get("data") or {}).get("static_files") or {}
    settings["static_files"] = {name: files.get(name, name) for name in old.get("static_files", ())}
    preparation = {"settings": settings, "climatology_terms": old["climatology_terms"]}
    if event:
        preparation["event"] = {
            "settings": event.get("event"),
            "units": event.get("event_units", ""),
            "terms": event.get("event_terms"),
            "frequency": event.get("event_frequency"),
        }
    return {**spec, "format_version": 2, "preparation": preparation}

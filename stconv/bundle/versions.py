"""Specs and tensors of bundles of earlier format versions, translated to the current one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

DERIVED = ("variables", "n_targets", "usual", "climatology_terms")
"""Keys of a preparation in version 1 that are no settings any more, or have another name now."""
BAND_TENSORS = {
    "calm": "typical_change",
    "after_unrest": "change_power",
    "after_spread": "spread_power",
}
"""Present names of the tensors of bands by their names in versions 1 and 2."""


def band_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of bands under their present names, with no widening where there was none yet."""
    found = {BAND_TENSORS.get(name, name): tensor for name, tensor in tensors.items()}
    if "quantiles" in found:
        found.setdefault("widening", torch.zeros_like(found["quantiles"][:, 0]))
    return found


def from_version_1(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the spec of a bundle of version 1 to version 2.

    Version 1 had the settings of a preparation, its terms and its event side by side; the targets were the
    first `n_targets` of its variables, static files were named without their file, and `climatology_at_leads`
    was called `usual`. Settings that came later were left out. A spec of another form is returned unchanged:
    the reader then reports what it lacks.
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

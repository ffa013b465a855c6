"""What a bundle expects of an input, as JSON types."""

from __future__ import annotations

from typing import Any

import numpy as np

from stconv.bundle import Bundle
from stconv.datasets.source.time_axis import TimeStep
from stconv.forecast.bounds import band_names
from stconv.forecast.checks import axis_text


def input_schema(bundle: Bundle) -> dict[str, Any]:
    """Describe the input variables, units, grid, step, frames and calendar.

    Args:
        bundle: Of the model.

    Returns:
        JSON types only. Coordinates are canonical: ascending, longitude from -180; an input may have them
        otherwise.
    """
    spec = bundle.spec
    step = TimeStep.from_json(spec["step"])
    offsets = spec["input_offsets"]
    ranges = spec.get("ranges", {})
    inputs = [variable for variable in spec["variables"] if variable["input"]]
    targets = [variable for variable in spec["variables"] if variable["target"]]
    return {
        "model": bundle.name,
        "bundle_sha256": bundle.hash,
        "variables": [
            {
                "name": variable["name"],
                "units": variable["units"],
                "long_name": variable["long_name"],
                "training_range": ranges.get(variable["name"]),
            }
            for variable in inputs
        ],
        "targets": [{"name": variable["name"], "units": variable["units"]} for variable in targets],
        "bands": band_names(bundle),
        "grid": {
            "geographic": spec["grid"]["geographic"],
            "dims": spec["grid"]["dims"],
            **{dim: _describe_axis(spec["grid"][dim]) for dim in spec["grid"]["dims"]},
        },
        "step": {"label": step.label, **spec["step"]},
        "frames": {"count": len(offsets), "offsets": offsets, "span": 1 - offsets[0]},
        "calendar": spec["calendar"],
        "allowed_missing_share": spec.get("missing", {}).get("allowed_share", 0.0),
        "leads": spec["leads"],
        "rollout": all(variable["target"] for variable in inputs),
    }


def _describe_axis(values: list[float]) -> dict[str, Any]:
    axis = np.asarray(values)
    return {
        "size": axis.size,
        "first": values[0],
        "last": values[-1],
        "text": axis_text(axis),
        "values": values,
    }

"""Requirements of a bundle on its input, as JSON types."""

from __future__ import annotations

from typing import Any

import numpy as np

from stconv.bundle import Bundle
from stconv.bundle.card import refit_statement
from stconv.datasets.source.directions import directions_in
from stconv.forecast.bounds import band_names
from stconv.forecast.checks import axis_text
from stconv.sphere import DEGREE


def input_schema(bundle: Bundle) -> dict[str, Any]:
    """Describe the input variables, units, grid, step, frames and calendar.

    Args:
        bundle: Bundle of the model.

    Returns:
        JSON types only. Coordinates are canonical: ascending, longitude from -180; those of an input may have
        another order or convention. `further` lists the variables that an input may hold on axes of their
        own, and how they are brought to its grid and steps.
    """
    contract = bundle.contract
    grid, offsets = contract.grid, list(contract.offsets)
    return {
        "model": bundle.name,
        "bundle_sha256": bundle.hash,
        "variables": [
            {
                "name": variable.name,
                "units": variable.units,
                "long_name": variable.long_name,
                "training_range": [end + variable.center for end in contract.ranges[variable.name]]
                if variable.name in contract.ranges
                else None,
            }
            for variable in contract.inputs
        ],
        "targets": [{"name": variable.name, "units": variable.units} for variable in contract.targets],
        "directions": [
            {"name": name, "units": DEGREE}
            for name in directions_in(contract.source.components, [v.name for v in contract.targets])
        ],
        "bands": band_names(bundle),
        "grid": {
            "geographic": grid.geographic,
            "dims": list(grid.dims),
            **{dim: _describe_axis(grid.axes[dim]) for dim in grid.dims},
        },
        "further": [
            {
                "variables": list(source.variables),
                "regrid": source.regrid,
                "combine": source.combine,
                "delay": source.delay,
            }
            for source in contract.source.sources
        ],
        "step": {"label": contract.step.label, **contract.step.to_json()},
        "frames": {"count": len(offsets), "offsets": offsets, "span": 1 - offsets[0]},
        "calendar": contract.calendar,
        "allowed_missing_share": contract.allowed_missing_share,
        "leads": contract.leads,
        "refit": refit_statement(bundle.spec["refit"]) if "refit" in bundle.spec else None,
        "rollout": contract.rolls_out,
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

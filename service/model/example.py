"""Example input made from a model's schema, for the warm-up."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.wire.codec import RawVariable, encode

AXES = {
    "lat": ("latitude", {"standard_name": "latitude", "units": "degrees_north"}),
    "lon": ("longitude", {"standard_name": "longitude", "units": "degrees_east"}),
    "y": ("y", {"standard_name": "projection_y_coordinate"}),
    "x": ("x", {"standard_name": "projection_x_coordinate"}),
}


def example_fields(schema: dict[str, Any]) -> bytes:
    """Make one window of mid-range values in the encoding of a parser.

    Args:
        schema: Result of `Forecaster.input_schema`, with a step of fixed length.
    """
    grid, span = schema["grid"], schema["frames"]["span"]
    dims = [AXES[dim][0] for dim in grid["dims"]]
    shape = (span, *(grid[dim]["size"] for dim in grid["dims"]))
    variables = {
        AXES[dim][0]: RawVariable((AXES[dim][0],), np.asarray(grid[dim]["values"], float), dict(AXES[dim][1]))
        for dim in grid["dims"]
    }
    seconds = schema["step"]["seconds"] * np.arange(span)
    units = {"units": "seconds since 2000-01-01", "calendar": schema["calendar"]}
    variables["time"] = RawVariable(("time",), seconds, units)
    for variable in schema["variables"]:
        values = np.full(shape, np.mean(variable["training_range"] or [0.0]))
        attrs = {"units": variable["units"]} if variable["units"] else {}
        variables[variable["name"]] = RawVariable(("time", *dims), values, attrs)
    return encode(variables, {})

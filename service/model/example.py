"""Example input made from a model's contract, for the warm-up."""

from __future__ import annotations

import numpy as np

from service.wire.codec import RawVariable, encode
from stconv.bundle.contract import Contract

AXES = {
    "lat": ("latitude", {"standard_name": "latitude", "units": "degrees_north"}),
    "lon": ("longitude", {"standard_name": "longitude", "units": "degrees_east"}),
    "y": ("y", {"standard_name": "projection_y_coordinate"}),
    "x": ("x", {"standard_name": "projection_x_coordinate"}),
}


def example_fields(contract: Contract) -> bytes:
    """Make one window of mid-range values in the encoding of a parser.

    Args:
        contract: Contract of a model with a step of fixed length.
    """
    grid, span = contract.grid, 1 - contract.offsets[0]
    taken = {variable.name for variable in contract.inputs}
    dims = [AXES[dim][0] if AXES[dim][0] not in taken else f"{dim}_axis" for dim in grid.dims]
    shape = (span, *(len(grid.axes[dim]) for dim in grid.dims))
    variables = {
        name: RawVariable((name,), np.asarray(grid.axes[dim], float), dict(AXES[dim][1]))
        for dim, name in zip(grid.dims, dims, strict=True)
    }
    seconds = contract.step.seconds * np.arange(span)
    units = {"units": "seconds since 2000-01-01", "calendar": contract.calendar}
    variables["time"] = RawVariable(("time",), seconds, units)
    for variable in contract.inputs:
        values = np.full(shape, np.mean(contract.ranges.get(variable.name, (0.0,))) + variable.center)
        attrs = {"units": variable.units} if variable.units else {}
        variables[variable.name] = RawVariable(("time", *dims), values, attrs)
    return encode(variables, {})

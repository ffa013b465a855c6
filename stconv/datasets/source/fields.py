"""Sorting of variables into fields on the time and grid of a dataset, and others with a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr

from stconv.datasets.source.axes import Horizontal
from stconv.datasets.source.named_variables import named_by
from stconv.datasets.source.selection import choices_of
from stconv.datasets.source.time_coordinate import TimeCoordinate, is_time
from stconv.errors import VariableError

SERVING = ("bounds", "climatology", "grid_mapping")
"""Attributes that name auxiliary variables."""
IS_AXIS = "is an axis"
IS_NAMED = "belongs to another variable, whose attributes name it"
IS_VALUE = "is a single value"


def find_fields(
    ds: xr.Dataset, time: TimeCoordinate, horizontal: Horizontal, variables: Sequence[str] | None, source: str
) -> tuple[list[str], dict[str, str]]:
    """Sort the variables of a dataset into fields and others.

    Args:
        ds: The dataset after selection.
        time: Variable and dimension of its times.
        horizontal: Its horizontal dimensions.
        variables: Names of the wanted fields, in order; None for every field.
        source: File or dataset, for messages.

    Returns:
        Names of the fields, and the reason for each variable that is not a field.

    Raises:
        VariableError: A wanted variable is missing or not a field, or the dataset has no field.
    """
    axes = {time.name, horizontal.y_name, horizontal.x_name, *horizontal.auxiliary}
    named = {name for v in ds.variables.values() for name in named_by(v, SERVING)}
    reasons: dict[str, str] = {}
    fields: list[str] = []
    for name in map(str, ds.data_vars):
        reason = IS_AXIS if name in axes else IS_NAMED if name in named else ""
        reason = reason or _why_no_field(ds, name, time, horizontal)
        if reason:
            reasons[name] = reason
        else:
            fields.append(name)
    if variables is None:
        if not fields:
            by_reason: dict[str, list[str]] = {}
            for name, reason in reasons.items():
                by_reason.setdefault(reason, []).append(name)
            listed = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())
            raise VariableError(
                f"{source}: expected a field of time and grid, found none: {listed or 'no variables'}."
            )
        return fields, reasons
    for name in variables:
        if name not in ds.data_vars:
            raise VariableError(
                f"{source}: no variable '{name}'; available: {', '.join(fields) or ', '.join(reasons)}. "
                "Correct the name, or select the file that holds it."
            )
        if name in reasons:
            raise VariableError(f"{source}: variable '{name}' {reasons[name]}.")
    return list(variables), reasons


def worth_telling(reasons: Mapping[str, str]) -> dict[str, str]:
    """Variables that are not fields and that a user may miss: all but axes, bounds and single values."""
    return {name: why for name, why in reasons.items() if why not in (IS_AXIS, IS_NAMED, IS_VALUE)}


def _why_no_field(ds: xr.Dataset, name: str, time: TimeCoordinate, horizontal: Horizontal) -> str:
    variable = ds[name]
    if variable.ndim == 0 and time.dim is not None:
        return IS_VALUE
    if variable.dtype.kind not in "iufb":
        return f"holds no numbers (type {variable.dtype})"
    grid = {horizontal.y, horizontal.x}
    if not grid <= set(variable.dims):
        return _why_off_grid(variable, time, horizontal)
    if time.dim is not None and time.dim not in variable.dims:
        return _why_off_time(ds, variable, time)
    extra = [str(d) for d in variable.dims if d not in {*grid, time.dim} and ds.sizes[d] > 1]
    if not extra:
        return ""
    listed = "; ".join(f"{dim}: {choices_of(ds, dim)}" for dim in extra)
    wanted = ", ".join(f"{dim}: VALUE" for dim in extra)
    return (
        f"has {variable.ndim} dimensions {variable.dims}, expected time and grid. Choose one value with "
        f"`select: {{{wanted}}}` of the grid specification ({listed})"
    )


def _why_off_grid(variable: xr.DataArray, time: TimeCoordinate, horizontal: Horizontal) -> str:
    across = [str(dim) for dim in variable.dims if dim != time.dim]
    if len(across) < 2:
        return f"is not on the grid ({horizontal.y}, {horizontal.x}): its dimensions are {variable.dims}"
    return (
        f"is on another grid ({', '.join(across)}) than ({horizontal.y}, {horizontal.x}). To read it "
        f"alone: `--variables {variable.name}`"
    )


def _why_off_time(ds: xr.Dataset, variable: xr.DataArray, time: TimeCoordinate) -> str:
    other = next((str(d) for d in variable.dims if d in ds.coords and is_time(ds[d])), None)
    if other is None:
        return f"has no time '{time.dim}': its dimensions are {variable.dims}. It is static"
    return (
        f"is on another time axis ('{other}', {ds.sizes[other]} steps) than '{time.dim}' "
        f"({ds.sizes[time.dim]} steps). To read it alone: `--time {other} --variables {variable.name}`"
    )

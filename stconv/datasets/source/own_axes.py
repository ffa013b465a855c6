"""Further sources inside of a dataset: variables on axes of their own, next to the series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import xarray as xr

from stconv.datasets.source.further import FurtherSource


@dataclass(frozen=True)
class Apart:
    """A further source that a dataset holds on axes of its own.

    Attributes:
        source: Settings of the source.
        ds: Its variables with their axes.
        names: Variables that are wanted of it.
    """

    source: FurtherSource
    ds: xr.Dataset
    names: list[str]


def taken_apart(
    ds: xr.Dataset, sources: Sequence[FurtherSource], variables: Sequence[str] | None
) -> tuple[xr.Dataset, list[str] | None, list[Apart]]:
    """Separate a series from the further sources next to it.

    A source is apart if none of its variables has the dimensions of the series. One that lies on the axes of
    the series has been brought to them already, and stays.

    Args:
        ds: Decoded or stored values; returned as it is if no source is apart.
        sources: Further sources of the training.
        variables: Wanted variables; None for all.

    Returns:
        The series, its wanted variables, and the sources that are apart.
    """
    elsewhere = {name for source in sources for name in source.variables}
    fields = [str(name) for name in ds.data_vars if name not in elsewhere]
    asked = [name for name in variables or () if name in fields] or fields
    if not sources or not asked:
        return ds, None if variables is None else list(variables), []
    dims = set(ds[max(asked, key=lambda name: ds[name].ndim)].dims)
    apart = []
    for source in sources:
        names = [name for name in source.variables if name in ds.variables]
        if len(names) == len(source.variables) and all(set(ds[name].dims) != dims for name in names):
            wanted = [name for name in names if variables is None or name in variables]
            apart.append(Apart(source, _with_axes(ds, names), wanted))
    if not apart:
        return ds, None if variables is None else list(variables), []
    gone = {name for part in apart for name in part.source.variables}
    rest = ds.drop_vars([name for name in ds.data_vars if name in gone])
    theirs = {dim for part in apart for name in part.source.variables for dim in ds[name].dims} - {
        dim for name in rest.data_vars for dim in rest[name].dims if rest[name].ndim > 2
    }
    rest = rest.drop_dims([dim for dim in theirs if dim in rest.dims])
    return rest, None if variables is None else [name for name in variables if name not in gone], apart


def _with_axes(ds: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    """Keep variables and everything that lies on their axes or on none, such as a grid mapping."""
    dims = {dim for name in names for dim in ds[name].dims}
    kept = [name for name in ds.variables if name in names or _describes(ds[name], dims)]
    return ds[kept]


def _describes(variable: xr.DataArray, dims: set[object]) -> bool:
    return variable.ndim < 3 and set(variable.dims) <= dims

"""The axes of one dataset in canonical form, and their names and order in the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from stconv.datasets.source.axes import Horizontal
from stconv.datasets.source.axis_units import degrees, tell_of_radian, units_of
from stconv.datasets.source.longitude import canonical_latitude, canonical_longitude, is_cyclic
from stconv.datasets.source.time_coordinate import TimeCoordinate
from stconv.dims import LAT, LON, TIME, X, Y
from stconv.errors import GridError


@dataclass(frozen=True)
class CanonicalAxes:
    """Mapping from the axes of a file to canonical axes.

    Attributes:
        dims: Canonical name by dimension of the file.
        names: Name in the file by canonical name of a coordinate.
        order: Permutation of ``lat`` and ``lon``: canonical = file[order].
        coords: Canonical coordinates.
        horizontal: Canonical rows and columns, by row and column of the file.
    """

    dims: dict[str, str]
    names: dict[str, str]
    order: dict[str, np.ndarray]
    coords: dict[str, xr.Variable]
    horizontal: dict[str, str]

    def arranged(self, variable: xr.Variable) -> xr.Variable:
        """Rename the dimensions of a variable, and put each in canonical order."""
        renamed = variable.to_base_variable().copy(deep=False)
        renamed.dims = tuple(self.dims.get(str(dim), str(dim)) for dim in variable.dims)
        return renamed.isel(self.order, missing_dims="ignore")


def canonical_axes(
    ds: xr.Dataset, time: TimeCoordinate, horizontal: Horizontal, source: str
) -> CanonicalAxes:
    """Derive canonical names, order and coordinates.

    Args:
        ds: The dataset, without a repeated meridian.
        time: Variable and dimension of its times.
        horizontal: Its rows and columns.
        source: File or dataset, for messages.

    Raises:
        GridError: The values are not latitudes or longitudes.
    """
    rows, columns = (LAT, LON) if horizontal.geographic else (Y, X)
    across = {horizontal.y: rows, horizontal.x: columns}
    coords, order = _horizontal_coordinates(ds, horizontal, source)
    attrs = {k: v for k, v in ds[time.name].attrs.items() if k != "bounds" or v in ds}
    coords[TIME] = xr.Variable((TIME,), np.atleast_1d(ds[time.name].values), attrs, ds[time.name].encoding)
    in_file = {rows: horizontal.y_name, columns: horizontal.x_name}
    names = {TIME: time.name} | {new: old for new, old in in_file.items() if old is not None}
    dims = across if time.dim is None else across | {time.dim: TIME}
    axes = CanonicalAxes(dims, names, order, coords, across)
    for name, variable in _auxiliary(ds, time, horizontal).items():
        key = f"{name}_in_file" if name in coords or name in dims.values() else name
        if key != name:
            names[key] = name
        coords[key] = axes.arranged(variable)
    return axes


def drop_repeated_meridian(
    ds: xr.Dataset,
    names: Sequence[str],
    time: TimeCoordinate,
    horizontal: Horizontal,
    source: str,
    lazy: bool,
) -> tuple[xr.Dataset, bool]:
    """Drop a last column that repeats the first one, 360 degrees further.

    Args:
        ds: The dataset as it is in the file.
        names: Its fields.
        time: Variable and dimension of its times.
        horizontal: Its rows and columns.
        source: File or dataset, for messages.
        lazy: Whether the values are on disk; only three steps are compared then.

    Returns:
        The dataset, and whether a column was dropped.

    Raises:
        GridError: The two columns differ.
    """
    if not horizontal.geographic:
        return ds, False
    east = ds[horizontal.x_name]
    lon = degrees(east.values, units_of(east), str(horizontal.x_name), source)
    if not is_cyclic(lon):
        return ds, False
    for name in names:
        variable = ds[name].variable
        if lazy and time.dim in variable.dims:
            n = variable.sizes[time.dim]
            variable = variable.isel({time.dim: sorted({0, n // 2, n - 1})})
        first, last = (variable.isel({horizontal.x: i}).values for i in (0, -1))
        if not np.array_equal(first, last, equal_nan=True):
            raise GridError(
                f"{source}: longitudes {lon[0]:g} and {lon[-1]:g} of '{horizontal.x_name}' are the same "
                f"meridian, but '{name}' differs between them. Leave one of the columns out, for example "
                f"`ds.isel({horizontal.x}=slice(0, -1))`."
            )
    return ds.isel({horizontal.x: slice(0, -1)}), True


def _horizontal_coordinates(
    ds: xr.Dataset, horizontal: Horizontal, source: str
) -> tuple[dict[str, xr.Variable], dict[str, np.ndarray]]:
    """Canonical coordinates of rows and columns, and their permutations from the file."""
    if not horizontal.geographic:
        coords = {}
        for dim, old, name in ((Y, horizontal.y, horizontal.y_name), (X, horizontal.x, horizontal.x_name)):
            values = np.arange(ds.sizes[old]) if name is None else ds[name].values
            coords[dim] = xr.Variable((dim,), values, {} if name is None else ds[name].attrs)
        return coords, {}
    y_name, x_name = str(horizontal.y_name), str(horizontal.x_name)
    lat, lon = (degrees(ds[name].values, units_of(ds[name]), name, source) for name in (y_name, x_name))
    tell_of_radian(lat, lon, units_of(ds[x_name]), x_name, source)
    lat, lat_order = canonical_latitude(lat, y_name, source)
    lon, lon_order = canonical_longitude(lon, x_name, source)
    north = {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}
    east = {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}
    coords = {LAT: xr.Variable((LAT,), lat, north), LON: xr.Variable((LON,), lon, east)}
    return coords, {LAT: lat_order, LON: lon_order}


def _auxiliary(ds: xr.Dataset, time: TimeCoordinate, horizontal: Horizontal) -> dict[str, xr.Variable]:
    """Coordinates along the time, and two-dimensional latitudes and longitudes."""
    along_time = {
        str(name): ds[name].variable
        for name in ds.coords
        if name != time.name and time.dim is not None and ds[name].dims == (time.dim,)
    }
    return along_time | {name: ds[name].variable for name in horizontal.auxiliary}

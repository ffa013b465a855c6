"""The search for the horizontal axes of a dataset: CF attributes first (cf_xarray), then common names."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cf_xarray  # noqa: F401  (registers the .cf accessor)
import numpy as np
import xarray as xr

from stconv.datasets.source.axis_units import is_length, units_of
from stconv.datasets.source.grid_spec import GridSpec
from stconv.errors import GridError

TIME_NAMES = (
    "time",
    "valid_time",
    "time_counter",
    "Time",
    "times",
    "Times",
    "t",
    "date",
    "datetime",
    "XTIME",
)
LAT_NAMES = ("lat", "latitude", "nav_lat", "Latitude", "LAT", "lats", "XLAT", "TLAT", "gphit", "yt_ocean")
LON_NAMES = (
    "lon",
    "longitude",
    "nav_lon",
    "Longitude",
    "LON",
    "lons",
    "long",
    "XLONG",
    "TLONG",
    "glamt",
    "xt_ocean",
)
Y_NAMES = ("y", "Y", "yc", "rlat", "nj", "j", "south_north", "row", "rows", "projection_y_coordinate", "nlat")
X_NAMES = ("x", "X", "xc", "rlon", "ni", "i", "west_east", "col", "cols", "projection_x_coordinate", "nlon")


@dataclass(frozen=True)
class Horizontal:
    """The two horizontal dimensions.

    Attributes:
        y: Dimension that runs along latitude or rows.
        x: Dimension that runs along longitude or columns.
        geographic: Whether latitude and longitude are one-dimensional coordinates of these dimensions, in
            units of angle.
        y_name: Name of the coordinate of `y`: the latitude, or None if the dimension has no coordinate.
        x_name: Name of the coordinate of `x`.
        auxiliary: Two-dimensional latitude and longitude, if any.
    """

    y: str
    x: str
    geographic: bool
    y_name: str | None
    x_name: str | None
    auxiliary: tuple[str, ...] = ()


def find_horizontal(
    ds: xr.Dataset, spec: GridSpec, wanted: Iterable[str], source: str, time: str | None = None
) -> Horizontal:
    """Find rows and columns: latitude and longitude, or the dimensions of another grid.

    Args:
        ds: Any dataset.
        spec: Names that override the search.
        wanted: Variables to be read; they select the grid in a file with several.
        source: File or dataset, for messages.
        time: Dimension of time, which is never horizontal.

    Raises:
        GridError: No axis or several are found; the message names the candidates.
    """
    used = {dim for name in wanted if name in ds.variables for dim in ds[name].dims} - {time}
    ds = _without_values(ds)
    if spec.y is not None or spec.x is not None:
        y, x = (
            _index_dim(ds, spec.y, "Y", Y_NAMES, used, source),
            _index_dim(ds, spec.x, "X", X_NAMES, used, source),
        )
        return _index_grid(ds, y, x)
    covered = used | {time} if used else used
    marked = ds.cf.coordinates
    lat = _coordinate(ds, marked, spec.lat, "latitude", LAT_NAMES, covered, source)
    lon = _coordinate(ds, marked, spec.lon, "longitude", LON_NAMES, covered, source)
    if lat is None or lon is None:
        y, x = (
            _index_dim(ds, None, "Y", Y_NAMES, used, source),
            _index_dim(ds, None, "X", X_NAMES, used, source),
        )
        return _index_grid(ds, y, x)
    lat_dims, lon_dims = (
        [str(d) for d in ds[lat].dims if d != time],
        [str(d) for d in ds[lon].dims if d != time],
    )
    if len(lat_dims) == len(lon_dims) == 1 and lat_dims != lon_dims:
        if is_length(units_of(ds[lat])) and is_length(units_of(ds[lon])):
            return Horizontal(lat_dims[0], lon_dims[0], False, lat, lon)
        return Horizontal(lat_dims[0], lon_dims[0], True, lat, lon)
    if len(lat_dims) == 2 and set(lat_dims) == set(lon_dims):
        y, x = _rows_first(ds, lat_dims)
        return _index_grid(ds, y, x, (lat, lon))
    raise GridError(
        f"{source}: latitude '{lat}' {ds[lat].dims} and longitude '{lon}' {ds[lon].dims} do not span a "
        "grid; expected one dimension each, or the same two dimensions. Interpolate an unstructured grid "
        "or a list of stations to a grid first."
    )


def once_in_time(ds: xr.Dataset, horizontal: Horizontal, time: str | None, source: str) -> xr.Dataset:
    """Keep one copy of two-dimensional latitudes and longitudes that are repeated at each time (WRF).

    Raises:
        GridError: They differ between the first and the last time.
    """
    for name in horizontal.auxiliary:
        if time is None or time not in ds[name].dims:
            continue
        first, last = (ds[name].isel({time: i}, drop=True) for i in (0, -1))
        if not np.array_equal(first.values, last.values, equal_nan=True):
            raise GridError(
                f"{source}: '{name}' changes with time; expected a fixed grid. Regrid the file first."
            )
        ds = ds.drop_vars(name).assign_coords({name: first.variable})
    return ds


def _without_values(ds: xr.Dataset) -> xr.Dataset:
    """Copy variables and attributes, with empty values for large variables.

    Accessing `.cf` puts a dataset in a reference cycle, which would keep its values in memory.
    """
    large = {name: v for name, v in ds.data_vars.items() if v.ndim > 2}
    return ds.assign({n: (v.dims, np.broadcast_to(np.int8(0), v.shape), v.attrs) for n, v in large.items()})


def _coordinate(
    ds: xr.Dataset,
    marked: Mapping[str, Sequence[Hashable]],
    named: str | None,
    key: str,
    names: tuple[str, ...],
    used: set[Hashable],
    source: str,
) -> str | None:
    """Find the latitude or longitude on the wanted variables' dimensions; None if there is none.

    Coordinates with CF attributes take precedence over common names.
    """
    if named is not None:
        if named not in ds.variables:
            raise GridError(
                f"{source}: no variable '{named}' for the {key}; available: {_listed(ds.variables)}. "
                f"Correct `{key[:3]}` of the grid specification."
            )
        return named
    by_attributes = [str(name) for name in marked.get(key, [])]
    by_name = [name for name in names if name in ds.variables]
    for candidates in (by_attributes, by_name):
        fitting = [n for n in candidates if ds[n].ndim and (not used or set(ds[n].dims) <= used)]
        flat = [name for name in fitting if ds[name].ndim == 1]
        chosen = flat or fitting
        if len(chosen) > 1:
            chosen = [name for name in chosen if name in ds[name].dims] or chosen
        if len(chosen) > 1:
            chosen = [name for name in names if name in chosen][:1] or chosen
        if len(chosen) > 1:
            raise GridError(
                f"{source}: one {key} is expected, found {', '.join(chosen)}. Name it with `{key[:3]}` of "
                "the grid specification."
            )
        if chosen:
            return chosen[0]
    return None


def _index_dim(
    ds: xr.Dataset, named: str | None, axis: str, names: tuple[str, ...], used: set[Hashable], source: str
) -> str:
    """Find the row or column dimension of a grid without one-dimensional latitude and longitude."""
    if named is not None:
        if named not in ds.dims:
            raise GridError(
                f"{source}: no dimension '{named}'; available: {_listed(ds.sizes)}. Correct "
                f"`{axis.lower()}` of the grid specification."
            )
        return named
    by_attributes = [str(n) for n in ds.cf.axes.get(axis, []) if n in ds.variables and ds[n].ndim == 1]
    candidates = [str(ds[n].dims[0]) for n in by_attributes] + [name for name in names if name in ds.dims]
    for dim in candidates:
        if not used or dim in used:
            return dim
    sizes = ", ".join(f"{dim} ({size})" for dim, size in ds.sizes.items())
    direction = "latitude or rows" if axis == "Y" else "longitude or columns"
    raise GridError(
        f"{source}: no axis for {direction} found; its dimensions are {sizes or 'none'}. Name the "
        "coordinates with `lat` and `lon` of the grid specification, or the dimensions of a pixel grid "
        "with `y` and `x`."
    )


def _index_grid(ds: xr.Dataset, y: str, x: str, auxiliary: tuple[str, ...] = ()) -> Horizontal:
    return Horizontal(
        y, x, False, y if y in ds.variables else None, x if x in ds.variables else None, auxiliary
    )


def _rows_first(ds: xr.Dataset, dims: list[str]) -> tuple[str, str]:
    """Tell rows from columns of a curvilinear grid by attributes, by name, or by their order in the file."""
    for axis, names in (("X", X_NAMES), ("Y", Y_NAMES)):
        marked = [str(n) for n in ds.cf.axes.get(axis, []) if n in dims] or [d for d in dims if d in names]
        if len(marked) == 1:
            other = next(d for d in dims if d != marked[0])
            return (other, marked[0]) if axis == "X" else (marked[0], other)
    return dims[0], dims[1]


def _listed(names: Iterable[Any]) -> str:
    shown = [str(name) for name in names]
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "") or "none"

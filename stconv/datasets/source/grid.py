"""The door: any source to canonical dimensions, and back with `restore`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stconv.datasets.source.axes import Horizontal, find_horizontal, once_in_time
from stconv.datasets.source.fields import find_fields
from stconv.datasets.source.gaps import fill_gaps
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.joining import Part, join
from stconv.datasets.source.layouts import unfold
from stconv.datasets.source.longitude import canonical_latitude, canonical_longitude, is_cyclic
from stconv.datasets.source.origin import FieldOrigin, Origin, encode_attrs, encode_variable, restore
from stconv.datasets.source.reading import chunked, find_files, load, open_file
from stconv.datasets.source.selection import select, split_values
from stconv.datasets.source.sentinels import mask_declared
from stconv.datasets.source.time_axis import calendar_of, check_increasing, time_step
from stconv.datasets.source.time_coordinate import TimeCoordinate, find_time
from stconv.datasets.source.units import linear_conversion
from stconv.dims import LAT, LON, TIME, X, Y
from stconv.errors import GridError, VariableError

__all__ = ["GridSpec", "Origin", "canonicalize", "open_series", "restore"]

MEMORY_BYTES = 256 * 2**20
"""Sources above this size are opened as dask arrays, smaller ones are read at once."""
CHUNK_BYTES = 64 * 2**20


def open_series(
    paths: str | Path | Sequence[str | Path],
    spec: GridSpec | None = None,
    variables: Sequence[str] | None = None,
) -> tuple[xr.Dataset, Origin]:
    """Open one file or many as one canonical series.

    Files may hold successive times, different variables, or both. Small sources are read into memory, large
    ones stay on disk (dask).

    Args:
        paths: NetCDF 3 or 4, Zarr 2 or 3, GRIB; a file, a list, a pattern, or a folder.
        spec: How to read what does not explain itself.
        variables: Names to read, in order; None for every field.

    Returns:
        The canonical dataset, see `canonicalize`, and what `restore` needs.

    Raises:
        FileError: A file is missing, damaged, or not data.
        GridError, TimeAxisError, VariableError, UnitsError: The content can not be used as it is.
    """
    ds, origin = join_parts(open_parts(paths, spec, variables), variables)
    return fill_gaps(ds, spec.fill_gaps if spec else 0), origin


def open_parts(
    paths: str | Path | Sequence[str | Path],
    spec: GridSpec | None = None,
    variables: Sequence[str] | None = None,
) -> list[Part]:
    """Open every file by itself; `join_parts` makes one series of them. Both are `open_series`."""
    spec = spec or GridSpec()
    files = find_files(paths)
    opened = [
        (str(file), split_values(unfold(open_file(file, spec), spec, str(file)), spec.select, str(file)))
        for file in files
    ]
    _check_present(opened, variables)
    lazy = sum(_bytes(ds, variables) for _, ds in opened) > MEMORY_BYTES
    parts = []
    while opened:  # let go of each file once it is canonical: they may hold float64 twice as large
        source, ds = opened.pop(0)
        here = None if variables is None else [name for name in variables if name in ds.data_vars]
        wanted = variables if here == [] else here
        ds = ds if lazy else load(_only(ds, wanted), source)
        parts.append(_canonicalize(ds, spec, wanted, source, lazy))
    return parts


def join_parts(parts: Sequence[Part], variables: Sequence[str] | None = None) -> tuple[xr.Dataset, Origin]:
    """Join what `open_parts` opened and check the time axis of the whole."""
    ds, origin = join(parts) if len(parts) > 1 else (parts[0].ds, parts[0].origin)
    if variables is not None:
        ds = ds[list(variables)]
    if ds.sizes[TIME] > 1:
        time_step(ds[TIME].values, parts[0].source if len(parts) == 1 else f"the {len(parts)} files together")
    return ds, origin


def canonicalize(
    ds: xr.Dataset,
    spec: GridSpec | None = None,
    variables: Sequence[str] | None = None,
    source: str = "dataset",
) -> tuple[xr.Dataset, Origin]:
    """Bring a dataset to canonical form.

    Canonical: every variable float32 with NaN for missing, (time, lat, lon) on a geographic grid, else
    (time, y, x); latitude ascending; longitude ascending from [-180, 180); times strictly increasing with one
    step, whole missing steps allowed (or, in short gaps, filled: `GridSpec.fill_gaps`); `units` among the
    attributes of each variable.

    Args:
        ds: Any decoded dataset.
        spec: How to read what does not explain itself.
        variables: Names to keep, in order; None for every field.
        source: What to call the dataset in messages.

    Returns:
        The canonical dataset and what `restore` needs.

    Raises:
        GridError, TimeAxisError, VariableError, UnitsError: The dataset can not be used as it is.
    """
    spec = spec or GridSpec()
    ds = split_values(ds, spec.select, source)
    ds, origin = join_parts([_canonicalize(ds, spec, variables, source, lazy=False)])
    return fill_gaps(ds, spec.fill_gaps), origin


def _canonicalize(
    ds: xr.Dataset, spec: GridSpec, variables: Sequence[str] | None, source: str, lazy: bool
) -> Part:
    ds = select(ds, spec.select, source)
    ds, time = find_time(ds, spec, source)
    horizontal = find_horizontal(ds, spec, variables or [str(n) for n in ds.data_vars], source, time.dim)
    ds = once_in_time(ds, horizontal, time.dim, source)
    names, left_out = find_fields(ds, time, horizontal, variables, source)
    times = np.atleast_1d(ds[time.name].values)
    check_increasing(times, source)

    dims = (
        {horizontal.y: LAT, horizontal.x: LON}
        if horizontal.geographic
        else {horizontal.y: Y, horizontal.x: X}
    )
    cyclic = horizontal.geographic and is_cyclic(ds[horizontal.x_name].values)
    if cyclic:
        _check_cyclic(ds, names, time, horizontal, source, lazy)
        whole, ds = ds, ds.isel({horizontal.x: slice(0, -1)})
    coords, order = _horizontal_coordinates(ds, horizontal, source)
    attrs = {k: v for k, v in ds[time.name].attrs.items() if k != "bounds" or v in ds}
    coords[TIME] = xr.Variable((TIME,), times, attrs, ds[time.name].encoding)
    if time.dim is not None:
        dims[time.dim] = TIME
    names_in_file = {
        TIME: time.name,
        **{dims[dim]: dim for dim in dims if dim != time.dim and dim in ds.variables},
    }
    if horizontal.geographic:
        names_in_file |= {LAT: str(horizontal.y_name), LON: str(horizontal.x_name)}
    for name, variable in _auxiliary(ds, time, horizontal).items():
        key = f"{name}_in_file" if name in coords or name in dims.values() else name
        names_in_file |= {key: name} if key != name else {}
        coords[key] = _rename(variable, dims).isel(order, missing_dims="ignore")

    fields: dict[str, xr.Variable] = {}
    for name in names:
        variable = ds[name].variable
        variable = _rename(variable.isel({d: 0 for d in variable.dims if d not in dims}), dims)
        if lazy:
            variable = chunked(variable, TIME, CHUNK_BYTES // len(names), source)
        variable = variable if TIME in variable.dims else variable.set_dims((TIME, *variable.dims))
        ordered = variable.transpose(TIME, *(dims[dim] for dim in (horizontal.y, horizontal.x))).isel(order)
        fields[name] = _values(ordered, name, spec, source, ds[name].encoding)

    origin = Origin(
        dims={**{new: old for old, new in dims.items()}, **({} if time.dim else {TIME: time.name})},
        names={new: old for new, old in names_in_file.items() if new != old},
        order={dim: [int(i) for i in permutation] for dim, permutation in order.items()},
        sizes={dims[dim]: ds.sizes[dim] for dim in (horizontal.y, horizontal.x)},
        calendar=calendar_of(times),
        scalar_time=time.dim is None,
        time_attrs=encode_attrs(attrs),
        time_encoding={k: v for k, v in ds[time.name].encoding.items() if k in ("units", "calendar")},
        static=_static(whole if cyclic else ds, names, time),
        fields={name: _field_origin(ds[name], fields[name]) for name in names},
        attrs=encode_attrs(ds.attrs),
        cyclic=cyclic,
    )
    return Part(source, xr.Dataset(fields, coords, ds.attrs), origin, left_out)


def _horizontal_coordinates(
    ds: xr.Dataset, horizontal: Horizontal, source: str
) -> tuple[dict[str, xr.Variable], dict[str, np.ndarray]]:
    """Canonical coordinates of rows and columns, and the permutations that lead to them."""
    if not horizontal.geographic:
        coords = {}
        for dim, old, name in ((Y, horizontal.y, horizontal.y_name), (X, horizontal.x, horizontal.x_name)):
            values = np.arange(ds.sizes[old]) if name is None else ds[name].values
            coords[dim] = xr.Variable((dim,), values, {} if name is None else ds[name].attrs)
        return coords, {}
    y_name, x_name = str(horizontal.y_name), str(horizontal.x_name)
    lat, lat_order = canonical_latitude(ds[y_name].values, y_name, source)
    lon, lon_order = canonical_longitude(ds[x_name].values, x_name, source)
    north = {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}
    east = {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}
    coords = {LAT: xr.Variable((LAT,), lat, north), LON: xr.Variable((LON,), lon, east)}
    return coords, {LAT: lat_order, LON: lon_order}


def _check_cyclic(
    ds: xr.Dataset,
    names: Sequence[str],
    time: TimeCoordinate,
    horizontal: Horizontal,
    source: str,
    lazy: bool,
) -> None:
    """Refuse a repeated meridian whose two columns differ (of large files three steps are compared)."""
    for name in names:
        variable = ds[name].variable
        if lazy and time.dim in variable.dims:
            n = variable.sizes[time.dim]
            variable = variable.isel({time.dim: sorted({0, n // 2, n - 1})})
        first, last = (variable.isel({horizontal.x: i}).values for i in (0, -1))
        if not np.array_equal(first, last, equal_nan=True):
            lon = ds[horizontal.x_name].values
            raise GridError(
                f"{source}: longitudes {lon[0]:g} and {lon[-1]:g} of '{horizontal.x_name}' are one meridian, "
                f"but '{name}' differs between them. Leave one of the columns out, for example "
                f"`ds.isel({horizontal.x}=slice(0, -1))`."
            )


def _auxiliary(ds: xr.Dataset, time: TimeCoordinate, horizontal: Horizontal) -> dict[str, xr.Variable]:
    """Coordinates along the time, and two-dimensional latitude and longitude."""
    along_time = {
        str(name): ds[name].variable
        for name in ds.coords
        if name != time.name and time.dim is not None and ds[name].dims == (time.dim,)
    }
    return along_time | {name: ds[name].variable for name in horizontal.auxiliary}


def _rename(variable: xr.Variable, dims: dict[str, str]) -> xr.Variable:
    renamed = variable.to_base_variable().copy(deep=False)
    renamed.dims = tuple(dims.get(str(dim), str(dim)) for dim in variable.dims)
    return renamed


def _values(
    variable: xr.Variable, name: str, spec: GridSpec, source: str, encoding: Mapping[Any, Any]
) -> xr.Variable:
    """Sentinels to NaN, units converted, float32."""
    attrs = dict(variable.attrs)
    found = str(attrs.get("units", attrs.get("Unit", attrs.get("unit", ""))))
    wanted = spec.units.get(name, found)
    if name in spec.valid_range:
        low, high = spec.valid_range[name]
        valid = (variable >= (-np.inf if low is None else low)) & (
            variable <= (np.inf if high is None else high)
        )
        variable = variable.where(valid)
    else:
        variable = mask_declared(variable, attrs, encoding)
    factor, offset = linear_conversion(found, wanted, name, source)
    if (factor, offset) != (1.0, 0.0):
        variable = variable * factor + offset
    return xr.Variable(variable.dims, variable.data.astype(np.float32), attrs | {"units": wanted})


def _static(ds: xr.Dataset, names: Sequence[str], time: TimeCoordinate) -> dict[str, dict[str, Any]]:
    """Coordinates without a time, and the grid mappings and bounds that attributes refer to."""
    referred = {ds[n].attrs.get("grid_mapping", ds[n].encoding.get("grid_mapping")) for n in names}
    referred |= {ds[name].attrs.get("bounds") for name in ds.coords}
    kept = [str(n) for n in ds.variables if n in ds.coords or (n in referred and ds[n].ndim <= 2)]
    return {
        name: encode_variable(ds[name].variable, name in ds.coords)
        for name in kept
        if name != time.name and (time.dim is None or time.dim not in ds[name].dims)
    }


def _field_origin(found: xr.DataArray, canonical: xr.Variable) -> FieldOrigin:
    fill = found.encoding.get("_FillValue")
    is_float = np.dtype(found.encoding.get("dtype", found.dtype)).kind == "f"
    return FieldOrigin(
        dims=tuple(str(dim) for dim in found.dims),
        attrs=encode_attrs(found.attrs),
        units=str(canonical.attrs["units"]),
        encoding={"_FillValue": float(fill)} if fill is not None and is_float else {},
    )


def _check_present(opened: Sequence[tuple[str, xr.Dataset]], variables: Sequence[str] | None) -> None:
    """Refuse a name that no file holds; lists all that there are."""
    present = dict.fromkeys(str(name) for _, ds in opened for name in ds.data_vars)
    absent = [name for name in variables or () if name not in present]
    if absent:
        source = opened[0][0] if len(opened) == 1 else f"the {len(opened)} files, '{opened[0][0]}' ..."
        raise VariableError(
            f"{source}: no variable '{absent[0]}'; there are: {', '.join(present) or 'none'}. Correct the "
            "name, or give the file that holds it."
        )


def _only(ds: xr.Dataset, variables: Sequence[str] | None) -> xr.Dataset:
    """Leave out the large variables that nobody wants, before reading."""
    if variables is None:
        return ds
    return ds.drop_vars([n for n in ds.data_vars if ds[n].ndim > 2 and n not in variables])


def _bytes(ds: xr.Dataset, variables: Sequence[str] | None) -> int:
    names = [n for n in ds.data_vars if variables is None or n in variables]
    return sum(4 * ds[name].size for name in names)

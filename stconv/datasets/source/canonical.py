"""Conversion of one decoded dataset to canonical form: selection, times, axes, fields, values, origin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from stconv.datasets.source.axes import find_horizontal, once_in_time
from stconv.datasets.source.coordinates import CanonicalAxes, canonical_axes, drop_repeated_meridian
from stconv.datasets.source.decoding import physical_attrs
from stconv.datasets.source.directions import directions_in
from stconv.datasets.source.encodable import refuse_names_outside_netcdf, refuse_unwritable
from stconv.datasets.source.fields import find_fields
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.joining import Part
from stconv.datasets.source.named_variables import come_along
from stconv.datasets.source.origin import FieldOrigin, Origin, encode_attrs, encode_variable, fill_encoding
from stconv.datasets.source.precision import steps_looked_at
from stconv.datasets.source.reading import chunked
from stconv.datasets.source.selection import select
from stconv.datasets.source.time_axis import calendar_of, check_increasing
from stconv.datasets.source.time_coordinate import TimeCoordinate, find_time
from stconv.datasets.source.values import field_values
from stconv.dims import TIME
from stconv.errors import VariableError

CHUNK_BYTES = 64 * 2**20


def canonical_part(
    ds: xr.Dataset,
    spec: GridSpec,
    variables: Sequence[str] | None,
    source: str,
    lazy: bool,
    chunk_bytes: int | None = None,
) -> Part:
    """Convert one dataset to canonical form, see `grid.canonicalize`.

    Args:
        ds: Any decoded dataset.
        spec: Options for a source that does not describe itself.
        variables: Names to keep, in order; None for every field.
        source: Name of the dataset, for messages.
        lazy: Whether to keep the values on disk, as dask arrays.
        chunk_bytes: Approximate size of a chunk of all variables together; default: `CHUNK_BYTES`.

    Raises:
        GridError, TimeAxisError, VariableError, UnitsError: The dataset cannot be used as it is.
    """
    refuse_unwritable(ds, source)
    ds = select(ds, spec.select, source)
    ds, time = find_time(ds, spec, source)
    horizontal = find_horizontal(ds, spec, variables or [str(n) for n in ds.data_vars], source, time.dim)
    ds = once_in_time(ds, horizontal, time.dim, source)
    names, left_out = find_fields(ds, time, horizontal, variables, source)
    once, cyclic = drop_repeated_meridian(ds, names, time, horizontal, source, lazy)
    axes = canonical_axes(once, time, horizontal, source)
    _check_names([*names, *directions_in(spec.components, names)], axes, source)
    check_increasing(axes.coords[TIME].values, source)
    each = (chunk_bytes or CHUNK_BYTES) // max(len(names), 1) if lazy else None
    fields = {name: _field(once, name, axes, spec, source, each) for name in names}
    origin = _origin(ds, time, axes, fields, cyclic)
    refuse_names_outside_netcdf(origin, source)
    return Part(source, xr.Dataset(fields, axes.coords, ds.attrs), origin, left_out)


def _check_names(names: Sequence[str], axes: CanonicalAxes, source: str) -> None:
    """Refuse fields, and directions of a forecast, with the name of a canonical axis of the grid."""
    taken = (TIME, *axes.horizontal.values())
    clash = [name for name in names if name in taken]
    if clash:
        raise VariableError(
            f"{source}: the variable '{clash[0]}' has the name of an axis; the names {', '.join(taken)} "
            "are reserved on this grid. Rename the variable, for example with `ncrename -v "
            f"{clash[0]},NAME FILE`, or choose other variables with `variables`."
        )


def _field(
    ds: xr.Dataset, name: str, axes: CanonicalAxes, spec: GridSpec, source: str, chunk_bytes: int | None
) -> xr.Variable:
    """A field with canonical dimensions; a dask array of chunks of some size if it stays on disk."""
    variable = ds[name].variable
    variable = variable.isel({dim: 0 for dim in variable.dims if dim not in axes.dims})
    if chunk_bytes is None:
        return field_values(_ordered(variable, axes), name, spec, source)
    along = next((str(d) for d in variable.dims if axes.dims[str(d)] == TIME), TIME)
    whole = chunked(variable, along, chunk_bytes, source)
    dtype = np.dtype(np.float32)
    if variable.dtype != dtype:
        steps = steps_looked_at(variable.sizes.get(along, 1))
        some = chunked(
            variable.isel({along: steps}, missing_dims="ignore"), along, CHUNK_BYTES, source
        ).load()
        dtype = field_values(_ordered(some, axes), name, spec, source).dtype
    return field_values(_ordered(whole, axes), name, spec, source, dtype)


def _ordered(variable: xr.Variable, axes: CanonicalAxes) -> xr.Variable:
    """Transpose a variable to time, rows and columns."""
    variable = axes.arranged(variable)
    variable = variable if TIME in variable.dims else variable.set_dims((TIME, *variable.dims))
    return variable.transpose(TIME, *axes.horizontal.values())


def _origin(
    ds: xr.Dataset, time: TimeCoordinate, axes: CanonicalAxes, fields: dict[str, xr.Variable], cyclic: bool
) -> Origin:
    """Describe the source as `restore` needs it to return fields in their former form."""
    times = axes.coords[TIME]
    in_file = {new: old for old, new in axes.dims.items()}
    return Origin(
        dims=in_file if time.dim else in_file | {TIME: time.name},
        names={new: old for new, old in axes.names.items() if new != old},
        order={dim: [int(i) for i in permutation] for dim, permutation in axes.order.items()},
        sizes={dim: axes.coords[dim].size for dim in axes.horizontal.values()},
        calendar=calendar_of(times.values),
        scalar_time=time.dim is None,
        time_attrs=encode_attrs(times.attrs),
        time_encoding={k: v for k, v in times.encoding.items() if k in ("units", "calendar")},
        static=_static(ds, list(fields), time),
        fields={name: _field_origin(ds[name], fields[name]) for name in fields},
        attrs=encode_attrs(ds.attrs),
        cyclic=cyclic,
    )


def _static(ds: xr.Dataset, names: Sequence[str], time: TimeCoordinate) -> dict[str, dict[str, Any]]:
    """Coordinates without time, and the variables without time that attributes name."""
    named = come_along(ds, names, time.dim)
    kept = [str(n) for n in ds.variables if n in ds.coords or n in named]
    return {
        name: encode_variable(ds[name].variable, name in ds.coords)
        for name in kept
        if name != time.name and (time.dim is None or time.dim not in ds[name].dims)
    }


def _field_origin(found: xr.DataArray, canonical: xr.Variable) -> FieldOrigin:
    return FieldOrigin(
        dims=tuple(str(dim) for dim in found.dims),
        attrs=encode_attrs(physical_attrs(found.variable)),
        units=str(canonical.attrs["units"]),
        encoding=fill_encoding(found.variable),
    )

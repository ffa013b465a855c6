"""The fields of a further source, joined to a series on its grid and its steps."""

from __future__ import annotations

from dataclasses import replace

import xarray as xr

from stconv.datasets.source.further import FurtherSource
from stconv.datasets.source.known_by import known_by
from stconv.datasets.source.origin import FieldOrigin, Origin, encode_attrs
from stconv.datasets.source.projection import projection_of
from stconv.datasets.source.regridding import on_grid
from stconv.dims import TIME
from stconv.errors import VariableError


def joined(
    ds: xr.Dataset, origin: Origin, further: xr.Dataset, their_origin: Origin, source: FurtherSource
) -> tuple[xr.Dataset, Origin]:
    """Add fields to a series; no step holds a value that is not known by then.

    Args:
        ds: Canonical series.
        origin: Its origin.
        further: Canonical fields of another source.
        their_origin: Their origin.
        source: Settings of that source.

    Returns:
        The series with the fields, and the origin that knows them.

    Raises:
        GridError: The fields cannot be brought to the grid of the series.
        TimeAxisError: They cannot be brought to its steps.
        VariableError: The series has a variable of that name already.
    """
    both = [str(name) for name in further.data_vars if name in ds.data_vars]
    if both:
        raise VariableError(
            f"'{both[0]}' is in {source.title} and in the series itself. Take it from one of them: leave it "
            "out of the variables of the further source, or rename it."
        )
    attrs = {str(name): dict(variable.attrs) for name, variable in further.data_vars.items()}
    projections = projection_of(further, their_origin), projection_of(ds, origin)
    brought = on_grid(further, ds, source.regrid, source.title, projections)
    fields = known_by(brought, ds[TIME].values, source)
    first = next(iter(ds.data_vars))
    added = {
        name: fields[name].transpose(*ds[first].dims).astype(further[name].dtype).assign_attrs(attrs[name])
        for name in attrs
    }
    chunks = ds[first].chunks
    if chunks is not None:  # equal blocks of steps, for reading window by window
        added = {name: array.chunk({TIME: chunks[0]}) for name, array in added.items()}
    dims = origin.fields[str(first)].dims
    known = {
        name: FieldOrigin(dims, encode_attrs(attrs[name]), str(attrs[name].get("units", "")), {})
        for name in added
    }
    together = ds.assign({name: array.variable for name, array in added.items()})
    return together, replace(origin, fields=origin.fields | known)

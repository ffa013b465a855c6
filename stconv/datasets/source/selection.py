"""Selection along further dimensions: one level, member or version, or several as variables."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from stconv.datasets.source.reading import GRIB_KEYS
from stconv.errors import GridError


def select(ds: xr.Dataset, choices: dict[str, Any], source: str) -> xr.Dataset:
    """Select one value of each named dimension or coordinate.

    A dimension with a coordinate is selected by value, one without by index; a coordinate along another
    dimension (``expver`` along the time) keeps the entries equal to the value.

    Args:
        ds: Any dataset.
        choices: Value by name of the dimension or coordinate.
        source: File or dataset, for messages.

    Raises:
        GridError: There is no such name or value; the message lists the choices.
    """
    for name, value in choices.items():
        if isinstance(value, (list, tuple)):
            continue  # see `split_values`
        if name in ds.dims and not has_values(ds, name):
            size = ds.sizes[name]
            if not isinstance(value, int) or not -size <= value < size:
                raise GridError(
                    f"{source}: dimension '{name}' has no coordinate; expected an index from 0 to "
                    f"{size - 1} in `select`, found {value!r}."
                )
            ds = ds.isel({name: value})
        elif name in ds.variables and ds[name].ndim <= 1:
            ds = _select_value(ds, name, value, source)
        elif name not in GRIB_KEYS:
            extra = [str(n) for n in {*ds.dims, *ds.coords} if n not in ds.variables or ds[n].ndim <= 1]
            raise GridError(
                f"{source}: no dimension or coordinate '{name}' to select from; available: "
                f"{', '.join(sorted(extra))}. Correct `select` of the grid specification."
            )
    return ds


def split_values(ds: xr.Dataset, choices: dict[str, Any], source: str) -> xr.Dataset:
    """Split a variable by several selected values: {level: [500, 850]} makes `t_500` and `t_850`.

    Args:
        ds: Any dataset.
        choices: Value or values by name of the dimension; single values are left to `select`.
        source: File or dataset, for messages.

    Raises:
        GridError: There is no such dimension or value, or a value appears twice; the message lists the
            choices.
    """
    for dim, values in choices.items():
        if not isinstance(values, (list, tuple)):
            continue
        if len(set(values)) < len(values) or not values:
            raise GridError(
                f"{source}: `select` of '{dim}' expects distinct values, found {list(values)}. Name each "
                "once."
            )
        if dim not in ds.dims:
            raise GridError(
                f"{source}: no dimension '{dim}' to select {list(values)} from; available: "
                f"{', '.join(map(str, ds.dims))}. Correct `select` of the grid specification."
            )
        layered = [name for name in ds.data_vars if dim in ds[name].dims]
        parts = {}
        for value in values:
            chosen = select(ds[layered], {dim: value}, source)
            for name in layered:
                what = ds[name].attrs.get("long_name", name)
                attrs = {**ds[name].attrs, "long_name": f"{what} at {dim} {label(value)}"}
                parts[f"{name}_{label(value)}"] = chosen[name].variable.copy(deep=False)
                parts[f"{name}_{label(value)}"].attrs = attrs
        ds = ds.drop_dims(dim).assign(parts)
    return ds


def label(value: Any) -> str:
    """A selected value as part of a name: 500.0 becomes 500."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def has_values(ds: xr.Dataset, dim: str) -> bool:
    """Whether a dimension has a coordinate to select from; a coordinate of NaN does not count."""
    return dim in ds.variables and not bool(ds[dim].isnull().any())


def choices_of(ds: xr.Dataset, dim: str) -> str:
    """Values along a dimension as text."""
    if not has_values(ds, dim):
        return f"index 0 to {ds.sizes[dim] - 1}"
    values = ds[dim].values
    shown = ", ".join(str(value) for value in values[:10])
    return shown + (f", ... {values[-1]}" if values.size > 10 else "")


def _select_value(ds: xr.Dataset, name: str, value: Any, source: str) -> xr.Dataset:
    values = np.atleast_1d(ds[name].values)
    if values.dtype.kind in "if" and isinstance(value, (int, float)):
        equal = np.isclose(values.astype(float), float(value), rtol=1e-6)
    else:
        equal = np.array([str(v).strip() == str(value).strip() for v in values])
    if not equal.any():
        seen = list(dict.fromkeys(str(v) for v in values))
        raise GridError(
            f"{source}: '{name}' has no value {value!r}; choices: "
            f"{', '.join(seen[:12])}{' ...' if len(seen) > 12 else ''}. Correct `select` of the grid "
            "specification."
        )
    if ds[name].ndim == 0:
        return ds
    dim = ds[name].dims[0]
    found = np.flatnonzero(equal)
    return ds.isel({dim: int(found[0]) if name == dim else found})

"""A forecast as bytes: NetCDF 4, or JSON with null for missing. Runs in the model's process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from stconv.errors import VariableError


def chosen(forecast: xr.Dataset, variables: Sequence[str] | None) -> xr.Dataset:
    """The variables that are asked for, in that order; None is all.

    Raises:
        VariableError: One is not forecast.
    """
    known = [str(name) for name in forecast.data_vars]
    if unknown := [name for name in variables or known if name not in known]:
        raise VariableError(f"Variable {unknown[0]!r} is not forecast; known: {', '.join(known)}.")
    return forecast[list(variables)] if variables else forecast


def to_netcdf(forecast: xr.Dataset) -> bytes:
    """Write NetCDF 4 in memory, compressed, NaN where a value is missing."""
    encoding = {
        str(name): {"zlib": True, "complevel": 1, "_FillValue": np.float32(np.nan)}
        for name in forecast.data_vars
    }
    return bytes(forecast.drop_encoding().to_netcdf(engine="netcdf4", encoding=encoding))


def to_json(forecast: xr.Dataset) -> bytes:
    """Write coordinates and variables as nested lists, with the attributes that say what they are."""
    document: dict[str, Any] = {
        "attributes": {str(key): _plain(value) for key, value in forecast.attrs.items()}
    }
    for part, arrays in {"coordinates": forecast.coords, "variables": forecast.data_vars}.items():
        document[part] = {
            str(name): {
                "dimensions": [str(dim) for dim in array.dims],
                "attributes": {str(key): _plain(value) for key, value in array.attrs.items()},
                "values": nested(array),
            }
            for name, array in arrays.items()
        }
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()


def nested(array: xr.DataArray) -> Any:
    """Values as (nested lists of) numbers, text, ISO times, and None for missing."""
    values = array.values
    if values.dtype.kind == "M":
        return np.datetime_as_string(values, unit="s").tolist()
    if values.dtype.kind == "O":  # cftime, or text of varying length
        return np.vectorize(lambda item: getattr(item, "isoformat", item.__str__)(), otypes=[object])(
            values
        ).tolist()
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        return values.tolist() if finite.all() else _with_null(values, finite)
    return values.tolist() if values.dtype.kind in "iubU" else values.astype(str).tolist()


def _with_null(values: np.ndarray, finite: np.ndarray) -> Any:
    items = values.astype(object)
    items[~finite] = None
    return items.tolist()


def _plain(value: Any) -> Any:
    if isinstance(value, str | int | bool) or value is None:
        return value
    return nested(xr.DataArray(np.asarray(value)))

"""Writers of NetCDF and of JSON, where null stands for a missing value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from service.formats.classic import to_classic
from stconv.errors import VariableError

if TYPE_CHECKING:
    import xarray as xr

CLASSIC_BYTES = 2**20
"""Size, bytes, up to which compression takes longer than it saves in transfer."""


def chosen(forecast: xr.Dataset, variables: Sequence[str] | None, bands: bool = True) -> xr.Dataset:
    """Select the requested variables, in that order; None for all, with or without the bands.

    Variables that are no fields, such as a grid mapping, come along.

    Raises:
        VariableError: A variable is not forecast.
    """
    if not bands:
        from stconv.forecast.bounds import without_bands

        forecast = without_bands(forecast)
    from service.formats.layout import field_names

    known = field_names(forecast)
    if unknown := [name for name in variables or known if name not in known]:
        raise VariableError(f"Variable {unknown[0]!r} is not forecast; known: {', '.join(known)}.")
    others = [name for name in forecast.data_vars if name not in known]
    return forecast[[*variables, *others]] if variables else forecast


def to_netcdf(forecast: xr.Dataset) -> bytes:
    """Write NetCDF in memory, with NaN for missing values: classic if small, else compressed NetCDF 4."""
    small = to_classic(forecast) if forecast.nbytes <= CLASSIC_BYTES else None
    if small is not None:
        return small
    from service.formats.layout import field_names

    compressed = {"zlib": True, "complevel": 1, "_FillValue": np.float32(np.nan)}
    encoding = dict.fromkeys(field_names(forecast), compressed)
    return bytes(forecast.drop_encoding().to_netcdf(engine="netcdf4", encoding=encoding))


def to_json(forecast: xr.Dataset) -> bytes:
    """Write JSON: coordinates and variables as nested lists with their attributes."""
    document: dict[str, Any] = {
        "attributes": {str(key): _plain(value) for key, value in forecast.attrs.items()},
        "coordinates": {},
        "variables": {},
    }
    for name, variable in forecast.variables.items():
        document["variables" if name in forecast.data_vars else "coordinates"][str(name)] = {
            "dimensions": [str(dim) for dim in variable.dims],
            "attributes": {str(key): _plain(value) for key, value in variable.attrs.items()},
            "values": _numbers(variable.values),
        }
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _numbers(values: np.ndarray) -> Any:
    """Prepare an array for orjson, which writes non-finite values as null; `nested` for other types."""
    if values.dtype.kind == "f" and values.dtype.itemsize in (4, 8):
        return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    return nested(values)


def nested(array: xr.DataArray | np.ndarray) -> Any:
    """Convert values to nested lists of numbers, text and ISO times, with None for missing values."""
    values = np.asarray(array)
    if values.dtype.kind == "M":
        return np.datetime_as_string(values, unit="s").tolist()
    if values.dtype.kind == "O":  # cftime, or text of variable length
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
    return nested(np.asarray(value))

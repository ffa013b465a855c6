"""Writer of NetCDF classic, which for small forecasts takes a tenth of the time of NetCDF 4."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import scipy.io
import xarray as xr

from stconv.clock import TIME_UNITS

OFFSETS_OF_64_BITS = 2


class NotClassic(Exception):  # noqa: N818 - not an error: NetCDF 4 is written instead
    """The classic format cannot represent this value."""


def to_classic(forecast: xr.Dataset) -> bytes | None:
    """Write NetCDF classic with 64-bit offsets in memory, with NaN for missing values.

    Integers become 32-bit; times become 32-bit counts of the largest exact unit, days to seconds.

    Returns:
        The file; None if the format cannot represent the forecast: text, 64-bit integers, other calendars.

    Source:
        NetCDF users' guide, the classic file format.
    """
    variables, attrs = xr.conventions.encode_dataset_coordinates(forecast)
    target = io.BytesIO()
    file = scipy.io.netcdf_file(target, "w", version=OFFSETS_OF_64_BITS)
    try:
        for dim, size in forecast.sizes.items():
            file.createDimension(_name(dim), size)
        for name, variable in variables.items():
            values, said = _values(variable)
            if name in forecast.data_vars and values.dtype.kind == "f":
                said["_FillValue"] = values.dtype.type(np.nan)
            written = file.createVariable(_name(name), values.dtype, variable.dims)
            written[...] = values
            written._attributes.update(_attributes(variable.attrs | said))
        file._attributes.update(_attributes(attrs))
    except NotClassic:
        return None
    file.flush()
    return target.getvalue()


def _values(variable: xr.Variable) -> tuple[np.ndarray, dict[str, Any]]:
    """Convert values to a type of the format; returns them and their encoding attributes."""
    values = variable.values
    if values.dtype.kind == "M":
        return _times(values)
    if values.dtype.kind in "iu":
        return _narrowed(values), {}
    return _floats(values), {}


def _times(values: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    first = values.min().astype("datetime64[s]")
    since = (values - first) / np.timedelta64(1, "s")
    for unit in TIME_UNITS:
        counts = since / unit.seconds
        if (counts == np.rint(counts)).all():
            origin = str(first).replace("T", " ")
            attrs = {"units": f"{unit.name}s since {origin}", "calendar": "proleptic_gregorian"}
            return _narrowed(np.asarray(counts)), attrs
    raise NotClassic  # fractions of a second, and NaT


def _narrowed(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        narrow = values.astype(np.int32)
    if not np.array_equal(narrow, values):
        raise NotClassic
    return narrow


def _floats(values: np.ndarray) -> np.ndarray:
    native = values.astype(
        values.dtype.newbyteorder("="), copy=False
    )  # as a classic file gives big-endian ones
    if native.dtype not in (np.float32, np.float64):
        raise NotClassic
    return native


def _attributes(attrs: dict[Any, Any]) -> dict[str, Any]:
    return {_name(name): _attribute(value) for name, value in attrs.items() if value is not None}


def _attribute(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    array = np.asarray(value)
    if array.dtype.kind in "iub":
        return _narrowed(array)[()]
    return _floats(array)[()]


def _name(name: Any) -> str:
    text = str(name)
    if not (text.isascii() and text.isprintable() and "/" not in text):
        raise NotClassic
    return text

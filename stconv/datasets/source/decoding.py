"""Decoding of stored values to physical ones: lazy, and the same for all formats."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from stconv.datasets.source.attributes import plain_text
from stconv.datasets.source.declared import Declared, declared_by
from stconv.datasets.source.encodable import refuse_unwritable
from stconv.datasets.source.time_units import with_plain_time_units

CODING = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned")
"""Attributes about stored values; a decoded variable keeps them in its encoding."""
LIMITS = ("valid_range", "valid_min", "valid_max")
NO_TIME = np.iinfo(np.int64).min
"""The integer that xarray decodes as a missing time."""


def decode(raw: xr.Dataset, source: str = "dataset", own_range: Collection[str] = ()) -> xr.Dataset:
    """Decode a stored dataset: missing values, packing, times, text of characters.

    Declared missing values are compared with the stored values, in their type: `_FillValue`, `missing_value`,
    `valid_range`, `valid_min`, `valid_max`, and the default fill values of the NetCDF library.

    Args:
        raw: Variables with stored values and all attributes, as `xr.open_dataset(..., decode_cf=False)` opens
            a file; in memory, on disk or dask.
        source: File or dataset, for messages.
        own_range: Variables whose valid range the user states; limits and default fills of the file are
            ignored for them.

    Returns:
        The dataset with NaN for missing, packed values in float64, and times where they can be decoded.
        Values on disk are decoded when they are read.

    Raises:
        VariableError: A scale or an offset is not a number, or a name cannot be written.
        UnitsError: Units or a calendar cannot be written.
    """
    refuse_unwritable(raw, source)
    attributes = {name: plain_text(variable.attrs) for name, variable in raw.variables.items()}
    named = {name for attrs in attributes.values() for name in attrs.get("coordinates", "").split()}
    variables = {}
    for name, variable in raw.variables.items():
        label = name in named or name in raw.dims or variable.ndim < 2
        variables[name] = _decode(str(name), variable, attributes[name], label, source, name in own_range)
    ds = xr.Dataset(variables, attrs=plain_text(raw.attrs))
    ds.encoding = dict(raw.encoding)
    ds, unread = with_plain_time_units(ds)
    try:
        decoded = xr.decode_cf(ds, mask_and_scale=False, decode_timedelta=False)
    except (ValueError, OverflowError) as error:
        if "decode" not in str(error):
            raise
        decoded = xr.decode_cf(ds, mask_and_scale=False, decode_times=False)  # reported with the time axis
    for name, units in unread.items():
        decoded[name].attrs["units"] = units
    return decoded.set_coords([name for name in raw.coords if name in decoded.variables])


def mask_declared(variable: xr.Variable, name: str, source: str, own_range: bool = False) -> xr.Variable:
    """Mark declared missing values in a variable decoded by another library that ignored them.

    Args:
        variable: Physical values; its attributes and its encoding say how they were stored.
        name: Name of the variable, for messages.
        source: File or dataset, for messages.
        own_range: As in `decode`.
    """
    stored = np.dtype(variable.encoding.get("dtype", variable.dtype))
    if variable.dtype.kind not in "iuf" or stored.kind not in "iuf":
        return variable
    encoding = {key: value for key, value in variable.encoding.items() if key in (*CODING, *LIMITS)}
    declared = declared_by({**variable.attrs, **encoding}, stored, name, source, own_range)
    mask = applied(variable, declared.still_missing, np.dtype(bool))
    if variable.chunks is None and not mask.values.any():
        return variable
    data = variable.astype(np.result_type(variable.dtype, np.float32), copy=False).where(~mask).data
    return xr.Variable(variable.dims, data, variable.attrs, variable.encoding)


def physical_attrs(variable: xr.Variable) -> dict[Any, Any]:
    """Attributes that apply to physical values; limits of packed values do not."""
    packed = {"scale_factor", "add_offset"} & set(variable.encoding)
    return {key: value for key, value in variable.attrs.items() if not (packed and key in LIMITS)}


def _decode(
    name: str, variable: xr.Variable, attrs: dict[str, Any], label: bool, source: str, own_range: bool
) -> xr.Variable:
    """Decode missing values and packing of one variable; integer coordinates are unchanged."""
    if variable.dtype.kind not in "iuf" or attrs.get("dtype") == "bool":
        return xr.Variable(variable.dims, variable._data, attrs, variable.encoding)
    is_time = " since " in attrs.get("units", "")
    counted = {key: value for key, value in attrs.items() if key not in LIMITS} if label or is_time else attrs
    declared = declared_by(counted, variable.dtype, name, source, own_range)
    stored = {key: attrs[key] for key in CODING if attrs.get(key) is not None}
    kept = {key: value for key, value in attrs.items() if key not in CODING}
    if declared.packed:
        stored |= {key: kept.pop(key) for key in LIMITS if key in kept}
    encoding = {"dtype": variable.dtype, **variable.encoding, **stored}
    if label and variable.dtype.kind in "iu" and not stored:
        return xr.Variable(variable.dims, variable._data, kept, encoding)
    function, dtype = _times(declared) if is_time else (declared.physical, _dtype(declared))
    return xr.Variable(variable.dims, applied(variable, function, dtype)._data, kept, encoding)


def _dtype(declared: Declared) -> np.dtype[Any]:
    """Type of the values of `Declared.physical`."""
    return declared.physical(np.zeros(0, dtype=declared.stored)).dtype


def _times(declared: Declared) -> tuple[Callable[[np.ndarray], np.ndarray], np.dtype[Any]]:
    """Decode numeric times; integers stay integers, since floats are too coarse."""
    if declared.packed or declared.stored.kind == "f":
        return declared.physical, _dtype(declared)

    def decode_whole(values: np.ndarray) -> np.ndarray:
        return np.where(declared.missing(values), NO_TIME, values.astype(np.int64))

    return decode_whole, np.dtype(np.int64)


def applied(
    variable: xr.Variable, function: Callable[[np.ndarray], np.ndarray], dtype: np.dtype[Any]
) -> xr.Variable:
    """Apply a function to the values of a variable, lazily if they are on disk or in dask."""
    if variable.chunks is not None:
        data = variable.data.map_blocks(function, dtype=dtype)
    elif isinstance(variable._data, np.ndarray):
        data = np.asarray(function(variable._data))
    else:
        data = indexing.LazilyIndexedArray(_Decoded(variable, function, dtype))
    return xr.Variable(variable.dims, data, variable.attrs, variable.encoding)


class _Decoded(BackendArray):
    """Values on disk that are decoded when indexed."""

    def __init__(
        self, stored: xr.Variable, function: Callable[[np.ndarray], np.ndarray], dtype: np.dtype[Any]
    ) -> None:
        self.stored, self.function = stored, function
        self.shape, self.dtype = stored.shape, dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        return np.asarray(self.function(np.asarray(self.stored[key].values)))

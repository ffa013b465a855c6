"""Parser of common NetCDF 4 files in pure Python: zlib is the only C code that reads untrusted bytes.

Other files, and files to refuse, are left to the HDF5 library in a process of their own (`netcdf_upload`), so
that every refusal has one implementation.
"""

from __future__ import annotations

import functools
import io
import warnings
from typing import Any

import numpy as np
import pyfive
import pyfive.h5d

from service.uploads.bounds import MAX_ATTRIBUTES, MAX_VARIABLES, check_fields
from service.uploads.checksums import verify_metadata
from service.uploads.netcdf_upload import (
    ALLOWED_FILTERS,
    HDF5_ATTRIBUTES,
    NO_VARIABLE,
    NOT_A_COORDINATE,
    check_sizes,
)
from service.wire.codec import RawVariable, encode

pyfive.h5d.version = functools.cache(
    pyfive.h5d.version
)  # read for its log; a parser cannot open the file later
COMPACT, CONTIGUOUS, CHUNKED = 0, 1, 2
"""Numbers of the layout classes (HDF5 file format, IV.A.2.i)."""
EXTERNAL_FILES = 7
"""Number of the header message that lists external files (HDF5 file format, IV.A.2.h)."""


class NotCommon(Exception):  # noqa: N818 - not an error: another parser reads the file
    """The file is left to the HDF5 library."""


def parse_plain_hdf5(body: bytes, max_decoded_bytes: int) -> bytes | None:
    """Read a NetCDF 4 file of numbers from memory.

    Args:
        body: Content of the file.
        max_decoded_bytes: Limit for all values together after decompression, bytes.

    Returns:
        The raw variables, encoded by `wire.codec.encode` and equal to those of `parse_netcdf`; None if the
        file is left to the HDF5 library.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an unusual file is left to the HDF5 library
            variables, attrs = _read(body, max_decoded_bytes)
            check_fields(variables, attrs)
            return encode(variables, attrs)
    except Exception:  # the reader raises exceptions of many types
        return None


def _read(body: bytes, limit: int) -> tuple[dict[str, RawVariable], dict[str, Any]]:
    with pyfive.File(io.BytesIO(body)) as file:
        _require(len(file) <= MAX_VARIABLES)
        names = {address: name for name, address in file._links.items()}
        verify_metadata(body, [address for address in names if isinstance(address, int)])
        items = {name: file.get_lazy_view(name) for name in names.values()}
        _require(len(items) == len(file) and all(isinstance(address, int) for address in names))  # else links
        _require(not any(file._get_dataobjects(address).find_msg_type(EXTERNAL_FILES) for address in names))
        _require(all(isinstance(item, pyfive.Dataset) and item.shape is not None for item in items.values()))
        check_sizes({name: (item.shape, item.dtype) for name, item in items.items()}, limit)
        variables = {
            name.removeprefix(NOT_A_COORDINATE): RawVariable(
                _dimensions(name, item, names), _values(item), _attributes(item)
            )
            for name, item in items.items()
            if not item.attrs.get("NAME", b"").startswith(NO_VARIABLE)
        }
        return variables, _attributes(file)


def _values(item: Any) -> np.ndarray:
    """Read numbers or text that are stored in the file in a layout that NetCDF 4 writes."""
    _require(item.id.layout_class in (COMPACT, CONTIGUOUS, CHUNKED))  # otherwise a virtual dataset
    _require({each["filter_id"] for each in item.id.filter_pipeline or []} <= ALLOWED_FILTERS)
    values = np.asarray(item[...])
    if pyfive.check_string_dtype(item.dtype) and item.dtype.kind == "O":
        texts = [_plain_text(text).decode("utf-8", "replace") for text in values.flat]
        return np.asarray(texts, dtype="U").reshape(values.shape)
    _require(values.dtype.kind in "fiuS" and not item.dtype.metadata)
    return values


def _dimensions(name: str, item: Any, names: dict[int, str]) -> tuple[str, ...]:
    """Names of a variable's dimension scales, looked up by their addresses."""
    if "DIMENSION_LIST" not in item.attrs:
        _require(not item.shape or item.attrs.get("CLASS") == b"DIMENSION_SCALE")
        _require(len(item.shape) <= 1)  # otherwise dimensions are named by their numbers
        return (name,) * len(item.shape)
    scales = [scale for (scale,) in item.attrs["DIMENSION_LIST"]]
    _require(len(scales) == len(item.shape))
    return tuple(names[scale.address_of_reference] for scale in scales)


def _attributes(owner: Any) -> dict[str, Any]:
    found = {}
    _require(len(owner.attrs) <= MAX_ATTRIBUTES)
    for name, value in owner.attrs.items():
        if name in HDF5_ATTRIBUTES or isinstance(value, pyfive.h5py.Empty):
            continue
        array = np.asarray(value)
        _require(array.dtype.kind in "fiuSO" and not (array.dtype.metadata and array.dtype.kind != "O"))
        if array.dtype.kind in "SO":
            array = np.asarray([_plain_text(text) for text in array.flat], dtype=object).reshape(array.shape)
        found[name] = array.ravel()[0] if array.size == 1 else array
    return found


def _plain_text(text: Any) -> bytes:
    _require(isinstance(text, bytes) and b"\0" not in text)
    return bytes(text)


def _require(common: bool) -> None:
    if not common:
        raise NotCommon

"""Parser of NetCDF, which checks the header first.

It reads untrusted data and runs in the restricted child process only.
"""

from __future__ import annotations

import os

os.environ["HDF5_PLUGIN_PRELOAD"] = (
    "::"  # set before HDF5 is loaded, so that it never loads a filter plugin from a folder
)

import io
import math
import warnings
from typing import Any

import h5py
import numpy as np
import scipy.io

from service.problems import TooLarge, Unprocessable, UnsupportedMedia
from service.uploads.bounds import (
    MAX_ATTRIBUTE_BYTES,
    MAX_ATTRIBUTES,
    MAX_VARIABLES,
    check_classic_header,
    check_count,
    check_fields,
)
from service.wire.codec import RawVariable, encode, names
from stconv.datasets.source.absent import hdf5_chunks, mark_absent
from stconv.datasets.source.attributes import SourceWarning
from stconv.errors import FileError

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ALLOWED_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_SCALEOFFSET,
}
NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"
NOT_A_COORDINATE = "_nc4_non_coord_"
DIMENSION_NUMBER, COORDINATES = "_Netcdf4Dimid", "_Netcdf4Coordinates"
HDF5_ATTRIBUTES = {
    *("CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "DIMENSION_LABELS"),
    *(DIMENSION_NUMBER, COORDINATES, "_NCProperties", "_nc3_strict"),
}
"""HDF5 attributes by which NetCDF 4 stores dimensions (NetCDF users' guide, file format)."""
SMALLEST_CELL_BYTES = 4
"""Least size of an unpacked value, bytes: a float32."""


def check_signature(body: bytes) -> None:
    """Refuse known formats other than NetCDF 3 and 4 by their first bytes.

    Raises:
        UnsupportedMedia: The body is GRIB, a zip archive, or NetCDF CDF-5.
        Unprocessable: The format is unknown.
    """
    if body.startswith(b"GRIB"):
        raise UnsupportedMedia("The body is GRIB; convert it first: `cdo -f nc4 copy IN.grib OUT.nc`.")
    if body.startswith(b"PK\x03\x04"):
        raise UnsupportedMedia(
            "The body is a zip archive; Zarr stores are not accepted. Send NetCDF instead."
        )
    if body.startswith(b"CDF\x05"):
        raise UnsupportedMedia("The body is NetCDF CDF-5; convert it first: `nccopy -k nc4 IN.nc OUT.nc`.")
    if not body.startswith((HDF5_SIGNATURE, b"CDF\x01", b"CDF\x02")):
        raise Unprocessable(
            f"The body is not a NetCDF file: it begins with {body[:8]!r}, expected b'CDF' or b'\\x89HDF'.",
            kind="not-netcdf",
        )


def parse_netcdf(body: bytes, max_decoded_bytes: int) -> bytes:
    """Read a NetCDF 3 or 4 file from memory.

    Args:
        body: Content of the file.
        max_decoded_bytes: Limit for all values together after decompression, bytes.

    Returns:
        The raw variables, encoded by `wire.codec.encode`.

    Raises:
        Problem: The file cannot be read, is too large, or refers to other files.
    """
    check_signature(body)
    read = _read_hdf5 if is_hdf5(body) else _read_classic
    variables, attrs = read(body, max_decoded_bytes)
    check_fields(variables, attrs)
    return encode(variables, attrs)


def is_hdf5(body: bytes) -> bool:
    """Whether the body is NetCDF 4 (HDF5)."""
    return body.startswith(HDF5_SIGNATURE)


def _read_hdf5(body: bytes, limit: int) -> tuple[dict[str, RawVariable], dict[str, Any]]:
    try:
        with h5py.File.in_memory(body) as file:
            _check_links(file)
            data = {name: item for name, item in file.items() if _is_data(item)}
            check_sizes({name: (item.shape, item.dtype) for name, item in data.items()}, limit)
            variables = {
                name.removeprefix(NOT_A_COORDINATE): RawVariable(
                    _dimensions(item), _numbers(item), _attributes(item)
                )
                for name, item in data.items()
                if item.dtype.kind in "fiuSO" and not item.attrs.get("NAME", b"").startswith(NO_VARIABLE)
            }
            for name, item in data.items():
                _mark_absent(name.removeprefix(NOT_A_COORDINATE), item, variables)
            return variables, _attributes(file)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, IndexError) as error:
        raise Unprocessable(f"The NetCDF file cannot be read: {error}", kind="unreadable-netcdf") from error


def _mark_absent(name: str, item: h5py.Dataset, variables: dict[str, RawVariable]) -> None:
    """Mark values that were never written, as `stconv.datasets.source.reading` does for a file.

    Raises:
        Unprocessable: Part of an axis was never written.
    """
    stored = hdf5_chunks(item) if name in variables else None
    if stored is None:
        return
    variable = variables[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SourceWarning)
            mark_absent(name, variable.dims, variable.values.dtype, variable.attrs, stored, "The upload")
    except FileError as error:
        raise Unprocessable(str(error), kind="unreadable-netcdf") from error


def _dimensions(item: h5py.Dataset) -> tuple[str, ...]:
    """Names of a variable's dimensions, from its HDF5 dimension scales."""
    if item.is_scale and item.ndim > 1 and COORDINATES in item.attrs:
        return _dimensions_by_number(item)
    if item.is_scale and "DIMENSION_LIST" not in item.attrs:
        return (item.name[1:],) * item.ndim
    names = []
    for number, scales in enumerate(item.dims):
        if len(scales) != 1:
            raise ValueError(f"dimension {number} of {item.name[1:61]!r} has no name; is it a NetCDF file?")
        names.append(scales[0].name[1:])
    return tuple(names)


def _dimensions_by_number(item: h5py.Dataset) -> tuple[str, ...]:
    """Names of the dimensions of a multidimensional coordinate variable."""
    names = {
        int(other.attrs[DIMENSION_NUMBER]): name
        for name, other in item.parent.items()
        if isinstance(other, h5py.Dataset) and other.is_scale and DIMENSION_NUMBER in other.attrs
    }
    return tuple(names[int(number)].removeprefix(NOT_A_COORDINATE) for number in item.attrs[COORDINATES])


def _attributes(owner: h5py.File | h5py.Dataset) -> dict[str, Any]:
    check_count(f"attributes of {names([owner.name])}", len(owner.attrs), MAX_ATTRIBUTES)
    for name in owner.attrs:
        stored = owner.attrs.get_id(name).get_storage_size()  # of text of any length, that of its address
        check_count(f"bytes in attribute {names([name])}", stored, MAX_ATTRIBUTE_BYTES)
    found = {}
    for name, value in owner.attrs.items():
        if name in HDF5_ATTRIBUTES or isinstance(value, h5py.Empty):
            continue
        single = isinstance(value, np.ndarray) and value.size == 1
        found[name] = value.item() if single and value.dtype.kind in "SUO" else value[0] if single else value
    return found


def _is_data(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and item.shape is not None


def _check_links(file: h5py.File) -> None:
    """Refuse links, external and virtual data, and unknown HDF5 filters."""
    check_count("variables and groups", len(file), MAX_VARIABLES)
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise Unprocessable(
                f"{names([name])} is a link; expected data in the file itself.", kind="outside-link"
            )
        item = file[name]
        if not isinstance(item, h5py.Dataset):
            continue
        if item.is_virtual or item.external:
            raise Unprocessable(
                f"{names([name])} keeps its data in other files (external or virtual); expected them here.",
                kind="outside-link",
            )
        settings = item.id.get_create_plist()
        unknown = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())} - ALLOWED_FILTERS
        if unknown:
            raise Unprocessable(
                f"{names([name])} is compressed with HDF5 filter {sorted(unknown)}; expected deflate. "
                "Rewrite it: `nccopy -d 4 IN.nc OUT.nc`.",
                kind="unknown-filter",
            )


def check_sizes(declared: dict[str, tuple[tuple[int, ...], np.dtype]], limit: int) -> None:
    """Refuse a file whose header declares too many values.

    Raises:
        TooLarge: The values exceed the limit.
    """
    total = sum(
        math.prod(shape) * max(dtype.itemsize, SMALLEST_CELL_BYTES) for shape, dtype in declared.values()
    )
    if total > limit:
        raise TooLarge(
            f"The file declares {total} bytes of values; at most {limit} are accepted in one request.",
            declared_bytes=total,
            limit_bytes=limit,
        )


def _numbers(item: h5py.Dataset) -> np.ndarray:
    if item.dtype.kind == "O":
        texts = item.asstr(errors="replace")[...]
        return np.asarray(texts, dtype="U")
    return np.asarray(item[...])


def _read_classic(body: bytes, limit: int) -> tuple[dict[str, RawVariable], dict[str, Any]]:
    check_classic_header(body)
    try:
        with scipy.io.netcdf_file(io.BytesIO(body), "r", mmap=False, maskandscale=False) as file:
            check_sizes({n: (tuple(v.shape), v.data.dtype) for n, v in file.variables.items()}, limit)
            variables = {
                name: RawVariable(
                    tuple(variable.dimensions), variable.data.copy(), _text_attributes(variable)
                )
                for name, variable in file.variables.items()
            }
            return variables, _text_attributes(file)
    except (TooLarge, MemoryError):
        raise
    except Exception as error:  # scipy's parser raises exceptions of many types
        raise Unprocessable(
            f"The NetCDF file cannot be read: its content does not fit its header ({error}).",
            kind="unreadable-netcdf",
        ) from error


def _text_attributes(owner: Any) -> dict[str, Any]:
    found = {}
    for key, value in owner._attributes.items():
        found[key] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return found

"""Bounds of what can be counted in an upload, the same in every format.

Each variable, name and attribute costs every later step time, however few values it holds. Without bounds
100,000 tiny variables in 4 MB keep the processes that all share busy for half a minute.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from service.problems import Unprocessable
from service.wire.codec import RawVariable, names

MAX_VARIABLES = 200
MAX_DIMENSIONS = 200
MAX_RANK = 16
MAX_NAME_BYTES = 256
MAX_UNITS_BYTES = 256
MAX_ATTRIBUTES = 200
"""Of one variable, and of the file."""
MAX_ATTRIBUTE_BYTES = 2**16
MAX_ALL_ATTRIBUTE_BYTES = 2**20
"""Of the file and all its variables together."""
MAX_TIMES = 100_000
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8}
"""Bytes of a value by the number of its type in a classic file."""


CLASSIC = "NetCDF file"
"""Name of the upload in messages about the header of a classic file."""


def check_count(what: str, found: int, limit: int, upload: str = "upload") -> None:
    """Hold a number to its limit.

    Raises:
        Unprocessable: With both numbers.
    """
    if found > limit:
        raise Unprocessable(
            f"The {upload} holds {found} {what}; at most {limit} are taken. Send only what the model needs.",
            kind="too-many",
            found=found,
            limit=limit,
        )


def check_fields(variables: Mapping[str, RawVariable], attrs: Mapping[str, Any]) -> None:
    """Hold everything that was read to its limits, whatever the format.

    Raises:
        Unprocessable: Names what is too many or too long.
    """
    check_count("variables", len(variables), MAX_VARIABLES)
    total = _check_attributes("the file", attrs)
    for name, variable in variables.items():
        check_count(f"dimensions in variable {names([name])}", len(variable.dims), MAX_RANK)
        for each in (name, *variable.dims):
            check_count("bytes in one name", _length(each), MAX_NAME_BYTES)
        total += _check_attributes(names([name]), variable.attrs)
    check_count("bytes in all attributes", total, MAX_ALL_ATTRIBUTE_BYTES)


def _check_attributes(owner: str, attrs: Mapping[str, Any]) -> int:
    """Hold the attributes of a variable or of the file to their limits; returns their bytes."""
    total = 0
    check_count(f"attributes of {owner}", len(attrs), MAX_ATTRIBUTES)
    for name, value in attrs.items():
        check_count("bytes in one name", _length(name), MAX_NAME_BYTES)
        limit = MAX_UNITS_BYTES if name in ("units", "calendar") else MAX_ATTRIBUTE_BYTES
        length = _length(value)
        check_count(f"bytes in attribute {names([name])} of {owner}", length, limit)
        total += _length(name) + length
    return total


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, bytes):
        return len(value)
    array = np.asarray(value)
    return sum(map(_length, array.flat)) if array.dtype.kind == "O" and array.ndim else array.nbytes


def check_classic_header(body: bytes) -> None:
    """Hold the counts in the header of a classic NetCDF file to their limits before the file is read.

    Raises:
        Unprocessable: Names what is too many or too long, or says that the header is damaged.

    Source:
        NetCDF users' guide, the classic file format.
    """
    header = _Header(io.BytesIO(body))
    try:
        header.integers(2)  # signature, number of records
        for _ in header.entries("dimensions", MAX_DIMENSIONS):
            header.name()
            header.integers(1)
        header.attributes("the file")
        for _ in header.entries("variables", MAX_VARIABLES):
            header.name()
            (rank,) = header.integers(1)
            check_count("dimensions in one variable", rank, MAX_RANK, CLASSIC)
            header.integers(rank)
            header.attributes("a variable")
            header.integers(4 if body[3] == 2 else 3)  # type, size, and where it begins
    except (struct.error, KeyError) as error:
        raise Unprocessable(
            "The NetCDF file cannot be read: its header is cut off or damaged.", kind="unreadable-netcdf"
        ) from error


class _Header:
    """Reads the parts of a classic header one after another."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file = file

    def integers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f">{count}I", self._file.read(4 * count))

    def entries(self, what: str, limit: int) -> range:
        count = self.integers(2)[1]  # after the tag of the list
        check_count(what, count, limit, CLASSIC)
        return range(count)

    def name(self) -> None:
        (length,) = self.integers(1)
        check_count("bytes in one name", length, MAX_NAME_BYTES, CLASSIC)
        self._skip(length)

    def attributes(self, owner: str) -> None:
        for _ in self.entries(f"attributes of {owner}", MAX_ATTRIBUTES):
            self.name()
            kind, count = self.integers(2)
            check_count(
                f"bytes in one attribute of {owner}", TYPE_BYTES[kind] * count, MAX_ATTRIBUTE_BYTES, CLASSIC
            )
            self._skip(TYPE_BYTES[kind] * count)

    def _skip(self, n_bytes: int) -> None:
        self._file.seek(-(-n_bytes // 4) * 4, io.SEEK_CUR)

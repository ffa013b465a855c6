"""Between the server and a process that reads uploads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ReadJson:
    """Read fields from JSON."""

    body: bytes


@dataclass(frozen=True)
class ReadNetcdf:
    """Read fields from NetCDF 3 or 4."""

    body: bytes


@dataclass(frozen=True)
class Fields:
    """An upload was read.

    Attributes:
        fields: Its variables as `wire.codec.encode` writes them, with one dimension at least.
        goes_on: The process waits for the next upload; otherwise it ends.
    """

    fields: bytes
    goes_on: bool


@dataclass(frozen=True)
class Rejected:
    """An upload is refused, and the process ends.

    Attributes:
        code: Code of the problem, in `problems.OF_UPLOADS`.
        detail: What was expected, what was found, and where.
        extra: Numbers and names that belong to it.
    """

    code: str
    detail: str
    extra: dict[str, Any]


ToParser = ReadJson | ReadNetcdf
FromParser = Fields | Rejected

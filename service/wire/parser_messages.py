"""Messages between server and parser process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ParserLimits:
    """The first message to a parser.

    Attributes:
        max_decoded_bytes: Limit for all values of an upload, bytes.
        memory_bytes: Limit of the address space that parsing adds to the process, bytes.
        cpu_seconds: Processor time after which the process ends with its upload; it is killed after twice
            that.
    """

    max_decoded_bytes: int
    memory_bytes: int
    cpu_seconds: float


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
        fields: Raw variables, encoded by `wire.codec.encode`; at least one has a dimension.
        goes_on: Whether the process waits for another upload; otherwise it ends.
    """

    fields: bytes
    goes_on: bool


@dataclass(frozen=True)
class Rejected:
    """Refusal of an upload; the process ends.

    Attributes:
        code: Code of the problem, a key of `problems.OF_UPLOADS`.
        detail: Explanation with the expected value, the found value and its place.
        extra: Further members of the problem document.
    """

    code: str
    detail: str
    extra: dict[str, Any]


ToParser = ReadJson | ReadNetcdf
FromParser = Fields | Rejected

"""Parsers for the box and the times of an EDR query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from service.problems import Malformed
from service.routes.wkt import read_number


@dataclass(frozen=True)
class Interval:
    """Requested valid times, both ends included; None for an open end."""

    start: datetime | None
    end: datetime | None


def read_bbox(text: str) -> tuple[float, float, float, float]:
    """Parse west, south, east, north, degrees; west may exceed east, for a box across the date line.

    Heights, as in west, south, lowest, east, north, highest, are passed over.

    Raises:
        Malformed: The text is not four or six numbers, or south is above north.
    """
    numbers = [read_number(part.strip()) for part in text.split(",")]
    corners = numbers[:2] + numbers[3:5] if len(numbers) == 6 else numbers
    found = [number for number in corners if number is not None]
    if len(found) != 4 or None in numbers:
        raise Malformed(f"bbox is {text[:80]!r}; expected WEST,SOUTH,EAST,NORTH in degrees.")
    west, south, east, north = found
    if south > north:
        raise Malformed(
            f"bbox has its south {south:g} above its north {north:g}; expected WEST,SOUTH,EAST,NORTH."
        )
    return west, south, east, north


def read_interval(text: str | None) -> Interval:
    """Parse a time, or START/END with `..` for an open end.

    Raises:
        Malformed: The text is not ISO 8601, or the end is before the start.
    """
    if text is None:
        return Interval(None, None)
    first, slash, last = text.partition("/")
    interval = Interval(_time(first, text), _time(last if slash else first, text))
    if interval.start and interval.end and interval.end < interval.start:
        raise Malformed(f"datetime {text[:80]!r} ends before it starts.")
    return interval


def _time(part: str, text: str) -> datetime | None:
    if part in ("", ".."):
        return None
    try:
        found = datetime.fromisoformat(part)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter before the year 1 in UTC
        raise Malformed(
            f"datetime is {text[:80]!r}; expected a time such as 2020-01-11T06:00:00Z, or START/END."
        ) from None

"""Parsers for the coordinates and times of an EDR query."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from service.problems import Malformed

NUMBER = r"[-+]?\d{1,6}(?:\.\d{0,12})?"
POINT = re.compile(rf"\s*POINT\s*\(\s*({NUMBER})\s+({NUMBER})\s*\)\s*", re.IGNORECASE)
POLYGON = re.compile(r"\s*POLYGON\s*\(\s*\(([^()]*)\)\s*\)\s*", re.IGNORECASE)
PAIR = re.compile(rf"\s*({NUMBER})\s+({NUMBER})\s*")
MOST_CORNERS = 1000


@dataclass(frozen=True)
class Interval:
    """Requested valid times, both ends included; None for an open end."""

    start: datetime | None
    end: datetime | None


def read_point(text: str) -> tuple[float, float]:
    """Parse longitude and latitude, degrees, from WKT POINT(x y).

    Raises:
        Malformed: The text is not a WKT point.
    """
    found = POINT.fullmatch(text)
    if found is None:
        raise Malformed(f"coords is {text[:80]!r}; expected POINT(LON LAT), such as POINT(4.9 44.6).")
    return float(found[1]), float(found[2])


def read_polygon(text: str) -> tuple[tuple[float, float], ...]:
    """Parse the corners of WKT POLYGON((x y, ...)): one ring that ends with its first corner.

    Raises:
        Malformed: The text is not such a polygon, has holes or fewer than three corners, or the ring is open.
    """
    found = POLYGON.fullmatch(text)
    pairs = [PAIR.fullmatch(part) for part in found[1].split(",")] if found else []
    corners = tuple((float(pair[1]), float(pair[2])) for pair in pairs if pair)
    if len(corners) != len(pairs) or not 4 <= len(corners) <= MOST_CORNERS or corners[0] != corners[-1]:
        raise Malformed(
            f"coords is {text[:80]!r}; expected POLYGON((X Y, X Y, X Y, X Y)) with one ring that ends at "
            f"its first point and has 4 to {MOST_CORNERS} points."
        )
    return corners


def read_bbox(text: str) -> tuple[float, float, float, float]:
    """Parse west, south, east, north, degrees; west may exceed east, for a box across the date line.

    Raises:
        Malformed: The text is not four numbers, or south is above north.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(re.fullmatch(NUMBER, part) for part in parts):
        raise Malformed(f"bbox is {text[:80]!r}; expected WEST,SOUTH,EAST,NORTH in degrees.")
    west, south, east, north = map(float, parts)
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
    except ValueError:
        raise Malformed(
            f"datetime is {text[:80]!r}; expected a time such as 2020-01-11T06:00:00Z, or START/END."
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

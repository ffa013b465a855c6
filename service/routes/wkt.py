"""Well-known text of points and polygons, in all its spellings; heights and measures are passed over."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from service.problems import Malformed
from service.wire.model_messages import AtPosition, AtPositions, InArea

Corner = tuple[float, float]
Polygon = tuple[tuple[Corner, ...], ...]
T = TypeVar("T")

NUMBER = r"[-+]?(?:\d++\.?\d*+|\.\d++)(?:[eE][-+]?\d++)?+"
"""Possessive, so that twenty thousand digits are read in linear time."""
TOKEN = re.compile(rf"\s*+({NUMBER}(?![\w.+-])|[A-Za-z]++|[(),;=])", re.ASCII)
DIMENSIONS = {"": (2, 4), "Z": (3, 3), "M": (3, 3), "ZM": (4, 4)}
"""Least and greatest count of numbers for each corner."""
CRS84_SRIDS = ("4326", "84")
MOST_DEGREES = 1000.0
MOST_POINTS = 100
MOST_CORNERS = 1000


def read_position(text: str) -> AtPosition | AtPositions:
    """Read POINT or MULTIPOINT.

    Raises:
        Malformed: It is another geometry or none, or holds no point or too many.
    """
    reader = _Reader(text, "POINT(LON LAT), such as POINT(4.9 44.6)")
    kind = reader.begin(("POINT", "MULTIPOINT"))
    points = (reader.bracketed(reader.corner),) if kind == "POINT" else reader.listed(reader.point)
    reader.end()
    if len(points) > MOST_POINTS:
        raise Malformed(f"coords has {len(points)} points; at most {MOST_POINTS} are allowed.")
    positions = tuple(AtPosition(*point) for point in points)
    return positions[0] if kind == "POINT" else AtPositions(positions)


def read_area(text: str) -> InArea:
    """Read POLYGON or MULTIPOLYGON; the first ring of a polygon is its edge, further ones are holes.

    Raises:
        Malformed: It is another geometry or none, a ring is open or too short, or it has too many corners.
    """
    reader = _Reader(
        text,
        f"POLYGON((X Y, X Y, X Y, X Y)), whose ring ends at its first point, with 4 to {MOST_CORNERS} points",
    )
    kind = reader.begin(("POLYGON", "MULTIPOLYGON"))

    def polygon() -> Polygon:
        return reader.listed(reader.ring)

    polygons = (polygon(),) if kind == "POLYGON" else reader.listed(polygon)
    reader.end()
    corners = sum(len(ring) for each in polygons for ring in each)
    if corners > MOST_CORNERS:
        raise Malformed(f"coords has {corners} corners; at most {MOST_CORNERS} are allowed.")
    return InArea(polygons)


def read_number(text: str) -> float | None:
    """Read degrees; None if the text is no number, or one that no angle has."""
    value = float(text) if re.fullmatch(NUMBER, text, re.ASCII) else None
    return value if value is not None and abs(value) <= MOST_DEGREES else None


class _Reader:
    """Reads the tokens of one geometry from left to right.

    Args:
        text: Well-known text.
        expected: Expected geometry, for messages.

    Source:
        OGC 06-103r4, section 7; the prefix SRID=4326; is that of PostGIS (EWKT).
    """

    def __init__(self, text: str, expected: str) -> None:
        self._text, self._expected = text, expected
        self._tokens: list[str] = []
        at = 0
        while (found := TOKEN.match(text, at)) is not None:
            self._tokens.append(found[1])
            at = found.end()
        if text[at:].strip():
            raise self._malformed()
        self._next = 0
        self._counts = DIMENSIONS[""]

    def begin(self, kinds: tuple[str, ...]) -> str:
        """Read SRID and kind; the letters Z and M stand apart, or right behind the kind."""
        if self._word() == "SRID":
            self._take("SRID")
            self._take("=")
            srid = self._take()
            self._take(";")
            if srid not in CRS84_SRIDS:
                raise Malformed(
                    f"coords has SRID={srid[:20]}; expected 4326 or none, for longitude and latitude."
                )
        word = self._take().upper()
        for kind in kinds:
            letters = word.removeprefix(kind)
            if letters == word or letters not in DIMENSIONS:
                continue
            if not letters and self._word() in DIMENSIONS:
                letters = self._take().upper()
            if self._word() == "EMPTY":
                raise Malformed(f"coords is {self._text[:80]!r}, which holds no point.")
            self._counts = DIMENSIONS[letters]
            return kind
        raise self._malformed()

    def end(self) -> None:
        """Refuse anything that follows."""
        if self._next < len(self._tokens):
            raise self._malformed()

    def bracketed(self, item: Callable[[], T]) -> T:
        """Read ( ITEM )."""
        self._take("(")
        found = item()
        self._take(")")
        return found

    def listed(self, item: Callable[[], T]) -> tuple[T, ...]:
        """Read ( ITEM, ITEM, ... )."""
        return self.bracketed(lambda: self._separated(item))

    def point(self) -> Corner:
        """Read a point of many, with or without brackets of its own."""
        return self.bracketed(self.corner) if self._word() == "(" else self.corner()

    def ring(self) -> tuple[Corner, ...]:
        """Read a closed ring."""
        corners = self.listed(self.corner)
        if len(corners) < 4 or corners[0] != corners[-1]:
            raise self._malformed()
        return corners

    def corner(self) -> Corner:
        """Read the numbers of one point, and keep longitude and latitude."""
        numbers = []
        while self._word() not in ("", ",", ")"):
            value = read_number(self._take())
            if value is None:
                raise self._malformed()
            numbers.append(value)
        if not self._counts[0] <= len(numbers) <= self._counts[1]:
            raise self._malformed()
        return numbers[0], numbers[1]

    def _separated(self, item: Callable[[], T]) -> tuple[T, ...]:
        found = [item()]
        while self._word() == ",":
            self._take(",")
            found.append(item())
        return tuple(found)

    def _word(self) -> str:
        return self._tokens[self._next].upper() if self._next < len(self._tokens) else ""

    def _take(self, token: str = "") -> str:
        found = self._word()
        if not found or (token and found != token):
            raise self._malformed()
        self._next += 1
        return found

    def _malformed(self) -> Malformed:
        return Malformed(
            f"coords is {self._text[:80]!r}; expected {self._expected}, in degrees up to {MOST_DEGREES:g}."
        )

"""Units of time with their lengths in seconds, and the CF names of the Gregorian calendar."""

from __future__ import annotations

from dataclasses import dataclass

GREGORIAN_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
"""Calendars that agree after 1582-10-15; their times are datetime64.

Source:
    CF conventions 1.11, section 4.4.1.
"""


@dataclass(frozen=True)
class TimeUnit:
    """A unit of time of fixed length.

    Attributes:
        name: Full name, singular.
        symbol: Abbreviation, for labels.
        seconds: Length in seconds.
    """

    name: str
    symbol: str
    seconds: int


DAY = TimeUnit("day", "d", 86_400)
HOUR = TimeUnit("hour", "h", 3_600)
MINUTE = TimeUnit("minute", "min", 60)
SECOND = TimeUnit("second", "s", 1)
TIME_UNITS = (DAY, HOUR, MINUTE, SECOND)
"""Units, the longest first."""
WEEK_SECONDS = 7 * DAY.seconds


def largest_unit(seconds: int) -> TimeUnit:
    """Find the largest unit that divides a whole number of seconds: the hour for 21600."""
    return next(unit for unit in TIME_UNITS if seconds % unit.seconds == 0)


def duration(seconds: int) -> str:
    """Write a whole number of seconds in the largest unit that divides it: ``6h`` for 21600."""
    unit = largest_unit(seconds)
    return f"{seconds // unit.seconds}{unit.symbol}"

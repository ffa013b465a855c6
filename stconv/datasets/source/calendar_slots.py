"""Consecutive numbers of calendar slots (months, dekads, pentads, composites) in any calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import cftime
import numpy as np

from stconv.clock import DAY

FEBRUARY_28 = 58
"""Days from 1 January to 28 February."""
LEAP_YEAR = 366
"""Days of a leap year."""
SHORTEST_MONTH_SECONDS = 28 * DAY.seconds
EPOCH = 1970
"""Year 0 of NumPy's datetime64."""


@dataclass(frozen=True)
class Slots:
    """Division of every month or of every year into slots; the last one takes the days that are left.

    Attributes:
        kind: Name of a slot, singular.
        days: Days from the start of a slot to the start of the next.
        n: Number of slots in a month or year.
        yearly: Whether years are divided, not months.
        same_dates: Whether the slots of a year begin on the same dates in leap years; else they begin on the
            same days of the year.
    """

    kind: str
    days: int
    n: int
    yearly: bool = False
    same_dates: bool = False

    @property
    def per_year(self) -> int:
        """Number of slots in a year."""
        return self.n if self.yearly else 12 * self.n


MONTH = Slots("month", 31, 1)
DEKAD = Slots("dekad", 10, 3)
PENTAD = Slots("pentad", 5, 6)
YEAR = Slots("year", 366, 1, yearly=True)
ANNUAL_PENTAD = Slots("annual pentad", 5, 73, yearly=True, same_dates=True)
COMPOSITES = tuple(
    Slots("composite", days, n, yearly=True)
    for days, n in ((16, 23), (10, 37), (8, 46), (7, 52), (5, 73), (4, 92))
)
"""Composites of satellite images, which restart on 1 January; the last one of a year is shorter or longer."""
IN_MONTHS = (MONTH, DEKAD, PENTAD)
"""Divisions of a month: dekads begin on days 1, 11 and 21, pentads on days 1, 6, ..., 26.

Source:
    WMO (2018), Guide to Climatological Practices, WMO-No. 100, section 4.4 (dekads); Funk et al. (2015),
    Scientific Data 2, 150066 (six pentads a month).
"""
IN_YEARS = (YEAR, ANNUAL_PENTAD, *COMPOSITES)
"""Divisions of a year.

Source:
    Xie et al. (2003), Journal of Climate 16, 2197-2214 (73 pentads, the 12th with 29 February); MODIS Land
    products, collection 6.1 (4, 8 and 16 days from 1 January).
"""


def slots_of(kind: str, days: int = 0) -> Slots:
    """Find a division by the name of its slots and, for composites, their length in days."""
    return next(s for s in (*IN_MONTHS, *IN_YEARS) if s.kind == kind and days in (0, s.days))


def slot_index(times: np.ndarray, slots: Slots) -> np.ndarray:
    """Number the slot of each time.

    Args:
        times: datetime64 or cftime, (n,).
        slots: The division.

    Returns:
        int64, (n,); consecutive slots have consecutive numbers.
    """
    times = np.asarray(times)
    whole, days = _years_and_days(times, slots) if slots.yearly else _months_and_days(times)
    return whole * slots.n + np.minimum(days // slots.days, slots.n - 1)


def slot(time: Any, slots: Slots, n: int) -> tuple[Any, Any]:
    """Start and length of a slot, n slots after that of a time.

    Args:
        time: numpy.datetime64 or cftime.
        slots: The division.
        n: Number of slots forward, negative for backward.

    Returns:
        A time of the same type and calendar, and a time difference.
    """
    index = int(slot_index(np.array([time]), slots)[0]) + n
    start, end = _start(time, slots, index), _start(time, slots, index + 1)
    return start, end - start


def days_in_year(year: int, calendar: str) -> int:
    """Number of days of a year in a cftime calendar."""
    start, end = (cftime.datetime(y, 1, 1, calendar=calendar) for y in (year, year + 1))
    return int((end - start).days)


def _months_and_days(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Consecutive number of the month, and days since its start."""
    if times.dtype == object:
        months = np.array([time.year * 12 + time.month - 1 for time in times], dtype=np.int64)
        return months, np.array([time.day - 1 for time in times], dtype=np.int64)
    start = times.astype("datetime64[M]")
    return start.astype(np.int64), (times.astype("datetime64[D]") - start).astype(np.int64)


def _years_and_days(times: np.ndarray, slots: Slots) -> tuple[np.ndarray, np.ndarray]:
    """Year, and days since its start, for slots of the same dates without 29 February."""
    if times.dtype == object:
        years = np.array([time.year for time in times], dtype=np.int64)
        days = np.array([time.dayofyr - 1 for time in times], dtype=np.int64)
        leap = np.array([days_in_year(time.year, time.calendar) == LEAP_YEAR for time in times], dtype=bool)
    else:
        start = times.astype("datetime64[Y]")
        years = start.astype(np.int64) + EPOCH
        days = (times.astype("datetime64[D]") - start).astype(np.int64)
        leap = _is_leap(start)
    return years, days - (slots.same_dates & leap & (days > FEBRUARY_28))


def _start(like: Any, slots: Slots, index: int) -> Any:
    whole, part = divmod(index, slots.n)
    if isinstance(like, cftime.datetime):
        year, month = (whole, 0) if slots.yearly else divmod(whole, 12)
        leap = days_in_year(year, like.calendar) == LEAP_YEAR
        first = cftime.datetime(year, month + 1, 1, calendar=like.calendar)
        return first + timedelta(days=_days_before(part, slots, leap))
    if slots.yearly:
        year64 = np.datetime64(whole - EPOCH, "Y")
        first_day, leap = year64.astype("datetime64[D]"), bool(_is_leap(year64))
    else:
        first_day, leap = np.datetime64(whole, "M").astype("datetime64[D]"), False
    unit = np.datetime_data(like.dtype)[0]
    return (first_day + np.timedelta64(_days_before(part, slots, leap), "D")).astype(f"datetime64[{unit}]")


def _days_before(part: int, slots: Slots, leap: bool) -> int:
    """Days from the start of the month or year to the start of one of its slots."""
    days = part * slots.days
    return days + (slots.same_dates and leap and days > FEBRUARY_28)


def _is_leap(years: Any) -> Any:
    """Whether years, datetime64[Y], are leap years."""
    length = (years + 1).astype("datetime64[D]") - years.astype("datetime64[D]")
    return length == np.timedelta64(LEAP_YEAR, "D")

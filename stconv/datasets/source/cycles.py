"""Positions of times in the cycles of day, year and week, in any calendar."""

from __future__ import annotations

from typing import Any

import numpy as np

from stconv.clock import DAY, HOUR, MINUTE
from stconv.datasets.source.calendar_slots import MONTH, days_in_year, slot_index

MONDAY = 3
"""Days from a Monday to 1970-01-01, a Thursday."""


def cycles(times: Any) -> np.ndarray:
    """Position of each time in its day, year and week.

    Args:
        times: datetime64 or cftime, (n,), any calendar.

    Returns:
        Fraction of the day, of the year and of the week that starts on Monday, each in [0, 1), float64, (n,
        3). In artificial calendars (noleap, 360_day) weekdays follow one another without a break.
    """
    times = np.atleast_1d(np.asarray(times))
    result = np.empty((times.size, 3))
    if np.issubdtype(times.dtype, np.datetime64):
        day = times.astype("datetime64[D]")
        year = times.astype("datetime64[Y]")
        result[:, 0] = (times - day) / np.timedelta64(DAY.seconds, "s")
        start, end = year.astype("datetime64[D]"), (year + 1).astype("datetime64[D]")
        result[:, 1] = (times - start) / (end - start)
        result[:, 2] = ((day.astype(np.int64) + MONDAY) % 7 + result[:, 0]) / 7
        return result
    result[:, 0] = seconds_of_day(times) / DAY.seconds
    for i, time in enumerate(times):
        result[i, 1] = (time.dayofyr - 1 + result[i, 0]) / days_in_year(time.year, time.calendar)
        result[i, 2] = (time.dayofwk + result[i, 0]) / 7
    return result


def calendar_months(times: Any) -> set[int]:
    """Months of the year, 1 to 12, that the times cover."""
    return set((slot_index(np.asarray(times), MONTH) % 12 + 1).tolist())


def seconds_of_day(times: np.ndarray) -> np.ndarray:
    """Seconds since midnight of datetime64 or cftime, in any calendar: float64, (n,)."""
    if times.dtype == object:
        return np.array(
            [
                time.hour * HOUR.seconds
                + time.minute * MINUTE.seconds
                + time.second
                + time.microsecond * 1e-6
                for time in times
            ]
        )
    return np.asarray((times - times.astype("datetime64[D]")) / np.timedelta64(1, "s"))

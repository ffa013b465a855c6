"""Consecutive numbers of months, dekads and pentads in any calendar: the unit of calendar steps."""

from __future__ import annotations

from typing import Any

import cftime
import numpy as np

PER_MONTH = {"month": 1, "dekad": 3, "pentad": 6}
"""Number of slots in a month by kind: dekads begin on days 1, 11 and 21, pentads on days 1, 6, ..., 26.

Source:
    WMO (2018), Guide to Climatological Practices, WMO-No. 100, section 4.4 (dekads); Funk et al. (2015),
    Scientific Data 2, 150066 (six pentads a month).
"""


def slot_index(times: np.ndarray, kind: str) -> np.ndarray:
    """Number the slot of each time.

    Args:
        times: datetime64 or cftime, (n,).
        kind: A key of `PER_MONTH`.

    Returns:
        int64, (n,); consecutive slots have consecutive numbers.
    """
    times, per_month = np.asarray(times), PER_MONTH[kind]
    if times.dtype == object:
        months = np.array([time.year * 12 + time.month - 1 for time in times], dtype=np.int64)
        days = np.array([time.day for time in times], dtype=np.int64)
    else:
        months = times.astype("datetime64[M]").astype(np.int64)
        days = (times.astype("datetime64[D]") - times.astype("datetime64[M]")).astype(np.int64) + 1
    return months * per_month + np.minimum((days - 1) // _length_days(kind), per_month - 1)


def slot(time: Any, kind: str, n: int) -> tuple[Any, Any]:
    """Start and length of a slot, n slots after that of a time.

    Args:
        time: numpy.datetime64 or cftime.
        kind: A key of `PER_MONTH`.
        n: Number of slots forward, negative for backward.

    Returns:
        A time of the same type and calendar, and a time difference.
    """
    index = int(slot_index(np.array([time]), kind)[0]) + n
    start, end = _start(time, kind, index), _start(time, kind, index + 1)
    return start, end - start


def _start(like: Any, kind: str, index: int) -> Any:
    month, part = divmod(index, PER_MONTH[kind])
    day = part * _length_days(kind)
    if isinstance(like, cftime.datetime):
        return cftime.datetime(month // 12, month % 12 + 1, day + 1, calendar=like.calendar)
    unit = np.datetime_data(like.dtype)[0]
    start = np.datetime64(month, "M").astype("datetime64[D]") + np.timedelta64(day, "D")
    return start.astype(f"datetime64[{unit}]")


def _length_days(kind: str) -> int:
    """Days between starts of slots within a month; a month is a single slot of any length."""
    return 31 if kind == "month" else 30 // PER_MONTH[kind]

"""Months and their parts in any calendar, numbered one after another: what a calendar step counts."""

from __future__ import annotations

from typing import Any

import cftime
import numpy as np

PER_MONTH = {"month": 1, "dekad": 3, "pentad": 6}
"""Slots of a month by kind: dekads begin on days 1, 11 and 21, pentads on days 1, 6, ..., 26.

Source:
    WMO (2018), Guide to Climatological Practices, WMO-No. 100, section 4.4 (dekads); Funk et al. (2015),
    Scientific Data 2, 150066 (six pentads a month).
"""


def slot_index(times: np.ndarray, kind: str) -> np.ndarray:
    """Number of the slot that each time is in.

    Args:
        times: datetime64 or cftime, (n,).
        kind: A key of `PER_MONTH`.

    Returns:
        int64, (n,); neighboring slots have neighboring numbers.
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
    """Start and length of the slot n slots after that of a time.

    Args:
        time: numpy.datetime64 or cftime.
        kind: A key of `PER_MONTH`.
        n: How many slots on, negative for back.

    Returns:
        A time of the same type and calendar, and a difference of such times.
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
    """Days from the beginning of a slot to the next within a month; a month is one slot of any length."""
    return 31 if kind == "month" else 30 // PER_MONTH[kind]

"""Decoding of times beyond CF: dates as text or digits, months and years since a date."""

from __future__ import annotations

import re
from typing import Any

import cftime
import numpy as np
import xarray as xr

from stconv.clock import DAY, GREGORIAN_CALENDARS, HOUR
from stconv.datasets.source.calendars import in_nanoseconds
from stconv.datasets.source.time_axis import TimeStep, advance
from stconv.datasets.source.time_units import read_time_units
from stconv.errors import TimeAxisError

_SINCE = re.compile(r"(month|year)s?\s+since\s+(.+)", re.IGNORECASE)
_WEEKS = re.compile(r"weeks?\s+since\s+(.+)", re.IGNORECASE)
_OFFSET = re.compile(r"(?P<time>.*T.*)(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?")
_AS = re.compile(r"(day|month|year)\s+as\s+%", re.IGNORECASE)
_GREGORIAN = (*GREGORIAN_CALENDARS, "360")
"""Calendars decoded to datetime64; some archives use "360" for counted months."""


def decode_times(values: np.ndarray, units: str | None, calendar: str) -> np.ndarray | None:
    """Decode times outside of CF: text, digits of a date, CDO's absolute times, months since a date.

    Args:
        values: Text, bytes or numbers, (n,).
        units: Units of the values, if any.
        calendar: CF calendar.

    Returns:
        datetime64 or cftime, (n,); None if a value is not a time.
    """
    try:
        if values.dtype.kind in "OSU":
            return _from_text(values)
        if values.dtype.kind not in "iuf" or not np.isfinite(values.astype(np.float64)).all():
            return None
        since = _SINCE.fullmatch((units or "").strip())
        if since:
            months = 1 if since[1].lower() == "month" else 12
            return _from_months(values.astype(np.float64) * months, since[2], calendar)
        weeks = _WEEKS.fullmatch((units or "").strip())
        if weeks:
            return _from_days(values.astype(np.float64) * 7, weeks[1], calendar)
        absolute = _AS.match((units or "").strip())
        if absolute:
            return _from_digits(values.astype(np.float64), absolute[1].lower(), calendar)
        if units is None and (values == np.floor(values)).all():
            return _from_plain_digits(values.astype(np.int64), calendar)
    except (ValueError, OverflowError, TimeAxisError):
        return None
    return None


def _from_text(values: np.ndarray) -> np.ndarray | None:
    """Decode ISO 8601 text, also with a space or an underscore between date and clock (WRF)."""
    texts = [v.decode() if isinstance(v, bytes) else v for v in values]
    if not all(isinstance(v, str) for v in texts):
        return None
    if all(re.fullmatch(r"\s*(\d{6}|\d{8}|\d{10})\s*", v) for v in texts):
        return _from_plain_digits(np.array(texts, dtype=np.int64), "standard")
    if not all(re.match(r"\s*\d{4}-\d{2}", v) for v in texts):
        return None
    cleaned = [re.sub(r"(?<=\d)[ _](?=\d)", "T", v.strip().rstrip("Z")) for v in texts]
    found = [_OFFSET.fullmatch(v) for v in cleaned]
    plain = [v if match is None else match["time"] for v, match in zip(cleaned, found, strict=True)]
    ahead = [0 if match is None else _minutes(match) for match in found]
    times = np.array(plain, dtype="datetime64[us]") - np.array(ahead, dtype="timedelta64[m]")
    return in_nanoseconds(times)


def _minutes(match: re.Match[str]) -> int:
    """Minutes by which a clock is ahead of UTC."""
    minutes = 60 * int(match["hours"]) + int(match["minutes"] or 0)
    return minutes if match["sign"] == "+" else -minutes


def _from_months(months: np.ndarray, date: str, calendar: str) -> np.ndarray | None:
    """Decode months since a date; half a month means the middle."""
    whole = np.floor(months)
    parts = set((months - whole).tolist())
    if parts not in ({0.0}, {0.5}):
        return None
    start = _from_days(np.array([0.0]), date, calendar)[0]
    step = TimeStep("month", anchor="middle" if parts == {0.5} else "day")
    if isinstance(start, np.datetime64):
        start = start.astype("datetime64[us]")  # nanoseconds do not span many centuries
    return in_nanoseconds(np.array([advance(start, step, int(n)) for n in whole]))


def _from_days(days: np.ndarray, date: str, calendar: str) -> np.ndarray:
    """Decode days since a date."""
    units = read_time_units(f"days since {date}", calendar).text
    cf = {"units": units, "calendar": "standard" if calendar == "360" else calendar}
    return np.asarray(xr.decode_cf(xr.Dataset({"t": (("t",), days, cf)}))["t"].values)


def _from_digits(values: np.ndarray, unit: str, calendar: str) -> np.ndarray | None:
    """Decode 20010131.25 as 6 h on 31 January 2001; a fraction of a month or year is refused."""
    whole = np.floor(values).astype(np.int64)
    fraction = values - whole
    if unit != "day" and fraction.any():
        return None
    dates = whole * {"day": 1, "month": 100, "year": 10_000}[unit]
    dates += {"day": 0, "month": 1, "year": 101}[unit]
    return _dates(dates, np.round(fraction * DAY.seconds).astype(np.int64), calendar)


def _from_plain_digits(values: np.ndarray, calendar: str) -> np.ndarray | None:
    """Decode 20010131, 2001013106 with the hour, or 200101."""
    if (values >= 1000_01).all() and (values < 3000_01).all() and np.isin(values % 100, range(1, 13)).all():
        return _dates(values * 100 + 1, np.zeros_like(values), calendar)
    if (values >= 10_000_101).all() and (values < 30_000_101).all():
        return _dates(values, np.zeros_like(values), calendar)
    if (values >= 1_000_010_100).all() and (values < 3_000_010_100).all() and (values % 100 < 24).all():
        return _dates(values // 100, values % 100 * HOUR.seconds, calendar)
    return None


def _dates(dates: np.ndarray, seconds: np.ndarray, calendar: str) -> np.ndarray:
    """Decode YYYYMMDD, with seconds after midnight."""
    found: list[Any] = []
    for date, second in zip(dates.tolist(), seconds.tolist(), strict=True):
        year, month, day = date // 10_000, date // 100 % 100, date % 100
        if calendar in _GREGORIAN:
            found.append(
                np.datetime64(f"{year:04d}-{month:02d}-{day:02d}", "us") + np.timedelta64(second, "s")
            )
        else:
            clock = (second // HOUR.seconds, second // 60 % 60, second % 60)
            found.append(cftime.datetime(year, month, day, *clock, calendar=calendar))
    return in_nanoseconds(np.array(found))

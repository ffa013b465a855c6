"""Conversion of times of several types and calendars to a common one that leaves every date unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cftime
import numpy as np

from stconv.clock import GREGORIAN_CALENDARS
from stconv.datasets.source.time_axis import calendar_of
from stconv.errors import TimeAxisError

_ALIASES = {"365_day": "noleap", "366_day": "all_leap", "gregorian": "standard"}
_REFORM = (1582, 10, 15)
"""The standard and the proleptic Gregorian calendar agree from this date."""


@dataclass(frozen=True)
class Dated:
    """Times of one file.

    Attributes:
        source: The file, for messages.
        times: datetime64 or cftime, (n,).
    """

    source: str
    times: np.ndarray


def one_calendar(found: Sequence[Dated]) -> list[np.ndarray]:
    """Convert times to a common type and calendar.

    datetime64 and all names of the Gregorian calendar count as one calendar; all times become cftime if a
    date lies outside the range of datetime64 (1678 to 2262). Dates of `noleap` are valid Gregorian dates: in
    a series of both, dates are unchanged and 29 February is a missing step.

    Args:
        found: Times of each file.

    Returns:
        The times of each file, of a common type.

    Raises:
        TimeAxisError: A calendar has days that another lacks (360_day).
    """
    names = {_name(entry.times) for entry in found}
    if len(names) == 1 and len({entry.times.dtype == object for entry in found}) == 1:
        return [in_nanoseconds(entry.times) for entry in found]
    _check_shared(found)
    gregorian = [entry for entry in found if _name(entry.times) in GREGORIAN_CALENDARS]
    if not any(entry.times.dtype == object for entry in gregorian):
        try:
            return [_datetime64(entry.times) for entry in found]
        except OverflowError:
            pass
    calendar = next((_name(e.times) for e in gregorian if e.times.dtype == object), "standard")
    return [_cftime(entry.times, calendar) for entry in found]


def _name(times: np.ndarray) -> str:
    name = calendar_of(times)
    return _ALIASES.get(name, name)


def _check_shared(found: Sequence[Dated]) -> None:
    """Refuse calendars whose dates do not exist in the other calendars."""
    first = found[0]
    shared = {*GREGORIAN_CALENDARS, "noleap"}
    for entry in found[1:]:
        expected, name = _name(first.times), _name(entry.times)
        if expected != name and not {expected, name} <= shared:
            raise TimeAxisError(
                f"'{entry.source}' has calendar '{name}', '{first.source}' has '{expected}'; expected one "
                "calendar, since each has days that the other lacks. Convert the files of one calendar: "
                f"`ds.convert_calendar('{expected}', align_on='date')`."
            )
    proleptic = {_name(e.times) for e in found} & {"standard", "proleptic_gregorian"}
    early = [e for e in found if e.times.dtype == object and _date(e.times[0]) < _REFORM]
    if early and len(proleptic) > 1:
        raise TimeAxisError(
            f"'{early[0].source}' has dates before 15 October 1582, where its calendar "
            f"'{_name(early[0].times)}' differs from that of the other files. Convert the file: "
            "`ds.convert_calendar('proleptic_gregorian')`."
        )


def _date(time: Any) -> tuple[int, int, int]:
    return time.year, time.month, time.day


def in_nanoseconds(times: np.ndarray) -> np.ndarray:
    """Convert datetime64 to a common unit, so that files can be concatenated."""
    if times.dtype == object or times.dtype == np.dtype("datetime64[ns]"):
        return times
    try:
        return _exact(times)
    except OverflowError:
        return _cftime(times, "standard")


def _exact(times: np.ndarray) -> np.ndarray:
    fine = times.astype("datetime64[ns]")
    if (fine.astype(times.dtype) != times).any():
        raise OverflowError
    return fine


def _datetime64(times: np.ndarray) -> np.ndarray:
    """Convert cftime to datetime64.

    Raises:
        OverflowError: A date lies outside 1678 to 2262.
    """
    if times.dtype != object:
        return _exact(times)
    return _exact(np.array([np.datetime64(time.isoformat(), "us") for time in times]))


def _cftime(times: np.ndarray, calendar: str) -> np.ndarray:
    """The same dates in a cftime calendar."""
    if times.dtype != object:
        whole = times.astype("datetime64[us]").tolist()
        times = np.array(whole, dtype=object)
    return np.array(
        [
            cftime.datetime(
                t.year, t.month, t.day, t.hour, t.minute, t.second, t.microsecond, calendar=calendar
            )
            for t in times
        ],
        dtype=object,
    )

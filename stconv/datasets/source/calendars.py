"""Times of several types and calendars, brought to one where that leaves every date as it is."""

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
"""From this date on the standard and the proleptic Gregorian calendar are equal."""


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
    """Bring times to one type and calendar.

    datetime64 and the names of the Gregorian calendar are one; where some dates lie outside of what
    datetime64 holds (1678 to 2262), all become cftime. Dates of `noleap` are dates of the Gregorian
    calendar, too: in a series of both they stay what they are, and 29 February is a missing step.

    Args:
        found: Times of each file.

    Returns:
        The times of each file, all of one type.

    Raises:
        TimeAxisError: The calendars have days that are not in the others (360_day).
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
    """Refuse calendars whose dates are not dates of one another."""
    first = found[0]
    shared = {*GREGORIAN_CALENDARS, "noleap"}
    for entry in found[1:]:
        expected, name = _name(first.times), _name(entry.times)
        if expected != name and not {expected, name} <= shared:
            raise TimeAxisError(
                f"'{entry.source}' has calendar '{name}', '{first.source}' has '{expected}'; one is "
                "expected, and they have days that the other lacks. Convert the files of one: "
                f"`ds.convert_calendar('{expected}', align_on='date')`."
            )
    proleptic = {_name(e.times) for e in found} & {"standard", "proleptic_gregorian"}
    early = [e for e in found if e.times.dtype == object and _date(e.times[0]) < _REFORM]
    if early and len(proleptic) > 1:
        raise TimeAxisError(
            f"'{early[0].source}' has dates before 15 October 1582, where its calendar "
            f"'{_name(early[0].times)}' and that of the others differ. Convert one: "
            "`ds.convert_calendar('proleptic_gregorian')`."
        )


def _date(time: Any) -> tuple[int, int, int]:
    return time.year, time.month, time.day


def in_nanoseconds(times: np.ndarray) -> np.ndarray:
    """datetime64 of one unit, so that files of different units can follow one another."""
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
    """Dates of cftime as datetime64.

    Raises:
        OverflowError: One is outside of 1678 to 2262.
    """
    if times.dtype != object:
        return _exact(times)
    return _exact(np.array([np.datetime64(time.isoformat(), "us") for time in times]))


def _cftime(times: np.ndarray, calendar: str) -> np.ndarray:
    """The same dates in a calendar of cftime."""
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

"""Units of times, ``UNIT since DATE``: read if unambiguous, else refused with the reason.

Source: UDUNITS-2, "The utscan library", and CF conventions 1.11, section 4.4 (ISO order, offsets from UTC).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import cftime
import xarray as xr

from stconv.errors import TimeAxisError

_SINCE = re.compile(
    r"\s*(?P<unit>[a-z_µ]+)\s+(?:since\s+|since:\s*|(?:after|from|ref|@)\s*(?=\d))(?P<rest>.*[^\s\0])[\s\0]*",
    re.IGNORECASE,
)
"""UDUNITS also accepts `after`, `from`, `ref` and `@`."""
_CF = re.compile(r"\s*\S+\s+since\s.*")
COUNTED = re.compile(r"(week|month|year)s?", re.IGNORECASE)
"""Units that are counted in a calendar, see `time_decoding`."""
WITHOUT_YEAR_ZERO = ("standard", "gregorian", "julian")
"""Calendars in which the year before 1 is -1 by CF, and 0 for many writers."""
KNOWN_CALENDARS = (
    *("standard", "gregorian", "proleptic_gregorian", "noleap", "365_day"),
    *("360_day", "julian", "all_leap", "366_day"),
)
_ISO = re.compile(r"-?\d{3,}-\d{1,2}-\d{1,2}([T ]+\d{1,2}(:\d{1,2}(:\d{1,2}(\.\d*)?)?)?)?")
_NUMBERS = re.compile(
    r"(?P<a>[-+]?\d+)(?P<sep>[-/.])(?P<b>\d{1,2})(?:(?P=sep)(?P<c>\d{1,4}))?(?P<tail>(?!\d).*)?"
)
_COMPACT = re.compile(r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?P<tail>(?!\d).*)?")
_NAMED = (
    re.compile(r"(?P<d>\d{1,2})[ ./-](?P<m>[a-z]{3,9})[ ./-]+(?P<y>\d{4})(?P<tail>(?!\d).*)?", re.IGNORECASE),
    re.compile(r"(?P<m>[a-z]{3,9})[ .-](?P<d>\d{1,2}),?[ -](?P<y>\d{4})(?P<tail>(?!\d).*)?", re.IGNORECASE),
    re.compile(r"(?P<y>\d{4})[ /-](?P<m>[a-z]{3,9})[ /-](?P<d>\d{1,2})(?P<tail>(?!\d).*)?", re.IGNORECASE),
)
_TAIL = re.compile(
    r"(?:[\sT]\s*(?P<hour>\d{1,2})(?::?(?P<minute>\d{1,2}))?(?::?(?P<second>\d{1,2}(?:\.\d*)?))?)?"
    r"\s*(?P<zone>(?:utc)?[+-]\d{1,2}(?::?\d{2})?|[a-z][\w/ ]*)?\s*",
    re.IGNORECASE,
)
_FIXED = re.compile(
    r"days?|d|hours?|hrs?|h|minutes?|mins?|seconds?|secs?|s|(milli|micro|nano)seconds?|msecs?|ms|us|µs|ns",
    re.IGNORECASE,
)
"""Units of fixed length that CF decodes; `time_decoding` handles weeks, months and years."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_UTC = frozenset({"z", "utc", "gmt", "ut", "zulu"})
_OFFSET = re.compile(r"(?:utc)?(?P<sign>[+-])(?P<hours>\d{1,2}):?(?P<minutes>\d{2})?", re.IGNORECASE)


@dataclass(frozen=True)
class TimeUnits:
    """Unit and reference date of a numeric time axis.

    Attributes:
        unit: Unit as spelled in the text, in lower case: ``days``.
        reference: Reference date and clock in UTC, ISO 8601.
        text: Unit and reference as xarray and cftime read them; the given text if it is unambiguous.
    """

    unit: str
    reference: str
    text: str


def is_time_units(text: object) -> bool:
    """Whether an attribute has the form of units of a time."""
    return isinstance(text, str) and _SINCE.fullmatch(text) is not None


def read_time_units(text: str, calendar: str = "standard", order: str | None = None) -> TimeUnits:
    """Read units of a time.

    A date is year, month, day; day and month before a year of four digits are read if only one of them can be
    a month. Offsets from UTC are applied; names of zones other than UTC are refused, since ``EST`` is -5
    hours in New York and +10 in Sydney.

    Args:
        text: Units such as ``hours since 1900-01-01 00:00:00``.
        calendar: CF calendar of the times.
        order: Form of the date for ``datetime.strptime``, such as ``%d-%m-%Y``.

    Returns:
        Unit and reference.

    Raises:
        TimeAxisError: The text is not of this form, or ambiguous; the message lists the readings.
    """
    match = _SINCE.fullmatch(text)
    if match is None:
        raise TimeAxisError(f"'{text}' is not of the form 'UNIT since DATE'")
    unit, rest = match["unit"].lower(), match["rest"]
    if not (_FIXED.fullmatch(unit) or COUNTED.fullmatch(unit)):
        raise TimeAxisError(f"'{match['unit']}' is no unit of time such as days, hours or seconds")
    (year, month, day), tail = _date(rest, order)
    clock = _TAIL.fullmatch(tail)
    if clock is None:
        raise TimeAxisError(
            f"'{tail.strip()}' after the date '{rest}' is not a time of day with an offset from UTC"
        )
    shift = _offset(clock["zone"])
    if year == 0:  # a year of climatologies, in no CF calendar
        return TimeUnits(unit, rest, f"{match['unit']} since 0000-{month:02d}-{day:02d}{tail}")
    if year < 0 and calendar.lower() in WITHOUT_YEAR_ZERO:
        raise TimeAxisError(
            f"'{rest}' is before the year 1, where calendar '{calendar}' has a year 0 for some writers and "
            "none for others"
        )
    second = float(clock["second"] or 0)
    try:
        start = cftime.datetime(
            year, month, day, int(clock["hour"] or 0), int(clock["minute"] or 0), int(second),
            round(second % 1 * 1e6), calendar=_calendar(calendar),
        )  # fmt: skip
    except ValueError as error:
        reason = str(error).partition(" provided in ")[0]
        raise TimeAxisError(f"'{rest}' is not a time of calendar '{calendar}' ({reason})") from error
    if order is None and _ISO.fullmatch(rest):
        return TimeUnits(unit, rest, text if _CF.fullmatch(text) else f"{match['unit']} since {rest}")
    reference = (start - shift).isoformat()
    return TimeUnits(unit, reference, f"{match['unit']} since {reference}")


def with_plain_time_units(ds: xr.Dataset) -> tuple[xr.Dataset, dict[str, str]]:
    """Rewrite units of times so that xarray reads them without guessing.

    Args:
        ds: Undecoded dataset.

    Returns:
        The dataset, and the units of variables with another form of units; these are removed from the
        dataset, so that the variables stay numeric.
    """
    unread: dict[str, str] = {}
    changed = {}
    for name, variable in ds.variables.items():
        units = variable.attrs.get("units")
        if variable.dtype.kind not in "iuf" or not isinstance(units, str) or not is_time_units(units):
            continue
        attrs = dict(variable.attrs)
        try:
            read = read_time_units(units, str(attrs.get("calendar", "standard")))
            known = _FIXED.fullmatch(read.unit) is not None
        except TimeAxisError:
            known = False
        if known and read.text == units:
            continue
        if known:
            attrs["units"] = read.text
        else:
            unread[str(name)] = attrs.pop("units")
        changed[name] = variable.copy(deep=False)
        changed[name].attrs = attrs
    return (ds.assign(changed) if changed else ds), unread


def _date(rest: str, order: str | None) -> tuple[tuple[int, int, int], str]:
    """Split a text into year, month and day at its beginning, and the rest."""
    if order is not None:
        return _ordered(rest, order)
    for pattern in (_COMPACT, *_NAMED):
        if named := pattern.fullmatch(rest):
            return (int(named["y"]), _month(named["m"], rest), int(named["d"])), named["tail"] or ""
    found = _NUMBERS.fullmatch(rest)
    if found is None:
        raise TimeAxisError(f"'{rest}' does not begin with a date such as 1900-01-01")
    first, second, third = found["a"], int(found["b"]), found["c"] or "1"
    tail = found["tail"] or ""
    if len(first) > 2 or (len(first) == 1 and len(third) < 3):
        return (int(first), second, int(third)), tail
    if len(third) < 3:
        raise TimeAxisError(
            f"the year of '{rest}' has two digits: it may be {first}, 19{first} or 20{first}, or the last "
            "number"
        )
    day, month = int(first), second
    if day <= 12 < month:
        day, month = month, day
    elif day <= 12 and day != month:
        raise TimeAxisError(f"'{rest}' may be day {day} of month {month} or day {month} of month {day}")
    return (int(third), month, day), tail


def _ordered(rest: str, order: str) -> tuple[tuple[int, int, int], str]:
    """Read a date in the form that the user states."""
    date = re.split(r"[\sT]", rest, maxsplit=1)[0]
    try:
        read = datetime.strptime(date, order)
    except ValueError as error:
        raise TimeAxisError(f"'{date}' is not written as '{order}'") from error
    return (read.year, read.month, read.day), rest[len(date) :]


def _month(text: str, rest: str) -> int:
    if text.isdigit():
        return int(text)
    if text.lower()[:3] not in _MONTHS:
        raise TimeAxisError(f"'{text}' in '{rest}' is no month")
    return _MONTHS.index(text.lower()[:3]) + 1


def _offset(zone: str | None) -> timedelta:
    """Offset of a zone from UTC."""
    if zone is None or zone.strip().lower() in _UTC:
        return timedelta()
    offset = _OFFSET.fullmatch(zone)
    if offset is None:
        raise TimeAxisError(
            f"'{zone.strip()}' is not an offset from UTC, and names of time zones are ambiguous"
        )
    ahead = timedelta(hours=int(offset["hours"]), minutes=int(offset["minutes"] or 0))
    return ahead if offset["sign"] == "+" else -ahead


def _calendar(name: str) -> str:
    """The calendar to compute with."""
    if name.lower() == "360":  # of counted months
        return "standard"
    if name.strip() and name.lower() not in KNOWN_CALENDARS:
        raise TimeAxisError(f"calendar '{name}' is not known (expected one of {', '.join(KNOWN_CALENDARS)})")
    return name.lower() or "standard"

"""Times in any calendar: their step, gaps, and the time n steps later.

Times are NumPy datetime64 (proleptic Gregorian) or cftime objects (any calendar), compared in whole seconds,
since floating-point times have rounding errors of microseconds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import cftime
import numpy as np

from stconv.clock import DAY, duration
from stconv.datasets.source.calendar_slots import (
    ANNUAL_PENTAD,
    COMPOSITES,
    IN_MONTHS,
    IN_YEARS,
    MONTH,
    SHORTEST_MONTH_SECONDS,
    YEAR,
    Slots,
    days_in_year,
    slot,
    slot_index,
    slots_of,
)
from stconv.datasets.source.snapping import snap
from stconv.errors import TimeAxisError

LAST_DAYS = 1.5
"""A stamp at most this far from the end of its month, dekad or pentad counts as being at the end."""
_SAME_PLACE_IN_MONTH = 0.06
"""Mid-month stamps (16 January 12:00, 15 February 00:00, ...) agree within this fraction of a month."""


@dataclass(frozen=True)
class TimeStep:
    """The time step of a series.

    Attributes:
        kind: "fixed" (a number of seconds), or a calendar step of unequal seconds: "month", "year", "dekad"
            (a third of a month), "pentad" (a sixth), "annual pentad" (73 a year) or "composite" (periods of
            some days that restart on 1 January).
        seconds: Length of a fixed step or of a composite in seconds, else 0.
        n: Number of calendar steps in a step, else 1.
        anchor: Position of a stamp in its month, dekad, ...: "day" (same day and clock), "middle" or "end".
    """

    kind: str
    seconds: int = 0
    n: int = 1
    anchor: str = "day"

    @property
    def label(self) -> str:
        """Short text, for example ``6h``, ``10min``, ``1d``, ``1month``, ``2year``, ``8d composite``."""
        if self.kind == "fixed":
            return duration(self.seconds)
        if self.kind == "composite":
            return f"{duration(self.seconds)} composite" + (f" x {self.n}" if self.n > 1 else "")
        return f"{self.n}{' ' if ' ' in self.kind else ''}{self.kind}"

    @property
    def approximate_seconds(self) -> float:
        """Length in seconds; for a calendar step the mean Gregorian length."""
        if self.kind == "fixed":
            return float(self.seconds)
        return self.count * 365.2425 * DAY.seconds / self.slots.per_year

    @property
    def slots(self) -> Slots:
        """Unit of a calendar step; years are counted in months, unless they are stamped in the middle."""
        if self.kind == "year" and self.anchor != "middle":
            return MONTH
        return slots_of(self.kind, self.seconds // DAY.seconds)

    @property
    def count(self) -> int:
        """Length in these units."""
        return self.n * 12 if self.kind == "year" and self.slots == MONTH else self.n

    def times(self, k: int) -> TimeStep:
        """Multiply the step by k, for example to label lead k."""
        if self.kind == "fixed":
            return TimeStep("fixed", seconds=self.seconds * k)
        return replace(self, n=self.n * k)

    def to_json(self) -> dict[str, Any]:
        """Return the step as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TimeStep:
        """Restore a step from `to_json`."""
        return cls(**values)


def time_step(times: Any, source: str = "the series") -> TimeStep:
    """Find the step of strictly increasing times; gaps of whole steps are allowed.

    The step is the smallest difference; at least half of all differences must equal it, and the others must
    be multiples. For 28 days and more, calendar months and years take precedence over seconds.

    Args:
        times: Strictly increasing datetime64 or cftime, (n,), n >= 2.
        source: Name of the series, for messages.

    Returns:
        The step.

    Raises:
        TimeAxisError: There are fewer than two times, duplicates, a wrong order, or an irregular step.
    """
    times = np.asarray(times)
    if times.size < 2:
        raise TimeAxisError(
            f"{source} has {times.size} time(s); expected at least 2 to determine the step. Give more "
            "files, or a longer one."
        )
    check_increasing(times, source)
    differences = _differences(times)
    step = _common_step(differences)
    if step is not None and step < SHORTEST_MONTH_SECONDS:
        if step < 1:
            raise TimeAxisError(f"{source} has steps shorter than one second, which are not supported.")
        return TimeStep("fixed", seconds=step)
    calendar_step = _calendar_step(times)
    if calendar_step is not None:
        return calendar_step
    if step is not None:
        return TimeStep("fixed", seconds=step)
    raise TimeAxisError(_irregular(times, differences, source))


def has_calendar_step(times: Any) -> bool:
    """Whether times have a step of months, dekads, composites, ..., whose lengths in seconds differ."""
    try:
        return time_step(times).kind != "fixed"
    except TimeAxisError:
        return False


def follows(times: Any, step: TimeStep) -> bool:
    """Whether increasing times are whole steps apart, at the anchor of the step.

    The step is given, since a few frames may fit a simpler one: three dekads of a month are 10 days apart.
    """
    times = np.asarray(times)
    if times.size < 2:
        return True
    distances, whole = _distances(times, step)
    if step.kind != "fixed" and _anchor(times, step.slots) is None:
        return False
    return bool((distances > 0).all() and (distances % whole == 0).all())


def breaks(times: Any, step: TimeStep) -> tuple[int, ...]:
    """Indices i such that ``times[i]`` is not one step after ``times[i - 1]``."""
    times = np.asarray(times)
    if times.size < 2:
        return ()
    distances, whole = _distances(times, step)
    return tuple(int(i) + 1 for i in np.flatnonzero(distances != whole))


def missing_steps(times: Any, step: TimeStep) -> np.ndarray:
    """Number of missing steps between neighboring times, int64, (n - 1,)."""
    distances, whole = _distances(np.asarray(times), step)
    return distances // whole - 1


def advance(time: Any, step: TimeStep, n: int) -> Any:
    """Shift a time by n steps; type and calendar stay the same.

    A month keeps day and clock (31 January becomes 28 February) unless its anchor is the middle or the end.
    """
    if step.kind == "fixed":
        seconds = step.seconds * n
        if isinstance(time, cftime.datetime):
            return time + timedelta(seconds=seconds)
        return _scalar64(time) + np.timedelta64(seconds, "s")
    start, _ = _slot(time, step, 0)
    new_start, new_length = _slot(time, step, step.count * n)
    if step.anchor == "middle":
        return new_start + new_length / 2
    offset = (time if isinstance(time, cftime.datetime) else _scalar64(time)) - start
    one_day = timedelta(days=1) if isinstance(time, cftime.datetime) else np.timedelta64(1, "D")
    if step.anchor == "end" or offset >= new_length:
        clock = offset % one_day
        return new_start + new_length - one_day + clock
    return new_start + offset


def whole_seconds(times: np.ndarray) -> np.ndarray:
    """Round times to the second: floating-point days are off by microseconds."""
    if np.issubdtype(times.dtype, np.datetime64):
        exact = times.astype("datetime64[s]")
        if (exact == times).all():
            return times
        half = np.timedelta64(500_000_000, "ns")
        return (times.astype("datetime64[ns]") + half).astype("datetime64[s]").astype("datetime64[ns]")
    rounded = [time + timedelta(microseconds=500_000) for time in times.ravel()]
    return np.array([time.replace(microsecond=0) for time in rounded], dtype=object).reshape(times.shape)


def check_increasing(times: Any, source: str = "the series") -> None:
    """Check that times increase strictly.

    Raises:
        TimeAxisError: A time occurs twice or precedes the one before; the message names times and positions.
    """
    times = np.asarray(times)
    if times.size < 2:
        return
    unique, counts = np.unique(times, return_counts=True)
    if unique.size < times.size:
        twice = unique[counts > 1]
        where = [str(i) for i in np.flatnonzero(times == twice[0])]
        positions = ", ".join(where[:5] + ["..."] * (len(where) > 5))
        raise TimeAxisError(
            f"{source}: expected distinct times; {twice.size} of {unique.size} occur more than once, "
            f"first {text(twice[0])} at positions {positions}. Remove the repeated steps "
            "(`ds.drop_duplicates('time')`), or give files that do not overlap."
        )
    falls = np.flatnonzero(times[1:] < times[:-1])
    if falls.size:
        i = int(falls[0])
        raise TimeAxisError(
            f"{source}: expected increasing times; {text(times[i])} at position {i} is followed by "
            f"{text(times[i + 1])} ({falls.size} such place(s)). Sort the file: `ds.sortby('time')`."
        )


def text(time: Any) -> str:
    """Write a time without zero seconds: ``2013-01-01T06:00``."""
    if isinstance(time, cftime.datetime):
        return time.strftime("%Y-%m-%dT%H:%M")
    return str(np.datetime_as_string(_scalar64(time), unit="m"))


def calendar_of(times: Any) -> str:
    """CF name of the calendar: ``standard`` for datetime64, else the calendar of the cftime objects."""
    times = np.atleast_1d(np.asarray(times))
    return str(times[0].calendar) if times.dtype == object and times.size else "standard"


def _differences(times: np.ndarray) -> np.ndarray:
    """Differences between neighboring times in whole seconds, int64, (n - 1,)."""
    if times.dtype == object:
        differences = [d / timedelta(seconds=1) for d in np.diff(times)]
        return np.rint(np.array(differences)).astype(np.int64)
    return np.rint(np.diff(times) / np.timedelta64(1, "s")).astype(np.int64)


def _distances(times: np.ndarray, step: TimeStep) -> tuple[np.ndarray, int]:
    """Distances between neighboring times, int64, (n - 1,), and the step, in seconds or months."""
    if step.kind == "fixed":
        return _differences(times), step.seconds
    return np.diff(slot_index(times, step.slots)), step.count


def _common_step(differences: np.ndarray) -> int | None:
    """The smallest difference, if at least half equal it and all are multiples; else None."""
    smallest = int(differences.min())
    if smallest < 1:
        return smallest
    regular = bool(np.all(differences % smallest == 0)) and np.mean(differences == smallest) >= 0.5
    return smallest if regular else None


def _calendar_step(times: np.ndarray) -> TimeStep | None:
    """Step in the first division of months or years in which the stamps have a common anchor."""
    for slots in _divisions(times):
        n = _common_step(np.diff(slot_index(times, slots)))
        if n is None or n < 1 or (slots in (ANNUAL_PENTAD, *COMPOSITES) and n > 1):
            continue
        anchor = _anchor(times, slots)
        if anchor is None or (slots == YEAR and anchor != "middle"):
            continue
        if slots == MONTH and n % 12 == 0:
            return TimeStep("year", n=n // 12, anchor=anchor)
        seconds = slots.days * DAY.seconds if slots.kind == "composite" else 0
        return TimeStep(slots.kind, seconds, n, anchor)
    return None


def _divisions(times: np.ndarray) -> tuple[Slots, ...]:
    """Divisions to look for; those of years only in calendars whose years have 365 or 366 days."""
    first = times[0]
    short = times.dtype == object and days_in_year(first.year, first.calendar) < 365
    return IN_MONTHS if short else (*IN_MONTHS, *IN_YEARS)


def _anchor(times: np.ndarray, slots: Slots) -> str | None:
    """Common anchor of all stamps in their slots; None if there is none."""
    places = [slot(time, slots, 0) for time in times]
    offsets = [time - start for time, (start, _) in zip(times, places, strict=True)]
    if all(offset == offsets[0] for offset in offsets):
        return "day"
    lengths = [length for _, length in places]
    fractions = np.array([offset / length for offset, length in zip(offsets, lengths, strict=True)])
    one_day = timedelta(days=1) if times.dtype == object else np.timedelta64(1, "D")
    left = [(length - offset) / one_day for offset, length in zip(offsets, lengths, strict=True)]
    if max(left) < LAST_DAYS:
        return "end"
    if np.ptp(fractions) < _SAME_PLACE_IN_MONTH and abs(fractions.mean() - 0.5) < _SAME_PLACE_IN_MONTH:
        return "middle"
    return None


def _slot(time: Any, step: TimeStep, n: int) -> tuple[Any, Any]:
    return slot(time if isinstance(time, cftime.datetime) else _scalar64(time), step.slots, n)


def _scalar64(time: Any) -> Any:
    return time if isinstance(time, np.datetime64) else np.asarray(time).astype("datetime64[ns]")[()]


def _irregular(times: np.ndarray, differences: np.ndarray, source: str) -> str:
    seen, first, counts = np.unique(differences, return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:4]
    listed = ", ".join(
        f"{TimeStep('fixed', seconds=int(seen[k])).label} ({counts[k]}x, first after {text(times[first[k]])})"
        for k in order
    )
    more = f" and {seen.size - 4} more" if seen.size > 4 else ""
    return (
        f"{source}: expected one time step throughout (whole missing steps are allowed); found "
        f"{listed}{more}. {_remedy(times)}"
    )


def _remedy(times: np.ndarray) -> str:
    """Advice for an irregular step: to snap the times if they are nearly regular, else to resample."""
    nearly = snap(times)
    if nearly is not None:
        return (
            f"They are nearly regular ({nearly.told}): snap them with `--snap-times`, or `snap_times: "
            "true` of the grid specification."
        )
    return "Resample the file to one step (`ds.resample(time='6h').mean()`) or select a regular part of it."


def iso(time: Any) -> str:
    """Write a time (numpy.datetime64, datetime or cftime) as ISO 8601 text to the second."""
    text = time.isoformat() if hasattr(time, "isoformat") else str(time)
    return text.replace(" ", "T")[:19]

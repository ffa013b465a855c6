"""Times in any calendar: their step, where the step is broken, the time n steps on.

Times are NumPy datetime64 (proleptic Gregorian) or cftime objects (any calendar). Whole seconds are what
counts: float-coded times carry microseconds of rounding.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import cftime
import numpy as np

from stconv.clock import DAY, duration
from stconv.datasets.source.calendar_slots import PER_MONTH, slot, slot_index
from stconv.datasets.source.snapping import snap
from stconv.errors import TimeAxisError

SHORTEST_MONTH_SECONDS = 28 * DAY.seconds
LAST_DAYS = 1.5
"""A stamp that is no farther from the end of its month, or part of one, stands at the end."""
_SAME_PLACE_IN_MONTH = 0.06
"""Mid-month stamps (16 January 12:00, 15 February 00:00, ...) agree within this fraction of a month."""


@dataclass(frozen=True)
class TimeStep:
    """The distance between two neighboring times of a series.

    Attributes:
        kind: "fixed" (a number of seconds), "month", "year", "dekad" (a third of a month) or "pentad" (a
            sixth): calendar steps, unequal in seconds.
        seconds: Length of a fixed step in seconds, else 0.
        n: Number of months, years, dekads or pentads, else 1.
        anchor: Where a stamp of a calendar step stands in its month or part of one: "day" (same day and
            clock), "middle", "end".
    """

    kind: str
    seconds: int = 0
    n: int = 1
    anchor: str = "day"

    @property
    def label(self) -> str:
        """Short text, for example ``6h``, ``10min``, ``1d``, ``1month``, ``2year``."""
        if self.kind != "fixed":
            return f"{self.n}{self.kind}"
        return duration(self.seconds)

    @property
    def approximate_seconds(self) -> float:
        """Length in seconds; of a calendar step the mean Gregorian one."""
        if self.kind == "fixed":
            return float(self.seconds)
        return self.count * 365.2425 * DAY.seconds / (12 * PER_MONTH[self.slots])

    @property
    def slots(self) -> str:
        """What a calendar step counts: "month", also for years, "dekad" or "pentad"."""
        return "month" if self.kind == "year" else self.kind

    @property
    def count(self) -> int:
        """How many of them it is long."""
        return self.n * 12 if self.kind == "year" else self.n

    def times(self, k: int) -> TimeStep:
        """The k-fold step, for example to label lead k."""
        if self.kind == "fixed":
            return TimeStep("fixed", seconds=self.seconds * k)
        return TimeStep(self.kind, n=self.n * k, anchor=self.anchor)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TimeStep:
        """The inverse of `to_json`."""
        return cls(**values)


def time_step(times: Any, source: str = "the series") -> TimeStep:
    """Find the step of strictly increasing times; gaps of whole steps are allowed.

    The step is the smallest difference; it must make up half of all differences and divide the others. From
    28 days on, calendar months and years are preferred to seconds.

    Args:
        times: Strictly increasing datetime64 or cftime, (n,), n >= 2.
        source: What to call the series in a message.

    Returns:
        The step.

    Raises:
        TimeAxisError: Fewer than two times, duplicates, wrong order, or an irregular step.
    """
    times = np.asarray(times)
    if times.size < 2:
        raise TimeAxisError(
            f"{source} has {times.size} time(s); at least 2 are needed to know its step. "
            "Give more files, or a longer one."
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


def follows(times: Any, step: TimeStep) -> bool:
    """Whether increasing times are whole steps apart, at the place in their month that the step states.

    A few frames may have a simpler step as well: three dekads of one month are 10 days apart.
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
    """Steps missing between each time and the next one, int64, (n - 1,); 0 where one follows the other."""
    distances, whole = _distances(np.asarray(times), step)
    return distances // whole - 1


def advance(time: Any, step: TimeStep, n: int) -> Any:
    """The time n steps after `time` (before it for negative n), of the same type and calendar.

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
    """Round times to the second: days as floating-point numbers are some microseconds off."""
    if np.issubdtype(times.dtype, np.datetime64):
        exact = times.astype("datetime64[s]")
        if (exact == times).all():
            return times
        half = np.timedelta64(500_000_000, "ns")
        return (times.astype("datetime64[ns]") + half).astype("datetime64[s]").astype("datetime64[ns]")
    rounded = [time + timedelta(microseconds=500_000) for time in times.ravel()]
    return np.array([time.replace(microsecond=0) for time in rounded], dtype=object).reshape(times.shape)


def check_increasing(times: Any, source: str = "the series") -> None:
    """Hold times to strictly increasing order.

    Raises:
        TimeAxisError: A time occurs twice or is earlier than the one before; names times and positions.
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
            f"{source}: every time is expected once; {twice.size} of {unique.size} occur more than once, "
            f"first {text(twice[0])} at positions {positions}. "
            "Remove the repeated steps (`ds.drop_duplicates('time')`), or give files that do not overlap."
        )
    falls = np.flatnonzero(times[1:] < times[:-1])
    if falls.size:
        i = int(falls[0])
        raise TimeAxisError(
            f"{source}: times are expected to increase; {text(times[i])} at position {i} is followed by "
            f"{text(times[i + 1])} ({falls.size} such place(s)). Sort the file: `ds.sortby('time')`."
        )


def text(time: Any) -> str:
    """A time as people write it, without empty seconds: ``2013-01-01T06:00``."""
    if isinstance(time, cftime.datetime):
        return time.strftime("%Y-%m-%dT%H:%M")
    return str(np.datetime_as_string(_scalar64(time), unit="m"))


def calendar_of(times: Any) -> str:
    """CF name of the calendar: ``standard`` for datetime64, else the calendar of the cftime objects."""
    times = np.atleast_1d(np.asarray(times))
    return str(times[0].calendar) if times.dtype == object and times.size else "standard"


def _differences(times: np.ndarray) -> np.ndarray:
    """Differences between neighbors in whole seconds, int64, (n - 1,)."""
    if times.dtype == object:
        differences = [d / timedelta(seconds=1) for d in np.diff(times)]
        return np.rint(np.array(differences)).astype(np.int64)
    return np.rint(np.diff(times) / np.timedelta64(1, "s")).astype(np.int64)


def _distances(times: np.ndarray, step: TimeStep) -> tuple[np.ndarray, int]:
    """Distances between neighbors, int64, (n - 1,), and that of one step: in seconds, or in months."""
    if step.kind == "fixed":
        return _differences(times), step.seconds
    return np.diff(slot_index(times, step.slots)), step.count


def _common_step(differences: np.ndarray) -> int | None:
    """Smallest difference if at least half are equal to it and all are its multiples, else None."""
    smallest = int(differences.min())
    if smallest < 1:
        return smallest
    regular = bool(np.all(differences % smallest == 0)) and np.mean(differences == smallest) >= 0.5
    return smallest if regular else None


def _calendar_step(times: np.ndarray) -> TimeStep | None:
    """Step in months or years, else in dekads or pentads, if the stamps stand at the same place of each."""
    for kind in PER_MONTH:
        n = _common_step(np.diff(slot_index(times, kind)))
        anchor = _anchor(times, kind) if n is not None and n > 0 else None
        if n is None or anchor is None:
            continue
        if kind == "month" and n % 12 == 0:
            return TimeStep("year", n=n // 12, anchor=anchor)
        return TimeStep(kind, n=n, anchor=anchor)
    return None


def _anchor(times: np.ndarray, kind: str) -> str | None:
    """Where all stamps stand in their slots, None if there is no such place."""
    places = [slot(time, kind, 0) for time in times]
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
        f"{source}: one time step is expected throughout (whole missing steps are allowed); "
        f"found {listed}{more}. "
        f"{_remedy(times)}"
    )


def _remedy(times: np.ndarray) -> str:
    """What would help: the option that moves times to their step, where they nearly have one."""
    nearly = snap(times)
    if nearly is not None:
        return (
            f"They are nearly regular ({nearly.told}): snap them with `--snap-times`, or `snap_times: true` "
            "of the grid specification."
        )
    return "Resample the file to one step (`ds.resample(time='6h').mean()`) or select a regular part of it."


def iso(time: Any) -> str:
    """Write a time (numpy.datetime64, datetime or cftime) as ISO 8601 text to the second."""
    text = time.isoformat() if hasattr(time, "isoformat") else str(time)
    return text.replace(" ", "T")[:19]

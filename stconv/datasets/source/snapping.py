"""Snapping of nearly regular times (clocks that jitter, hours in float32) to their step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from stconv.clock import DAY, HOUR, MINUTE, duration
from stconv.datasets.source.calendar_slots import MONTH, SHORTEST_MONTH_SECONDS, slot, slot_index
from stconv.datasets.source.cycles import seconds_of_day
from stconv.errors import TimeAxisError

LARGEST_SHARE = 0.25
"""Largest move as a fraction of the step; times farther off are irregular."""
_SIXTIETHS = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)
STEPS = (
    *_SIXTIETHS,
    *(MINUTE.seconds * n for n in _SIXTIETHS),
    *(HOUR.seconds * n for n in (1, 2, 3, 4, 6, 8, 12)),
    *(DAY.seconds * n for n in (1, 2, 3, 4, 5, 7, 8, 10, 14, 16)),
)
"""Usual steps, in seconds."""
_CLOCK = (86_400, 43_200, 21_600, 10_800, 3_600, 1_800, 900, 600, 300, 60, 30, 15, 10, 5, 1)
"""Usual start times on the clock, in seconds, the roundest first."""


@dataclass(frozen=True)
class Snapped:
    """Times with a constant step.

    Attributes:
        times: Times of the former type, (n,).
        step: Time step, such as ``6h`` or ``1month``.
        moved_seconds: Largest move in seconds.
    """

    times: np.ndarray
    step: str
    moved_seconds: float

    @property
    def told(self) -> str:
        """Step and largest move in words."""
        moved = (
            f"{self.moved_seconds / DAY.seconds:.3g} d"
            if self.moved_seconds > DAY.seconds
            else f"{self.moved_seconds:.3g} s"
        )
        return f"steps of {self.step}, moved by at most {moved}"


def snap(times: np.ndarray) -> Snapped | None:
    """Move increasing times to whole steps, if they are nearly regular.

    The step is the one of `STEPS` that fits the times best; the first time moves to the roundest clock time
    within the deviations. Monthly times move to the middle or the start of their month. Whole missing steps
    stay missing.

    Args:
        times: Increasing datetime64 or cftime, (n,).

    Returns:
        The snapped times; None for fewer than three, or if one is off by more than a quarter of the step.
    """
    if times.size < 3:
        return None
    seconds = _seconds(times)
    usual = float(np.median(np.diff(seconds)))
    found = [
        (np.ptp(rest), step, count, rest)
        for step in STEPS
        if 0.7 * usual < step < 1.4 * usual
        for count, rest in [_departures(seconds, step)]
    ]
    if not found:
        return _in_months(times)
    spread, step, counts, rest = min(found, key=lambda entry: (entry[0], -entry[1]))
    clock = float(seconds_of_day(times[:1])[0])
    phase = _round_phase(clock, float(rest.min() + rest.max()) / 2, float(spread) / 2)
    moved = float(np.abs(rest - phase).max())
    if moved > LARGEST_SHARE * step:
        return None
    return Snapped(_moved(times[0], phase + counts * step, times.dtype), duration(step), moved)


def snapped(times: np.ndarray, source: str) -> Snapped:
    """Snap times that must be nearly regular.

    Raises:
        TimeAxisError: They are not nearly regular.
    """
    result = snap(times)
    if result is None:
        raise TimeAxisError(
            f"{source}: `snap_times` moves times by at most a quarter of their step, and these "
            f"{times.size} deviate more from every step. Resample the file to one step, or select a "
            "regular part of it."
        )
    return result


def _in_months(times: np.ndarray) -> Snapped | None:
    """Move one time of each month to the middle of the month, or all to the start if that is nearer."""
    apart = np.diff(slot_index(times, MONTH))
    if apart.min() < 1 or np.mean(apart == 1) < 0.5:
        return None
    months = [slot(time, MONTH, 0) for time in times]
    choices = [[start + length / 2 for start, length in months], [start for start, _ in months]]
    found = [np.array(choice, dtype=times.dtype) for choice in choices]
    moves = [float(np.abs(_in_seconds(there - times)).max()) for there in found]
    best = int(np.argmin(moves))
    if moves[best] > LARGEST_SHARE * SHORTEST_MONTH_SECONDS:
        return None
    return Snapped(found[best], "1month", moves[best])


def _departures(seconds: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of the nearest step for each time, int64, and the distance to it in seconds."""
    counts = np.concatenate([[0], np.cumsum(np.maximum(np.rint(np.diff(seconds) / step), 1))]).astype(
        np.int64
    )
    return counts, seconds - counts * step


def _round_phase(clock: float, middle: float, half: float) -> float:
    """Move of the first time in seconds, to the roundest clock time within reach."""
    reach = max(half, 0.5)
    for unit in _CLOCK:
        place = round((clock + middle) / unit) * unit - clock
        if abs(place - middle) <= reach:
            return place
    return middle


def _seconds(times: np.ndarray) -> np.ndarray:
    """Seconds after the first time, float64, (n,)."""
    return _in_seconds(times - times[0])


def _in_seconds(differences: np.ndarray) -> np.ndarray:
    if differences.dtype == object:
        return np.array([difference / timedelta(seconds=1) for difference in differences])
    return np.asarray(differences / np.timedelta64(1, "s"), dtype=np.float64)


def _moved(first: Any, seconds: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind == "O":
        return np.array([first + timedelta(seconds=float(s)) for s in seconds], dtype=object)
    return (first + np.rint(seconds).astype("timedelta64[s]")).astype(dtype)

"""The input window on a time axis: the newest complete one, or that of a given reference time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import cftime
import numpy as np

from stconv.datasets.source.calendar_slots import slot_index
from stconv.datasets.source.time_axis import TimeStep, advance, text
from stconv.errors import TimeAxisError, WindowError


class OlderWindowWarning(UserWarning):
    """Warning that the newest frames have a gap, so that an older window was used."""


class Frames:
    """Times of the available frames, matched to the second, or to the month or part of it for such steps.

    Args:
        times: Strictly increasing datetime64 or cftime, (n,).
        step: Time step between two frames.
    """

    def __init__(self, times: np.ndarray, step: TimeStep) -> None:
        self.times, self.step = times, step
        self._positions = {self._key(time): i for i, time in enumerate(times)}

    def __contains__(self, time: Any) -> bool:
        return self._key(time) in self._positions

    def positions(self, times: Sequence[Any]) -> list[int]:
        """Return the indices of times, all of which must be available."""
        return [self._positions[self._key(time)] for time in times]

    def window(self, reference: Any, offsets: Sequence[int]) -> list[Any]:
        """Return the times of the input frames of a reference time, oldest first, available or not."""
        return [advance(reference, self.step, offset) for offset in offsets]

    def lacking(self, reference: Any, offsets: Sequence[int]) -> list[Any]:
        """Return the times of the input frames that are missing."""
        return [time for time in self.window(reference, offsets) if time not in self]

    def extent(self) -> str:
        """Describe the number of frames, and their first and last time."""
        n = len(self.times)
        return f"{n} frame{'s' * (n != 1)} from {text(self.times[0])} to {text(self.times[-1])}"

    def _key(self, time: Any) -> Any:
        if self.step.kind != "fixed":
            # The middle of a month is stamped on the 15th or 16th, at noon or midnight: any stamp in the
            # month, dekad or composite is meant.
            return int(slot_index(np.array([time]), self.step.slots)[0])
        # Times stored as floating days carry microseconds of rounding.
        if isinstance(time, cftime.datetime):
            return (time + timedelta(milliseconds=500)).strftime("%Y-%m-%dT%H:%M:%S")
        return (time + np.timedelta64(500, "ms")).astype("datetime64[s]")


def find_reference(frames: Frames, offsets: Sequence[int], requested: Any = None) -> Any:
    """Choose the reference time, and check that all its input frames are available.

    Args:
        frames: Available frames.
        offsets: Steps of the input frames relative to the reference time, ascending, the last 0.
        requested: Reference time; by default that of the newest complete window.

    Returns:
        The reference time, in the type of the times.

    Raises:
        WindowError: There are fewer frames than a window needs.
        TimeAxisError: The reference time is not in the input, or there is a gap; the message names the
            missing times.
    """
    if len(frames.times) == 0:
        raise WindowError(f"The input has no frames; the model needs {len(offsets)}.")
    newest = frames.times[-1]
    if requested is not None:
        reference = parse_time(requested, newest)
        if reference not in frames:
            raise TimeAxisError(
                f"The reference time {text(reference)} is not in the input, which has {frames.extent()}. "
                "Choose one of its times."
            )
        (position,) = frames.positions([reference])
        reference = frames.times[position]
        require_frames(frames, reference, offsets)
        return reference
    for reference in frames.times[::-1]:
        if not frames.lacking(reference, offsets):
            return reference
    require_frames(frames, newest, offsets)
    return newest


def older_window(frames: Frames, offsets: Sequence[int], reference: Any) -> str:
    """Return the reason why a forecast does not start from the newest frame; empty if it does."""
    newest = frames.times[-1]
    if reference == newest:
        return ""
    lacking = ", ".join(map(text, frames.lacking(newest, offsets)))
    return (
        f"The newest frame is of {text(newest)}, but before it there is none of {lacking}. The forecast "
        f"starts from the newest complete window, that of {text(reference)}."
    )


def require_frames(frames: Frames, reference: Any, offsets: Sequence[int]) -> None:
    """Raise WindowError (too few frames) or TimeAxisError (a gap) unless all input frames are available."""
    lacking, n, step = frames.lacking(reference, offsets), len(offsets), frames.step
    if not lacking:
        return
    if all(time < frames.times[0] for time in lacking):
        raise WindowError(
            f"Too few frames: a forecast from {text(reference)} needs {n}, from "
            f"{text(advance(reference, step, offsets[0]))} on in steps of {step.label}; found "
            f"{n - len(lacking)} of them among {frames.extent()}. Give older frames too."
        )
    raise TimeAxisError(
        f"The input has a gap: a forecast from {text(reference)} needs {n} frames, and there is none of "
        f"{', '.join(map(text, lacking))}. Fill the gap, or choose a reference time that has {n} frames "
        f"in steps of {step.label}."
    )


def parse_time(value: Any, like: Any) -> Any:
    """Read a time in the type and calendar of another one.

    Raises:
        TimeAxisError: The text is not an ISO 8601 time, or not a time of the calendar.
    """
    if isinstance(like, cftime.datetime):
        if isinstance(value, cftime.datetime):
            return value
        string = value.isoformat() if isinstance(value, datetime) else str(value)
        for form in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"):
            try:
                return cftime.datetime.strptime(string[:19].replace(" ", "T"), form, calendar=like.calendar)
            except ValueError:
                continue
    else:
        try:
            return np.datetime64(value.removesuffix("Z") if isinstance(value, str) else value).astype(
                like.dtype
            )
        except (ValueError, TypeError):
            pass
    raise TimeAxisError(f"'{value}' is not a time; expected one like {text(like)}.")

"""Frames of a data source that carry a time in the future: a wrong clock, or a mistyped year."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import xarray as xr

from stconv.datasets.source.time_axis import TimeStep, advance, text
from stconv.dims import TIME
from stconv.forecast.window import Frames


def without_future(ds: xr.Dataset, step: TimeStep) -> tuple[xr.Dataset, list[str]]:
    """Leave out the frames that lie in the future behind a gap.

    Frames that go on without a gap are a series that runs ahead of the clock, such as a scenario, and stay.

    Args:
        ds: Canonical series.
        step: Time step of the model.

    Returns:
        The series, and the times of the frames that were left out.
    """
    limit = later_than_now()
    times = ds[TIME].values
    names = [text(time) for time in times]
    n = sum(name <= limit for name in names)
    if n == 0:
        return ds, []
    while n < len(times) and advance(times[n - 1], step, 1) in Frames(times[n : n + 1], step):
        n += 1
    return (ds.isel({TIME: slice(0, n)}), names[n:]) if n < len(times) else (ds, [])


def later_than_now() -> str:
    """A day from now, ISO 8601, UTC: clocks and time zones differ by less."""
    return (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S")

"""Nearly regular times are moved to their step, against the times that were made irregular."""

import cftime
import numpy as np
import pytest
import xarray as xr

from stconv.clock import duration
from stconv.datasets.inspection.inspect import describe
from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.grid import GridSpec, canonicalize, open_series
from stconv.datasets.source.snapping import snap
from stconv.errors import TimeAxisError

SECOND = np.timedelta64(1, "s")
START = np.datetime64("2000-01-01T12:00:00", "ns")


def regular(step, n=240, start=START):
    return start + np.arange(n) * step * SECOND


def jittered(times, seconds, seed=0):
    noise = np.random.default_rng(seed).uniform(-seconds, seconds, times.size)
    return times + np.rint(noise).astype("timedelta64[s]")


@pytest.mark.parametrize(
    ("step", "jitter"), [(600, 2), (600, 100), (3600, 338), (21600, 3000), (86400, 1800)]
)
@pytest.mark.parametrize("n", [5, 240])
def test_jitter_is_taken_away(step, jitter, n):
    expected = regular(step, n)
    times = jittered(expected, jitter)
    found = snap(times)
    np.testing.assert_array_equal(found.times, expected)
    assert found.step == duration(step)
    assert found.moved_seconds == pytest.approx(np.abs((times - expected) / SECOND).max())


def test_hours_as_float32_days():
    days = (np.arange(240) / 24 + 73000).astype("f4").astype(float)
    times = np.datetime64("1801-01-01", "ns") + np.rint(days * 86400).astype("timedelta64[s]")
    expected = np.datetime64("1801-01-01", "ns") + (73000 * 24 + np.arange(240)) * np.timedelta64(1, "h")
    found = snap(times)
    np.testing.assert_array_equal(found.times, expected)
    assert found.moved_seconds <= 338
    coded = cftime.num2date(
        days, "days since 1801-01-01", calendar="standard", only_use_cftime_datetimes=True
    )
    assert [t.isoformat()[:13] for t in snap(coded).times] == [str(t)[:13] for t in expected]


def test_missing_steps_stay_missing():
    expected = np.delete(regular(600), [3, 4, 100])
    np.testing.assert_array_equal(snap(jittered(expected, 20)).times, expected)


@pytest.mark.parametrize(
    "times",
    [regular(600, 2), jittered(regular(600), 290), START + np.cumsum(np.arange(1, 50)) * 3600 * SECOND],
    ids=["two times", "noise", "growing"],
)
def test_other_times_are_not_moved(times):
    assert snap(times) is None


def test_monthly_times_move_to_the_middle_or_the_start_of_their_month():
    months = np.arange("1998-12", "2001-06", dtype="M8[M]")
    starts = months.astype("M8[ns]")
    middles = starts + ((months + 1).astype("M8[ns]") - starts) / 2
    days = np.random.default_rng(0).integers(-2, 3, months.size) * np.timedelta64(1, "D")
    found = snap(middles + days)
    np.testing.assert_array_equal(found.times, middles)
    assert found.told == "steps of 1month, moved by at most 2 d"
    np.testing.assert_array_equal(snap(np.delete(starts + abs(days), 5)).times, np.delete(starts, 5))
    assert (
        snap(starts + np.random.default_rng(0).integers(0, 27, months.size) * np.timedelta64(1, "D")) is None
    )
    coded = cftime.num2date((middles + days - starts[0]) / np.timedelta64(1, "D"), "days since 1998-12-01")
    assert [t.isoformat() for t in snap(coded).times] == [str(t)[:19] for t in middles]


@pytest.mark.parametrize("days", [(1, 11, 21), (16,)])
def test_steps_of_the_calendar_are_not_moved(days, recwarn):
    texts = [f"{y}-{m:02d}-{d:02d}" for y in (2001, 2002) for m in range(1, 13) for d in days]
    times = np.array(texts, "datetime64[ns]")
    found, _ = canonicalize(dataset(times), GridSpec(snap_times=True))
    np.testing.assert_array_equal(found.time, times)
    assert not recwarn.list


def dataset(times):
    values = np.arange(times.size, dtype="f4")[:, None, None] + np.zeros((3, 4), "f4")
    coords = {"time": times, "lat": [1.0, 2, 3], "lon": [1.0, 2, 3, 4]}
    return xr.Dataset({"t2m": (("time", "lat", "lon"), values, {"units": "K"})}, coords)


def test_files_are_snapped_on_request_and_by_how_much_is_told(tmp_path):
    expected = regular(600, 40)
    times = jittered(expected, 2)
    dataset(times[:20]).to_netcdf(tmp_path / "a.nc")
    dataset(times[20:]).to_netcdf(tmp_path / "b.nc")
    with pytest.raises(TimeAxisError, match=r"steps of 10min, moved by at most 2 s.*`--snap-times`"):
        open_series(tmp_path)
    with pytest.warns(
        SourceWarning, match=r"the 2 files together: times snapped to steps of 10min, .* most 2 s"
    ):
        found, _ = open_series(tmp_path, GridSpec(snap_times=True))
    np.testing.assert_array_equal(found.time, expected)
    description, _ = describe(tmp_path, GridSpec(snap_times=True))
    assert description.step == "10min"
    assert any("snapped to steps of 10min" in sentence for sentence in description.advice)


def test_times_that_are_not_nearly_regular_are_refused():
    times = START + np.cumsum(np.arange(1, 10)) * 3600 * SECOND
    with pytest.raises(TimeAxisError, match="`snap_times` moves times by at most a quarter of their step"):
        canonicalize(dataset(times), GridSpec(snap_times=True))

"""Files with different calendars and ages in one series."""

import numpy as np
import pytest
import xarray as xr

from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.grid import open_series
from stconv.errors import TimeAxisError


def write(path, units, calendar="standard", n=4, first=0.0):
    values = np.zeros((n, 2, 3), "f4") + np.arange(n)[:, None, None]
    time = ("time", first + np.arange(n, dtype=float), {"units": units, "calendar": calendar})
    coords = {"time": time, "lat": [1.0, 2.0], "lon": [1.0, 2.0, 3.0]}
    xr.Dataset({"t2m": (("time", "lat", "lon"), values, {"units": "K"})}, coords).to_netcdf(path)


def days(ds):
    return [(t.item().isoformat() if ds.time.dtype == object else str(t.values))[:10] for t in ds.time]


@pytest.mark.parametrize("calendar", ["gregorian", "proleptic_gregorian", "standard"])
def test_names_of_the_gregorian_calendar_are_one(tmp_path, calendar):
    write(tmp_path / "a.nc", "days since 2001-01-01")
    write(tmp_path / "b.nc", "days since 2001-01-05", calendar)
    ds, origin = open_series(tmp_path)
    assert days(ds) == [f"2001-01-0{k}" for k in range(1, 9)]
    assert origin.calendar == "standard"


@pytest.mark.parametrize(
    ("first", "second"),
    [("1677-09-18", "1677-09-22"), ("2262-04-08", "2262-04-12"), ("1677-09-22", "1677-09-26")],
)
def test_files_around_the_ends_of_datetime64_join(tmp_path, first, second):
    write(tmp_path / "a.nc", f"days since {first}")
    write(tmp_path / "b.nc", f"days since {second}", "proleptic_gregorian")
    ds, _ = open_series(tmp_path)
    start = np.datetime64(first)
    assert days(ds) == [str(start + k) for k in range(8)]


def test_files_of_very_different_dates_join(tmp_path):
    for name, date in (("a", "1601-01-01"), ("b", "2001-01-01"), ("c", "2401-01-01")):
        write(tmp_path / f"{name}.nc", f"days since {date}")
    ds, _ = open_series(tmp_path)
    assert days(ds)[::4] == ["1601-01-01", "2001-01-01", "2401-01-01"]


def test_dates_of_noleap_stay_what_they_are(tmp_path):
    write(tmp_path / "a.nc", "days since 2004-02-26", "noleap")
    write(tmp_path / "b.nc", "days since 2004-03-02")
    with pytest.warns(SourceWarning, match="calendars noleap, standard; .* dates of 'standard'"):
        ds, origin = open_series(tmp_path)
    assert days(ds)[:5] == ["2004-02-26", "2004-02-27", "2004-02-28", "2004-03-01", "2004-03-02"]
    assert origin.calendar == "standard"


def test_calendars_with_other_days_are_refused(tmp_path):
    write(tmp_path / "a.nc", "days since 2001-01-01")
    write(tmp_path / "b.nc", "days since 2001-02-01", "360_day")
    with pytest.raises(TimeAxisError, match=r"has calendar '360_day', .*convert_calendar\('standard'"):
        open_series(tmp_path)
    write(tmp_path / "a.nc", "days since 1500-01-01")
    write(tmp_path / "b.nc", "days since 1600-01-01", "proleptic_gregorian")
    with pytest.raises(TimeAxisError, match="before 15 October 1582"):
        open_series(tmp_path)

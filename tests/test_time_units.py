"""Units of times: dates with one reading, dates with several, zones; against dates by hand."""

import netCDF4
import numpy as np
import pytest

from stconv.datasets.source.grid import GridSpec, open_series
from stconv.datasets.source.time_units import read_time_units
from stconv.errors import TimeAxisError

READ = [
    ("hours since 1900-01-01 00:00:00.0", "1900-01-01T00:00"),
    ("days since 13-02-2001", "2001-02-13T00:00"),
    ("days since 02-13-2001 06:00", "2001-02-13T06:00"),
    ("days since 02/02/2001", "2001-02-02T00:00"),
    ("days since 2001/02/03", "2001-02-03T00:00"),
    ("days since 20010203", "2001-02-03T00:00"),
    ("days since 2001-02", "2001-02-01T00:00"),
    ("days since 3 February 2001 12:00", "2001-02-03T12:00"),
    ("days since 3-Feb-2001", "2001-02-03T00:00"),
    ("days since Feb 3, 2001", "2001-02-03T00:00"),
    ("hours since 2001-01-01 00:00:00 -5:00", "2001-01-01T05:00"),
    ("hours since 2001-01-01T00:00:00+0530", "2000-12-31T18:30"),
    ("hours since 2001-01-01 06:00 UTC", "2001-01-01T06:00"),
    ("seconds since 2001-01-01T00:00:00Z", "2001-01-01T00:00"),
    ("weeks since 2001-01-01", "2001-01-01T00:00"),
    ("months since 15 January 2001", "2001-01-15T00:00"),
    ("Days Since 2001-02-03", "2001-02-03T00:00"),
    ("days since: 2001-02-03", "2001-02-03T00:00"),
    ("hours from 2001-02-03 06:00", "2001-02-03T06:00"),
    ("days after 2001-02-03", "2001-02-03T00:00"),
    ("hours since 2001-02-03 00:00:00 UTC+02:00", "2001-02-02T22:00"),
]
REFUSED = [
    ("days since 11-02-2001", r"'11-02-2001' may be day 11 of month 2 or day 2 of month 11"),
    ("days since 01/02/2000 00:00", "may be day 1 of month 2 or day 2 of month 1"),
    ("days since 85-01-01", "two digits: it may be 85, 1985 or 2085"),
    ("days since 01-01-01", "has two digits"),
    ("hours since 2001-01-01 00:00:00 EST", "'EST' is not an offset from UTC, and names"),
    ("hours since 2001-01-01 00:00 Europe/Paris", "'Europe/Paris' is not an offset from UTC"),
    ("days since 31-04-2001", "is not a time of calendar 'standard'"),
    ("days since yesterday", "'yesterday' does not begin with a date"),
    ("days since 20 Floreal 2001", "'Floreal' in .* is no month"),
    ("days since 2001/01/01 noonish at best", "is not an offset from UTC"),
    ("days since 2001-02-30", r"'2001-02-30' is not a time of calendar 'standard' \(invalid day number\)"),
    ("days since 2001-01-01 24:00", r"is not a time of calendar 'standard' \(invalid hour\)"),
    ("days since 0000-01-00", "the reference is no date"),
    ("fortnights since 2001-01-01", "'fortnights' is no unit of time such as days, hours or seconds"),
    ("days since -4712-01-01 12:00", "before the year 1, where calendar 'standard' has a year 0 for some"),
]


def write(path, units, values=range(4), calendar="standard"):
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in (("time", len(values)), ("lat", 2), ("lon", 3)):
            file.createDimension(dim, size)
        time = file.createVariable("time", "f8", ("time",))
        time.units, time.calendar, time[:] = units, calendar, list(values)
        for dim, unit in (("lat", "degrees_north"), ("lon", "degrees_east")):
            axis = file.createVariable(dim, "f8", (dim,))
            axis.units, axis[:] = unit, np.arange(file.dimensions[dim].size)
        field = file.createVariable("t2m", "f4", ("time", "lat", "lon"))
        field.units, field[:] = "K", np.arange(len(values))[:, None, None] + np.zeros((2, 3))
    return path


def minutes(ds):
    return [str(time)[:16] for time in ds.time.values]


@pytest.mark.parametrize(("units", "first"), READ)
def test_dates_with_one_reading(tmp_path, units, first):
    assert minutes(open_series(write(tmp_path / "a.nc", units))[0])[0] == first


def test_the_start_of_julian_days_is_read_where_the_calendar_has_a_year_0(tmp_path):
    units = "days since -4713-11-24 12:00"
    days = np.arange(2451910.5, 2451914)  # 2451910.5 is 2001-01-01 00 UTC
    found, _ = open_series(write(tmp_path / "a.nc", units, days, calendar="proleptic_gregorian"))
    assert minutes(found)[0] == "2001-01-01T00:00"


def test_calendars_and_fractions_of_months_that_are_not_known_are_named(tmp_path):
    with pytest.raises(TimeAxisError, match=r"calendar 'mars' is not known \(expected one of standard, "):
        open_series(write(tmp_path / "a.nc", "days since 2001-01-01", calendar="mars"))
    with pytest.raises(TimeAxisError, match="a fraction of a month has no fixed length; only whole and half"):
        open_series(write(tmp_path / "b.nc", "months since 2001-01-01", np.arange(4) + 0.3))


def test_months_as_digits(tmp_path):
    path = tmp_path / "a.nc"
    write(path, "1", [200011, 200012, 200101, 200102])
    with netCDF4.Dataset(path, "a") as file:
        file["time"].delncattr("units")
    found, _ = open_series(path)
    assert [text[:10] for text in minutes(found)] == ["2000-11-01", "2000-12-01", "2001-01-01", "2001-02-01"]


@pytest.mark.parametrize(("units", "reason"), REFUSED)
def test_dates_with_several_readings_are_refused_with_the_reason(tmp_path, units, reason):
    with pytest.raises(TimeAxisError, match=f"time 'time' cannot be decoded with units .*{reason}"):
        open_series(write(tmp_path / "a.nc", units))


def test_the_user_says_how_dates_are_written(tmp_path):
    for day in (11, 12, 13, 14):
        write(tmp_path / f"{day}.nc", f"hours since {day}-02-2001 00:00:00", (0, 6, 12, 18))
    with pytest.raises(TimeAxisError, match=r"state the form of the date: 'hours since %d-%m-%Y'"):
        open_series(tmp_path)
    ds, _ = open_series(tmp_path, GridSpec(time_units="hours since %d-%m-%Y"))
    assert minutes(ds)[::15] == ["2001-02-11T00:00", "2001-02-14T18:00"]
    assert ds.sizes["time"] == 16
    path = write(tmp_path / "11.nc", "hours since 2001-01-01 00:00:00 EST")
    ds, _ = open_series(path, GridSpec(time_units="hours since 2001-01-01 00:00 -5:00"))
    assert minutes(ds)[0] == "2001-01-01T05:00"


def test_another_variable_with_odd_units_is_no_hindrance(tmp_path):
    path = write(tmp_path / "a.nc", "days since 2001-01-01")
    with netCDF4.Dataset(path, "a") as file:
        issued = file.createVariable("issued", "f8", ("time",))
        issued.units, issued[:] = "hours since 01-02-2001 EST", 0.0
    ds, _ = open_series(path)
    assert minutes(ds)[-1] == "2001-01-04T00:00"


def test_times_beyond_nanoseconds_do_not_wrap(tmp_path):
    ds, _ = open_series(write(tmp_path / "a.nc", "months since 1850-01-01", (4999, 5000, 5001)))
    assert [(t.year, t.month) for t in ds.time.values] == [(2266, 8), (2266, 9), (2266, 10)]
    with netCDF4.Dataset(tmp_path / "a.nc", "a") as file:
        file.variables["time"].delncattr("units")
        file.variables["time"][:] = [15000101, 15000102, 15000103]
    ds, _ = open_series(tmp_path / "a.nc")
    assert [(t.year, t.day) for t in ds.time.values] == [(1500, 1), (1500, 2), (1500, 3)]


def test_an_offset_is_applied_in_the_calendar():
    assert read_time_units("hours since 30-02-2001 20:00 -5:00", "360_day").reference == "2001-03-01T01:00:00"
    with pytest.raises(TimeAxisError, match="'noon' is not of the form 'UNIT since DATE'"):
        read_time_units("noon")

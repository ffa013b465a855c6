"""Amounts per step from accumulations, against the amounts that were summed up."""

import numpy as np
import pytest
import xarray as xr

from stconv.datasets.source.grid import GridSpec, canonicalize, open_series
from stconv.errors import ConfigError, TimeAxisError, VariableError


def land(n_days=3, first_hour=1):
    """Hourly rain, and what ERA5-Land makes of it: sums since 00 UTC, that of a day at 00 of the next."""
    rain = np.random.default_rng(0).uniform(0, 1e-3, (24 * n_days, 2, 3))
    sums = np.cumsum(rain.reshape(n_days, 24, 2, 3), axis=1).reshape(rain.shape)
    times = np.datetime64("2001-01-01T01", "ns") + np.arange(24 * n_days) * np.timedelta64(1, "h")
    coords = {"time": times, "lat": [1.0, 2.0], "lon": [1.0, 2.0, 3.0]}
    ds = xr.Dataset({"tp": (("time", "lat", "lon"), sums, {"units": "m"})}, coords)
    return ds.isel(time=slice(first_hour - 1, None)), rain[first_hour - 1 :]


def test_amounts_are_those_summed_up():
    ds, rain = land()
    found, _ = canonicalize(ds, GridSpec(accumulated={"tp": "1d"}))
    np.testing.assert_allclose(found.tp, rain, atol=1e-8)
    assert found.tp.attrs["units"] == "m"
    assert found.tp.dtype == np.float32
    in_mm, _ = canonicalize(ds, GridSpec(accumulated={"tp": "1d"}, units={"tp": "mm"}))
    np.testing.assert_allclose(in_mm.tp, 1000 * rain, atol=1e-5)


def test_what_the_series_does_not_tell_is_missing():
    ds, rain = land(first_hour=5)
    found, _ = canonicalize(ds, GridSpec(accumulated={"tp": "1d"}))
    assert bool(found.tp[0].isnull().all())
    np.testing.assert_allclose(found.tp[1:], rain[1:], atol=1e-8)
    gap = np.delete(
        np.arange(ds.sizes["time"]), [10, 19]
    )  # 15 UTC, and 00 UTC, before the first hour of a day
    found, _ = canonicalize(ds.isel(time=gap), GridSpec(accumulated={"tp": "1d"}))
    assert [int(i) for i in np.flatnonzero(found.tp.isnull().all(("lat", "lon")))] == [0, 10]
    np.testing.assert_allclose(found.tp[18], rain[20], atol=1e-8)


def test_across_files_and_from_disk(tmp_path, monkeypatch):
    ds, rain = land()
    for day in range(3):
        ds.isel(time=slice(24 * day - (day > 0), 24 * day + 23)).to_netcdf(tmp_path / f"{day}.nc")
    monkeypatch.setattr("stconv.datasets.source.grid.MEMORY_BYTES", 100)
    found, _ = open_series(tmp_path, GridSpec(accumulated={"tp": "1d"}))
    assert found.tp.chunks is not None
    np.testing.assert_allclose(found.tp, rain[:71], atol=1e-8)


@pytest.mark.parametrize(
    ("accumulated", "error", "message"),
    [
        ({"tp": "5h"}, ConfigError, "a fraction of a day such as 1d, 12h or 6h"),
        ({"tp": "yes"}, ConfigError, "the time from one forecast start to the next"),
        (
            {"tp": "30min"},
            TimeAxisError,
            "'tp' accumulates over 30min, which is not a multiple of the step 1h",
        ),
        ({"rain": "1d"}, VariableError, "no variable 'rain' to convert from an accumulation; available: tp"),
    ],
)
def test_what_cannot_be_is_refused(accumulated, error, message):
    with pytest.raises(error, match=message):
        canonicalize(land()[0], GridSpec(accumulated=accumulated))

"""Amounts per step from accumulations, against the amounts that were summed up."""

import numpy as np
import pytest
import xarray as xr

from stconv.datasets.inspection.inspect import describe
from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.grid import GridSpec, canonicalize, open_series
from stconv.datasets.source.layouts import unfold
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


def forecasts(starts=(6, 18), hours=12, n_days=4, every=1):
    """Hourly rain, and its sums since the start of each forecast: (reference time, step, lat, lon)."""
    rain = np.random.default_rng(1).uniform(0, 1e-3, (24 * (n_days + 1), 2, 3))
    begins = [24 * day + start for day in range(n_days) for start in starts]
    sums = np.stack([np.cumsum(rain[b : b + hours], axis=0)[every - 1 :: every] for b in begins])
    first = np.datetime64("2001-01-01", "ns")
    coords = {
        "time": first + np.array(begins) * np.timedelta64(1, "h"),
        "step": ("step", np.arange(every, hours + 1, every), {"units": "hours"}),
        "lat": [1.0, 2.0],
        "lon": [1.0, 2.0, 3.0],
    }
    ds = xr.Dataset({"tp": (("time", "step", "lat", "lon"), sums, {"units": "m"})}, coords)
    amounts = rain[begins[0] : begins[0] + 24 * n_days].reshape(-1, every, 2, 3).sum(1)
    return ds, amounts


@pytest.mark.parametrize(
    ("starts", "hours", "every", "stated"),
    [
        ((6, 18), 12, 1, "12h from 06:00"),
        ((0, 12), 12, 3, "12h"),
        ((0,), 24, 1, "1d"),
        ((3,), 24, 3, "1d from 03:00"),
    ],
)
def test_successive_forecasts_become_one_series_of_amounts(tmp_path, starts, hours, every, stated):
    ds, amounts = forecasts(starts, hours, every=every)
    ds.to_netcdf(tmp_path / "a.nc")
    description, _ = describe(tmp_path / "a.nc")
    assert any(f"`--accumulated 'tp={stated}'`" in sentence for sentence in description.advice)
    found, _ = open_series(tmp_path / "a.nc", GridSpec(accumulated={"tp": stated}))
    np.testing.assert_allclose(found.tp, amounts, atol=1e-8)
    assert found.time.values[0] == np.datetime64("2001-01-01") + np.timedelta64(starts[0] + every, "h")
    for other in {"1d", "12h", "6h", "12h from 06:00", "1d from 06:00"} - {stated}:
        with pytest.raises(
            VariableError, match=rf"restart every {stated}: state `accumulated: .tp: {stated}.`"
        ):
            open_series(tmp_path / "a.nc", GridSpec(accumulated={"tp": other}))


def test_amounts_are_not_taken_for_accumulations():
    ds, rain = land()
    ds["tp"] = ds.tp.copy(data=rain)
    with pytest.raises(VariableError, match="restart at no regular times, or are amounts per step already"):
        canonicalize(ds, GridSpec(accumulated={"tp": "1d"}))


def test_a_dry_series_and_a_flux_of_either_sign_contradict_nothing():
    ds, rain = land()
    dry, _ = canonicalize(ds.assign(tp=0 * ds.tp), GridSpec(accumulated={"tp": "1d"}))
    assert float(abs(dry.tp).max()) == 0
    noise = np.abs(np.random.default_rng(3).normal(1e-4, 1e-7, rain.shape))  # a dry day after rain, packed
    few, _ = canonicalize(
        ds.assign(tp=ds.tp.copy(data=noise)).isel(time=slice(3, 12)), GridSpec(accumulated={"tp": "1d"})
    )
    assert few.sizes["time"] == 9
    flux = np.random.default_rng(2).normal(0, 1, rain.shape)
    sums = np.cumsum(flux.reshape(3, 24, 2, 3), axis=1).reshape(flux.shape)
    found, _ = canonicalize(ds.assign(tp=ds.tp.copy(data=sums)), GridSpec(accumulated={"tp": "1d"}))
    np.testing.assert_allclose(found.tp, flux, atol=1e-5)


def test_forecasts_begin_and_end_with_their_first_and_last_frame():
    ds, amounts = forecasts((0,), 24)
    ds["tp"][0, :5] = np.nan
    ds["tp"][-1, -2:] = np.nan
    ds["step"] = ds.step.astype("timedelta64[h]").astype("timedelta64[ns]")
    found, _ = canonicalize(unfold(ds, GridSpec(), "dataset"), GridSpec())
    assert found.sizes["time"] == amounts.shape[0] - 7
    assert found.time.values[0] == np.datetime64("2001-01-01T06")


def test_a_field_without_steps_beside_forecasts_is_told():
    ds, _ = forecasts((0,), 24)
    ds["t2m"] = ds.tp.isel(step=0, drop=True)
    with pytest.warns(SourceWarning, match="'t2m' is left out, since only one of 'time' and 'step' is among"):
        assert list(unfold(ds, GridSpec(), "dataset").data_vars) == ["tp"]


def test_overlapping_forecasts_are_not_one_series():
    ds, _ = forecasts((0, 12), 24)
    with pytest.raises(VariableError, match=r"Choose one value with `select: .step: VALUE.`"):
        canonicalize(unfold(ds, GridSpec(), "dataset"))
    ds, _ = forecasts((0, 12), 12)
    at_three, _ = canonicalize(
        unfold(ds, GridSpec(select={"step": 3}), "dataset"), GridSpec(select={"step": 3})
    )
    assert at_three.sizes["time"] == 8


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
        ({"tp": "12h from 06"}, ConfigError, "as in '12h from 06:00'"),
        ({"tp": "1d from 00:30"}, TimeAxisError, "2001-01-01T01:00:00, is not a whole number of steps of 1h"),
        ({"rain": "1d"}, VariableError, "no variable 'rain' to convert from an accumulation; available: tp"),
    ],
)
def test_what_cannot_be_is_refused(accumulated, error, message):
    with pytest.raises(error, match=message):
        canonicalize(land()[0], GridSpec(accumulated=accumulated))

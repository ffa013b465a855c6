"""Gaps of the time axis filled with frames without values, from the file to the forecast."""

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stconv.cli.main import main
from stconv.datasets.inspection.inspect import describe
from stconv.datasets.source.gaps import fill_gaps
from stconv.datasets.source.grid import canonicalize, open_series
from stconv.datasets.source.grid_spec import GridSpec
from stconv.errors import ConfigError


def series(times):
    times = np.asarray(times)
    values = np.arange(times.size * 6, dtype=np.float32).reshape(times.size, 2, 3)
    return xr.Dataset(
        {"t": (("time", "lat", "lon"), values, {"units": "K"})},
        coords={"time": times, "lat": [10.0, 20.0], "lon": [0.0, 5.0, 10.0]},
    )


def hours(*steps):
    return np.datetime64("2001-01-01T00", "ns") + np.array(steps) * np.timedelta64(6, "h")


def test_short_gaps_are_filled_and_longer_ones_stay():
    ds = series(hours(0, 1, 3, 4, 7, 8, 12, 13, 14, 15, 16))  # 1, 2 and 3 missing
    filled = fill_gaps(ds, 2)
    np.testing.assert_array_equal(filled.time, hours(*range(9), 12, 13, 14, 15, 16))
    lacking = [2, 5, 6]
    assert np.isnan(filled.t.isel(time=lacking)).all()
    xr.testing.assert_identical(filled.drop_isel(time=lacking), ds)
    assert fill_gaps(ds, 3).sizes["time"] == 17
    assert fill_gaps(ds, 0) is ds
    assert fill_gaps(ds.isel(time=[0]), 2).sizes["time"] == 1


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2001-01-31", periods=24, freq="ME").values,
        np.array([cftime.DatetimeNoLeap(2000 + i // 12, i % 12 + 1, 16, 12) for i in range(24)]),
        np.array([cftime.Datetime360Day(2000, 1 + i // 30, 1 + i % 30) for i in range(24)]),
        pd.date_range("1990-01-01", periods=24, freq="YS").values,
    ],
)
def test_any_calendar_and_step(times):
    filled = fill_gaps(series(np.delete(times, [3, 10, 11])), 2)
    months = [(t.year, t.month) for t in pd.Series(filled.time.values)]
    assert months == [(t.year, t.month) for t in pd.Series(times)]
    if times.dtype == object:
        assert filled.time.values[3].calendar == times[3].calendar
    assert np.isnan(filled.t.isel(time=[3, 10, 11])).all()


@given(st.sets(st.integers(1, 38), max_size=12))
def test_it_is_what_pandas_says(lost):
    whole = series(hours(*range(40)))
    ds = whole.isel(time=[i for i in range(40) if i not in lost])
    expected = ds.reindex(time=pd.date_range("2001-01-01", periods=40, freq="6h"))
    xr.testing.assert_identical(fill_gaps(ds, 40), expected)


def test_on_disk_it_stays_on_disk():
    ds = series(hours(0, 1, 2, 4, 5, 6)).chunk(time=2)
    filled = fill_gaps(ds, 1)
    assert filled.t.chunks is not None
    np.testing.assert_array_equal(filled.t.values, fill_gaps(ds.compute(), 1).t.values)


def test_a_negative_length_is_refused():
    with pytest.raises(
        ConfigError, match="fill_gaps is -1; expected the number of missing steps in the longest gap"
    ):
        GridSpec(fill_gaps=-1)


def test_gaps_between_files_and_in_a_dataset(tmp_path):
    ds = series(hours(0, 1, 2, 4, 5, 6))
    ds.isel(time=slice(0, 3)).to_netcdf(tmp_path / "a.nc")
    ds.isel(time=slice(3, None)).to_netcdf(tmp_path / "b.nc")
    from_files, _ = open_series(tmp_path, GridSpec(fill_gaps=1))
    in_memory, _ = canonicalize(ds, GridSpec(fill_gaps=1))
    for found in (from_files, in_memory):
        np.testing.assert_array_equal(found.time, hours(*range(7)))
        assert np.isnan(found.t[3]).all()
        assert np.isfinite(found.t[4]).all()


def test_inspect_counts_the_windows_that_reach_across_and_the_experiment_fills_alike(tmp_path, capsys):
    lost = {20, 41, 42, 70, 71, 72}
    series(hours(*[i for i in range(120) if i not in lost])).to_netcdf(tmp_path / "a.nc")
    file = tmp_path / "a.yaml"
    assert main(["inspect", str(tmp_path / "a.nc"), "--write-config", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "windows of 5 steps in, 5 out: 111, of which" not in shown  # of an unbroken series
    assert f"out: {(70 - 9) + (120 - 73 - 9)}, of which" in shown  # broken by the gap of three alone
    assert "3 gaps with 6 missing steps, 3 of them filled with empty frames" in shown
    assert "no window spans the longer ones" in shown
    data = yaml.safe_load(file.read_text())["data"]
    assert data["source"]["grid"] == {"fill_gaps": 2}
    assert data["preparation"]["mask_channel"]
    assert data["preparation"]["impute"] == "neighbors"
    found, _ = describe(tmp_path / "a.nc")
    assert found.filled_steps == 0
    assert found.n_windows == (20 - 9) + (20 - 9) + (27 - 9) + (47 - 9)
    file.unlink()
    main(["inspect", str(tmp_path / "a.nc"), "--fill-gaps", "0", "--write-config", str(file)])
    assert "grid" not in yaml.safe_load(file.read_text())["data"]["source"]


def test_a_series_without_gaps_is_not_filled(tmp_path):
    series(hours(*range(60))).to_netcdf(tmp_path / "a.nc")
    assert main(["inspect", str(tmp_path / "a.nc"), "--write-config", str(tmp_path / "a.yaml")]) == 0
    assert "grid" not in yaml.safe_load((tmp_path / "a.yaml").read_text())["data"]["source"]

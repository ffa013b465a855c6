"""Further sources: brought to the grid and the steps of the series, without a value from the future."""

import numpy as np
import pytest
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.settings import SourceSettings, WindowSettings
from stconv.datasets.source.further import FurtherSource, relocated
from stconv.datasets.source.grid import GridSpec, open_series
from stconv.errors import ConfigError, FileError, GridError, TimeAxisError, VariableError
from stconv.plain import to_plain

LAT, LON = np.arange(-20.0, 21, 5), np.arange(-180.0, 180, 10)
START, HOUR = np.datetime64("2001-01-01", "ns"), np.timedelta64(1, "h")


def made(name, lat, lon, n, hours, values=None, **attrs):
    if values is None:
        values = np.random.default_rng(n).normal(280, 10, (n, lat.size, lon.size)).astype("f4")
    return xr.Dataset(
        {name: (("time", "lat", "lon"), values.astype("f4"), {"units": "K", **attrs})},
        {
            "time": START + np.arange(n) * hours * HOUR,
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    )


@pytest.fixture
def series(tmp_path):
    path = tmp_path / "air.nc"
    made("air", LAT, LON, 48, 6).to_netcdf(path)
    return path


def opened(series, other, **settings):
    path = series.with_name("other.nc")
    other.to_netcdf(path)
    name = next(iter(other.data_vars))
    spec = GridSpec(sources=[FurtherSource(str(path), [name], **settings)])
    return open_series(series, spec, ["air", name])


def test_bilinear_is_that_of_scipy_and_goes_around_the_globe(series):
    lat, lon = np.arange(-30.0, 31, 4), np.arange(0.0, 360, 7.5)
    other = made("sst", lat, lon, 48, 6)
    found, origin = opened(series, other)
    around = np.concatenate([lon - 360, lon, lon + 360])
    values = np.concatenate([other.sst.values.astype(float)] * 3, axis=2)
    points = np.stack(np.meshgrid(LAT, LON, indexing="ij"), axis=-1)
    for step in (0, 47):
        expected = RegularGridInterpolator((lat, around), values[step])(points)
        np.testing.assert_allclose(found.sst[step], expected, rtol=1e-6)
    assert list(found.data_vars) == ["air", "sst"]
    assert found.sst.dims == found.air.dims
    assert "sst" in origin.fields


def test_conservative_keeps_the_mean_over_areas(series):
    pytest.importorskip("xarray_regrid")
    lat, lon = np.arange(-23.75, 24, 2.5), np.arange(-183.75, 176, 2.5)
    other = made("rain", lat, lon, 48, 6)
    found, _ = opened(series, other, regrid="conservative")
    low, high = np.radians(lat - 1.25), np.radians(lat + 1.25)
    area = (np.sin(high) - np.sin(low))[:, None] * np.ones(lon.size)
    row, column = 4, 17  # the cell -2.5 to 2.5 north, and 10 degrees of longitude
    inside = (abs(lat - LAT[row]) < 2.5)[:, None] & (abs(lon - LON[column]) < 5)
    expected = np.average(other.rain[3].values[inside], weights=area[inside])
    assert float(found.rain[3, row, column]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("hours", "settings"),
    [
        (1, {}),
        (1, {"combine": "last"}),
        (1, {"combine": "max", "delay": "2h"}),
        (6, {"delay": "6h"}),
        (24, {}),
        (24, {"delay": "1d"}),
        (6, {}),
    ],
)
def test_nothing_after_the_reference_time_enters(series, hours, settings):
    n = 48 * 6 // hours
    other = made("sst", LAT, LON, n, hours)
    delay = {"2h": 2, "6h": 6, "1d": 24}.get(settings.get("delay"), 0)
    before, _ = opened(series, other, **settings)
    for step in (9, 30):
        known = other.time.values + delay * HOUR <= before.time.values[step]
        spoiled = other.copy(deep=True)
        spoiled.sst[~known] = 9e3
        after, _ = opened(series, spoiled, **settings)
        np.testing.assert_array_equal(after.sst[: step + 1], before.sst[: step + 1])
        if known.any():
            assert np.isfinite(before.sst[step]).all()


def test_steps_are_combined_and_carried_on_by_hand(series):
    hourly = made("sst", LAT, LON, 288, 1)
    found, _ = opened(series, hourly)
    np.testing.assert_allclose(found.sst[2], hourly.sst[7:13].mean("time"), rtol=1e-6)
    found, _ = opened(series, hourly, combine="sum", delay="1h")
    np.testing.assert_allclose(found.sst[2], hourly.sst[6:12].sum("time"), rtol=1e-6)
    daily = made("sst", LAT, LON, 12, 24)
    found, _ = opened(series, daily, delay="1d")
    assert np.isnan(found.sst[:4]).all()
    for step in (4, 7, 8):
        np.testing.assert_array_equal(found.sst[step], daily.sst[(step - 4) // 4])


def test_an_interval_without_a_delay_is_refused(series):
    daily = made("sst", LAT, LON, 12, 24, cell_methods="time: mean")
    with pytest.raises(TimeAxisError, match=r"'sst' of .*other\.nc holds a mean over an interval .*`delay`"):
        opened(series, daily)
    assert np.isfinite(opened(series, daily, delay="1d")[0].sst[4:]).all()


def test_grids_that_cannot_be_joined_are_refused(series):
    away = made("sst", np.arange(60.0, 80, 5), LON, 48, 6)
    with pytest.raises(GridError, match=r"other\.nc covers lat 60 to 75, the series -20 to 20: they do not"):
        opened(series, away)
    projected = made("sst", LAT, LON, 48, 6).rename(lat="y", lon="x")
    projected = projected.assign_coords(
        y=("y", np.arange(9.0) * 1000, {"units": "m"}), x=("x", np.arange(36.0) * 1000, {"units": "m"})
    )
    with pytest.raises(GridError, match="one of them is a projected or pixel grid"):
        opened(series, projected)
    again = series.with_name("again.nc")
    made("air", LAT, LON, 48, 6).to_netcdf(again)
    with pytest.raises(VariableError, match=r"'air' is in .*again\.nc and in the series itself"):
        open_series(series, GridSpec(sources=[FurtherSource(str(again), ["air"])]))
    with pytest.raises(VariableError, match="All of air come from further sources"):
        open_series(series, GridSpec(sources=[FurtherSource(str(again), ["air"])]), ["air"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variables": []}, "names no variables"),
        ({"regrid": "cubic"}, "regrid of the source a.nc is 'cubic'; expected bilinear, conservative"),
        ({"combine": "median"}, "combine of the source a.nc is 'median'"),
        ({"delay": "soon"}, "delay of the source a.nc is 'soon'; expected 6h, 1d or 10min"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        FurtherSource(**{"paths": "a.nc", "variables": ["sst"], **settings})
    with pytest.raises(FileError, match="holds a password"):
        FurtherSource("s3://key:pass-word@bucket/a.zarr", ["sst"])


def test_training_reads_further_sources_and_remembers_them(series, tmp_path):
    path = tmp_path / "sst.nc"
    made("sst", LAT, LON, 12, 24).to_netcdf(path)
    data = GridDataModule(
        SourceSettings(str(series)),
        PreparationSettings(("air", "sst"), ("air",)),
        WindowSettings(t_in=2, leads=1),
        sources=[FurtherSource(str(path), ["sst"], delay="1d")],
    )
    data.setup()
    assert data.series.variables == ("air", "sst")
    assert data.describe().files == ["air.nc", "sst.nc"]
    again = GridSpec(**to_plain(data.grid))
    assert again == data.grid
    found, _ = open_series(series, again, ["air", "sst"])
    np.testing.assert_array_equal(found.sst, data.series.values[:, 1])
    whole = xr.open_dataset(series).assign(sst=(["time", "lat", "lon"], found.sst.values, {"units": "K"}))
    xr.testing.assert_allclose(open_series(whole, again, ["air", "sst"])[0].sst, found.sst)


def test_further_sources_are_found_elsewhere(series):
    with pytest.raises(
        FileError, match=r"No file 'gone\.nc'.*the further source of sst; .*--further sst=PATH"
    ):
        open_series(series, GridSpec(sources=[FurtherSource("gone.nc", ["sst"])]))
    sources = [FurtherSource("a.nc", ["sst", "ice"]), FurtherSource("b.nc", ["snow"])]
    assert [source.paths for source in relocated(sources, {"ice": "c.nc"})] == ["c.nc", "b.nc"]
    with pytest.raises(
        ConfigError, match="No further source has the variable 'x'; expected one of sst, ice, snow"
    ):
        relocated(sources, {"x": "c.nc"})
    with pytest.raises(ConfigError, match="expected none, since the model has no further source"):
        relocated([], {"x": "c.nc"})

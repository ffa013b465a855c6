"""Further sources: brought to the grid and the steps of the series, without a value from the future."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

import stconv
from service.model.upload import stored_dataset
from service.uploads.json_upload import parse_json
from service.uploads.netcdf_upload import parse_netcdf
from stconv.bundle import make_bundle
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.settings import SourceSettings, WindowSettings
from stconv.datasets.source.further import FurtherSource, relocated
from stconv.datasets.source.grid import GridSpec, canonicalize, open_series, open_stored
from stconv.errors import ConfigError, FileError, GridError, TimeAxisError, VariableError
from stconv.forecast.checks import TrainingRangeWarning
from stconv.models import Conv2Plus1D
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
    with pytest.raises(GridError, match="it is a projected or pixel grid without the latitude and longitude"):
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


def plane(x, y, lat_0, lon_0):
    """Latitude and longitude of points of a stereographic plane, in radii (Snyder 1987, eq. 20-14 and 15)."""
    rho, north = np.hypot(x, y), np.radians(lat_0)
    c = 2 * np.arctan(rho / 2)
    lat = np.arcsin(np.cos(c) * np.sin(north) + y * np.sin(c) * np.cos(north) / np.where(rho, rho, 1))
    east = np.arctan2(x * np.sin(c), rho * np.cos(north) * np.cos(c) - y * np.sin(north) * np.sin(c))
    return np.degrees(lat), lon_0 + np.degrees(east)


def smooth(lat, lon):
    lat, lon = np.radians(lat), np.radians(lon)
    return 280 + 9 * np.sin(lat) + 7 * np.cos(lat) * np.cos(lon - 0.3)


def on_plane(name, n, lat_0, lon_0, half=0.4):
    x, y = np.linspace(-half, half, n + 3), np.linspace(half, -half, n)
    lat, lon = plane(*np.meshgrid(x, y), lat_0, lon_0)
    values = np.stack([smooth(lat, lon) + step for step in range(4)]).astype("f4")
    units = {"lat": "degrees_north", "lon": "degrees_east"}
    return xr.Dataset(
        {name: (("time", "y", "x"), values, {"units": "K"})},
        {
            "time": START + np.arange(4) * 6 * HOUR,
            "y": ("y", y, {"units": "1"}),
            "x": ("x", x, {"units": "1"}),
            "lat": (("y", "x"), lat, {"units": units["lat"]}),
            "lon": (("y", "x"), lon % 360, {"units": units["lon"]}),
        },
    )


@pytest.mark.parametrize(("lat_0", "lon_0"), [(50, 10), (0, 180), (90, 0), (-80, -120)])
def test_a_projected_grid_is_brought_to_the_series_and_the_series_grid_to_it(tmp_path, lat_0, lon_0):
    """A smooth field is found again to second order: 1/80 of a radian squared times 9 K is 1.4 mK."""
    coarse, fine = on_plane("air", 9, lat_0, lon_0, half=0.3), on_plane("sst", 61, lat_0, lon_0)
    for name, ds in (("coarse", coarse), ("fine", fine)):
        ds.to_netcdf(tmp_path / f"{name}.nc")
    spec = GridSpec(sources=[FurtherSource(str(tmp_path / "fine.nc"), ["sst"])])
    found, _ = open_series(tmp_path / "coarse.nc", spec)
    assert found.sst.dims == ("time", "y", "x")
    np.testing.assert_allclose(found.sst, found.air, atol=2e-3)
    lat, lon = np.arange(-90.0, 90.1, 1), np.arange(0.0, 360, 1)
    world = np.stack([smooth(lat[:, None], lon) + step for step in range(4)])
    made("sst", lat, lon, 4, 6, world).to_netcdf(tmp_path / "world.nc")
    spec = GridSpec(sources=[FurtherSource(str(tmp_path / "world.nc"), ["sst"])])
    found, _ = open_series(tmp_path / "coarse.nc", spec)
    np.testing.assert_allclose(found.sst, found.air, atol=2e-3)


def test_outside_of_a_projected_grid_values_are_missing(tmp_path):
    fine = on_plane("sst", 31, 50, 10)
    fine.sst[:, 3, 4] = np.nan
    fine.to_netcdf(tmp_path / "fine.nc")
    lat, lon = np.arange(20.0, 81, 5), np.arange(-30.0, 51, 5)
    made("air", lat, lon, 4, 6).to_netcdf(tmp_path / "air.nc")
    settings = {"paths": str(tmp_path / "fine.nc"), "variables": ["sst"]}
    found, _ = open_series(tmp_path / "air.nc", GridSpec(sources=[FurtherSource(**settings)]))
    inside = np.isfinite(found.sst[1].values)
    distance = np.arccos(
        np.sin(np.radians(50)) * np.sin(np.radians(lat))[:, None]
        + np.cos(np.radians(50)) * np.cos(np.radians(lat))[:, None] * np.cos(np.radians(lon - 10))
    )
    assert inside[distance < 0.39].all()
    assert not inside[distance > 0.6].any()
    expected = smooth(lat[:, None], lon) + 1
    np.testing.assert_allclose(found.sst[1].values[inside], expected[inside], atol=5e-3)
    with pytest.raises(GridError, match=r"conservatively, but one of the grids has two-dimensional"):
        open_series(tmp_path / "air.nc", GridSpec(sources=[FurtherSource(**settings, regrid="conservative")]))
    away = made("air", lat - 70, lon, 4, 6)
    with pytest.raises(
        GridError, match=r"fine\.nc covers lat 2\d.* the series lat -50 to 10 and lon -30 to 50"
    ):
        open_series(away, GridSpec(sources=[FurtherSource(**settings)]))


def test_planes_with_the_same_axes_and_other_projections_are_not_the_same_grid(tmp_path):
    def on(name, lat_0):
        mapping = {
            "grid_mapping_name": "lambert_azimuthal_equal_area",
            "latitude_of_projection_origin": lat_0,
        }
        ds = on_plane(name, 9, 50, 10).drop_vars(["lat", "lon"])
        ds[name].attrs["grid_mapping"] = "crs"
        return ds.assign(crs=((), 0, mapping))

    on("sst", 50.0).to_netcdf(tmp_path / "fine.nc")
    spec = GridSpec(sources=[FurtherSource(str(tmp_path / "fine.nc"), ["sst"])])
    found, _ = open_series(on("air", 50.0), spec)
    np.testing.assert_array_equal(found.sst, found.air)
    with pytest.raises(
        GridError, match=r"without the latitude and longitude of each cell.*pyproj\.Transformer"
    ):
        open_series(on("air", 48.0), spec)


def test_curvilinear_grids_of_one_size_at_other_places_are_not_the_same_grid(tmp_path):
    on_plane("sst", 61, 50, 10).drop_vars(["y", "x"]).to_netcdf(tmp_path / "fine.nc")
    spec = GridSpec(sources=[FurtherSource(str(tmp_path / "fine.nc"), ["sst"])])
    found, _ = open_series(on_plane("air", 61, 50, 10, half=0.3).drop_vars(["y", "x"]), spec)
    np.testing.assert_allclose(found.sst, found.air, atol=2e-3)


def beside(series, other):
    """One dataset with both, the further one on axes of its own."""
    own = {axis: f"{axis}_of_the_sea" for axis in ("time", "lat", "lon")}
    return xr.merge([series, other.rename(own)], join="exact")


@pytest.mark.parametrize("stored", [False, True])
def test_one_dataset_holds_a_series_and_further_sources_on_axes_of_their_own(series, stored):
    lat, lon = np.arange(-30.0, 31, 4), np.arange(0.0, 360, 7.5)
    daily = made("sst", lat, lon, 12, 24)
    expected, _ = opened(series, daily, delay="1d")
    spec = GridSpec(sources=[FurtherSource("gone.nc", ["sst"], delay="1d")])
    with xr.open_dataset(series) as air:
        both = beside(air, daily)
    both.to_netcdf(series.with_name("both.nc"))
    if stored:
        with xr.open_dataset(series.with_name("both.nc"), decode_cf=False) as raw:
            found, origin = open_stored(raw.load(), spec, ["sst", "air"], "the input")
        assert list(found.data_vars) == ["sst", "air"]
    else:
        found, origin = open_series(both, spec, ["air", "sst"])
        canonical, _ = canonicalize(both, spec, ["air", "sst"])
        xr.testing.assert_equal(canonical.sst, found.sst)
    np.testing.assert_array_equal(found.sst, expected.sst)
    np.testing.assert_array_equal(found.air, expected.air)
    assert origin.dims == {"time": "time", "lat": "lat", "lon": "lon"}
    with pytest.raises(VariableError, match="no variable 'sst'"):
        open_stored(both.drop_vars("sst"), spec, ["air", "sst"], "the input")


def as_json(ds, name):
    return {
        "time": np.datetime_as_string(ds["time"].values, unit="s").tolist(),
        "latitude": ds["lat"].values.tolist(),
        "longitude": ds["lon"].values.tolist(),
        "variables": {name: {"units": "K", "values": ds[name].values.tolist()}},
    }


def test_a_forecast_and_an_upload_take_the_sources_as_they_come(series, tmp_path):
    """The same forecast from files, from one Dataset and from an upload that holds the source on its axes."""
    path = tmp_path / "sst.nc"
    lat, lon = np.arange(-30.0, 31, 4), np.arange(0.0, 360, 7.5)
    values = np.stack([smooth(lat[:, None], lon) + day % 2 for day in range(12)])
    daily = made("sst", lat, lon, 12, 24, values)
    daily.to_netcdf(path)
    data = GridDataModule(
        SourceSettings(str(series)),
        PreparationSettings(("air", "sst"), ("air",)),
        WindowSettings(t_in=2, leads=1),
        sources=[FurtherSource(str(path), ["sst"], delay="1d")],
    )
    data.setup()
    torch.manual_seed(0)
    task = SimpleNamespace(
        network=Conv2Plus1D(data.c_in, data.c_out, 2, 1, n_layers=1, n_filters=2, kernel=3),
        preparation=data.preparation,
    )
    model = stconv.load(make_bundle(task, data, name="air").save(tmp_path / "bundle"))
    expected = model.forecast(series)
    assert model.forecaster.input_schema()["further"] == [
        {"variables": ["sst"], "regrid": "bilinear", "combine": "mean", "delay": "1d"}
    ]
    path.unlink()  # from here on, what is sent has to do
    with xr.open_dataset(series) as air:
        both = beside(air.load(), daily)
    xr.testing.assert_identical(model.forecast(both).air, expected.air)
    fields = parse_netcdf(bytes(both.to_netcdf(engine="h5netcdf")), 2**24)
    ds, origin = model.forecaster.open_stored(stored_dataset(fields))
    found = model.forecaster.forecast(ds, origin=origin)
    np.testing.assert_array_equal(found.air, expected.air)
    assert found.air.dims == expected.air.dims
    assert "lat_of_the_sea" not in found.variables
    with xr.open_dataset(series) as air:
        body = as_json(air, "air") | {"further": [as_json(daily, "sst")]}
    fields = parse_json(json.dumps(body).encode(), 2**24)
    ds, origin = model.forecaster.open_stored(stored_dataset(fields))
    sent = model.forecaster.forecast(ds, origin=origin)
    np.testing.assert_allclose(sent.air, expected.air, rtol=1e-6)
    assert not [name for name in sent.variables if "further" in name]
    body["further"][0]["variables"]["ice"] = body["further"][0]["variables"].pop("sst")
    fields = parse_json(json.dumps(body).encode(), 2**24)
    with pytest.raises(VariableError, match="no variable 'sst'"):
        model.forecaster.open_stored(stored_dataset(fields))
    with pytest.warns(TrainingRangeWarning, match="sst: .* lie outside"):
        warmer = model.forecast(both.assign(sst=both.sst + 20))
    assert float(abs(warmer.air - expected.air).max()) > 1e-3

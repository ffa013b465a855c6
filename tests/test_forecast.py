"""The Forecaster: equal to training, restored as the user had it, and refusing what does not fit."""

import subprocess
import sys
import warnings
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import torch
import xarray as xr

from stconv.bundle import Bundle, make_bundle
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.dataset import WindowDataset
from stconv.datasets.series.splits import Periods
from stconv.datasets.series.store import load_series
from stconv.datasets.series.windows import WindowSpec
from stconv.datasets.source.grid import GridSpec, canonicalize
from stconv.datasets.summary import DataSummary
from stconv.errors import (
    ConfigError,
    DataError,
    FileError,
    GridError,
    MissingValuesError,
    TimeAxisError,
    UnitsError,
    VariableError,
    WindowError,
)
from stconv.forecast import Forecaster, OlderWindowWarning, TrainingRangeWarning, write_forecast
from stconv.models import Conv3D, Persistence

N, TRAIN, T_IN, LEADS = 60, 50, 3, 2
LAT, LON = np.linspace(50.0, 36.0, 8), np.linspace(350.0, 368.0, 10) % 360  # crosses Greenwich
START, HOURS = np.datetime64("2020-01-01", "ns"), np.timedelta64(6, "h")


def source(n: int = N, seed: int = 0) -> xr.Dataset:
    """Temperature as a reanalysis writes it: latitude falling, longitude 0..360, land missing."""
    rng = np.random.default_rng(seed)
    phase = 0.3 * np.arange(n)[:, None, None] + 0.5 * np.arange(10) + 0.2 * np.arange(8)[:, None]
    values = (280 + 8 * np.sin(phase) + rng.normal(0, 0.5, (n, 8, 10))).astype("float32")
    values[:, 0, :2] = np.nan
    return xr.Dataset(
        {
            "t2m": (
                ("valid_time", "latitude", "longitude"),
                values,
                {"units": "K", "long_name": "temperature"},
            )
        },
        {
            "valid_time": START + np.arange(n) * HOURS,
            "latitude": ("latitude", LAT, {"units": "degrees_north"}),
            "longitude": ("longitude", LON, {"units": "degrees_east"}),
        },
    )


def make(
    ds,
    inputs=("t2m",),
    targets=("t2m",),
    spec=None,
    network=Conv3D,
    scaling="zscore",
    time_features=False,
    **options,
) -> Bundle:
    torch.manual_seed(0)
    spec = spec or WindowSpec.consecutive(T_IN, LEADS)
    series = load_series(*canonicalize(ds, variables=list({*inputs, *targets})), list(inputs), list(targets))
    settings = PreparationSettings(inputs, targets, scaling=scaling, time_features=time_features)
    preparation = Preparation.fit(series, range(TRAIN), settings)
    if network is Conv3D:
        options = {"n_layers": 1, "n_filters": 2, "kernel": 3, **options}
    net = network(preparation.c_in, len(targets), spec.t_in, spec.leads, **options)
    datamodule = SimpleNamespace(
        series=series,
        periods=Periods(range(TRAIN), range(TRAIN, 55), range(55, N)),
        preparation=preparation,
        spec=spec,
        grid=GridSpec(),
        describe=lambda: DataSummary(hash=series.content_hash),
    )
    return make_bundle(SimpleNamespace(network=net, preparation=preparation), datamodule, name="air")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make(source())


@pytest.fixture(scope="module")
def forecaster(bundle) -> Forecaster:
    return Forecaster(bundle)


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingRangeWarning)
        yield


def test_equals_the_windows_of_training(bundle, forecaster):
    ds = source()
    series = load_series(*canonicalize(ds), ["t2m"], ["t2m"])
    at = N - 1 - LEADS
    sample = WindowDataset(series, WindowSpec.consecutive(T_IN, LEADS), [at])[0]
    batch = {key: value[None] for key, value in sample.items()}
    with torch.no_grad():
        y = bundle.network(bundle.preparation.inputs(batch))
        expected = bundle.preparation.physical(y, batch)[0, 0].numpy()
    found = forecaster.forecast(ds, reference_time=ds.valid_time.values[at])["t2m"].values
    # Canonical latitude ascends and longitude starts in the west; the user's falls and starts at Greenwich.
    columns = np.argsort((LON + 180) % 360 - 180)
    np.testing.assert_allclose(found[:, ::-1][:, :, columns], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("space", ["zero", "periodic"])
def test_in_tiles_it_is_the_same_also_when_rolled_out(space):
    bundle, sizes = make(source(), space_padding=space), []
    whole = Forecaster(bundle, tile=0).forecast(source(), steps=5)
    forecaster = Forecaster(bundle, tile=3)
    handle = bundle.network.register_forward_hook(lambda _m, args, _y: sizes.append(args[0].shape[-1]))
    found = forecaster.forecast(source(), steps=5)
    handle.remove()
    assert len(sizes) > 9
    assert max(sizes) < 10
    xr.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-5)
    with pytest.raises(ConfigError, match="tile of a forecast is -3; expected"):
        Forecaster(bundle, tile=-3)


@pytest.mark.parametrize("scaling", ["zscore", "anomaly"])
def test_equals_the_task_it_was_exported_from(tmp_path, scaling):
    from stconv.datasets.datamodule import GridDataModule
    from stconv.datasets.settings import SourceSettings, WindowSettings
    from stconv.losses import MaskedMSE
    from stconv.task import ForecastTask

    ds = source()
    ds.to_netcdf(tmp_path / "source.nc")
    data = GridDataModule(
        SourceSettings(str(tmp_path / "source.nc")),
        PreparationSettings(("t2m",), scaling=scaling, time_features=True),
        WindowSettings(t_in=3, leads=2),
    )
    data.setup()
    task = ForecastTask(Conv3D(data.c_in, 1, 3, 2, n_layers=1, n_filters=2, kernel=3), MaskedMSE())
    task.preparation = data.preparation
    task.eval()
    (batch,) = data.predict_dataloader()
    with torch.no_grad():
        expected = task.forecast(batch)[0, 0].numpy()
    folder = make_bundle(task, data).save(tmp_path / "bundle")
    found = Forecaster.from_path(folder).forecast(ds).t2m.values
    columns = np.argsort((LON + 180) % 360 - 180)
    np.testing.assert_allclose(found[:, ::-1][:, :, columns], expected, atol=1e-6, rtol=0)


def test_real_reanalysis_comes_back_as_it_is(shared_data):
    ds = xr.open_zarr(
        shared_data / "benchmark" / "ncep_air_temperature.zarr", consolidated=False, chunks=None
    )
    ds = ds.isel(time=slice(-N, None))
    found = Forecaster(make(ds, ("air",), ("air",), network=Persistence)).forecast(ds)
    np.testing.assert_array_equal(found.lat, ds.lat)
    np.testing.assert_array_equal(found.lon, ds.lon)
    np.testing.assert_allclose(found.air[-1], ds.air[-1], atol=2e-3)
    assert found.air.attrs["units"] == "degK"


def test_persistence_gives_back_the_newest_frame_in_place():
    ds = source()
    found = Forecaster(make(ds, network=Persistence)).forecast(ds)
    assert found.t2m.dims == ("lead", "latitude", "longitude")
    np.testing.assert_array_equal(found.latitude, ds.latitude)
    np.testing.assert_array_equal(found.longitude, ds.longitude)
    for lead in range(LEADS):
        np.testing.assert_allclose(found.t2m[lead], ds.t2m[-1], atol=1e-3)
    assert found.t2m.isnull().sum() == 2 * LEADS


def test_description_follows_cf(bundle, forecaster):
    ds = source()
    ds.attrs["history"] = "made"
    found = forecaster.forecast(ds)
    assert found.t2m.attrs["units"] == "K"
    assert found.t2m.dtype == np.float32
    assert found.lead.values.tolist() == [6, 12]
    assert (found.lead.attrs["units"], found.lead.attrs["standard_name"]) == ("hours", "forecast_period")
    assert found.forecast_reference_time.values == ds.valid_time.values[-1]
    np.testing.assert_array_equal(found.valid_time, ds.valid_time.values[-1] + np.array([1, 2]) * HOURS)
    assert found.valid_time.dims == ("lead",)
    attributes = found.attrs
    assert attributes["Conventions"].startswith("CF-1.")
    assert attributes["bundle_sha256"] == bundle.hash
    assert attributes["model_name"] == "air"
    assert attributes["model_version"] == bundle.hash[:12]
    assert attributes["stconv_version"]
    assert attributes["history"].endswith("\nmade")
    assert "air from 2020-01-15T18:00" in attributes["history"]


def test_reference_time_of_the_input_itself_is_not_that_of_the_forecast(forecaster):
    ds = source().assign_coords(
        forecast_reference_time=((), START, {"standard_name": "forecast_reference_time"}),
        step=((), 0, {"standard_name": "forecast_period"}),
        height=((), 2.0, {"units": "m"}),
    )
    found = forecaster.forecast(ds)
    assert found.forecast_reference_time.values == ds.valid_time.values[-1]
    assert "step" not in found.coords
    assert found.height == 2.0


def test_is_deterministic(forecaster):
    first, second = forecaster.forecast(source()), forecaster.forecast(source())
    np.testing.assert_array_equal(first.t2m, second.t2m)


def test_survives_the_bundle_folder(bundle, forecaster, tmp_path):
    again = Forecaster.from_path(bundle.save(tmp_path / "b"), version="3")
    found = again.forecast(source())
    np.testing.assert_array_equal(found.t2m, forecaster.forecast(source()).t2m)
    assert found.attrs["model_version"] == "3"


def test_other_conventions_of_the_same_grid_give_the_same_forecast(forecaster):
    ds = source()
    other = ds.rename(valid_time="time", latitude="lat", longitude="lon").sortby("lat")
    other = (
        other.assign_coords(lon=(other.lon + 180) % 360 - 180).sortby("lon").transpose("lon", "lat", "time")
    )
    found, expected = forecaster.forecast(other), forecaster.forecast(ds)
    assert list(found.lon.values[:2]) == [-10.0, -8.0]
    expected = expected.rename(latitude="lat", longitude="lon")
    expected = expected.assign_coords(lon=(expected.lon + 180) % 360 - 180)
    difference = found.t2m.transpose("lead", "lat", "lon") - expected.t2m
    assert difference.shape == (LEADS, 8, 10)
    assert float(abs(difference).max()) == 0.0


# Windows


def test_reference_time_picks_the_window(forecaster):
    ds = source()
    found = forecaster.forecast(ds, reference_time="2020-01-10T06:00")
    expected = forecaster.forecast(ds.sel(valid_time=slice(None, "2020-01-10T06:00")))
    np.testing.assert_array_equal(found.t2m, expected.t2m)
    assert str(found.forecast_reference_time.values)[:16] == "2020-01-10T06:00"


def test_exactly_enough_frames_suffice(forecaster):
    ds = source()
    found = forecaster.forecast(ds.isel(valid_time=slice(-T_IN, None)))
    np.testing.assert_array_equal(found.t2m, forecaster.forecast(ds).t2m)


def test_newest_complete_window_is_used_and_said(forecaster):
    ds = source()
    gap = ds.drop_isel(valid_time=N - 2)
    with pytest.warns(
        OlderWindowWarning, match=r"newest frame is of 2020-01-15T18:00.*none of 2020-01-15T12:00"
    ):
        found = forecaster.forecast(gap)
    assert found.forecast_reference_time.values == ds.valid_time.values[N - 3]


def test_refuses_too_few_frames(forecaster):
    with pytest.raises(WindowError, match=r"needs 3, from 2020-01-01T00:00 .* found 2 of them"):
        forecaster.forecast(source().isel(valid_time=slice(1, 3)))


def test_refuses_a_gap_in_the_needed_frames(forecaster):
    gap = source().drop_isel(valid_time=N - 2)
    with pytest.raises(
        TimeAxisError, match=r"has a gap: .*2020-01-15T18:00 needs 3.*none of 2020-01-15T12:00"
    ):
        forecaster.forecast(gap, reference_time="2020-01-15T18:00")


def test_refuses_reference_time_outside(forecaster):
    with pytest.raises(
        TimeAxisError, match=r"2021-01-01T00:00 is not in the input, which has 60 frames from"
    ):
        forecaster.forecast(source(), reference_time="2021-01-01")


def test_refuses_reference_time_that_is_none(forecaster):
    with pytest.raises(TimeAxisError, match=r"'yesterday' is not a time; expected one like 2020-01-15T18:00"):
        forecaster.forecast(source(), reference_time="yesterday")


def test_refuses_other_step(forecaster):
    with pytest.raises(
        TimeAxisError, match=r"step of the input is 12h; the model was trained on steps of 6h"
    ):
        forecaster.forecast(source().isel(valid_time=slice(None, None, 2)))


def test_refuses_other_calendar(forecaster):
    ds = source().convert_calendar("noleap", dim="valid_time")
    with pytest.raises(TimeAxisError, match=r"calendar of the input is 'noleap'; .*convert_calendar"):
        forecaster.forecast(ds)


def test_months_have_months_as_leads():
    def monthly(n):
        times = np.arange("2000-01", "2010-01", dtype="datetime64[M]")[:n].astype("datetime64[ns]")
        return source(n).assign_coords(valid_time=times)

    found = Forecaster(make(monthly(N))).forecast(monthly(N))
    assert found.lead.attrs["units"] == "months"
    assert found.lead.values.tolist() == [1, 2]
    assert found.valid_time.values.astype("datetime64[D]").astype(str).tolist() == [
        "2005-01-01",
        "2005-02-01",
    ]


def test_other_calendars_come_back():
    ds = source().convert_calendar("360_day", dim="valid_time", align_on="date")
    found = Forecaster(make(ds)).forecast(ds, reference_time="2020-01-15T12:00")
    assert found.valid_time.values[-1].isoformat() == "2020-01-16T00:00:00"
    assert found.valid_time.values[-1].calendar == "360_day"


# What does not fit


def test_refuses_missing_variable(forecaster):
    with pytest.raises(VariableError, match=r"lacks 't2m': expected the variables t2m, found sst.*rename"):
        forecaster.forecast(source().rename(t2m="sst"))


def test_refuses_other_units_and_names_the_remedy(forecaster):
    ds = source()
    ds.t2m.attrs["units"] = "degC"
    with pytest.raises(UnitsError, match=r"'t2m' is in 'degC'; .* trained on 'K'.*--convert-units"):
        forecaster.forecast(ds)


def test_refuses_missing_units(forecaster):
    ds = source()
    del ds.t2m.attrs["units"]
    with pytest.raises(UnitsError, match=r"'t2m' has no units; the model was trained on 'K'"):
        forecaster.forecast(ds)


def test_refuses_units_of_something_else(forecaster):
    ds = source()
    ds.t2m.attrs["units"] = "m s-1"
    with pytest.raises(UnitsError, match=r"'t2m' is in 'm s-1'; .*there is no conversion"):
        forecaster.forecast(ds, convert_units=True)


def test_converts_units_there_and_back(forecaster):
    ds = source()
    celsius = ds.assign(t2m=(ds.t2m - 273.15).assign_attrs(ds.t2m.attrs, units="degC"))
    found = forecaster.forecast(celsius, convert_units=True)
    assert found.t2m.attrs["units"] == "degC"
    np.testing.assert_allclose(found.t2m + 273.15, forecaster.forecast(ds).t2m, atol=2e-4)


def test_other_spelling_of_the_units_is_no_difference(forecaster):
    ds = source()
    expected = forecaster.forecast(ds)
    ds.t2m.attrs["units"] = "kelvin"
    np.testing.assert_array_equal(forecaster.forecast(ds).t2m, expected.t2m)


def test_refuses_other_size_and_says_where_to_cut(forecaster):
    ds = source()
    wider = ds.reindex(latitude=[*LAT, 34.0], method="nearest")
    with pytest.raises(
        GridError, match=r"lat .* expected 8 points from 36 to 50, spacing 2; found 9 points.*cut it"
    ):
        forecaster.forecast(wider)


def test_refuses_other_spacing_and_extent(forecaster):
    ds = source().assign_coords(latitude=np.linspace(50.0, 43.0, 8))
    with pytest.raises(GridError, match=r"found 8 points from 43 to 50, spacing 1\. Interpolate"):
        forecaster.forecast(ds)


def test_refuses_another_kind_of_grid(forecaster):
    ds = source().rename(latitude="y", longitude="x")
    ds = ds.assign_coords(y=("y", np.arange(8.0)), x=("x", np.arange(10.0)))
    with pytest.raises(GridError, match=r"trained on latitude and longitude"):
        forecaster.forecast(ds)


def test_refuses_missing_values_where_training_had_none(forecaster):
    ds = source()
    ds.t2m[-1, 4, 4:6] = np.nan
    # 78 of 80 cells are always valid, three frames
    with pytest.raises(
        MissingValuesError, match=r"'t2m' lacks 2 of 234 values \(0\.855 %\).*allowed are 0 %.*1 of 3"
    ):
        forecaster.forecast(ds)


def test_refuses_infinite_values(forecaster):
    ds = source()
    ds.t2m[-1, 4, 4] = np.inf
    with pytest.raises(DataError, match=r"'t2m' has 1 infinite values in the input; expected finite ones"):
        forecaster.forecast(ds)


def test_missing_values_pass_when_allowed(forecaster):
    ds = source()
    ds.t2m[-1, 4, 4:6] = np.nan
    found = forecaster.forecast(ds, allowed_missing_share=0.01)
    assert int(found.t2m.isnull().sum()) == 2 * LEADS


def test_missing_values_outside_the_window_do_not_matter(forecaster):
    ds = source()
    ds.t2m[: N - T_IN, 4, 4] = np.nan
    np.testing.assert_array_equal(forecaster.forecast(ds).t2m, forecaster.forecast(source()).t2m)


def test_says_when_inputs_lie_outside_the_training_range(forecaster):
    ds = source()
    ds.t2m[-1, 4, 4] = 350.0
    with pytest.warns(TrainingRangeWarning, match=r"t2m: 1 of 234 inputs \(0\.427 %\) lie outside .* to 350"):
        found = forecaster.forecast(ds)
    assert "t2m: 1 of 234 inputs" in found.attrs["input_outside_training_range"]


def test_says_nothing_inside_the_training_range(forecaster):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = forecaster.forecast(source(), reference_time=source().valid_time.values[TRAIN - 5])
    assert "input_outside_training_range" not in found.attrs


def test_refuses_unknown_device(bundle):
    with pytest.raises(ConfigError, match=r"There is no device 'abacus' here.*Use 'cpu'"):
        Forecaster(bundle, device="abacus")


# Roll-out


def continued(ds, forecast):
    """The input with a forecast of it appended, as if it had come true."""
    frames = forecast.t2m.swap_dims(lead="valid_time").drop_vars(["lead", "forecast_reference_time"])
    return xr.concat([ds.t2m, frames], "valid_time", coords="minimal", compat="override").to_dataset()


def test_rollout_feeds_forecasts_back():
    ds = source()
    forecaster = Forecaster(make(ds, scaling="anomaly", time_features=True))  # a wrong time of day shows
    blocks = forecaster.rollout(ds)
    first, second, third = next(blocks), next(blocks), next(blocks)
    np.testing.assert_array_equal(first.t2m, forecaster.forecast(ds).t2m)
    once = continued(ds, first)
    np.testing.assert_allclose(second.t2m, forecaster.forecast(once).t2m, atol=1e-4)
    np.testing.assert_allclose(third.t2m, forecaster.forecast(continued(once, second)).t2m, atol=1e-4)
    assert second.lead.values.tolist() == [18, 24]
    assert second.forecast_reference_time.values == ds.valid_time.values[-1]
    assert third.valid_time.values[-1] == ds.valid_time.values[-1] + 6 * HOURS


def test_steps_cut_and_extend(forecaster):
    ds = source()
    five, one = forecaster.forecast(ds, steps=5), forecaster.forecast(ds, steps=1)
    assert five.lead.values.tolist() == [6, 12, 18, 24, 30]
    blocks = forecaster.rollout(ds)
    np.testing.assert_array_equal(five.t2m[2:4], [next(blocks), next(blocks)][1].t2m)
    np.testing.assert_array_equal(one.t2m, five.t2m[:1])


def test_rollout_of_scattered_inputs_reads_older_frames():
    ds = source()
    forecaster = Forecaster(make(ds, spec=WindowSpec((-4, -2, 0), 3)))
    blocks = forecaster.rollout(ds)
    first, second, third = next(blocks), next(blocks), next(blocks)
    once = continued(ds, first)
    np.testing.assert_allclose(second.t2m, forecaster.forecast(once).t2m, atol=1e-4)
    np.testing.assert_allclose(third.t2m, forecaster.forecast(continued(once, second)).t2m, atol=1e-4)


@pytest.mark.parametrize("offsets", [(-2, -1, 0), (-4, -2, 0), (-7, 0)])
def test_blocks_go_on_after_those_that_are_done(offsets):
    ds = source()
    forecaster = Forecaster(make(ds, spec=WindowSpec(offsets, 3)))
    checked = forecaster.check(ds)
    whole = [np.copy(block) for block in forecaster.blocks(checked, 14)]
    assert len(whole) == 5
    for n in range(6):
        rest = list(forecaster.blocks(checked, 14, whole[:n]))
        np.testing.assert_array_equal([*whole[:n], *rest], whole)


def test_rollout_needs_every_input_as_target():
    ds = source()
    ds["wind"] = (ds.t2m / 10).assign_attrs(units="m s-1")
    forecaster = Forecaster(make(ds, inputs=("t2m", "wind")))
    assert forecaster.forecast(ds, steps=2).sizes["lead"] == 2
    assert "wind" not in forecaster.forecast(ds)
    message = (
        r"'air' cannot be rolled out beyond its 2 leads: wind is among its inputs .*Ask for at most 2 steps"
    )
    with pytest.raises(VariableError, match=message):
        forecaster.rollout(ds)
    with pytest.raises(VariableError, match=message):
        forecaster.forecast(ds, steps=3)


def test_target_that_is_no_input_need_not_be_there():
    ds = source()
    ds["wind"] = (ds.t2m / 10).assign_attrs(units="m s-1", long_name="wind speed")
    forecaster = Forecaster(make(ds, inputs=("t2m",), targets=("wind",)))
    found = forecaster.forecast(ds.drop_vars("wind"))
    assert list(found.data_vars) == ["wind"]
    assert found.wind.dims == ("lead", "latitude", "longitude")
    assert found.wind.attrs == {"units": "m s-1", "long_name": "wind speed"}
    np.testing.assert_array_equal(found.wind, forecaster.forecast(ds).wind)
    assert [variable["name"] for variable in forecaster.input_schema()["variables"]] == ["t2m"]


def test_two_targets_keep_their_own_values():
    ds = source()
    ds["wind"] = (ds.t2m / 10).assign_attrs(units="m s-1")
    found = Forecaster(make(ds, ("wind", "t2m"), ("wind", "t2m"), network=Persistence)).forecast(ds)
    np.testing.assert_allclose(found.t2m[0], ds.t2m[-1], atol=1e-3)
    np.testing.assert_allclose(found.wind[0], ds.wind[-1], atol=1e-4)


@pytest.mark.parametrize("steps", [0, -1])
def test_refuses_no_steps(forecaster, steps):
    with pytest.raises(WindowError, match=rf"forecast of {steps} steps .* expected 1 or more"):
        forecaster.forecast(source(), steps=steps)


# Around it


def test_schema_is_json_and_complete(forecaster):
    schema = forecaster.input_schema()
    jsonschema.validate(
        schema,
        {
            "required": ["variables", "grid", "step", "frames", "calendar", "leads"],
            "properties": {
                "variables": {"items": {"required": ["name", "units", "long_name", "training_range"]}},
                "frames": {"const": {"count": 3, "offsets": [-2, -1, 0], "span": 3}},
            },
        },
    )
    assert schema["step"]["label"] == "6h"
    assert schema["grid"]["lat"]["text"] == "8 points from 36 to 50, spacing 2"
    assert schema["grid"]["lon"]["first"] == -10.0
    assert schema["rollout"] is True
    assert schema["targets"] == [{"name": "t2m", "units": "K"}]


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_written_forecast_reads_back(forecaster, tmp_path, suffix):
    found = forecaster.forecast(source())
    for _ in range(2):  # the second one replaces the first
        path = write_forecast(found, tmp_path / f"forecast{suffix}")
    again = xr.open_dataset(path, engine="netcdf4" if suffix == ".nc" else "zarr")
    xr.testing.assert_equal(again, found)
    assert again.attrs == found.attrs
    assert again.lead.attrs["units"] == "hours"
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_written_forecast_of_another_calendar_reads_back(tmp_path):
    ds = source().convert_calendar("360_day", dim="valid_time", align_on="date")
    found = Forecaster(make(ds)).forecast(ds, reference_time="2020-01-15T12:00")
    again = xr.open_dataset(write_forecast(found, tmp_path / "f.nc"))
    xr.testing.assert_equal(again, found)


def test_refuses_unknown_suffix(forecaster, tmp_path):
    with pytest.raises(FileError, match=r"ends in '.csv'; a forecast is written as .nc .* or .zarr"):
        write_forecast(forecaster.forecast(source()), tmp_path / "f.csv")


def test_refuses_missing_output_folder(forecaster, tmp_path):
    with pytest.raises(FileError, match=r"There is no folder '.*nowhere'"):
        write_forecast(forecaster.forecast(source()), tmp_path / "nowhere" / "f.nc")


def test_refuses_to_replace_a_folder_that_is_no_store(forecaster, tmp_path):
    (tmp_path / "f.zarr").mkdir()
    with pytest.raises(FileError, match=r"exists and is not a Zarr store"):
        write_forecast(forecaster.forecast(source()), tmp_path / "f.zarr")


def test_forecasting_needs_neither_lightning_nor_mlflow():
    code = (
        "import sys, stconv.forecast; print([m for m in ('pytorch_lightning', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_refuses_names_that_cannot_be_written(forecaster):
    with pytest.raises(VariableError, match=r"'\\ud800' contains a lone surrogate") as caught:
        forecaster.check(source().rename(t2m="\ud800"))
    str(caught.value).encode("utf-8")

"""The service for variables of any name, far from zero and on a circle: the forecasts of the library.

One model has all of it: a variable called `lead`, one called `forecast_reference_time` far from zero, both in
other units than in the file, a wind direction, times called `valid_time`, and a height of one level.
"""

import io
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from service.archive import zarr_view
from service.archive.table import StoredForecasts
from service.formats.answers import chosen
from service.formats.writers import WRITERS
from service.media_types import COVERAGE, JSON, NETCDF, PNG
from service.model.archiving import Archivist
from service.model.edr_cut import cut_answer
from service.model.live_verification import LiveVerification
from service.model.loaded import LoadedModel
from service.model.point import point_answer
from service.model.rollouts import Rollout
from service.model.settings import ModelSettings
from service.model.source import Source
from service.model.stored_fields import observed, stored_forecast
from service.routes.edr_metadata import collection
from service.routes.prices import count_values
from service.wire.codec import RawVariable, encode
from service.wire.model_messages import AtPosition, Cut, InCube, UpdateArchive
from stconv.bundle import Bundle, make_bundle
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.settings import SourceSettings, WindowSettings
from stconv.datasets.source.grid import GridSpec
from stconv.errors import VariableError
from stconv.forecast import Forecaster, write_forecast
from stconv.models import Conv3D
from stconv.uncertainty.conformal import calibrate

torch.set_num_threads(1)
NAMES = ("lead", "forecast_reference_time", "wdir_sin", "wdir_cos")
FAR, LEVEL = "forecast_reference_time", 6.371e6
N, KNOWN = 57, 54
"""Steps of the data, and of the part that the forecasts start from."""


def made() -> xr.Dataset:
    rng = np.random.default_rng(0)
    height = np.where(np.arange(N) < 20, 2, 1)[:, None, None]  # later values stay in the training range
    wave = height * np.sin(0.5 * np.arange(N)[:, None, None] + np.arange(6) + 0.4 * np.arange(5)[:, None])
    lead = 280 + 5 * wave + rng.normal(0, 0.5, wave.shape)
    far = LEVEL + 0.02 * wave + rng.normal(0, 0.002, wave.shape)
    wdir = (350 + 20 * wave + rng.normal(0, 10, wave.shape)) % 360
    dims = ("valid_time", "height", "latitude", "longitude")
    times = np.datetime64("2020-01-01", "ns") + np.arange(N) * np.timedelta64(6, "h")
    direction = {"units": "degree", "standard_name": "wind_from_direction", "long_name": "wind direction"}
    return xr.Dataset(
        {
            "lead": (dims, lead[:, None].astype("f4"), {"units": "K"}),
            FAR: (dims, far[:, None], {"units": "m"}),
            "wdir": (dims, wdir[:, None].astype("f4"), direction),
        },
        {
            "valid_time": times,
            "height": ("height", [2.0], {"units": "m"}),
            "latitude": ("latitude", np.arange(50.0, 45, -1), {"units": "degrees_north"}),
            "longitude": ("longitude", np.arange(6.0), {"units": "degrees_east"}),
        },
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A forecaster with bands, its source of the known part of the data, all data, and a folder."""
    folder = tmp_path_factory.mktemp("names")
    made().isel(valid_time=slice(0, KNOWN)).to_netcdf(folder / "known.nc")
    made().to_netcdf(folder / "all.nc")
    data = GridDataModule(
        SourceSettings(
            str(folder / "known.nc"), grid=GridSpec(components=["wdir"], units={"lead": "degC", FAR: "km"})
        ),
        PreparationSettings(NAMES),
        WindowSettings(t_in=3, leads=2),
    )
    data.setup()
    torch.manual_seed(0)
    network = Conv3D(data.c_in, data.c_out, 3, 2, n_layers=1, n_filters=2, kernel=3)
    bands = calibrate(network, data.preparation, data)
    task = SimpleNamespace(network=network, preparation=data.preparation, bands=bands)
    bundle = Bundle.load(make_bundle(task, data, name="odd").save(folder / "bundle"))
    forecaster = Forecaster(bundle)
    shutil.copy(folder / "known.nc", folder / "source.nc")
    return forecaster, Source([folder / "source.nc"], forecaster), folder


@pytest.fixture(scope="module")
def forecast(served):
    forecaster, source, _ = served
    ds, origin = source.open()
    return forecaster.forecast(ds, origin=origin)


def same(found, expected, tolerance=0.0):
    np.testing.assert_allclose(found, np.asarray(expected, "f8"), rtol=0, atol=tolerance)


def test_a_forecast_keeps_names_digits_and_the_direction(forecast):
    assert dict(forecast.sizes) == {"lead_time": 2, "height": 1, "latitude": 5, "longitude": 6}
    assert set(forecast.coords) >= {"lead_time", "valid_time", "reference_time"}
    assert (forecast[FAR].dtype, forecast[FAR].attrs["units"]) == (np.float64, "m")
    assert 0 < np.ptp(forecast[FAR].values) < 1
    assert float(abs(forecast[FAR] - LEVEL).max()) < 1
    unit = forecast.wdir_cos.values.astype("f8") + 1j * forecast.wdir_sin.values
    same(forecast.wdir, np.rad2deg(np.angle(unit)) % 360, 1e-4)
    assert forecast.wdir.dims == forecast.wdir_sin.dims == ("lead_time", "height", "latitude", "longitude")
    assert forecast.wdir.attrs["standard_name"] == "wind_from_direction"
    assert forecast.wdir.attrs["long_name"] == "wind direction"
    assert "no bands" in forecast.wdir.attrs["comment"]
    assert "lead_lower_80" in forecast
    assert not [name for name in forecast if str(name).startswith(("wdir_lower", "wdir_upper"))]


def test_every_format_has_these_names_and_numbers(forecast, tmp_path):
    netcdf = xr.load_dataset(io.BytesIO(WRITERS[NETCDF](forecast)))
    answer, coverage = (json.loads(WRITERS[kind](forecast)) for kind in (JSON, COVERAGE))
    file = xr.load_dataset(write_forecast(forecast, tmp_path / "f.nc"))
    for name in forecast.data_vars:
        for found in (netcdf[name], file[name], answer["variables"][name]["values"]):
            same(np.asarray(found, forecast[name].dtype), forecast[name])
        same(np.asarray(coverage["ranges"][name]["values"], "f4"), forecast[name].values.astype("f4").ravel())
    assert coverage["stconv:reference_time"].startswith("2020-01-14T06")
    alone = chosen(forecast, ("wdir",), bands=False)
    for part in (forecast, alone):
        assert WRITERS[PNG](part).startswith(b"\x89PNG")
    assert list(json.loads(WRITERS[COVERAGE](alone))["ranges"]) == ["wdir"]


def test_a_grid_mapping_comes_along_and_is_no_field(forecast, monkeypatch):
    mapped = forecast.assign(crs=((), 0, {"grid_mapping_name": "latitude_longitude"}))
    monkeypatch.setattr("service.formats.answers.CLASSIC_BYTES", 0)  # as for a large forecast
    written = xr.load_dataset(io.BytesIO(WRITERS[NETCDF](mapped)))
    assert written.crs.dtype.kind == "i"
    same(written[FAR], mapped[FAR])
    alone = chosen(mapped, ("wdir",))
    assert list(alone.data_vars) == ["wdir", "crs"]
    assert list(json.loads(WRITERS[COVERAGE](alone))["ranges"]) == ["wdir"]
    assert WRITERS[PNG](alone).startswith(b"\x89PNG")
    with pytest.raises(VariableError, match=r"'crs' is not forecast; known: lead,"):
        chosen(mapped, ("crs",))


def test_points_and_cuts(served, forecast):
    forecaster, _, _ = served
    point = json.loads(point_answer(forecast, forecaster.step, 48, 3))["hourly"]
    at = json.loads(cut_answer(forecast, Cut(AtPosition(3, 48), None, None, None)))["ranges"]
    cube = json.loads(cut_answer(forecast, Cut(InCube(1, 46, 3, 48), None, None, (FAR, "wdir"))))["ranges"]
    for name in forecast.data_vars:
        expected = forecast[name].sel(latitude=48, longitude=3).values.ravel()
        same(point[name], expected)
        same(at[name]["values"], expected)
    assert list(cube) == [FAR, "wdir"]
    same(cube[FAR]["values"], forecast[FAR].sel(latitude=slice(48, 46), longitude=slice(1, 3)).values.ravel())


def test_metadata_name_the_direction_and_physical_ranges(served, forecast):
    forecaster, _, folder = served
    model = LoadedModel(ModelSettings(str(folder / "bundle"), threads=1))
    worker = SimpleNamespace(name="odd", version="1", facts=model.facts)
    assert set(collection(worker, None, "/")["parameter_names"]) == set(forecast.data_vars)
    assert count_values(worker, 2) == sum(field.size for field in forecast.data_vars.values())
    schema = forecaster.input_schema()
    (low, high) = next(entry["training_range"] for entry in schema["variables"] if entry["name"] == FAR)
    assert LEVEL / 1000 - 1e-4 < low < high < LEVEL / 1000 + 1e-4


def test_roll_outs_are_those_of_the_library(served, tmp_path):
    forecaster, source, folder = served
    raw = xr.load_dataset(folder / "known.nc", decode_cf=False, engine="netcdf4")
    variables = {str(name): RawVariable(v.dims, v.values, dict(v.attrs)) for name, v in raw.variables.items()}
    (tmp_path / "fields").write_bytes(encode(variables, {}))
    rollout = Rollout(forecaster, tmp_path / "fields", tmp_path / "blocks", 5)
    while rollout.advance() < 5:
        pass
    ds, origin = source.open()
    expected = forecaster.forecast(ds, steps=5, origin=origin)
    found = rollout.whole()
    assert set(found.data_vars) == set(expected.data_vars)
    for name in expected.data_vars:
        same(found[name], expected[name])


def test_stored_forecasts_and_their_verification(served, tmp_path):
    forecaster, source, folder = served
    archivist = Archivist(forecaster, source)
    request = UpdateArchive("odd", str(tmp_path / "archive"), backfill=1, keep=9, keep_days=None, cases=9)
    while archivist.step(request).more:
        pass
    shutil.copy(folder / "all.nc", folder / "source.nc")
    for _ in range(40):  # a changed source is read once it stays the same; then one piece of work each time
        state = archivist.step(request)
        if not state.more and state.verification:
            break
    table = StoredForecasts()
    table.refresh(next(next((tmp_path / "archive").iterdir()).iterdir()))
    assert {entry.facts()["leads"] for entry in table.by_name.values()} == {2}
    names = list(table.by_name)
    group = zarr_view.find_group(table, f"{names[0]}--{names[-1]}")
    arrays = zarr_view.joined_metadata(group)["consolidated_metadata"]["metadata"]
    assert arrays["wdir"]["dimension_names"][:2] == ["reference_time", "lead_time"]
    assert zarr_view.find_file(group, True, f"{FAR}/c/1/0/0/0/0") is not None
    path = table.by_name[names[0]].path
    stored, truth = stored_forecast(path), observed(path, source)
    original = made().sel(valid_time=stored.valid_time.values)
    same(truth[FAR], original[FAR], 1e-9)
    same(truth.wdir, original.wdir, 1e-4)
    _check_errors(state.verification["variables"], table, source)
    live = LiveVerification(forecaster, source, path.parent)  # reads the file of scores back
    assert live.summary()["variables"] == state.verification["variables"]


def _check_errors(found, table, source):
    """Area-weighted errors of model and persistence in NumPy, over the forecasts whose truth is known."""
    data = made().isel(height=0)
    weight = np.cos(np.deg2rad(data.latitude.values))[:, None] * np.ones(6)
    squares = {who: {name: [] for name in (FAR, "wdir")} for who in ("model", "persistence")}
    for entry in table.by_name.values():
        stored = stored_forecast(entry.path).isel(height=0)
        first = stored.valid_time.values[0]
        if first not in data.valid_time.values:
            continue
        truth, newest = data.sel(valid_time=first), data.sel(valid_time=stored.reference_time.values)
        for who, forecast in (("model", stored.isel(lead_time=0)), ("persistence", newest)):
            far = forecast[FAR].values - truth[FAR].values
            turn = np.exp(1j * np.deg2rad(forecast.wdir.values.astype("f8") - truth.wdir.values.astype("f8")))
            for name, error in ((FAR, far), ("wdir", np.rad2deg(np.angle(turn)))):
                squares[who][name].append((weight * error**2).sum() / weight.sum())
    assert {name: entry["units"] for name, entry in found.items()} == {
        "lead": "degC",
        FAR: "km",
        "wdir_sin": "1",
        "wdir_cos": "1",
        "wdir": "degree",
    }
    for who, by_name in squares.items():
        assert len(by_name[FAR]) >= 2
        for name, values in by_name.items():
            expected = np.sqrt(np.mean(values)) / (1000 if name == FAR else 1)
            assert found[name]["rmse"][who][0] == pytest.approx(expected, rel=1e-4)

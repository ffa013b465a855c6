"""`stconv forecast` as a user calls it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from stconv.bundle import make_bundle
from stconv.cli.main import main
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.splits import Periods
from stconv.datasets.series.store import load_series
from stconv.datasets.series.windows import WindowSpec
from stconv.datasets.source.grid import GridSpec, canonicalize
from stconv.datasets.summary import DataSummary
from stconv.forecast import Forecaster
from stconv.models import Conv3D

N = 40


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    values = np.random.default_rng(0).normal(280, 5, (N, 4, 6)).astype("float32")
    return xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values, {"units": "K"})},
        {
            "time": np.datetime64("2020-01-01", "ns") + np.arange(N) * np.timedelta64(6, "h"),
            "lat": np.linspace(50, 44, 4),
            "lon": np.linspace(200, 210, 6),
        },
    )


@pytest.fixture(scope="module")
def model(ds, tmp_path_factory):
    torch.manual_seed(0)
    series = load_series(*canonicalize(ds), ["t2m"])
    preparation = Preparation.fit(series, range(30), PreparationSettings(("t2m",)))
    network = Conv3D(preparation.c_in, 1, 3, 2, n_layers=1, n_filters=2, kernel=3)
    datamodule = SimpleNamespace(
        series=series,
        periods=Periods(range(30), range(30, 35), range(35, N)),
        preparation=preparation,
        spec=WindowSpec.consecutive(3, 2),
        grid=GridSpec(),
        describe=lambda: DataSummary(hash=series.content_hash),
    )
    task = SimpleNamespace(network=network, preparation=preparation)
    return make_bundle(task, datamodule, name="air").save(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture
def command(ds, model, tmp_path):
    ds.to_netcdf(tmp_path / "input.nc")

    def call(*words, output="forecast.nc") -> int:
        arguments = [
            "--model",
            model,
            "--input",
            tmp_path / "input.nc",
            "--output",
            tmp_path / output,
            *words,
        ]
        return main(["forecast", *map(str, arguments)])

    return call


@pytest.mark.parametrize("output", ["forecast.nc", "forecast.zarr"])
def test_writes_what_the_library_forecasts(command, ds, model, tmp_path, capsys, output):
    assert command(output=output) == 0
    found = xr.open_dataset(tmp_path / output, engine="netcdf4" if output.endswith("nc") else "zarr")
    expected = Forecaster.from_path(model).forecast(ds)
    xr.testing.assert_equal(found.drop_encoding(), expected)
    printed = capsys.readouterr().out
    assert "reference time  2020-01-10T18:00" in printed
    assert "leads           2, 6 to 12 hours" in printed
    assert f"{float(expected.t2m.min()):.6g} to {float(expected.t2m.max()):.6g} K" in printed
    assert output in printed


def test_options_reach_the_forecaster(command, ds, model, tmp_path):
    assert command("--steps", "5", "--reference-time", "2020-01-05") == 0
    found = xr.open_dataset(tmp_path / "forecast.nc")
    expected = Forecaster.from_path(model).forecast(ds, steps=5, reference_time="2020-01-05")
    xr.testing.assert_equal(found, expected)


def test_several_files_are_one_series(command, ds, model, tmp_path):
    command()
    expected = xr.open_dataset(tmp_path / "forecast.nc").load()
    parts = [tmp_path / "a.nc", tmp_path / "b.nc"]
    ds.isel(time=slice(0, 38)).to_netcdf(parts[0])
    ds.isel(time=slice(38, None)).to_netcdf(parts[1])
    arguments = ["--model", model, "--output", tmp_path / "joined.nc", "--input", *parts]
    assert main(["forecast", *map(str, arguments)]) == 0
    xr.testing.assert_equal(xr.open_dataset(tmp_path / "joined.nc"), expected)


def test_axes_of_other_names_are_named(command, ds, model, tmp_path):
    """The model was trained on plain files; the new one names its rows and columns its own way."""
    ds.rename(lat="rows_north", lon="columns_east").to_netcdf(tmp_path / "input.nc")
    assert command() == 1
    assert command("--lat", "rows_north", "--lon", "columns_east") == 0
    found = xr.load_dataset(tmp_path / "forecast.nc")
    expected = Forecaster.from_path(model).forecast(ds)
    assert {"rows_north", "columns_east"} <= set(found.t2m.dims)
    np.testing.assert_allclose(found.t2m.values, expected.t2m.values, rtol=1e-5)


def test_warnings_go_to_stderr_in_one_line(command, ds, tmp_path, capsys):
    hot = ds.copy(deep=True)
    hot.t2m[-1, 0, 0] = 400
    hot.to_netcdf(tmp_path / "input.nc")
    assert command() == 0
    error = capsys.readouterr().err
    assert error.startswith("stconv: warning: t2m: 1 of 72 inputs (1.39 %) lie outside the training range")
    assert error.count("\n") == 1


def test_draws(command, tmp_path):
    assert command("--plot", str(tmp_path / "forecast.png")) == 0
    assert (tmp_path / "forecast.png").read_bytes().startswith(b"\x89PNG")


def test_input_that_does_not_fit_is_said_and_nothing_written(command, ds, tmp_path, capsys):
    ds.isel(lat=slice(0, 3)).to_netcdf(tmp_path / "input.nc")
    assert command() == 1
    assert "stconv: error: lat of the input differs: expected 4 points" in capsys.readouterr().err
    assert not (tmp_path / "forecast.nc").exists()


def test_missing_model_is_said(ds, tmp_path, capsys):
    ds.to_netcdf(tmp_path / "input.nc")
    arguments = ["--model", "nowhere", "--input", tmp_path / "input.nc", "--output", tmp_path / "f.nc"]
    assert main(["forecast", *map(str, arguments)]) == 1
    assert "stconv: error: No bundle at 'nowhere'" in capsys.readouterr().err


def test_bad_output_is_said_before_anything_is_read(tmp_path, capsys):
    arguments = ["--model", "nowhere", "--input", "nothing.nc", "--output", tmp_path / "f.csv"]
    assert main(["forecast", *map(str, arguments)]) == 1
    assert "ends in '.csv'" in capsys.readouterr().err


def test_help_explains(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["forecast", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "models:/air@champion" in printed
    assert "--convert-units" in printed

"""`stconv.hindcast`: every forecast of an archive in one store, whatever interrupts it."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import stconv
from small_hindcast import N, fields, save_bundle
from stconv.cli.main import main
from stconv.errors import ClusterError, ConfigError, DataError, FileError, VariableError, WindowError
from stconv.forecast import Forecaster
from stconv.front.hindcast import MissingForecastsWarning
from stconv.hindcasts import cluster, layout, worker
from stconv.hindcasts.layout import Sizes
from stconv.hindcasts.progress import Progress
from stconv.hindcasts.store import Store


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_bundle(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "air.nc"
    fields(N).to_netcdf(path)
    return path


@pytest.fixture(scope="module")
def complete(model, archive, tmp_path_factory) -> xr.Dataset:
    """The forecasts of an uninterrupted run."""
    path = tmp_path_factory.mktemp("complete") / "h.zarr"
    with stconv.hindcast(model, archive, path, workers=0, progress=False) as found:
        return found.load()


def hindcast(model, archive, path, **options):
    with stconv.hindcast(model, archive, path, **{"workers": 0, "progress": False, **options}) as found:
        return found.load()


def test_each_forecast_is_that_of_the_model_alone(model, complete, archive):
    forecaster, ds = Forecaster.from_path(model), fields(N)
    assert complete["t2m"].dims == ("forecast_reference_time", "lead", "latitude", "longitude")
    assert complete.sizes["forecast_reference_time"] == N - 2
    for i in (0, 17, N - 3):
        found = complete.isel(forecast_reference_time=i).drop_vars("hindcast_status")
        expected = forecaster.forecast(ds, reference_time=complete["forecast_reference_time"].values[i])
        xr.testing.assert_allclose(found, expected, rtol=1e-6)
        assert found["t2m"].attrs == expected["t2m"].attrs
    assert complete.attrs["model_name"] == "air"


def test_a_longer_forecast_is_rolled_out_in_batches(model, archive, tmp_path):
    found = hindcast(model, archive, tmp_path / "h.zarr", steps=5, stride=7, first="2020-01-03", batch=3)
    times = found["forecast_reference_time"].values
    assert (np.diff(times) == np.timedelta64(42, "h")).all()
    assert times[0] == np.datetime64("2020-01-03")
    expected = Forecaster.from_path(model).forecast(fields(N), 5, reference_time=times[2])
    np.testing.assert_allclose(found["t2m"][2], expected["t2m"], rtol=1e-6)


def test_the_form_of_the_archive_and_other_units_are_kept(model, tmp_path):
    ds = fields(20).transpose("longitude", "time", "latitude").sortby("latitude")
    ds["t2m"] = (ds["t2m"] - 273.15).assign_attrs(units="degC")
    ds = ds.rename({"t2m": "t2m", "latitude": "nav_lat", "longitude": "nav_lon"})
    found = hindcast(
        model, ds, tmp_path / "h.zarr", lat="nav_lat", lon="nav_lon", convert_units=True, workers=None
    )
    options = {"convert_units": True, "reference_time": found["forecast_reference_time"].values[3]}
    expected = stconv.load(model).forecast(ds, lat="nav_lat", lon="nav_lon", **options)
    assert found["t2m"].dims == ("forecast_reference_time", *expected["t2m"].dims)
    assert found["t2m"].attrs["units"] == "degC"
    np.testing.assert_allclose(found["t2m"][3], expected["t2m"], rtol=1e-5)


class Killed(BaseException):
    """Ends the process at any point, as a kill does."""


@pytest.mark.parametrize("moment", [0, 3, 6])
def test_a_run_killed_anywhere_goes_on_without_a_wrong_chunk(
    model, archive, complete, tmp_path, monkeypatch, moment
):
    path, put, calls = tmp_path / "h.zarr", worker.Store._put, []

    def killed(store, name, rows, values):
        calls.append(name)
        if len(calls) > moment:
            put(store, name, rows, values[: len(values) // 2])  # half a chunk
            raise Killed
        put(store, name, rows, values)

    monkeypatch.setattr(worker.Store, "_put", killed)
    with pytest.raises(Killed):
        hindcast(model, archive, path, memory=2**31)
    monkeypatch.setattr(worker.Store, "_put", lambda *a: calls.append(a[1]) or put(*a))
    left = Store(path).open_chunks()
    assert left == list(range(moment // 2, 4))
    calls.clear()
    found = hindcast(model, archive, path)
    assert len(calls) == 2 * len(left)  # what was complete is not made again
    xr.testing.assert_identical(found, complete)


def test_a_complete_hindcast_computes_nothing(model, archive, complete, tmp_path, monkeypatch, capsys):
    words = ["--model", model, "--input", archive, "--output", tmp_path / "h.zarr", "--workers", "0"]
    assert main(["hindcast", *map(str, words)]) == 0
    assert f"{N - 2} made now" in capsys.readouterr().out
    monkeypatch.setattr("stconv.hindcasts.run.compute", None)
    assert main(["hindcast", *map(str, words)]) == 0
    assert f"0 made now, {N - 2} before" in capsys.readouterr().out


def test_what_is_not_made_yet_is_missing(model, archive, tmp_path, monkeypatch):
    monkeypatch.setattr("stconv.hindcasts.run.blocks_of", lambda *_: [])
    found = hindcast(model, archive, tmp_path / "h.zarr")
    assert np.isnan(found["t2m"]).all()
    assert (found["hindcast_status"] == 0).all()
    assert found["time"].values[3, 1] == fields(N)["time"].values[2 + 3 + 2]


def test_another_model_archive_or_choice_is_refused(model, archive, tmp_path):
    path = tmp_path / "h.zarr"
    own = tmp_path / "air.nc"
    own.write_bytes(archive.read_bytes())
    hindcast(model, own, path, last="2020-01-05")
    with pytest.raises(ConfigError, match="was begun otherwise: the model has changed since"):
        hindcast(save_bundle(tmp_path / "other", seed=1), own, path, last="2020-01-05")
    with pytest.raises(ConfigError, match=r"the number of leads \(2 then, 4 now\) has changed"):
        hindcast(model, own, path, last="2020-01-05", steps=4)
    with pytest.raises(ConfigError, match=r"the last reference time .* the number of .* have"):
        hindcast(model, own, path)
    (fields(N) + 1).assign_attrs(changed="yes").to_netcdf(own)
    with pytest.raises(ConfigError, match="the archive has changed since"):
        hindcast(model, own, path, last="2020-01-05")


def test_an_archive_that_changes_meanwhile_is_noticed(model, tmp_path, monkeypatch):
    own, write = tmp_path / "air.nc", worker.Store.write
    fields(N).to_netcdf(own)

    def slowly(*arguments):
        write(*arguments)
        own.touch()

    monkeypatch.setattr(worker.Store, "write", slowly)
    with pytest.raises(DataError, match=r"The archive changed while .* mix old and new values. Remove it"):
        hindcast(model, own, tmp_path / "h.zarr")
    with pytest.raises(ConfigError, match="the archive has changed since"):
        hindcast(model, own, tmp_path / "h.zarr")


def test_a_full_disk_is_said_and_gone_on_from(model, archive, complete, tmp_path, monkeypatch):
    put, calls = worker.Store._put, []

    def full(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(*arguments)

    monkeypatch.setattr(worker.Store, "_put", full)
    with pytest.raises(FileError, match=r"No space left on device.*Free some space, and run"):
        hindcast(model, archive, tmp_path / "h.zarr")
    monkeypatch.setattr(worker.Store, "_put", put)
    xr.testing.assert_identical(hindcast(model, archive, tmp_path / "h.zarr"), complete)


def test_files_that_a_killed_worker_left_are_swept(model, archive, tmp_path):
    path = tmp_path / "h.zarr"
    hindcast(model, archive, path)
    (path / "t2m" / "0.0.0.123abc.partial").write_bytes(b"half")
    hindcast(model, archive, path)
    assert not list(path.rglob("*.partial"))


def test_gaps_and_missing_values(model, tmp_path):
    ds = fields(N).isel(time=[*range(20), *range(22, N)])
    ds["t2m"][30] = np.nan
    with pytest.warns(MissingForecastsWarning, match="3 forecasts of 54 were not made"):
        found = hindcast(model, ds, tmp_path / "h.zarr")
    times, missing = found["forecast_reference_time"].values, found["hindcast_status"].values == 2
    assert ds["time"].values[20] not in times  # the window before it has a gap
    assert list(times[missing]) == list(ds["time"].values[30:33])
    assert np.isnan(found["t2m"].values[missing]).all()
    assert np.isfinite(found["t2m"].values[~missing]).all()


def test_an_infinite_value_is_named_with_its_window(model, tmp_path):
    ds = fields(N)
    ds["t2m"][30, 0, 0] = np.inf
    with pytest.raises(DataError, match="window of 2020-01-08T12:00 cannot be used: 't2m' has 1 inf"):
        hindcast(model, ds, tmp_path / "h.zarr")


def test_scores_alone_are_those_of_the_stored_forecasts(model, archive, complete, tmp_path, monkeypatch):
    write, calls = worker.ScoreFolder.write, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        write(*arguments)

    monkeypatch.setattr(worker.ScoreFolder, "write", killed)
    options = {"scores": tmp_path / "scores", "workers": 0, "progress": False}
    with pytest.raises(Killed):
        stconv.hindcast(model, archive, **options)
    monkeypatch.setattr(worker.ScoreFolder, "write", write)
    found = stconv.hindcast(model, archive, **options)
    truth = fields(N)["t2m"].values.astype(float)
    newest = np.arange(2, N - 2)
    weight = np.cos(np.radians(fields(N)["latitude"].values))[:, None] * np.ones(6)
    for lead in (1, 2):
        for name, forecast in (
            ("model", complete["t2m"].values[: N - 4, lead - 1]),
            ("persistence", truth[newest]),
        ):
            error = (forecast - truth[newest + lead]) ** 2
            expected = np.sqrt((error * weight).sum() / (weight.sum() * len(newest)))
            assert found.verification.sums.rmse(name)[0, lead - 1] == pytest.approx(expected, rel=1e-3)
            plain = found.verification.sums.rmse(name, "cells")[0, lead - 1]
            assert plain == pytest.approx(np.sqrt(error.mean()), rel=1e-6)
    assert found.verification.sums.n_windows == len(newest)
    assert found.report.is_file()
    with pytest.raises(ConfigError, match="Scores alone end at the 2 leads"):
        stconv.hindcast(model, archive, **options, steps=3)


def test_a_plan_says_hours_and_bytes_and_writes_nothing(model, archive, tmp_path, capsys):
    words = ["--model", model, "--input", archive, "--output", tmp_path / "h.zarr", "--plan"]
    words += ["--workers", "0"]
    assert main(["hindcast", *map(str, words)]) == 0
    out = capsys.readouterr().out
    assert f"reference times {N - 2}, 2020-01-01T12:00 to" in out
    assert f"bytes           {(N - 2) * 2 * 24 * 4 / 1e9:.3g} GB" in out
    assert "core hours" in out
    assert not (tmp_path / "h.zarr").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"first": "2030-01-01"}, WindowError, "no reference time from 2030-01-01.*has 60 frames"),
        ({"stride": 0}, WindowError, "stride is 0; expected 1 or more"),
        ({"steps": 0}, WindowError, "A hindcast of 0 steps was asked for"),
        ({"workers": -1}, ConfigError, "workers is -1; expected 0 or more"),
        ({"output": "h.nc"}, FileError, "a hindcast is written as .zarr"),
        ({"output": "nowhere/h.zarr"}, FileError, "There is no folder '.*nowhere'"),
        ({"output": None}, ConfigError, "Name one of the two"),
    ],
)
def test_refusals(model, archive, tmp_path, monkeypatch, options, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        stconv.hindcast(model, archive, **{"output": "h.zarr", "workers": 0, "progress": False, **options})


def test_an_archive_without_the_variable_is_refused(model, tmp_path):
    with pytest.raises(VariableError, match="t2m"):
        hindcast(model, fields(N).rename(t2m="other"), tmp_path / "h.zarr")


def test_a_dataset_is_not_for_workers(model, tmp_path):
    with pytest.raises(ConfigError, match="A Dataset is in the memory of this process"):
        hindcast(model, fields(N), tmp_path / "h.zarr", workers=2)


def test_without_dask_distributed_the_remedy_is_said(model, archive, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'stconv\[cluster\]'.*set workers= to 0"):
        hindcast(model, archive, tmp_path / "h.zarr", workers=1)


def test_no_scheduler_at_an_address(model, archive, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.3)
    with pytest.raises(ClusterError, match="There is no scheduler at 'tcp://127"):
        hindcast(model, archive, tmp_path / "h.zarr", workers=None, scheduler="tcp://127.0.0.1:9")


def test_a_scheduler_without_workers(model, archive, tmp_path, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(cluster, "WORKERS_SECONDS", 0.1)
    local = {"processes": False, "host": "127.0.0.1", "protocol": "tcp://", "dashboard_address": None}
    with LocalCluster(n_workers=0, **local) as empty:
        address = empty.scheduler_address
        with pytest.raises(ClusterError, match=r"has no worker after 0.1 s\. Start some"):
            hindcast(model, archive, tmp_path / "h.zarr", workers=None, scheduler=address)


def test_sizes_follow_from_memory_and_archive():
    quarter = Sizes(cells=721 * 1440, inputs=4, outputs=4, steps=40, window=2)
    gigabytes = 4 * 10**9
    assert layout.references_per_chunk(quarter, 58_440, gigabytes, 2) == 1  # 166 MB a variable
    assert layout.leads_per_chunk(quarter) == 16
    small = Sizes(cells=25 * 53, inputs=1, outputs=1, steps=5, window=5)
    assert layout.references_per_chunk(small, 58_440, gigabytes, 2) == 633  # 16 MiB a chunk
    assert layout.references_per_chunk(small, 100, gigabytes, 2) == 13  # several chunks for each worker
    assert layout.chunks_per_block(small, 100, 1000, 1, gigabytes) == 10
    assert layout.chunks_per_block(quarter, 1, 124, 1, gigabytes) == 38  # a sixth of the memory
    assert layout.windows_per_batch(10**8, gigabytes, 633) == 10
    assert layout.windows_per_batch(10**10, gigabytes, 633) == 1
    chunks = layout.chunks_of(range(5, 15), 3)
    assert [chunk.positions for chunk in chunks] == [(5, 6, 7), (8, 9, 10), (11, 12, 13), (14,)]
    blocks = layout.blocks_of([chunk for chunk in chunks if chunk.number != 1], 2)
    assert [[chunk.number for chunk in block.chunks] for block in blocks] == [[0], [2, 3]]


def test_progress_says_the_time_to_the_end(monkeypatch, capsys):
    clock = iter([0.0, 31.0, 31.0, 40.0, 40.0])
    monkeypatch.setattr("stconv.hindcasts.progress.time.monotonic", lambda: next(clock))
    with Progress(100, 20) as progress:
        progress.advance(31)
    assert capsys.readouterr().err == "51 of 100 forecasts, 0.775 per second, 0:01:03 left\n"


def test_a_store_says_what_it_was_made_from(model, complete):
    said = json.loads(complete.attrs["stconv_hindcast"])
    assert said["steps"] == 2
    assert said["n"] == N - 2
    assert complete.attrs["bundle_sha256"] == Forecaster.from_path(model).bundle_hash

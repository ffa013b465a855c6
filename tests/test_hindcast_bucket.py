"""`stconv.hindcast` to an object store (moto): the same forecasts as on the disk, after any kill."""

import json
import signal
import subprocess
import sys

import pytest
import xarray as xr

import stconv
from s3_server import serving_bucket
from small_hindcast import N, fields, save_bundle, slow_store
from stconv.cli.main import main
from stconv.datasets.remote.address import Address
from stconv.errors import ConfigError, FileError
from stconv.front.hindcast import MissingForecastsWarning
from stconv.hindcasts import beginning, worker
from stconv.hindcasts.store import Store, open_hindcast
from waiting import until


class Killed(BaseException):
    """Ends the process at any point, as a kill does."""


@pytest.fixture(scope="module")
def bucket():
    with serving_bucket("data") as client:
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a bundle and an archive."""
    folder = tmp_path_factory.mktemp("hindcast")
    save_bundle(folder / "bundle")
    fields(N).to_netcdf(folder / "air.nc")
    return folder


@pytest.fixture(scope="module")
def complete(folder):
    """The forecasts of an uninterrupted run to the disk."""
    return hindcast(folder, folder / "complete.zarr")


def hindcast(folder, place, **options):
    options = {"workers": 0, "progress": False, "memory": 2**31, **options}
    with stconv.hindcast(folder / "bundle", folder / "air.nc", place, **options) as found:
        return found.load()


def keys(bucket, prefix):
    return {item["Key"] for item in bucket.list_objects_v2(Bucket="data", Prefix=prefix).get("Contents", [])}


@pytest.mark.parametrize("moment", [0, 3])
def test_a_run_killed_between_chunks_goes_on(folder, complete, bucket, monkeypatch, moment):
    place, put, calls = f"s3://data/killed-{moment}.zarr", Store._put, []

    def killed(store, name, rows, values):
        calls.append(name)
        if len(calls) > moment:
            raise Killed
        put(store, name, rows, values)

    monkeypatch.setattr(worker.Store, "_put", killed)
    with pytest.raises(Killed):
        hindcast(folder, place)
    monkeypatch.setattr(worker.Store, "_put", lambda *a: calls.append(a[1]) or put(*a))
    left = Store(Address(place)).open_chunks()
    assert left == list(range(moment // 2, 4))
    calls.clear()
    xr.testing.assert_identical(hindcast(folder, place), complete)
    assert len(calls) == 2 * len(left)  # what was complete is not made again
    with xr.open_zarr(place) as read_by_others:
        xr.testing.assert_identical(read_by_others.load(), complete)


@pytest.mark.parametrize("moment", [1, 9])
def test_half_a_template_is_written_anew(folder, complete, bucket, monkeypatch, moment):
    place, put, calls = f"s3://data/half-{moment}.zarr", beginning.put, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) > moment:
            raise Killed
        put(*arguments)

    monkeypatch.setattr(beginning, "put", killed)
    with pytest.raises(Killed):
        hindcast(folder, place)
    assert len(keys(bucket, f"half-{moment}.zarr")) == moment
    with pytest.raises(FileError, match="is not a Zarr store of `stconv hindcast`"):
        open_hindcast(Address(place))
    monkeypatch.setattr(beginning, "put", put)
    xr.testing.assert_identical(hindcast(folder, place), complete)


def test_another_choice_and_other_contents_are_refused(folder, bucket):
    hindcast(folder, "s3://data/other.zarr", last="2020-01-03")
    with pytest.raises(ConfigError, match=r"'s3://data/other\.zarr' was begun otherwise: the last reference"):
        hindcast(folder, "s3://data/other.zarr")
    bucket.put_object(Bucket="data", Key="mine.zarr/notes.txt", Body=b"mine")
    with pytest.raises(FileError, match=r"'s3://data/mine\.zarr' holds something else than this hindcast"):
        hindcast(folder, "s3://data/mine.zarr")
    assert keys(bucket, "mine.zarr") == {"mine.zarr/notes.txt"}


def test_forecasts_that_are_not_made_are_told_from_those_that_are_not_made_yet(folder, bucket, tmp_path):
    ds = fields(N)
    ds["t2m"][30] = float("nan")
    ds.to_netcdf(tmp_path / "air.nc")
    with pytest.warns(MissingForecastsWarning, match="3 forecasts of 58 were not made"):
        found = stconv.hindcast(
            folder / "bundle", tmp_path / "air.nc", "s3://data/gaps.zarr", workers=0, progress=False
        )
    assert int((found["hindcast_status"] == 2).sum()) == 3
    assert int(found["t2m"].isnull().all(["lead", "latitude", "longitude"]).sum()) == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"output": "s3://nowhere/h.zarr"}, FileError, r"cannot be written: .*bucket.*Create the bucket"),
        ({"output": "s3://data/h.nc"}, FileError, "a hindcast is written as .zarr"),
        ({"output": "https://a.org/h.zarr"}, FileError, "on a web server, which is only read; expected a"),
        ({"scores": "s3://data/scores"}, ConfigError, "is an address; scores, .* are written to a folder"),
    ],
)
def test_refusals(folder, bucket, options, error, message):
    with pytest.raises(error, match=message):
        stconv.hindcast(folder / "bundle", folder / "air.nc", **options, workers=0, progress=False)


def test_a_single_forecast_is_written_to_a_path(folder, bucket, capsys):
    words = [
        "--model",
        str(folder / "bundle"),
        "--input",
        str(folder / "air.nc"),
        "--output",
        "s3://data/f.nc",
    ]
    assert main(["forecast", *words]) == 1
    said = capsys.readouterr().err
    assert "'s3://data/f.nc' is an address; a forecast is written to a path. Name one" in said


@pytest.mark.slow
def test_a_command_that_is_killed_goes_on_with_workers(folder, complete, bucket, tmp_path):
    (tmp_path / "slowly.py").write_text(slow_store(0.3))
    place = Address("s3://data/command.zarr")
    words = [
        "--model",
        folder / "bundle",
        "--input",
        folder / "air.nc",
        "--output",
        place,
        "--memory",
        "2GiB",
    ]
    line = [sys.executable, "-m", "stconv", "hindcast", *map(str, words), "--import"]
    line += [str(tmp_path / "slowly.py"), "--workers"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*line, "0"], stdout=log, stderr=log)

    def first_chunk():
        assert process.poll() is None, (tmp_path / "log").read_text()
        return Store(place).status().any()

    until(first_chunk, ignore=(FileError,))
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    left = Store(place).open_chunks()
    assert left
    done = subprocess.run([*line, "1"], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"{N - 2} made now" not in done.stdout
    with open_hindcast(place) as found:
        xr.testing.assert_allclose(found.load(), complete, rtol=1e-6)  # batches may differ
    assert json.loads(found.attrs["stconv_hindcast"])["n"] == N - 2

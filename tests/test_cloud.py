"""Data where they are: a web server with ranges and an S3 server (moto), started by the tests."""

import asyncio
import json
import os
import shutil
import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from range_server import serving
from s3_server import serving_bucket
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.inspection.inspect import describe
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.remote import patience
from stconv.datasets.remote.address import Address
from stconv.datasets.remote.kinds import place_state, store_kind
from stconv.datasets.series.splits import SplitSpec
from stconv.datasets.settings import SourceSettings, WindowSettings
from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.finding import find_files
from stconv.datasets.source.grid import GridSpec, open_series
from stconv.errors import ConnectionLostError, FileError
from stconv.experiments.starter_file import write_starter

N, LAT, LON = 24, np.arange(-40.0, 41, 10), np.arange(0.0, 360, 20)


def made(n=N):
    values = np.random.default_rng(0).normal(280, 10, (n, LAT.size, LON.size)).astype("f4")
    time = np.datetime64("2001-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h")
    fields = {
        "t2m": (("time", "lat", "lon"), values, {"units": "K"}),
        "u10": (("time", "lat", "lon"), (values - 280) / 5, {"units": "m s-1"}),
    }
    axes = {
        "time": time,
        "lat": ("lat", LAT, {"units": "degrees_north"}),
        "lon": ("lon", LON, {"units": "degrees_east"}),
    }
    return xr.Dataset(fields, axes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same series in every form."""
    folder = tmp_path_factory.mktemp("web")
    ds = made()
    packed = {name: {"zlib": True, "chunksizes": (4, LAT.size, LON.size)} for name in ds.data_vars}
    ds.to_netcdf(folder / "a.nc", encoding=packed)
    ds.to_netcdf(folder / "classic.nc", format="NETCDF3_64BIT")
    chunks = {name: {"chunks": (4, LAT.size, LON.size)} for name in ds.data_vars}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # consolidated metadata of version 3
        ds.to_zarr(folder / "v2.zarr", zarr_format=2, encoding=chunks, consolidated=True)
        ds.to_zarr(folder / "v3.zarr", zarr_format=3, encoding=chunks, consolidated=True)
        ds.to_zarr(folder / "plain.zarr", zarr_format=3, encoding=chunks, consolidated=False)
    return folder


@pytest.fixture(scope="module")
def running(folder):
    with serving(folder) as server:
        yield server


@pytest.fixture
def web(running, monkeypatch, tmp_path):
    """The web server, without faults, asked by a client that does not wait long."""
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path))
    running.asked.clear()
    yield running
    running.drop, running.status, running.ranges = 0, None, True


@pytest.fixture(scope="module")
def bucket(folder):
    """An S3 bucket `data` with the files, on a server that this test starts."""
    with serving_bucket("data") as client:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                client.upload_file(str(path), "data", path.relative_to(folder).as_posix())
        yield client


def expected(folder):
    return open_series(folder / "v3.zarr")[0]


@pytest.mark.parametrize("name", ["a.nc", "classic.nc", "v2.zarr", "v3.zarr"])
def test_a_web_server_gives_the_same_series_as_the_file(name, web, folder):
    found, _ = open_series(f"{web.url}/{name}")
    xr.testing.assert_identical(found, open_series(folder / name)[0])


@pytest.mark.parametrize(
    "name",
    [
        "a.nc",
        "v3.zarr",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("classic.nc", "v2.zarr", "plain.zarr")),
    ],
)
def test_a_bucket_gives_the_same_series_as_the_file(name, bucket, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path))
    found, _ = open_series(f"s3://data/{name}")
    xr.testing.assert_identical(found, open_series(folder / name)[0])


@pytest.mark.slow
def test_patterns_and_folders_of_a_bucket(bucket, folder):
    bucket.upload_file(str(folder / "a.nc"), "data", "years/a-2001.nc")
    bucket.upload_file(str(folder / "a.nc"), "data", "years/a-2002.nc")
    named = [Address(f"s3://data/years/a-{year}.nc") for year in (2001, 2002)]
    assert find_files("s3://data/years/a-*.nc") == named
    assert find_files("s3://data/years") == named
    with pytest.raises(FileError, match=r"No file 's3://data/nowhere': there is neither a file nor"):
        find_files("s3://data/nowhere")
    with pytest.raises(FileError, match=r"No file matches 's3://data/b-\*\.nc'"):
        find_files("s3://data/b-*.nc")


@pytest.mark.parametrize("name", ["a.nc", "v3.zarr"])
def test_a_source_without_access_says_which_variables_to_set(name, web):
    web.status = 403
    with pytest.raises(FileError, match=r"may not be read .*Set the credentials in the env.*AWS_PROFILE"):
        open_series(f"{web.url}/{name}")


def test_netcdf_is_read_by_ranges(web, folder, tmp_path):
    large = made(400).isel(lat=[0] * 60)
    large["lat"] = np.linspace(-60, 60, 60)
    large.to_netcdf(folder / "large.nc", encoding={"t2m": {"chunksizes": (1, 60, 18)}})
    web.asked.clear()
    expected, _ = open_series(folder / "large.nc")
    assert (folder / "large.nc").stat().st_size > 3 * 2**20
    found, _ = open_series(f"{web.url}/large.nc", GridSpec(), ["u10"])
    np.testing.assert_array_equal(found.u10, expected.u10)
    assert 2 < len(web.asked) < 12


@pytest.mark.parametrize("name", ["a.nc", "v3.zarr", "classic.nc"])
def test_lost_connections_are_tried_again(name, web, folder):
    web.drop = 3
    found, _ = open_series(f"{web.url}/{name}")
    np.testing.assert_array_equal(found.t2m, expected(folder).t2m)
    assert web.drop == 0


@pytest.mark.parametrize("name", ["a.nc", "v3.zarr", "classic.nc"])
@pytest.mark.parametrize("fault", ["drop", "status"])
def test_connections_that_stay_lost_are_named(name, fault, web):
    setattr(web, fault, 10_000 if fault == "drop" else 503)
    lost = rf"The connection to '{web.url}/{name}.*' was lost 5 times"
    with pytest.raises(ConnectionLostError, match=lost):
        open_series(f"{web.url}/{name}")


def test_values_that_are_lost_after_opening_are_named(web, monkeypatch):
    from stconv.datasets.source import grid

    monkeypatch.setattr(grid, "MEMORY_BYTES", 0)
    for name in ("a.nc", "v3.zarr"):
        web.status = None
        found, _ = open_series(f"{web.url}/{name}")
        web.status = 503
        if name == "a.nc":  # all of this small file was read together with its metadata
            from stconv.datasets.remote import ranged_file

            for file in ranged_file._open:
                file._blocks.clear()
        with pytest.raises(ConnectionLostError, match=f"'{web.url}/{name}' was lost 5 times"):
            found.t2m.load()


def test_a_server_without_ranges_is_told(web, folder):
    web.ranges = False
    found, _ = open_series(f"{web.url}/classic.nc")
    np.testing.assert_array_equal(found.t2m, expected(folder).t2m)
    with pytest.raises(FileError, match=r"does not serve ranges|does not tell the size"):
        open_series(f"{web.url}/large.nc")


def test_a_wrong_address_is_told(web):
    with pytest.raises(FileError, match=rf"No file '{web.url}/b\.nc'"):
        open_series(f"{web.url}/b.nc")
    with pytest.raises(FileError, match=rf"No file '{web.url}/b\.zarr'"):
        open_series(f"{web.url}/b.zarr")
    with pytest.raises(FileError, match="has no consolidated metadata, and its server does not list"):
        open_series(f"{web.url}/plain.zarr")


@pytest.mark.slow
def test_chunks_that_a_server_lacks_are_told(web, folder, tmp_path, bucket):
    shutil.copytree(folder / "v3.zarr", folder / "holes.zarr", dirs_exist_ok=True)
    (folder / "holes.zarr" / "t2m" / "c" / "2" / "0" / "0").unlink()
    with pytest.warns(SourceWarning, match=r"the chunk t2m/c/2/0/0 of 't2m' is not stored"):
        found, _ = open_series(f"{web.url}/holes.zarr")
    assert np.isnan(found.t2m[8:12]).all()
    for path in (folder / "holes.zarr").rglob("*"):
        if path.is_file():
            bucket.upload_file(str(path), "data", path.relative_to(folder).as_posix())
    with pytest.warns(SourceWarning, match=r"1 of 6 chunks of 't2m' are not stored \(step 8 to 11"):
        open_series("s3://data/holes.zarr")


def references(path, prefix):
    """References to a NetCDF 4 file, as kerchunk writes them, made from what HDF5 says about its chunks."""
    refs = {".zgroup": json.dumps({"zarr_format": 2})}
    with h5py.File(path) as file:
        for name, item in file.items():
            chunk = item.chunks or item.shape
            filters = [{"id": "shuffle", "elementsize": item.dtype.itemsize}] if item.shuffle else []
            filters += [{"id": "zlib", "level": 4}] if item.compression else []
            refs[f"{name}/.zarray"] = json.dumps(
                {
                    "zarr_format": 2,
                    "shape": item.shape,
                    "chunks": chunk,
                    "dtype": item.dtype.str,
                    "compressor": None,
                    "filters": filters or None,
                    "fill_value": "NaN" if name in ("t2m", "u10") else None,
                    "order": "C",
                }
            )
            dims = ["time", "lat", "lon"] if item.ndim > 1 else [name]
            attrs = {k: v.decode() if isinstance(v, bytes) else v for k, v in item.attrs.items()}
            texts = {k: v for k, v in attrs.items() if isinstance(v, str) and k not in ("CLASS", "NAME")}
            refs[f"{name}/.zattrs"] = json.dumps({"_ARRAY_DIMENSIONS": dims, **texts})
            if item.chunks is None:
                place = [f"{prefix}", item.id.get_offset(), item.id.get_storage_size()]
                refs[f"{name}/{'.'.join(['0'] * item.ndim)}"] = place
                continue
            for i in range(item.id.get_num_chunks()):
                stored = item.id.get_chunk_info(i)
                at = ".".join(str(o // size) for o, size in zip(stored.chunk_offset, chunk, strict=True))
                refs[f"{name}/{at}"] = [prefix, stored.byte_offset, stored.size]
    return {"version": 1, "refs": refs}


@pytest.mark.slow
def test_references_of_kerchunk_in_json(web, folder, tmp_path, bucket):
    found = {}
    for place, prefix in {
        str(tmp_path / "local.json"): str(folder / "a.nc"),
        str(tmp_path / "web.json"): f"{web.url}/a.nc",
        f"{web.url}/refs.json": f"{web.url}/a.nc",
        "s3://data/refs.json": "s3://data/a.nc",
    }.items():
        text = json.dumps(references(folder / "a.nc", prefix))
        if place.startswith("http"):
            (folder / "refs.json").write_text(text)
        elif place.startswith("s3"):
            bucket.put_object(Bucket="data", Key="refs.json", Body=text.encode())
        else:
            Path(place).write_text(text)
        found[place], _ = open_series(place)
        xr.testing.assert_equal(found[place], expected(folder))
    (tmp_path / "lost.json").write_text(json.dumps(references(folder / "a.nc", f"{web.url}/gone.nc")))
    with pytest.raises(FileError, match=r"lost\.json: it refers to something that is not there"):
        open_series(tmp_path / "lost.json")
    (folder / "here.json").write_text(json.dumps(references(folder / "a.nc", str(folder / "a.nc"))))
    with pytest.raises(FileError, match=r"here\.json' refers to files of this machine"):
        open_series(f"{web.url}/here.json")
    (folder / "other.json").write_text('["a"]')
    with pytest.raises(FileError, match="expected to hold references as kerchunk writes them"):
        open_series(f"{web.url}/other.json")


@pytest.mark.slow
def test_references_of_kerchunk_in_parquet(web, folder):
    refs = references(folder / "a.nc", f"{web.url}/a.nc")["refs"]
    metadata = {key: json.loads(value) for key, value in refs.items() if isinstance(value, str)}
    place = folder / "refs.parq"
    for name in ("time", "lat", "lon", "t2m", "u10"):
        inside = [value for key, value in sorted(refs.items()) if key.startswith(f"{name}/")]
        chunks = [value for value in inside if isinstance(value, list)]
        table = pd.DataFrame(chunks, columns=["path", "offset", "size"]).assign(raw=None)
        (place / name).mkdir(parents=True)
        table.to_parquet(place / name / "refs.0.parq", engine="pyarrow")
    (place / ".zmetadata").write_text(json.dumps({"metadata": metadata, "record_size": 10}))
    assert store_kind(place) == "references"
    for given in (place, f"{web.url}/refs.parq"):
        xr.testing.assert_equal(open_series(given)[0], expected(folder))


@pytest.mark.slow
def test_icechunk_repositories(folder, tmp_path, bucket):
    icechunk = pytest.importorskip("icechunk")
    from stconv.datasets.remote.repository import _storage

    for place in (tmp_path / "repository", Address("s3://data/repository")):
        repository = icechunk.Repository.create(_storage(icechunk, place))
        session = repository.writable_session("main")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made().to_zarr(session.store, zarr_format=3, consolidated=False)
        session.commit("first")
        assert find_files(place) == [place]
        xr.testing.assert_equal(open_series(place)[0], expected(folder))
    before = place_state(place)
    session = repository.writable_session("main")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made(30).isel(time=slice(24, 30)).to_zarr(session.store, append_dim="time", consolidated=False)
    session.commit("second")
    assert place_state(place) != before
    assert open_series(place)[0].sizes["time"] == 30


@pytest.mark.slow
def test_the_state_of_a_store_changes_when_it_grows(web, folder, bucket):
    client = bucket
    places = [Address(f"{web.url}/v2.zarr"), Address("s3://data/v2.zarr"), Address(f"{web.url}/a.nc")]
    before = [place_state(place) for place in places]
    assert before == [place_state(place) for place in places]
    os.utime(folder / "v2.zarr" / ".zmetadata", (1, 1))
    os.utime(folder / "a.nc", (1, 1))
    client.put_object(Bucket="data", Key="v2.zarr/t2m/.zarray", Body=b"{}")
    assert all(place_state(place) != state for place, state in zip(places, before, strict=True))
    client.upload_file(str(folder / "v2.zarr/t2m/.zarray"), "data", "v2.zarr/t2m/.zarray")


@pytest.mark.slow
def test_inspect_describes_a_store_on_the_network(bucket, folder):
    found, _ = describe("s3://data/v3.zarr")
    assert found.files == ["s3://data/v3.zarr"]
    here, _ = describe(folder / "v3.zarr")
    assert found.n_windows == here.n_windows
    assert found.disk_bytes == here.disk_bytes


def test_training_reads_an_address_and_remembers_it(web, tmp_path):
    address = f"{web.url}/v3.zarr"
    data = GridDataModule(
        SourceSettings(paths=address),
        PreparationSettings(("t2m",)),
        WindowSettings(t_in=2, leads=1),
        SplitSpec(purge=0),
    )
    data.setup()
    here = open_series(address)[0].t2m.values
    np.testing.assert_array_equal(data.series.values[:, 0], here)
    assert data.describe().files == ["v3.zarr"]
    found, _ = describe(address, t_in=2, leads=1)
    write_starter(tmp_path / "a.yaml", found, [address], GridSpec())
    assert f"paths:\n    - {address}" in (tmp_path / "a.yaml").read_text()


def test_no_request_is_tried_again_after_a_refusal():
    asked = []

    async def refuse():
        asked.append(1)
        raise PermissionError("no")

    with pytest.raises(FileError, match=r"'s3://a/b' may not be read \(no\)"):
        asyncio.run(patience.patiently_async(refuse, "s3://a/b"))
    assert len(asked) == 1

"""Faults of files, ids and disks, over HTTP where they arrive there: refused, never a 500."""

import errno
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import xarray as xr
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from service.state import state_folder
from service.workers.last_good import Fetched, fetch_model, keep
from stconv.errors import ServiceError, TrackingError


def post(client, body):
    return client.post("/v1/forecasts", content=body, headers={"Content-Type": "application/x-netcdf"})


def problem(answer, status, *says):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    for text in says:
        assert text in answer.json()["detail"], answer.json()["detail"]


def full(*args, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


# Files


def changed(made, change):
    """The NetCDF 4 file of the fields, changed by h5py."""
    target = io.BytesIO(made.as_netcdf(made.fields(4)))
    with h5py.File(target, "a") as file:
        change(file)
    return target.getvalue()


def test_a_file_that_declares_terabytes(client, made):
    body = changed(made, lambda file: file.create_dataset("huge", (10**6, 10**6), "f8", chunks=(100, 100)))
    problem(post(client, body), 413, "8000000", str(made.DECODED_LIMIT))


def test_a_file_that_unpacks_to_more_than_is_taken(client, made):
    zeros = np.zeros((1000, 1000))
    body = changed(made, lambda file: file.create_dataset("zeros", data=zeros, compression="gzip"))
    assert len(body) < made.BODY_LIMIT
    problem(post(client, body), 413, str(made.DECODED_LIMIT))


@pytest.mark.parametrize(
    "link", [h5py.ExternalLink("/etc/passwd", "x"), h5py.SoftLink("/t2m")], ids=["external", "soft"]
)
def test_a_file_that_points_elsewhere(client, made, link):
    problem(
        post(client, changed(made, lambda file: file.__setitem__("other", link))), 422, "'other' is a link"
    )


FIELDS = {
    "no time": (lambda ds: ds.isel(time=0, drop=True), "time"),
    "two more dimensions": (lambda ds: ds.expand_dims(member=2, level=3), "member"),
    "no rows": (lambda ds: ds.isel(latitude=slice(0, 0)), "lat"),
    "no columns": (lambda ds: ds.isel(longitude=slice(0, 0)), "lon"),
    "no times": (lambda ds: ds.isel(time=slice(0, 0)), "time"),
    "one time twice": (lambda ds: ds.isel(time=[0, 1, 1, 2]), "time"),
    "a latitude twice": (lambda ds: ds.isel(latitude=[0, 0, *range(2, 8)]), "latitude"),
    "text for numbers": (lambda ds: ds.assign(t2m=ds["t2m"].astype(str)), "t2m"),
    "another calendar": (lambda ds: ds.convert_calendar("360_day", align_on="date"), "360_day"),
}


@pytest.mark.parametrize(("change", "says"), FIELDS.values(), ids=FIELDS)
def test_fields_of_another_shape(client, made, change, says):
    problem(post(client, made.as_netcdf(change(made.fields(4)))), 422, says)


@pytest.mark.parametrize("writer", ["netcdf4", "h5netcdf", "scipy"])
def test_files_are_read_as_xarray_reads_them(made, writer, tmp_path):
    """Dimensions without coordinates, coordinates of two dimensions, text, packed values, single values."""
    from service.uploads.netcdf_upload import parse_netcdf
    from service.wire.codec import decode

    ds = made.fields(4).assign_coords(
        station=("longitude", [f"s{i}" for i in range(10)]),
        area=(("latitude", "longitude"), np.ones((8, 10))),
        number=np.int32(3),
    )
    ds["bounds"] = (
        ("longitude", "two"),
        np.zeros((10, 2), "i2"),
        {"flags": np.array([1, 2], "i1"), "n": 2.5},
    )
    ds["two"] = (("longitude",), np.arange(10.0))  # of the name of a dimension
    ds.attrs = {"title": "ünïcode", "empty": "", "versions": np.array([1, 2])}
    path = tmp_path / "made.nc"
    packed = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768}
    ds.to_netcdf(path, engine=writer, encoding={"t2m": packed})
    variables, attrs = decode(parse_netcdf(path.read_bytes(), 10**6))
    with xr.open_dataset(path, engine=writer, decode_cf=False) as expected:
        assert set(variables) == set(expected.variables)
        for name, variable in expected.variables.items():
            found = variables[name]
            assert found.dims == variable.dims, name
            values = variable.values.astype(str) if variable.dtype == object else variable.values
            np.testing.assert_array_equal(found.values, values, err_msg=name)
            assert set(found.attrs) == set(variable.attrs), name
            for key, value in variable.attrs.items():
                np.testing.assert_array_equal(found.attrs[key], value, err_msg=f"{name}.{key}")
        assert set(attrs) == set(expected.attrs)
        assert attrs["title"] == expected.attrs["title"]


def test_no_filter_is_loaded_from_a_folder():
    """HDF5 reads that wish when it is loaded: it must be there before."""
    code = """
import importlib.abc, os, sys
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "h5py":
            print(os.environ.get("HDF5_PLUGIN_PRELOAD"))
sys.meta_path.insert(0, Watch())
import service.uploads.rehearsal
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "::\n"


# Ids

TRICKS = [
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "..%5c..",
    "%00",
    "a%0d%0aX: y",
    "/etc/passwd",
    "file:%2f%2f%2fetc%2fpasswd",
    "%F0%9F%92%A9",
]


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/{}",
        "/v1/jobs/{}",
        "/v1/jobs/{}/result",
        "/v1/forecasts/{}",
        "/v1/forecasts/{}/truth",
        "/zarr/{}",
        "/zarr/air/{}/zarr.json",
        "/zarr/air/20200110T180000Z/{}",
        "/edr/collections/{}",
        "/edr/collections/air/instances/{}",
        "/static/{}",
    ],
)
def test_paths_in_ids_are_names_of_nothing(client, path, trick):
    answer = client.get(path.format(trick))
    assert answer.status_code in (400, 404, 422), answer.text
    assert "root:" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("latitude", "longitude"), [(52.1, 4), (33.9, 4), (44, 30), (44, 200), (-44, -179)])
def test_points_outside_the_grid(client, latitude, longitude):
    place = {"latitude": latitude, "longitude": longitude}
    problem(client.get("/v1/forecast", params=place), 422, "outside the model's grid")
    where = {"coords": f"POINT({longitude} {latitude})"}
    assert client.get("/edr/collections/air/position", params=where).status_code in (400, 404, 422)


# A full disk


def test_a_full_disk_stores_no_half_forecast(service_bundle, made, tmp_path, monkeypatch):
    from service.model.archiving import write_store
    from stconv.forecast import Forecaster

    forecast = Forecaster.from_path(service_bundle).forecast(made.fields())
    with monkeypatch.context() as patched:
        patched.setattr("stconv.durable.os.replace", full)
        with pytest.raises(OSError, match="No space left"):
            write_store(forecast, tmp_path / "air" / "20200110T180000Z.zarr")
    assert list((tmp_path / "air").iterdir()) == []
    write_store(forecast, tmp_path / "air" / "20200110T180000Z.zarr")
    assert [path.name for path in (tmp_path / "air").iterdir()] == ["20200110T180000Z.zarr"]


def test_a_model_that_finds_no_room_says_come_back(capsys):
    from service.model.process import answer_request
    from service.problems import refusal
    from service.wire.model_messages import ForecastNewest, Form

    answer = answer_request(SimpleNamespace(newest=full), ForecastNewest(None, Form("image/png", None)))
    refused = refusal(answer.code, answer.detail)
    assert (refused.status, refused.detail) == (503, "The server's disk is full.")


def test_a_full_disk_in_the_server_is_503():
    import asyncio

    import httpx

    from service.app import create_app

    app = create_app(Settings())

    @app.get("/full")
    async def write():
        full()

    transport = httpx.ASGITransport(app)

    async def ask():
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/full")

    answer = asyncio.run(ask())
    problem(answer, 503, "disk is full")
    assert answer.headers["retry-after"] == "60"


def test_a_full_disk_does_not_stop_what_is_served(tmp_path, monkeypatch, caplog, service_bundle):
    """The note of the last good bundle, the bundle itself, and the folder of the state."""
    (tmp_path / "bundles").mkdir()
    monkeypatch.setattr(Path, "write_text", full)
    keep("models:/air", Fetched("folder", "1", "0" * 64), tmp_path)
    assert "No space left" in caplog.text
    monkeypatch.setattr(
        "stconv.tracking.registry.find_version", lambda reference: SimpleNamespace(name="air", version=1)
    )
    monkeypatch.setattr("stconv.tracking.registry.resolve_bundle", lambda reference: service_bundle)
    monkeypatch.setattr("stconv.bundle.manifest.write_folder", full)
    with pytest.raises(TrackingError, match="No space left"):
        fetch_model("models:/air", tmp_path)
    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(ServiceError, match="--state"), state_folder(Settings(state=tmp_path / "state")):
        pass


def test_the_server_is_well_after_all_this(client, made):
    assert post(client, made.as_netcdf(made.fields())).status_code == 200
    metrics = client.get("/metrics").text
    assert 'stconv_worker_restarts_total{model="air"} 0.0' in metrics
    assert 'status="500"' not in metrics
    assert json.loads(client.get("/readyz").text)["status"] == "ready"


def test_an_error_of_ours_is_answered_with_the_headers_of_all_answers(caplog):
    app = create_app(Settings(cors_origins=["https://maps.example"]))
    app.state.workers = None
    client = TestClient(app, base_url="http://localhost")
    answer = client.get("/readyz", headers={"Origin": "https://maps.example"})
    assert answer.status_code == 500
    assert answer.json()["detail"] == "The server failed. The reason is in its log."
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Access-Control-Allow-Origin"] == "https://maps.example"
    assert answer.headers["X-Request-ID"]
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "AttributeError" in str(record.exc_info[0])

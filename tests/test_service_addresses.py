"""The address of a stored forecast never names another one: over versions, removals and restarts."""

import hashlib
import json
import shutil

import pytest
import torch
import xarray as xr

from service.archive.table import ForecastGone, StoredForecasts, UnknownForecast
from service.archive.zarr_view import find_file, find_group, joined_metadata, tree_metadata
from stconv.bundle import Bundle
from waiting import until

OLD, NEW = "0123456789ab", "ba9876543210"
FIRST, SECOND, THIRD = "20200110T120000Z", "20200110T180000Z", "20200111T000000Z"


@pytest.fixture(scope="module")
def stores(service_server, service_bundle, tmp_path_factory):
    """Folder of a model: OLD forecast from FIRST, SECOND and THIRD, then NEW from SECOND and THIRD."""
    from service.model.archiving import write_store
    from stconv.forecast import Forecaster

    folder = tmp_path_factory.mktemp("stores") / "air"
    forecast = Forecaster.from_path(service_bundle).forecast(service_server.fields())
    made = 0
    for version, names in ((OLD, (FIRST, SECOND, THIRD)), (NEW, (SECOND, THIRD))):
        for name in names:
            attrs = {"made": f"2020-01-12T00:00:{made:02}Z", "model_version": version}
            write_store((forecast + made).assign_attrs(attrs), folder / version / f"{name}.zarr")
            made += 1
    return folder


@pytest.fixture
def folder(stores, tmp_path):
    return shutil.copytree(stores, tmp_path / "air")


def table(folder, version=NEW):
    found = StoredForecasts()
    found.refresh(folder / version)
    return found


def test_a_time_means_the_forecast_that_was_stored_first(folder):
    found = table(folder)
    assert list(found.by_name) == [SECOND, THIRD]
    assert [forecast.id for forecast in found.earlier] == [f"{name}.{OLD}" for name in (FIRST, SECOND, THIRD)]
    for text, version in [
        (SECOND, OLD),
        ("2020-01-10T18:00:00Z", OLD),
        (f"{SECOND}.{NEW}", NEW),
        (f"2020-01-10T18:00:00Z.{NEW}", NEW),
        (f"{FIRST}.{OLD}", OLD),
    ]:
        assert found.get(text).version == version, text
    found.refresh(folder / OLD)
    assert found.get(SECOND).version == OLD
    assert found.get(f"{SECOND}.{NEW}").version == NEW, "and back again"


def test_what_was_removed_is_gone_also_for_the_next_server(folder):
    table(folder)
    shutil.rmtree(folder / OLD)
    later = table(folder)
    for text in (FIRST, SECOND, f"{SECOND}.{OLD}", f"{FIRST}.{OLD}", f"{FIRST}.0000000000ff"):
        with pytest.raises(ForecastGone, match="was removed"):
            later.get(text)
    assert later.get(f"{SECOND}.{NEW}").version == NEW
    for text in ("20190101T000000Z", f"20190101T000000Z.{NEW}", "noon", f"noon.{NEW}"):
        with pytest.raises(UnknownForecast):
            later.get(text)


def test_a_period_keeps_its_chunks_when_one_between_is_removed(folder):
    period = f"{FIRST}--{THIRD}"
    before = find_group(table(folder), period)
    assert [forecast.id for forecast in before] == [f"{name}.{OLD}" for name in (FIRST, SECOND, THIRD)]
    third = find_file(before, True, "t2m/c/2/0/0/0")
    shutil.rmtree(folder / OLD / f"{SECOND}.zarr")
    after = find_group(table(folder), period)
    assert find_file(after, True, "t2m/c/2/0/0/0") == third
    assert joined_metadata(after) == joined_metadata(before)
    with pytest.raises(ForecastGone):
        find_file(after, True, "t2m/c/1/0/0/0")


def test_a_period_is_of_one_version(folder):
    found = table(folder)
    of_new = find_group(found, f"{SECOND}--{THIRD}.{NEW}")
    assert [forecast.version for forecast in of_new] == [NEW, NEW]
    shutil.rmtree(folder / NEW / f"{THIRD}.zarr")
    shutil.rmtree(folder / OLD / f"{SECOND}.zarr")
    record = folder / "record.json"
    record.write_text(json.dumps([entry for entry in json.loads(record.read_text()) if entry[1] != SECOND]))
    mixed = table(folder)
    assert (mixed.get(SECOND).version, mixed.get(THIRD).version) == (NEW, OLD)
    with pytest.raises(UnknownForecast, match="different versions"):
        find_group(mixed, f"{SECOND}--{THIRD}")


def test_the_tree_names_the_operational_forecasts_by_their_time(folder):
    nodes = tree_metadata(table(folder))["consolidated_metadata"]["metadata"]
    groups = {name: node["attributes"]["model_version"] for name, node in nodes.items() if "/" not in name}
    assert groups == {FIRST: OLD, SECOND: OLD, THIRD: OLD, f"{SECOND}.{NEW}": NEW, f"{THIRD}.{NEW}": NEW}


def test_a_record_that_cannot_be_read_is_made_anew(folder, caplog):
    table(folder)
    (folder / "record.json").write_text("{")
    assert table(folder).get(SECOND).version == OLD, "by the time at which they were made"
    assert "cannot be read" in caplog.text
    assert json.loads((folder / "record.json").read_text())[0][:2] == [OLD, FIRST]


@pytest.mark.slow
def test_every_address_keeps_its_bytes_over_a_swap_and_a_restart(
    service_server, service_bundle, tmp_path, monkeypatch
):
    """Zarr, /v1/forecasts, EDR and the tree, opened before the swap and read after it."""
    other = Bundle.load(service_bundle)
    with torch.no_grad():
        for weight in other.network.parameters():
            weight.mul_(1.5)
    other.save(tmp_path / "bundles" / "other")
    service_server.fields().to_netcdf(tmp_path / "data.nc")
    admin = {"X-API-Key": "admin"}

    def start():
        return service_server.Server(
            *("--model", str(service_bundle), "--data", str(tmp_path / "data.nc")),
            *("--state", str(tmp_path / "state")),
            watch_seconds="0.2",
            archive_backfill="4",
            bundles=str(tmp_path / "bundles"),
            api_keys=f"{hashlib.sha256(b'admin').hexdigest()}:admin+read+forecast",
        )

    def listed(client, bundle):
        found = client.get("/v1/forecasts").json()["forecasts"]
        return found if len(found) == 4 and found[-1]["bundle_sha256"] == bundle else None

    server = start()
    try:
        with server.client(headers=admin) as client:
            original = client.get("/v1/models/air").json()["bundle_sha256"]
            entry = until(lambda: listed(client, original))[-1]
            paths = []
            for name in (entry["name"], entry["id"]):
                paths += [
                    f"/zarr/air/{name}/t2m/c/1/0/0",
                    f"/v1/forecasts/{name}",
                    f"/edr/collections/air/instances/{name}/position?coords=POINT(4 44)",
                ]
            before = {path: client.get(path).content for path in paths}
            options = {"storage_options": {"client_kwargs": {"headers": admin}}, "engine": "zarr"}
            tree = xr.open_datatree(f"{server.url}/zarr/air", **options)
            swapped = client.post("/v1/admin/models/air", json={"bundle": "other"})
            assert swapped.status_code == 200, swapped.text
            new = until(lambda: listed(client, other.hash))[-1]
            assert (new["name"], new["id"] != entry["id"]) == (entry["name"], True)
            assert {path: client.get(path).content for path in paths} == before
            lead = tree[entry["name"]]["t2m"][1].values
            stored = client.get(f"/v1/forecasts/{entry['id']}").json()["variables"]["t2m"]["values"][1]
            assert lead.ravel()[-1] == pytest.approx(stored[-1][-1], rel=1e-6)
            other_values = client.get(f"/v1/forecasts/{new['id']}").json()["variables"]["t2m"]["values"][1]
            assert other_values != stored
            ids = [one["id"] for one in client.get("/edr/collections/air/instances").json()["instances"]]
            assert len(ids) == 8
            assert {entry["id"], new["id"]} <= set(ids)
        server.kill()
        server = start()
        with server.client(headers=admin) as client:
            until(lambda: listed(client, original))
            assert {path: client.get(path).content for path in paths} == before
            assert client.get(f"/zarr/air/{new['id']}/t2m/c/1/0/0").status_code == 200, "what was operational"
    finally:
        server.kill()

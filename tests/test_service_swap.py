"""Another version under load, over HTTP; what cannot be loaded changes nothing; a registry that is down."""

import hashlib
import json
import os
import shutil
import signal
import threading

import pytest
import torch
import xarray as xr

from service.workers.last_good import fetch_model, keep
from stconv.bundle import Bundle
from stconv.errors import BundleError, TrackingError
from waiting import until

ADMIN, READER = "admin key", "reader key"


@pytest.fixture(scope="module")
def bundles(service_bundle, tmp_path_factory):
    """Folders: `original`; `other`, of other weights; `corrupt`, a byte changed; `nan`, without numbers."""
    folder = tmp_path_factory.mktemp("bundles")
    other = Bundle.load(service_bundle)
    with torch.no_grad():
        for weight in other.network.parameters():
            weight.mul_(1.5)
    other.save(folder / "other")
    shutil.copytree(service_bundle, folder / "original")
    with torch.no_grad():
        next(other.network.parameters()).fill_(torch.nan)
    other.save(folder / "nan")
    shutil.copytree(folder / "other", folder / "corrupt")
    weights = bytearray((folder / "corrupt" / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "corrupt" / "weights.safetensors").write_bytes(weights)
    return folder


@pytest.fixture(scope="module")
def server(service_server, service_bundle, bundles):
    keys = {ADMIN: "admin+read+forecast", READER: "read+forecast"}
    running = service_server.Server(
        *("--model", str(service_bundle)),
        api_keys=",".join(f"{hashlib.sha256(k.encode()).hexdigest()}:{scopes}" for k, scopes in keys.items()),
        bundles=str(bundles),
        audit_file=str(bundles / "audit.log"),
        deadline_seconds="300",
    )
    yield running
    running.kill()


@pytest.fixture
def admin(server):
    with server.client(headers={"X-API-Key": ADMIN}) as client:
        yield client


def swap(client, **wanted):
    return client.post("/v1/admin/models/air", json=wanted)


def swaps(client, outcome):
    lines = client.get("/metrics").text.splitlines()
    name = f'stconv_model_swaps_total{{model="air",outcome="{outcome}"}} '
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"bundle": "corrupt"}, "weights.safetensors"),
        pytest.param({"bundle": "nan"}, "of its forecast are not finite", marks=pytest.mark.slow),
        pytest.param({"bundle": "other", "sha256": "0" * 64}, "0" * 64, marks=pytest.mark.slow),
        ({"bundle": "absent"}, "'absent'"),
        ({}, "'reference'"),
        ({"bundle": "other", "reference": "models:/air"}, "'reference'"),
    ],
    ids=["corrupt", "nan", "another hash", "absent", "nothing", "both"],
)
def test_what_cannot_be_loaded_changes_nothing(admin, wanted, says):
    before, failed = admin.get("/v1/models/air").json(), swaps(admin, "failed")
    answer = swap(admin, **wanted)
    assert answer.status_code == 409, answer.text
    assert says in answer.json()["detail"]
    assert answer.json()["version"] == before["version"]
    assert admin.get("/v1/models/air").json() == before
    assert swaps(admin, "failed") == failed + 1


@pytest.mark.parametrize(
    "wanted",
    [
        {"bundle": "../other"},
        {"bundle": ".."},
        {"bundle": "other\n"},
        {"reference": "http://example.org/bundle"},
        {"reference": "runs:/0123"},
        {"reference": "file:///etc/passwd"},
        {"reference": "models:/../x"},
        {"reference": "models:/air/../../x"},
        {"sha256": "SHA"},
        {"class_path": "os.system"},
    ],
    ids=str,
)
def test_names_that_are_none_are_never_opened(admin, wanted):
    assert swap(admin, **wanted).status_code == 422


def test_only_an_admin_may(server, service_server):
    with server.client() as client:
        assert swap(client, bundle="other").status_code == 401
        client.headers["X-API-Key"] = READER
        refused = swap(client, bundle="other")
    assert refused.status_code == 403
    assert refused.json()["scope"] == "admin"


def test_under_load_nothing_is_lost(server, admin, bundles, service_server):
    """Four clients ask on and on while versions change there and back."""
    body = service_server.as_netcdf(service_server.fields())
    original = admin.get("/v1/models/air").json()["bundle_sha256"]
    seen, over = [], threading.Event()

    def ask():
        with server.client(headers={"X-API-Key": READER}) as client:
            while not over.is_set():
                answer = client.post(
                    "/v1/forecasts", content=body, headers={"Content-Type": service_server.NETCDF}
                )
                seen.append((answer.status_code, answer.headers.get("stconv-bundle-sha256")))
                over.wait(0.1)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        other = Bundle.load(bundles / "other").hash
        answer = swap(admin, bundle="other", sha256=other)
        assert answer.status_code == 200, answer.text
        assert answer.json() | {"before": None} == {
            "name": "air",
            "version": other[:12],
            "bundle_sha256": other,
            "before": None,
            "instead_of_registry": None,
        }
        assert swap(admin, bundle="corrupt").status_code == 409
        count = len(seen)
        until(lambda: len(seen) >= count + 8)
    finally:
        over.set()
        for asker in askers:
            asker.join()
    assert {status for status, _ in seen} == {200}
    assert {digest for _, digest in seen} == {original, other}
    assert swaps(admin, "switched") == 1
    audited = [json.loads(line) for line in (bundles / "audit.log").read_text().splitlines()]
    (switch,) = [line for line in audited if line["result"] == "done"]
    assert (switch["version"], switch["before"]) == (other[:12], original[:12])
    assert switch["who"] == hashlib.sha256(ADMIN.encode()).hexdigest()[:8]
    assert (switch["what"], switch["from"]) == ("POST /v1/admin/models/air", "127.0.0.1")


@pytest.mark.slow
def test_a_running_job_goes_on_with_its_version(server, admin, bundles, service_server):
    """Its model's process is killed, then another version is served: the result is that of a quiet server."""

    def submit():
        body = service_server.as_netcdf(service_server.fields())
        headers = {"Content-Type": service_server.NETCDF}
        return admin.post("/v1/jobs", content=body, headers=headers, params={"steps": 1000}).json()["href"]

    def facts(job):
        return admin.get(job).json()

    def result(job):
        until(lambda: facts(job)["status"] == "done", says=lambda: facts(job))
        return xr.load_dataset(admin.get(f"{job}/result").content)

    began_with = admin.get("/v1/models/air").json()["version"]
    quiet = result(submit())
    job = submit()
    until(lambda: facts(job)["leads_done"] > 50)
    os.kill(server.model_pid(), signal.SIGKILL)
    done = facts(job)["leads_done"]
    until(lambda: facts(job)["leads_done"] > done)
    wanted = "original" if began_with == Bundle.load(bundles / "other").hash[:12] else "other"
    before = until(server.model_pid)
    os.kill(before, signal.SIGSTOP)  # so that the job is not done before the other version is loaded
    assert swap(admin, bundle=wanted).status_code == 200
    assert facts(job)["status"] == "running"
    os.kill(before, signal.SIGCONT)
    found = result(job)
    assert facts(job)["model_version"] == began_with != admin.get("/v1/models/air").json()["version"]
    del found.attrs["history"], quiet.attrs["history"]  # it holds the time at which they were made
    xr.testing.assert_identical(found, quiet)


# The registry


@pytest.fixture
def registry(monkeypatch, tmp_path, service_bundle):
    """A registered model, as the tracking store answers for it."""
    from stconv.tracking import registry

    model = type("Version", (), {"name": "air", "version": "3"})

    def find(reference):
        if reference == "models:/unknown":
            raise TrackingError("No registered model 'unknown'.")
        return model

    monkeypatch.setattr(registry, "find_version", find)
    monkeypatch.setattr(registry, "resolve_bundle", lambda reference: service_bundle)
    return monkeypatch


def down(*_):
    try:
        raise ConnectionError("refused")
    except ConnectionError as error:
        raise TrackingError("Could not find models:/air at http://mlflow:5000: refused") from error


def test_a_registry_that_is_down_gives_way_to_what_worked(registry, tmp_path, service_bundle):
    found = fetch_model("models:/air@champion", tmp_path)
    assert (found.version, found.sha256) == ("3", Bundle.load(service_bundle).hash)
    assert Bundle.load(found.folder).hash == found.sha256
    registry.setattr("stconv.tracking.registry.find_version", down)
    with pytest.raises(TrackingError, match="refused"):
        fetch_model("models:/air@champion", tmp_path)  # it was fetched, but nobody said that it works
    keep("models:/air@champion", found, tmp_path)
    kept = fetch_model("models:/air@champion", tmp_path)
    assert (kept.folder, kept.version, kept.sha256) == (found.folder, "3", found.sha256)
    assert "refused" in kept.instead_of_registry
    with pytest.raises(TrackingError, match="refused"):
        fetch_model("models:/air@candidate", tmp_path)


def test_what_is_kept_is_verified(registry, tmp_path):
    found = fetch_model("models:/air", tmp_path)
    keep("models:/air", found, tmp_path)
    spec = tmp_path / "bundles" / found.sha256 / "spec.json"
    spec.write_text(spec.read_text() + " ")
    fetch_model("models:/air", tmp_path)
    assert Bundle.load(found.folder).hash == found.sha256, "mended from the registry"
    spec.write_text(spec.read_text() + " ")
    registry.setattr("stconv.tracking.registry.find_version", down)
    with pytest.raises(TrackingError, match="refused"):
        fetch_model("models:/air", tmp_path)


def test_an_unknown_model_is_not_served_from_memory(registry, tmp_path):
    keep("models:/unknown", fetch_model("models:/air", tmp_path), tmp_path)
    with pytest.raises(TrackingError, match="No registered model"):
        fetch_model("models:/unknown", tmp_path)


def test_a_corrupt_download_is_not_kept(registry, tmp_path, bundles):
    registry.setattr("stconv.tracking.registry.resolve_bundle", lambda reference: bundles / "corrupt")
    with pytest.raises(BundleError, match=r"weights\.safetensors"):
        fetch_model("models:/air", tmp_path)
    assert not (tmp_path / "bundles").exists()


@pytest.mark.parametrize("reference", ["http://x/y", "models:/../../etc", "models:/", "runs:/1"])
def test_references_that_are_none(tmp_path, reference):
    with pytest.raises(TrackingError, match="is not a reference to a registered model"):
        fetch_model(reference, tmp_path)


def test_a_note_of_another_form_is_no_note(registry, tmp_path):
    found = fetch_model("models:/air", tmp_path)
    keep("models:/air", found, tmp_path)
    (note,) = (tmp_path / "bundles").glob("*.json")
    assert json.loads(note.read_text())["version"] == "3"
    note.write_text("{")
    registry.setattr("stconv.tracking.registry.find_version", down)
    with pytest.raises(TrackingError, match="refused"):
        fetch_model("models:/air", tmp_path)

"""Servers that share a folder: jobs, archive, quotas and versions are one, also when one is killed."""

import hashlib
import itertools
import json
import shutil
import threading

import httpx
import numpy as np
import pytest
import torch
import xarray as xr

from service.background.job_store import INPUT, JobStore
from service.background.jobs import Jobs
from service.http.quota import Quota
from service.problems import Unavailable, Unprocessable
from service.settings import Settings
from service.sharing import folder
from service.sharing.folder import SharedFolder
from service.wire.model_messages import Form
from stconv.bundle import Bundle
from waiting import LIMIT_SECONDS, until

NETCDF = "application/x-netcdf"
FORM = Form(NETCDF, None)
ADMIN, READER, LIMITED = "admin", "reader", "limited"
FIRST = 36


# Two stores on one folder, without processes


class Half:
    """The jobs of one server of two, without a model."""

    def __init__(self, folder):
        self.shared = SharedFolder(folder / "shared")
        self.store = JobStore(folder / "jobs", 100.0, 1000, self.shared)
        self.jobs = Jobs(self.store, {}, Settings(max_jobs=3))

    def register(self, body=b"body", key="key"):
        return self.jobs.register("me", "air", 4, FORM, body, key)

    def accept(self, key):
        job, _ = self.register(key=key)
        self.store.keep_input(job, b"fields")
        self.store.release(job)
        return job

    def dies(self):
        """As a process that is killed: its locks are released, and nothing is written any more."""
        self.shared.close()


@pytest.fixture
def halves(tmp_path):
    return Half(tmp_path), Half(tmp_path)


def test_an_idempotency_key_holds_across_servers(halves):
    here, there = halves
    job = here.accept("key")
    again, needed = there.register()
    assert (needed, again.id) == (False, job.id)
    with pytest.raises(Unprocessable, match="different request"):
        there.register(body=b"another")


def test_a_key_that_both_servers_get_at_once_is_one_job(halves):
    for number in range(3):
        ids, gate = [], threading.Barrier(2)

        def submit(half, key=f"key {number}", ids=ids, gate=gate):
            gate.wait()
            ids.append(half.register(key=key)[0].id)

        threads = [threading.Thread(target=submit, args=(half,)) for half in halves]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(ids)) == 1


def test_a_request_that_is_sent_again_to_another_server_brings_the_input_too(halves):
    """Else a job would be accepted that ends with the server that was still reading its input."""
    here, there = halves
    job, _ = here.register()
    again, needed = there.register()
    assert (needed, again.id) == (True, job.id)
    here.dies()
    there.store.keep_input(again, b"fields")
    there.store.release(again)
    there.store.recover()
    assert there.store.claim("air").id == job.id


def test_a_request_that_leaves_does_not_take_the_job_of_its_repetition_away(halves):
    here, there = halves
    job, _ = here.register()
    again, _ = there.register()
    there.store.keep_input(again, b"fields")
    there.store.release(again)
    here.jobs.forget(job)
    assert there.store.claim("air").id == job.id


def test_unfinished_jobs_of_all_servers_count(halves):
    here, there = halves
    for half, key in zip((here, there, here), "abc", strict=True):
        half.register(key=key)
    with pytest.raises(Unavailable, match="3 jobs run or wait"):
        there.register(key="d")


def test_one_server_works_on_a_job_and_the_others_see_it(halves):
    here, there = halves
    job = here.accept("a")
    assert there.jobs.get("me", job.id).status == "queued"
    taken = there.store.claim("air")
    assert taken.id == job.id
    assert here.store.claim("air") is None
    taken.status, taken.leads_done = "running", 2
    there.store.save(taken)
    seen = here.jobs.get("me", job.id)
    assert (seen.status, seen.leads_done) == ("running", 2)
    there.store.finish(taken, b"result")
    there.store.release(taken)
    with here.jobs.result(here.jobs.get("me", job.id)) as result:
        assert result.read() == b"result"


def test_what_another_server_canceled_stays_canceled(halves):
    here, there = halves
    job = here.accept("a")
    taken = there.store.claim("air")
    taken.status = "running"
    there.store.save(taken)
    here.jobs.cancel(here.jobs.get("me", job.id))
    taken.leads_done = 2
    there.store.save(taken)
    assert taken.status == "cancelled", "the server that works on it notices"
    there.store.finish(taken, b"late")
    assert here.jobs.get("me", job.id).status == "cancelled"
    assert not here.store.path(job, "result").exists()


def test_another_server_takes_over_what_a_dead_one_left(halves):
    here, there = halves
    job = here.accept("a")
    taken = there.store.claim("air")
    taken.status, taken.leads_done, taken.bundle_sha256 = "running", 2, "f" * 64
    there.store.save(taken)
    lost, _ = there.register(key="its input never came")
    here.store.refresh()
    here.store.recover()
    assert here.jobs.get("me", lost.id).status == "queued", "the server still reads it"
    there.dies()
    here.store.recover()
    assert here.jobs.get("me", lost.id).status == "interrupted"
    again = here.store.claim("air")
    assert (again.id, again.leads_done, again.bundle_sha256) == (job.id, 2, "f" * 64)
    assert here.store.path(again, INPUT).read_bytes() == b"fields"


def test_a_server_that_is_stopped_in_its_turn_does_not_stop_the_others(halves, monkeypatch):
    here, there = halves
    monkeypatch.setattr(folder, "TURN_SECONDS", 0.05)
    quota = Quota(10, there.shared)
    with here.shared.turn("jobs"), here.shared.turn("quota-key"):
        with pytest.raises(Unavailable, match="Jobs cannot be written now"):
            there.register()
        with pytest.raises(Unavailable, match="Quotas cannot be counted now"):
            quota.spend("key")
    assert there.register()[1]
    assert quota.spend("key")["RateLimit-Remaining"] == "9"


# Two real servers


@pytest.fixture(scope="module")
def made(service_server):
    return service_server


def write(made, place, n):
    """Replace the source in one step."""
    made.fields().isel(time=slice(0, n)).to_netcdf(place / ".part.nc", engine="h5netcdf")
    (place / ".part.nc").replace(place / "data.nc")


def start(made, bundle, place, *arguments, ready=True, **settings):
    keys = {ADMIN: "admin+read+forecast", READER: "read+forecast"}
    hashed = [f"{hashlib.sha256(key.encode()).hexdigest()}:{scopes}" for key, scopes in keys.items()]
    given = {"watch_seconds": "0.5", "archive_backfill": "3", "max_jobs": "50"} | settings
    return made.Server(
        *("--model", str(bundle), "--state", str(place / "state"), "--data", str(place / "data.nc")),
        *arguments,
        ready=ready,
        api_keys=",".join(hashed),
        keys_file=str(place / "keys.json"),
        bundles=str(place / "bundles"),
        **given,
    )


def prepare(made, service_bundle, place):
    """A source of FIRST frames, a key of ten requests per minute, and a bundle with other weights."""
    write(made, place, FIRST)
    limited = {"sha256": hashlib.sha256(LIMITED.encode()).hexdigest(), "scopes": ["read"], "per_minute": 10}
    (place / "keys.json").write_text(json.dumps([limited]))
    other = Bundle.load(service_bundle)
    with torch.no_grad():
        for weight in other.network.parameters():
            weight.mul_(1.5)
    other.save(place / "bundles" / "other")
    return other.hash


@pytest.fixture(scope="module")
def place(made, service_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    prepare(made, service_bundle, folder)
    return folder


@pytest.fixture(scope="module")
def servers(made, service_bundle, place):
    running = [start(made, service_bundle, place, "--shared") for _ in range(2)]
    yield running
    for server in running:
        server.kill()


@pytest.fixture(scope="module")
def clients(servers):
    opened = [server.client(headers={"X-API-Key": READER}) for server in servers]
    yield opened
    for client in opened:
        client.close()


def submit(client, made, steps, key):
    headers = {"Content-Type": NETCDF, "Idempotency-Key": key}
    body = made.as_netcdf(made.fields())
    return client.post("/v1/jobs", content=body, params={"steps": steps}, headers=headers)


def ended(client, id):
    def facts():
        found = client.get(f"/v1/jobs/{id}").json()
        return None if found["status"] in ("queued", "running") else found

    return until(facts)


def names(client):
    return [entry["name"] for entry in client.get("/v1/forecasts").json()["forecasts"]]


@pytest.mark.slow
def test_jobs_are_the_same_at_both(clients, made):
    here, there = clients
    answer = submit(here, made, 40, "one")
    assert answer.status_code == 202, answer.text
    assert submit(there, made, 40, "one").json()["id"] == answer.json()["id"]
    facts = ended(there, answer.json()["id"])
    assert facts["status"] == "done", facts
    assert here.get(facts["result"]).content == there.get(facts["result"]).content


@pytest.mark.slow
def test_a_job_is_canceled_at_either(clients, made):
    here, there = clients
    running = [submit(client, made, 5000, f"long {i}").json()["id"] for i, client in enumerate(clients)]
    for id, client in zip(running, (there, here), strict=True):
        assert client.delete(f"/v1/jobs/{id}").json()["status"] == "cancelled"
    for id in running:
        until(lambda id=id: {c.get(f"/v1/jobs/{id}").json()["status"] for c in clients} == {"cancelled"})
    id = submit(here, made, 4, "after").json()["id"]
    assert ended(there, id)["status"] == "done", "the servers go on with the next one"


@pytest.mark.slow
def test_the_archive_is_the_same_at_both_and_made_once(clients, place):
    until(lambda: all(len(names(client)) == 3 for client in clients))
    until(lambda: all(client.get("/v1/verification").json()["cases"] == 2 for client in clients))
    here, there = (client.get("/v1/forecasts").json() for client in clients)
    assert here == there
    href = here["forecasts"][0]["href"]
    answers = [client.get(href, headers={"Accept": NETCDF}) for client in clients]
    first, second = (xr.load_dataset(answer.content) for answer in answers)
    xr.testing.assert_identical(first, second)
    scores = [client.get("/v1/verification").json() for client in clients]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_a_quota_counts_the_requests_to_both(servers):
    codes = [
        httpx.get(f"{server.url}/v1/models", headers={"X-API-Key": LIMITED}, timeout=60).status_code
        for server in itertools.islice(itertools.cycle(servers), 14)
    ]
    assert codes.count(200) in (10, 11), "a token may come back meanwhile"
    assert set(codes) == {200, 429}


@pytest.mark.slow
def test_a_server_that_does_not_share_is_kept_out(servers, made, service_bundle, place):
    alone = start(made, service_bundle, place, ready=False)
    assert alone.wait() == 1
    assert "start all servers of this folder with --shared" in alone.output


@pytest.mark.slow
def test_one_is_killed_under_load_and_nothing_accepted_is_lost(servers, clients, made, service_bundle, place):
    """A load balancer sends each request to a server that answers; the killed one had jobs and archive."""
    accepted, refused, over = [], [], threading.Event()
    number = itertools.count()

    def balance():
        while not over.is_set():
            key = f"under load {next(number)}"
            for client in clients:
                try:
                    answer = submit(client, made, 30, key)
                except httpx.TransportError:
                    continue
                (accepted if answer.status_code == 202 else refused).append(answer.json())
                break
            over.wait(0.3)

    long = submit(clients[0], made, 3000, "a long one").json()["id"]
    until(lambda: clients[1].get(f"/v1/jobs/{long}").json()["leads_done"] > 0)
    balancers = [threading.Thread(target=balance) for _ in range(2)]
    for balancer in balancers:
        balancer.start()
    until(lambda: len(accepted) > 4)
    running = clients[1].get(f"/v1/jobs/{long}").json()["status"]
    assert running == "running"
    servers[0].kill()
    count = len(accepted)
    until(lambda: len(accepted) > count + 4)
    over.set()
    for balancer in balancers:
        balancer.join()
    assert not refused
    left = clients[1]
    for job in accepted:
        assert ended(left, job["id"])["status"] == "done"
    facts = ended(left, long)
    assert facts["status"] == "done", facts
    found = xr.load_dataset(left.get(facts["result"]).content)
    from stconv.forecast import Forecaster

    expected = Forecaster.from_path(service_bundle).forecast(made.fields(), steps=3000)
    np.testing.assert_allclose(found["t2m"], expected["t2m"], rtol=1e-5)
    write(made, place, FIRST + 1)
    until(lambda: len(names(left)) == 4)  # the archive has another server


@pytest.mark.slow
def test_a_switch_at_one_is_followed_by_the_others_and_by_those_that_join(made, service_bundle, tmp_path):
    other = prepare(made, service_bundle, tmp_path)
    running = [start(made, service_bundle, tmp_path, "--shared") for _ in range(2)]
    try:
        swap = {"json": {"bundle": "other"}, "headers": {"X-API-Key": ADMIN}, "timeout": LIMIT_SECONDS}
        answer = httpx.post(f"{running[0].url}/v1/admin/models/air", **swap)
        assert answer.status_code == 200, answer.text

        def served(server):
            headers = {"X-API-Key": READER}
            return httpx.get(f"{server.url}/v1/models/air", headers=headers, timeout=60).json()[
                "bundle_sha256"
            ]

        until(lambda: served(running[1]) == other)
        running.append(start(made, service_bundle, tmp_path, "--shared"))
        assert served(running[2]) == other, "from its first answer on"
    finally:
        for server in running:
            server.kill()


@pytest.mark.slow
def test_servers_follow_an_alias_and_lose_no_request(made, service_bundle, tmp_path, monkeypatch):
    import mlflow

    prepare(made, service_bundle, tmp_path)
    address = f"sqlite:///{tmp_path}/mlflow.db"
    registry = mlflow.MlflowClient(address)
    registry.create_registered_model("air")
    for number, bundle in enumerate((service_bundle, tmp_path / "bundles" / "other"), start=1):
        shutil.copytree(bundle, tmp_path / f"version {number}" / "bundle")
        registry.create_model_version("air", str(tmp_path / f"version {number}"))
    registry.set_registered_model_alias("air", "champion", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path / "cache"))
    options = ("--shared", "--follow-alias")
    running = [start(made, "models:/air@champion", tmp_path, *options, follow_seconds="5") for _ in range(2)]
    codes, over = [], threading.Event()

    def ask(server):
        with server.client(headers={"X-API-Key": READER, "Content-Type": NETCDF}) as client:
            while not over.is_set():
                codes.append(client.post("/v1/forecasts", content=made.as_netcdf(made.fields())).status_code)
                over.wait(0.2)

    def version(server):
        with server.client(headers={"X-API-Key": READER}) as client:
            return client.get("/v1/models/air").json()["version"]

    askers = [threading.Thread(target=ask, args=(server,)) for server in running]
    try:
        assert [version(server) for server in running] == ["1", "1"]
        for asker in askers:
            asker.start()
        registry.set_registered_model_alias("air", "champion", "2")
        until(lambda: [version(server) for server in running] == ["2", "2"], seconds=3 * LIMIT_SECONDS)
        told = [server.client().get("/readyz").json()["following"]["air"] for server in running]
        assert [one["reference"] for one in told] == ["models:/air@champion"] * 2
        assert [one["version"] for one in told] == ["2", "2"]
        assert sorted(one["asks_the_registry"] for one in told) == [False, True]
    finally:
        over.set()
        for asker in askers:
            if asker.ident:
                asker.join()
        for server in running:
            server.kill()
    assert set(codes) == {200}
    assert any("follows models:/air@champion to version 2" in server.output for server in running)

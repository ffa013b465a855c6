"""Jobs of a real server: submitted, followed, fetched, canceled, expired, and after a restart."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr

from service.model.settings import ModelSettings
from waiting import until, until_async

NETCDF = "application/x-netcdf"
STEPS, LONG = 60, 900


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


def start(made, service_bundle, place, **settings):
    return made.Server(
        "--model", str(service_bundle), "--state", str(place), max_job_steps="5000", **settings
    )


@pytest.fixture(scope="module")
def server(made, service_bundle, place):
    server = start(made, service_bundle, place, max_jobs="3")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def client(server):
    with server.client() as client:
        yield client


def submit(client, body, key=None, **parameters):
    headers = {"Content-Type": NETCDF} | ({"Idempotency-Key": key} if key else {})
    return client.post("/v1/jobs", content=body, params=parameters, headers=headers)


def same(one, other):
    """Whether two results are equal but for the time at which they were made."""
    made = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ stconv")
    return made.sub(b"", one) == made.sub(b"", other)


def ended(client, job):
    def facts():
        found = client.get(f"/v1/jobs/{job}").json()
        return None if found["status"] in ("queued", "running") else found

    return until(facts)


@pytest.fixture(scope="module")
def body(made):
    return made.as_netcdf(made.fields())


@pytest.fixture(scope="module")
def done(client, body):
    answer = submit(client, body, key="the long one", steps=STEPS)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json()["href"]
    return ended(client, answer.json()["id"])


def test_result_is_the_roll_out_of_the_library(client, done, made, service_bundle):
    from stconv.forecast import Forecaster

    assert (done["status"], done["progress"], done["leads_done"]) == ("done", 1.0, STEPS)
    answer = client.get(done["result"])
    assert answer.headers["content-type"] == NETCDF
    assert answer.headers["stconv-reference-time"] == "2020-01-10T18:00:00"
    found = xr.load_dataset(answer.content)
    expected = Forecaster.from_path(service_bundle).forecast(made.fields(), steps=STEPS)
    xr.testing.assert_allclose(found, expected)


def test_equal_requests_with_one_idempotency_key_are_one_job(client, done, body):
    again = submit(client, body, key="the long one", steps=STEPS)
    assert (again.status_code, again.json()["id"]) == (202, done["id"])
    other = submit(client, body, key="the long one", steps=STEPS + 1)
    assert other.status_code == 422
    assert other.json()["type"] == "urn:stconv:problem:idempotency-key"
    assert submit(client, body, steps=1).json()["id"] != done["id"]


def test_a_short_job_needs_no_roll_out_and_has_the_format_of_accept(client, made):
    answer = client.post(
        "/v1/jobs",
        json=made.as_json(made.fields()),
        headers={"Accept": "application/prs.coverage+json"},
        params={"steps": 1},
    )
    facts = ended(client, answer.json()["id"])
    assert client.get(facts["result"]).json()["domain"]["axes"]["t"]["values"] == ["2020-01-11T00:00:00Z"]


def test_cancelled_between_two_blocks(client, made):
    job = submit(client, made.as_netcdf(made.fields()), steps=5000).json()["id"]
    early = client.get(f"/v1/jobs/{job}/result")
    assert early.status_code == 409
    assert early.headers["retry-after"] == "1"
    assert client.delete(f"/v1/jobs/{job}").json()["status"] == "cancelled"
    assert client.get(f"/v1/jobs/{job}/result").status_code == 410
    before = client.get(f"/v1/jobs/{job}").json()["leads_done"]
    assert before < 5000
    after = submit(client, made.as_netcdf(made.fields()), steps=2).json()["id"]
    assert ended(client, after)["status"] == "done", "the next one runs at once"


def test_refused_uploads_leave_nothing(client, place):
    before = sorted(path.name for path in (place / "jobs").iterdir())
    for number in range(3):
        answer = submit(client, b"no NetCDF", key=f"refused {number}")
        assert answer.status_code == 422
    again = submit(client, b"no NetCDF", key="refused 0")
    assert again.json() == answer.json(), "tried again, and refused again"
    assert sorted(path.name for path in (place / "jobs").iterdir()) == before


def test_what_the_model_refuses_fails_with_its_words(client, made):
    body = made.as_netcdf(made.fields().isel(latitude=slice(1, None)))
    facts = ended(client, submit(client, body).json()["id"])
    assert facts["status"] == "failed"
    assert facts["problem"]["type"] == "urn:stconv:problem:grid"
    answer = client.get(f"{facts['href']}/result")
    assert answer.status_code == 422
    assert "lat" in answer.json()["detail"]
    assert answer.json()["type"] == "urn:stconv:problem:grid"


def test_what_the_parser_refuses_is_refused_at_once(client):
    answer = submit(client, b"CDF\x01 nonsense")
    assert answer.status_code == 422


def test_limits(client, made):
    body = made.as_netcdf(made.fields())
    answer = submit(client, body, steps=5001)
    assert answer.status_code == 413
    assert (answer.json()["found"], answer.json()["limit"]) == (5001, 5000)
    jobs = [submit(client, body, steps=5000) for _ in range(4)]
    assert [answer.status_code for answer in jobs] == [202, 202, 202, 503]
    assert jobs[-1].json()["limit"] == 3
    assert int(jobs[-1].headers["retry-after"]) > 0
    for answer in jobs[:3]:
        client.delete(answer.json()["href"])


@pytest.mark.parametrize("job", ["nobody", "..%2f..%2fjob.json", "%2e%2e", "x" * 60])
def test_unknown_job(client, job):
    assert client.get(f"/v1/jobs/{job}").status_code == 404


def test_restart_keeps_what_is_finished_and_goes_on_with_what_is_not(
    client, done, made, service_bundle, place, server
):
    body = made.as_netcdf(made.fields())
    running = submit(client, body, key="long", steps=LONG).json()["id"]
    waiting = submit(client, body, steps=2).json()["id"]
    until(lambda: client.get(f"/v1/jobs/{running}").json()["leads_done"] > 100)
    before = client.get(done["result"]).content
    server.kill()
    kept = (place / "jobs" / running / "blocks").stat().st_size
    second = start(made, service_bundle, place)
    try:
        with second.client() as later:
            assert later.get(done["result"]).content == before
            assert submit(later, body, key="long", steps=LONG).json()["id"] == running
            until(lambda: later.get(f"/v1/jobs/{running}").json()["leads_done"])
            assert later.get(f"/v1/jobs/{running}").json()["leads_done"] * 320 >= kept, "from the last block"
            facts = ended(later, running)
            assert facts["status"] == "done"
            assert ended(later, waiting)["status"] == "done", "the one that waited waits again"
            again = ended(later, submit(later, body, steps=LONG).json()["id"])
            assert same(later.get(facts["result"]).content, later.get(again["result"]).content)
            assert sorted(file.name for file in (place / "jobs" / running).iterdir()) == [
                "job.json",
                "result",
            ]
    finally:
        second.kill()


def test_expired_results_go_and_the_oldest_make_room(tmp_path):
    from service.background.job_store import Job, JobStore

    store = JobStore(tmp_path, life_seconds=100.0, max_bytes=25)
    jobs = [Job(f"job{i}", "", "air", 1, NETCDF, None, "", "") for i in range(4)]
    for i, job in enumerate(jobs):
        store.save(job)
        store.finish(job, bytes(10))
        job.ended -= 10 - i
    store.sweep()
    assert [job.status for job in jobs] == ["expired", "expired", "done", "done"]
    assert not (tmp_path / "job0" / "result").exists()
    jobs[2].ended -= 200
    jobs[0].ended -= 2000
    store.sweep()
    assert jobs[2].status == "expired"
    assert "job0" not in store.by_id
    assert not (tmp_path / "job0").exists()
    again = JobStore(tmp_path, 100.0, 25)
    assert again.by_id["job3"].status == "done"
    assert np.frombuffer(again.result(again.by_id["job3"]).read(), "u1").size == 10


def test_another_key_sees_no_job(tmp_path):
    from service.background.job_store import Job, JobStore
    from service.background.jobs import JobGone, Jobs, UnknownJob
    from service.settings import Settings

    store = JobStore(tmp_path, 100.0, 100)
    jobs = Jobs(store, {}, Settings())
    store.save(Job("secret", "mine", "air", 1, NETCDF, None, "", ""))
    assert jobs.get("mine", "secret").id == "secret"
    with pytest.raises(UnknownJob, match="no job 'secret'"):
        jobs.get("theirs", "secret")
    store.by_id["secret"].ended = time.time() - 101
    with pytest.raises(JobGone, match="expired"):
        jobs.get("mine", "secret")


def test_a_job_that_ended_for_reasons_of_the_server_may_be_repeated(tmp_path):
    from service.background.job_store import JobStore
    from service.background.jobs import Jobs
    from service.problems import Unavailable, Unprocessable
    from service.settings import Settings
    from service.wire.model_messages import Form

    store = JobStore(tmp_path, 100.0, 100)
    jobs = Jobs(store, {}, Settings())

    def register():
        return jobs.register("me", "air", 1, Form(NETCDF, None, True), b"body", "key")

    first, new = register()
    assert new
    assert register() == (first, True), "its input is needed yet"
    store.keep_input(first, b"fields")
    assert register() == (first, False)
    jobs.fail(first, Unavailable("lost"))
    second, new = register()
    assert new
    jobs.fail(second, Unprocessable("wrong grid"))
    assert register() == (second, False), "would fail again"


@pytest.mark.parametrize("damage", ["cut short", "a bit turned", "zeros at the end"])
def test_blocks_that_are_not_whole_are_computed_again(tmp_path, damage):
    from service.model.kept_blocks import KeptBlocks

    path, blocks = tmp_path / "blocks", np.random.default_rng(0).normal(size=(4, 1, 2, 3, 5)).astype("f4")
    kept = KeptBlocks(path, blocks.shape[1:])
    for block in blocks:
        kept.append(block)
    content = path.read_bytes()
    third = 2 * len(content) // 4
    path.write_bytes(
        {
            "cut short": content[:-1],
            "a bit turned": content[:third] + bytes([content[third] ^ 1]) + content[third + 1 :],
            "zeros at the end": content + bytes(len(content) // 4),
        }[damage]
    )
    whole = {"cut short": 3, "a bit turned": 2, "zeros at the end": 4}[damage]
    again = KeptBlocks(path, blocks.shape[1:])
    np.testing.assert_array_equal(again[:], blocks[:whole])
    again.append(blocks[0])
    np.testing.assert_array_equal(KeptBlocks(path, blocks.shape[1:])[:], [*blocks[:whole], blocks[0]])
    path.unlink()
    with pytest.raises(FileNotFoundError):
        again.append(blocks[1])


class Model:
    """A worker whose model answers every request of a job in the same way."""

    def __init__(self, answer):
        self.ask = answer

    def current(self):
        return ModelSettings("/bundle", version="1", sha256="0" * 64)

    def pinned(self, bundle, version, sha256):
        return self

    async def close(self):
        pass


def test_a_job_cancelled_while_the_model_is_away_stays_cancelled(tmp_path, monkeypatch):
    import asyncio

    from service.background import jobs as module
    from service.background.job_store import Job, JobStore
    from service.problems import Unavailable
    from service.settings import Settings

    refused = []

    async def ask(asked):
        refused.append(asked)
        raise Unavailable("The model is being loaded.")

    async def run():
        jobs = module.Jobs(store, {"air": Model(ask)}, Settings())
        jobs.start()
        await jobs.submit(job, b"fields")
        await jobs.submit(after, b"fields")
        await until_async(lambda: len(refused) > 1)
        assert (job.status, after.status) == ("running", "queued")
        jobs.cancel(job)
        await until_async(lambda: after.status == "running")  # so the first was left alone
        await jobs.stop()

    monkeypatch.setattr(module, "BUSY_PAUSE_SECONDS", 0.01)
    store = JobStore(tmp_path, 100.0, 100)
    job, after = (Job(name, "", "air", 1, NETCDF, None, "", "") for name in ("one", "two"))
    store.save(job)
    store.save(after)
    asyncio.run(run())
    assert job.status == "cancelled"


def test_a_job_that_loses_its_model_again_and_again_fails(tmp_path, monkeypatch):
    """It may be the job that ends the process, which others need."""
    import asyncio

    from service.background import jobs as module
    from service.background.job_store import Job, JobStore
    from service.settings import Settings
    from service.wire.model_messages import JobBlock
    from service.workers.model_link import ModelLost

    answers = [JobBlock(1, None), None, None, JobBlock(2, None), None, None, None]

    async def ask(asked):
        answer = answers.pop(0)
        if answer is None:
            raise ModelLost("The model's worker was lost.")
        return answer

    async def run():
        jobs = module.Jobs(store, {"air": Model(ask)}, Settings())
        await jobs.submit(job, b"fields")
        jobs.start()
        await until_async(lambda: job.ended)
        await jobs.stop()

    monkeypatch.setattr(module, "BUSY_PAUSE_SECONDS", 0.01)
    store = JobStore(tmp_path, 100.0, 100)
    job = Job("one", "", "air", 9, NETCDF, None, "", "")
    store.save(job)
    asyncio.run(run())
    assert (job.status, job.leads_done, job.problem["status"]) == ("failed", 2, 503)
    assert not answers


def test_ended_jobs_are_bounded_for_each_owner(tmp_path, monkeypatch):
    from service.background import job_store as module

    monkeypatch.setattr(module, "MOST_ENDED", 3)
    store = module.JobStore(tmp_path, 1000.0, 10_000)
    for number in range(5):
        for owner, status in (("a", "failed"), ("b", "done")):
            job = module.Job(f"{owner}{number}", owner, "air", 1, NETCDF, None, "", "")
            store.save(job)
            store.end(job, status)
    done = module.Job("a9", "a", "air", 1, NETCDF, None, "", "", status="done", ended=1 + time.time() - 900)
    store.save(done)
    store.sweep()
    assert sorted(store.by_id) == ["a3", "a4", "a9", "b2", "b3", "b4"], "a result outlives newer failures"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(store.by_id)


def test_a_job_cancelled_while_it_is_written_is_cancelled(tmp_path):
    """Two threads write the same job: neither takes the other's file away, and the end stays the end."""
    from service.background.job_store import Job, JobStore

    store = JobStore(tmp_path, 100.0, 100)
    for number in range(30):
        job = Job(str(number), "", "air", 1, NETCDF, None, "", "", status="running")
        with ThreadPoolExecutor(2) as pool:
            saving = [pool.submit(store.save, job), pool.submit(store.end, job, "cancelled")]
            for done in saving:
                done.result()
        store.finish(job, b"late")
        assert job.status == "cancelled"
        assert json.loads((tmp_path / job.id / "job.json").read_text())["status"] == "cancelled"
        assert not (tmp_path / job.id / "result").exists()


def test_disk_full_is_the_end_of_the_job_only(tmp_path, monkeypatch):
    import asyncio

    from service.background.job_store import Job, JobStore
    from service.background.jobs import Jobs
    from service.settings import Settings
    from service.wire.model_messages import Document, JobBlock

    async def ask(request):
        return JobBlock(1, Document(b"x", NETCDF, {}))

    def full(job, result):
        raise OSError(28, "No space left on device")

    async def run():
        jobs = Jobs(store, {"air": Model(ask)}, Settings())
        jobs.start()
        for job in (first, second):
            await jobs.submit(job, b"fields")
        await until_async(lambda: second.ended)
        await jobs.stop()

    store = JobStore(tmp_path, 100.0, 100)
    first, second = (Job(name, "", "air", 1, NETCDF, None, "", "") for name in ("one", "two"))
    store.save(first)
    store.save(second)
    monkeypatch.setattr(store, "finish", full)
    asyncio.run(run())
    assert (first.status, second.status) == ("failed", "failed")
    assert first.problem["status"] == 503
    assert "disk is full" in first.problem["detail"]

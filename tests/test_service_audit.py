"""The audit log: one line for each action that changes something or is refused for its key."""

import json
import logging
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from starlette.responses import Response

from service.api_keys import add_key, hash_of, revoke_key
from service.app import create_app
from service.background.job_store import Job
from service.settings import Settings
from service.telemetry.audit import Audit, audit_file
from stconv.errors import ServiceError


@pytest.fixture
def audited(tmp_path):
    """A client, keys by name, and a function that reads the lines of the audit log."""
    path, log = tmp_path / "keys.json", tmp_path / "audit.log"
    keys = {name: add_key(path, name, (name,)) for name in ("read", "forecast", "admin")}
    keys["rare"] = add_key(path, "rare", ("read",), per_minute=1)
    app = create_app(Settings(host="0.0.0.0", keys_file=path))
    with audit_file(log):
        yield TestClient(app), keys, lambda: [json.loads(line) for line in log.read_text().splitlines()]


def send(client, method, path, key, **options):
    return client.request(method, path, headers={"X-API-Key": key}, **options)


def test_who_was_refused_for_the_key(audited):
    client, keys, lines = audited
    send(client, "GET", "/v1/models", keys["read"])
    send(client, "GET", "/v1/models", "guessed")
    send(client, "POST", "/v1/admin/models/air", keys["read"], json={})
    for _ in range(2):
        send(client, "GET", "/v1/models", keys["rare"])
    found = [(line["who"], line["what"], line["status"], line["result"]) for line in lines()]
    assert found == [
        (None, "GET /v1/models", 401, "unauthorized"),
        ("read", "POST /v1/admin/models/air", 403, "forbidden"),
        ("rare", "GET /v1/models", 429, "over the limit"),
    ]
    assert {line["from"] for line in lines()} == {"testclient"}
    assert all({"time", "request_id"} <= line.keys() for line in lines())


def test_who_changed_something(audited):
    client, keys, lines = audited
    owner = hash_of(keys["forecast"])
    job = Job("one", owner, "air", 1, "application/json", None, "", "", status="done")
    client.app.state.jobs = SimpleNamespace(
        get=lambda asker, key: {(owner, "one"): job}[asker, key], cancel=lambda job: None
    )
    send(client, "GET", "/v1/jobs/one", keys["forecast"])
    send(client, "DELETE", "/v1/jobs/one", keys["forecast"])
    send(client, "POST", "/v1/admin/models/air", keys["admin"], json={})
    assert [(line["who"], line["what"], line["result"]) for line in lines()] == [
        ("forecast", "DELETE /v1/jobs/one", "done"),
        ("admin", "POST /v1/admin/models/air", "not done"),
    ]


def test_a_key_that_ended_is_named(audited, tmp_path):
    client, keys, lines = audited
    revoke_key(tmp_path / "keys.json", "read")
    send(client, "GET", "/v1/models", keys["read"])
    (line,) = lines()
    assert (line["who"], line["status"]) == ("read", 401)
    assert not any(key in str(line) for key in keys.values())


def test_equal_refusals_are_counted(tmp_path):
    now = [0.0]
    client = TestClient(Audit(Response("", 401), clock=lambda: now[0]))
    with audit_file(tmp_path / "audit.log"):
        for _ in range(100):
            client.get("/" + "x" * 1000)
        now[0] = 10.0
        client.get("/last")
    first, last = map(json.loads, (tmp_path / "audit.log").read_text().splitlines())
    assert (first["times"], last["times"]) == (1, 100)
    assert len(first["what"]) == len("GET ") + 200
    assert last["what"] == "GET /last"


def test_without_a_file_it_is_in_the_log(caplog):
    with caplog.at_level(logging.INFO, logger="stconv.audit"), audit_file(None):
        TestClient(Audit(Response("", 403))).get("/x")
    assert [record.facts["result"] for record in caplog.records if record.name == "stconv.audit"] == [
        "forbidden"
    ]


def test_a_file_that_cannot_be_written(tmp_path):
    with (
        pytest.raises(ServiceError, match=r"absent.*STCONV_SERVE_AUDIT_FILE"),
        audit_file(tmp_path / "absent" / "audit.log"),
    ):
        pass

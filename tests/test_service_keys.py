"""Keys: made once, stored as hashes, each with its rights and its quota."""

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from service.api_keys import add_key, hash_of, read_entry, read_file, revoke_key
from service.app import create_app
from service.settings import Settings
from stconv.cli.main import main
from stconv.errors import ConfigError


@pytest.fixture
def made(tmp_path):
    """A file of keys, one for each scope, and the keys."""
    path = tmp_path / "keys.json"
    keys = {scope: add_key(path, scope, (scope,)) for scope in ("read", "forecast", "admin")}
    keys["rare"] = add_key(path, "rare", ("read",), per_minute=1)
    return path, keys


@pytest.fixture
def client(made):
    """Routes without worker processes: the lifespan is not entered."""
    return TestClient(create_app(Settings(host="0.0.0.0", keys_file=made[0])))


def test_a_key_is_printed_once_and_stored_nowhere(tmp_path, capsys):
    path = tmp_path / "keys.json"
    options = ["--name", "maps", "--scopes", "read", "admin", "--per-minute", "5", "--file", str(path)]
    assert main(["key", *options]) == 0
    key = capsys.readouterr().out.strip()
    assert key.startswith("stconv_")
    assert len(key) > 40
    assert key not in path.read_text()
    (stored,) = read_file(path)
    assert (stored.sha256, stored.scopes, stored.per_minute) == (hash_of(key), ("read", "admin"), 5)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert main(["key", *options]) == 1
    assert "'maps'" in capsys.readouterr().err
    assert len(read_file(path)) == 1


def test_keys_are_listed_and_revoked(tmp_path, capsys):
    path = tmp_path / "keys.json"
    file = ["--file", str(path)]
    later = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
    assert (
        main(["key", "--name", "maps", "--expires", later, "--per-minute", "5", "--at-once", "2", *file]) == 0
    )
    assert main(["key", "--name", "lab", *file]) == 0
    assert main(["key", "--revoke", "lab", *file]) == 0
    capsys.readouterr()
    assert main(["key", "--list", *file]) == 0
    maps, lab = capsys.readouterr().out.splitlines()
    assert (
        maps == f"maps: read forecast, 5 requests per minute, 2 requests at once, ends {later}T00:00:00+00:00"
    )
    assert lab.startswith("lab: read forecast, ended 2")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--revoke", "nobody"], "has no key named 'nobody'. Its keys: 'maps', 'lab'"),
        (["--revoke", "lab"], "ended at"),
        (["--revoke", "maps", "--expires", "2099-01-01"], "--expires is for a new key"),
        (["--list", "--scopes", "read"], "--scopes is for a new key"),
        (["--list", "--values-per-minute", "5"], "--values-per-minute is for a new key"),
        (["--name", "none", "--at-once", "0"], "at_once is 0; expected 1 or more"),
        (["--name", "late", "--expires", "2020-01-01"], "would have expired at 2020-01-01T00:00:00+00:00"),
    ],
)
def test_what_cannot_be_done_with_a_key(tmp_path, capsys, options, says):
    path = tmp_path / "keys.json"
    add_key(path, "maps", ("read",))
    add_key(path, "lab", ("read",))
    revoke_key(path, "lab")
    before = path.read_text()
    assert main(["key", *options, "--file", str(path)]) == 1
    assert says in capsys.readouterr().err
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("options", "says"),
    [(["--expires", "soon"], "'soon' is not a time"), (["--name", "x", "--list"], "--name")],
)
def test_options_that_do_not_parse(capsys, options, says):
    with pytest.raises(SystemExit):
        main(["key", *options])
    assert says in capsys.readouterr().err


def test_a_running_server_knows_new_keys_and_refuses_revoked_ones(client, made):
    headers = {"X-API-Key": made[1]["read"]}
    assert client.get("/v1/models", headers=headers).status_code == 200
    revoke_key(made[0], "read")
    refused = client.get("/v1/models", headers=headers)
    assert refused.status_code == 401
    assert f"This key ended at {read_file(made[0])[0].expires}" in refused.json()["detail"]
    assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    new = add_key(made[0], "new", ("read",))
    assert client.get("/v1/models", headers={"X-API-Key": new}).status_code == 200


def test_a_key_expires_while_the_server_runs(client, made, monkeypatch):
    end = datetime(2099, 1, 1, tzinfo=UTC)
    headers = {"X-API-Key": add_key(made[0], "brief", ("read",), expires=end)}
    now = [end - timedelta(seconds=1)]
    monkeypatch.setattr("service.http.keys.datetime", SimpleNamespace(now=lambda zone: now[0]))
    assert client.get("/v1/models", headers=headers).status_code == 200
    now[0] = end
    assert client.get("/v1/models", headers=headers).status_code == 401


def test_a_file_that_becomes_unreadable_changes_no_key(client, made, caplog):
    headers = {"X-API-Key": made[1]["read"]}
    made[0].write_text("[")
    assert [client.get("/v1/models", headers=headers).status_code for _ in range(3)] == [200] * 3
    assert [r.message for r in caplog.records if "stay as they were" in r.message] != []
    assert client.get("/v1/models").status_code == 401


def test_a_file_whose_last_key_is_removed_opens_nothing(client, made):
    made[0].write_text("[]")
    assert client.get("/v1/models").status_code == 401
    assert client.get("/v1/models", headers={"X-API-Key": made[1]["read"]}).status_code == 401


def test_an_end_without_a_zone(made):
    with pytest.raises(ValueError, match="a time with its zone"):
        replace(read_file(made[0])[0], expires="2027-01-01")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/models", "read"),
        ("GET", "/metrics", "read"),
        ("POST", "/v1/forecasts?model=none", "forecast"),
        ("POST", "/v1/jobs?model=none", "forecast"),
        ("POST", "/v1/admin/models/none", "admin"),
    ],
)
def test_each_scope_opens_its_own_routes(client, made, method, path, scope):
    for name in ("read", "forecast", "admin"):
        answer = client.request(method, path, headers={"X-API-Key": made[1][name]}, json={})
        assert (answer.status_code == 403) == (name != scope), (name, answer.text)
        if name != scope:
            assert answer.json()["scope"] == scope
            assert f"this key has {name}" in answer.json()["detail"]


@pytest.mark.parametrize("authorization", ["Basic YTpi", "Bearer", "Bearer wrong", ""])
def test_one_key_does_not_make_up_for_another(client, made, authorization):
    headers = {"X-API-Key": made[1]["read"], "Authorization": authorization}
    assert client.get("/v1/models", headers=headers).status_code == 401


def test_who_may_submit_a_job_may_follow_it(client, made):
    from service.background.job_store import Job

    job = Job("one", hash_of(made[1]["forecast"]), "air", 1, "application/json", None, "", "", status="done")
    client.app.state.jobs = SimpleNamespace(get=lambda owner, key: {(job.owner, job.id): job}[owner, key])
    answer = client.get("/v1/jobs/one", headers={"X-API-Key": made[1]["forecast"]})
    assert (answer.status_code, answer.json()["status"]) == (200, "done")
    assert client.get("/v1/jobs/one", headers={"X-API-Key": made[1]["read"]}).status_code == 403


def test_a_key_has_a_quota_of_its_own(client, made):
    headers = {"X-API-Key": made[1]["rare"]}
    assert client.get("/v1/models", headers=headers).headers["ratelimit-limit"] == "1"
    assert client.get("/v1/models", headers=headers).status_code == 429
    assert "ratelimit-limit" not in client.get("/v1/models", headers={"X-API-Key": made[1]["read"]}).headers


def test_without_keys_nobody_is_admin():
    answer = TestClient(create_app(Settings()), base_url="http://127.0.0.1").post(
        "/v1/admin/models/none", json={}
    )
    assert answer.status_code == 403
    assert "stconv key" in answer.json()["detail"]


def test_every_key_is_compared_whatever_matches(client, made, monkeypatch):
    import hmac

    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(b) or a == b)
    for key in (made[1]["read"], made[1]["rare"], "none"):
        compared.clear()
        client.get("/metrics", headers={"X-API-Key": key})
        assert len(compared) == 4


def test_an_entry_of_the_environment():
    digest = "A" * 64
    assert read_entry(digest).scopes == ("read", "forecast")
    assert read_entry(f"{digest}:read+admin").scopes == ("read", "admin")
    assert read_entry(digest).sha256 == "a" * 64
    with pytest.raises(ValueError, match="unknown scope 'root'"):
        read_entry(f"{digest}:root")


@pytest.mark.parametrize(
    "content", ["", "{", "{}x", '[{"sha256": "x"}]', '["key"]', '[{"sha256": "x", "scopes": []}]']
)
def test_a_file_of_another_form(tmp_path, content):
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"keys\.json"):
        Settings(keys_file=path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="stconv key"):
        Settings(keys_file=tmp_path / "keys.json")


def test_a_key_that_may_nothing_known(tmp_path):
    with pytest.raises(ValueError, match="unknown scope"):
        add_key(tmp_path / "keys.json", "x", ("root",))
    with pytest.raises(ValueError, match="per_minute"):
        add_key(tmp_path / "keys.json", "x", ("read",), per_minute=0)
    assert not (tmp_path / "keys.json").exists()


def test_hashes_only(made):
    text = made[0].read_text()
    assert {entry["name"] for entry in json.loads(text)} == {"read", "forecast", "admin", "rare"}
    assert not any(key in text for key in made[1].values())

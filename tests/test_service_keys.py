"""Keys: made once, stored as hashes, each with its rights and its quota."""

import json
import stat
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from service.api_keys import add_key, hash_of, read_entry, read_file
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

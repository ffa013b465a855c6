"""Quota per key: counted by hand with a clock of our own, then over HTTP without a model."""

import asyncio
import hashlib

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.http.quota import BYTES, VALUES, Quota, QuotaExceeded
from service.settings import Settings
from service.sharing.alone import Alone


def hashed(key):
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def client():
    """Routes without worker processes: the lifespan is not entered."""
    keys = [hashed("a"), hashed("b")]
    settings = Settings(
        host="0.0.0.0", api_keys=keys, requests_per_minute=2, cors_origins=["https://maps.example"]
    )
    return TestClient(create_app(settings))


def test_bucket_by_hand():
    now = [100.0]
    quota = Quota(3, Alone(), clock=lambda: now[0])
    remaining = [quota.spend("k")["RateLimit-Remaining"] for _ in range(3)]
    assert remaining == ["2", "1", "0"]
    with pytest.raises(QuotaExceeded, match=r"3 requests per minute\. Try again in 20 s") as raised:
        quota.spend("k")
    assert raised.value.headers["Retry-After"] == "20"
    assert raised.value.headers["RateLimit-Reset"] == "60"
    assert quota.spend("other")["RateLimit-Remaining"] == "2", "keys do not share"
    now[0] += 19.9
    with pytest.raises(QuotaExceeded):
        quota.spend("k")
    now[0] += 0.2
    assert quota.spend("k")["RateLimit-Remaining"] == "0"
    now[0] += 3600
    assert quota.spend("k")["RateLimit-Remaining"] == "2", "no more than a minute's worth is saved up"


def test_costs_by_hand():
    now = [0.0]
    quota = Quota(100, Alone(), clock=lambda: now[0], resource=VALUES)
    assert quota.spend("k", cost=60)["RateLimit-Remaining"] == "40"
    says = r"100 values computed per minute, and this request needs 60\. Try again in 12 s"
    with pytest.raises(QuotaExceeded, match=says):
        quota.spend("k", cost=60)
    now[0] += 12
    quota.spend("k", cost=60)
    now[0] += 60
    assert quota.spend("k", cost=250)["RateLimit-Remaining"] == "0", "more than a minute's worth, once"
    with pytest.raises(QuotaExceeded, match="Try again in 91 s"):  # 151 values at 100 per minute
        quota.spend("k")


def test_what_a_request_used_in_the_end():
    quota = Quota(100, Alone(), clock=lambda: 0.0, resource=BYTES)
    quota.spend("k", cost=10)
    asyncio.run(quota.settle("k", None, 50))
    assert quota.spend("k", cost=1)["RateLimit-Remaining"] == "39"
    asyncio.run(quota.settle("k", None, -21))
    assert quota.spend("k", cost=1)["RateLimit-Remaining"] == "59"
    asyncio.run(quota.settle("k", None, 100))
    with pytest.raises(
        QuotaExceeded, match=r"100 bytes per minute, and this request needs 1\. Try again in 26 s"
    ):
        quota.spend("k", cost=1)  # 1 + 41 bytes at 100 per minute, rounded up


def test_no_quota_no_headers():
    assert Quota(None, Alone()).spend("k") == {}


def test_quota_over_http(client):
    for left in ("1", "0"):
        answer = client.get("/v1/models", headers={"X-API-Key": "a"})
        assert answer.status_code == 200
        assert answer.headers["ratelimit-limit"] == "2"
        assert answer.headers["ratelimit-remaining"] == left
    refused = client.get("/v1/models", headers={"X-API-Key": "a"})
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["ratelimit-remaining"] == "0"
    assert int(refused.headers["retry-after"]) == refused.json()["retry_after_seconds"] > 0
    assert client.get("/v1/models", headers={"X-API-Key": "b"}).status_code == 200
    assert client.get("/v1/models", headers={"X-API-Key": "c"}).status_code == 401
    assert client.get("/livez").status_code == 200
    assert client.get("/metrics", headers={"X-API-Key": "a"}).status_code == 200, "watching costs nothing"


def test_other_origins_are_named(client):
    headers = {"Origin": "https://maps.example", "X-API-Key": "a"}
    answer = client.get("/v1/models", headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://maps.example"
    foreign = client.get("/v1/models", headers=headers | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.parametrize("path", ["/livez", "/nothing", "/docs", "/"])
def test_every_answer_has_a_policy(client, path):
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    for name in ("cross-origin-opener-policy", "cross-origin-resource-policy"):
        assert headers[name] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"


def test_quota_that_is_none(monkeypatch):
    monkeypatch.setenv("STCONV_SERVE_REQUESTS_PER_MINUTE", "0")
    with pytest.raises(ValueError, match="requests_per_minute"):
        Settings()

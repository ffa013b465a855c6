"""Limits and ends of keys on a real server: requests at once, bytes, computed values; revocation."""

import asyncio
import socket

import pytest

from service.api_keys import ApiKey, add_key
from service.http.key_limits import KeyLimits
from service.http.quota import QuotaExceeded
from service.settings import Settings
from service.sharing.alone import Alone
from stconv.cli.main import main
from waiting import LIMIT_SECONDS, until

BYTES = 20_000
LIMITS = {
    "once": {"at_once": 1},
    "heavy": {"bytes_per_minute": BYTES},
    "poor": {"values_per_minute": 1},
    "free": {},
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    return path, {name: add_key(path, name, ("read", "forecast"), **own) for name, own in LIMITS.items()}


@pytest.fixture(scope="module")
def server(service_server, service_bundle, service_data, keys):
    running = service_server.Server(
        *("--model", str(service_bundle), "--data", str(service_data)), keys_file=str(keys[0])
    )
    yield running
    running.kill()


@pytest.fixture
def client_of(server, keys):
    opened = []

    def client(name):
        opened.append(server.client(headers={"X-API-Key": keys[1][name]}))
        return opened[-1]

    yield client
    for each in opened:
        each.close()


def test_requests_at_once(server, client_of, keys):
    head = f"POST /v1/forecasts HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {keys[1]['once']}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    once = client_of("once")

    def refused():
        answer = once.get("/v1/models")
        return answer if answer.status_code == 429 else None

    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_SECONDS) as connection:
        connection.sendall(head.encode())
        answer = until(refused)
        assert "may have 1 requests under way at once" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "1"
        assert client_of("free").get("/v1/models").status_code == 200
    until(lambda: once.get("/v1/models").status_code == 200)


def test_bytes_of_bodies_and_answers(client_of, made):
    heavy, free = client_of("heavy"), client_of("free")
    size = len(free.get("/openapi.json").content)
    assert size > BYTES
    body = made.as_netcdf(made.fields())
    headers = {"Content-Type": made.NETCDF}
    answer = heavy.post("/v1/forecasts", content=body, headers=headers)
    assert answer.status_code == 200
    used = len(body) + len(answer.content)
    while used < BYTES:
        answer = heavy.get("/v1/models/air")
        assert answer.status_code == 200, used
        used += len(answer.content)

    def refused():
        answer = heavy.post("/v1/forecasts", content=body, headers=headers)
        return answer if answer.status_code == 429 else None

    said = until(refused).json()
    assert f"send and receive {BYTES} bytes per minute, and this request needs {len(body)}" in said["detail"]
    assert said["limit"] == BYTES


def test_every_route_that_computes_costs_values(client_of, made):
    body, upload = made.as_netcdf(made.fields()), {"Content-Type": made.NETCDF}
    poor = client_of("poor")
    first = poor.post("/v1/forecasts", content=body, headers=upload)
    assert first.status_code == 200, "more than a minute's worth, once"
    for method, path in (
        ("POST", "/v1/forecasts"),
        ("POST", "/v1/jobs"),
        ("GET", "/v1/forecasts/latest"),
        ("GET", "/v1/forecast?latitude=10&longitude=20"),
        ("GET", "/edr/collections/air/position?coords=POINT(20 10)"),
    ):
        posted = {"content": body, "headers": upload} if method == "POST" else {}
        answer = poor.request(method, path, **posted)
        assert answer.status_code == 429, (path, answer.text)
        assert "1 values computed per minute, and this request needs" in answer.json()["detail"]
    for path in ("/v1/models", "/v1/forecasts", "/v1/verification", "/edr/collections"):
        assert poor.get(path).status_code == 200, path


def test_a_key_comes_and_goes_while_the_server_runs(server, client_of, keys, capsys):
    options = ["--file", str(keys[0])]
    assert main(["key", "--name", "guest", "--scopes", "read", *options]) == 0
    with server.client(headers={"X-API-Key": capsys.readouterr().out.strip()}) as guest:
        assert guest.get("/v1/models").status_code == 200
        assert main(["key", "--revoke", "guest", *options]) == 0
        refused = guest.get("/v1/models")
    assert refused.status_code == 401
    assert "This key ended at 2" in refused.json()["detail"]
    assert client_of("free").get("/v1/models").status_code == 200


@pytest.mark.parametrize(("status", "again"), [(503, True), (504, False), (200, False)])
def test_what_a_busy_server_refused_costs_no_values(status, again):
    async def ask():
        limits = KeyLimits(Settings(values_per_minute=100), Alone())
        for _ in range(2):
            admission = await limits.admit(ApiKey("0" * 64), 0)
            await limits.pay_for_values(admission, 80)
            await limits.end(admission, 0, status)

    if again:
        asyncio.run(ask())
    else:
        with pytest.raises(QuotaExceeded, match="needs 80"):
            asyncio.run(ask())


def test_a_refused_request_is_not_under_way():
    async def ask():
        limits = KeyLimits(Settings(requests_at_once=1, requests_per_minute=1), Alone())
        key = ApiKey("0" * 64)
        await limits.end(await limits.admit(key, 0), 0, 200)
        for _ in range(2):
            with pytest.raises(QuotaExceeded, match="1 requests per minute"):
                await limits.admit(key, 0)

    asyncio.run(ask())

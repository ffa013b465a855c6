"""Bodies wait until the key is known, on every route, and then have a time and a size."""

import asyncio
import hashlib
import socket

import pytest
from fastapi import Request
from fastapi.routing import APIRoute

from service.app import create_app
from service.http.bodies import BodyRoom, read_body
from service.problems import TooSlow
from service.settings import Settings
from waiting import LIMIT_SECONDS

ADMIN = "admin key"
CONNECTIONS = 20
ROUTE = "POST /v1/admin/models/air HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server(service_server, service_bundle):
    running = service_server.Server(
        *("--model", str(service_bundle)),
        api_keys=f"{hashlib.sha256(ADMIN.encode()).hexdigest()}:admin+read+forecast",
        body_seconds="2",
        max_connections=str(CONNECTIONS),
    )
    yield running
    running.kill()


def begin(server, head, body=b""):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_SECONDS)
    connection.sendall(head.encode() + b"\r\n" + body)
    return connection


def answer(connection):
    """What comes, until a problem is whole or the server closes."""
    received = b""
    try:
        while not received.endswith(b"}") and (more := connection.recv(65536)):
            received += more
    except ConnectionResetError:
        pass
    return received.decode()


def test_no_route_lets_the_framework_read_a_body():
    """FastAPI would read and parse it before any key is looked at."""
    found = [
        route
        for included in create_app(Settings()).routes
        for route in getattr(getattr(included, "original_router", None), "routes", [included])
        if isinstance(route, APIRoute)
    ]
    assert len(found) > 30
    assert [route.path for route in found if route.body_field is not None] == []


def test_without_a_key_the_answer_does_not_wait_for_the_body(server):
    with begin(server, f"{ROUTE}Content-Length: 60000000\r\n", b"[") as connection:
        assert answer(connection).startswith("HTTP/1.1 401 ")


def test_a_small_document_may_not_be_large(server):
    head = f"{ROUTE}X-API-Key: {ADMIN}\r\nContent-Length: 60000000\r\n"
    with begin(server, head, b"[" + b"1," * 4000) as connection:
        said = answer(connection)
    assert said.startswith("HTTP/1.1 413 ")
    assert '"limit_bytes":4096' in said


def test_a_small_document_has_a_time(server):
    with begin(server, f"{ROUTE}X-API-Key: {ADMIN}\r\nContent-Length: 100\r\n", b"{") as connection:
        said = answer(connection)
    assert said.startswith("HTTP/1.1 408 ")
    assert "within 2 s" in said


@pytest.mark.parametrize(
    ("body", "says"), [(b"{", "JSON"), (b"\xff{}", "body"), (b"[]", "body"), (b"", "JSON")]
)
def test_a_small_document_that_is_none(server, body, says):
    headers = {"X-API-Key": ADMIN, "Content-Type": "application/json"}
    with server.client(headers=headers) as client:
        refused = client.post("/v1/admin/models/air", content=body)
    assert refused.status_code == 422
    assert says in refused.json()["detail"]


def test_a_small_document_of_another_type(server):
    with server.client(headers={"X-API-Key": ADMIN, "Content-Type": "text/plain"}) as client:
        refused = client.post("/v1/admin/models/air", content=b"{}")
    assert refused.status_code == 415
    assert "application/json" in refused.json()["detail"]


def test_connections_of_strangers_keep_nobody_out(server):
    """More than there are places, silent or with an endless body; the next is answered all the same."""
    held = [begin(server, f"{ROUTE}Content-Length: 100\r\n", b"{") for _ in range(CONNECTIONS)]
    held += [socket.create_connection(("127.0.0.1", server.port)) for _ in range(CONNECTIONS)]
    try:
        with server.client(headers={"X-API-Key": ADMIN}) as client:
            assert client.get("/livez").status_code == 200
            assert client.get("/v1/models").status_code == 200
    finally:
        for connection in held:
            connection.close()


def test_a_client_that_goes_away_is_no_fault_of_the_server():
    told = [{"type": "http.request", "body": b"CDF", "more_body": True}, {"type": "http.disconnect"}]

    async def receive():
        return told.pop(0)

    request = Request({"type": "http", "headers": []}, receive)
    with pytest.raises(TooSlow, match="closed after 3 bytes of the body") as raised:
        asyncio.run(read_body(request, LIMIT_SECONDS, BodyRoom(1000)))
    assert raised.value.status == 408

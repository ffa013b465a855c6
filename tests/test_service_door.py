"""Requests without a place are refused from their first bytes, and nothing else is."""

import asyncio
import json
import socket
import threading
from contextlib import contextmanager

import pytest
import uvicorn

from service.http.door import Door
from service.http.protocol import patient
from service.problems import Unavailable
from service.telemetry.metrics import Metrics
from waiting import LIMIT_SECONDS, until

HEAD = b"POST /v1/forecasts?steps=2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"


class Full:
    """A worker without a place for anybody but some clients."""

    has_room = False

    def __init__(self, *few):
        self._few = few
        self.seen = []

    def refusal(self, client):
        self.seen.append(client)
        return None if client in self._few else Unavailable("Model air is busy.", limit=4)


def door(worker, *proxies):
    return Door({"air": worker}, Metrics(), frozenset(proxies))


def with_header(line):
    return HEAD.replace(b"Host: x\r\n", b"Host: x\r\n" + line + b"\r\n")


def test_the_answer_is_a_whole_problem():
    refusal = door(Full()).refuse(HEAD + b"12345", "10.0.0.1")
    head, _, body = refusal.answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"\r\nRetry-After: 1\r\n" in head
    assert b"application/problem+json" in head
    assert json.loads(body)["instance"] == "/v1/forecasts"
    assert json.loads(body)["limit"] == 4
    assert (refusal.head_bytes, refusal.body_bytes) == (len(HEAD), 5)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/forecasts HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/forecasts?model=air HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /edr/collections/air HTTP/1.1\r\nHost: x\r\n\r\n",
        b"DELETE /v1/forecasts HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/forecasts HTTP/1.0\r\nHost: x\r\n\r\n",
        b"POST /v1/forecastsabc HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD[:-2],
        with_header(b"Transfer-Encoding: chunked"),
        with_header(b"Content-Length: 7"),
        with_header(b"expect: 100-continue"),
        with_header(b"X: y\r\n folded"),
        with_header(b"X: y\nContent-Length: 7"),
        HEAD.replace(b"5", b"+5"),
        HEAD.replace(b"5", b""),
    ],
)
def test_all_else_takes_the_usual_way(data):
    assert door(Full()).refuse(data, "10.0.0.1") is None


@pytest.mark.parametrize(
    "target",
    [
        b"GET /v1/forecast?latitude=1&longitude=2",
        b"GET /v1/forecasts/latest",
        b"GET /v1/forecasts/20200101T000000Z/truth",
        b"GET /edr/collections/air/instances/20200101T000000Z/cube?bbox=1,2,3,4",
        b"POST /v1/jobs",
    ],
)
def test_what_needs_a_place_is_refused(target):
    assert door(Full()).refuse(target + b" HTTP/1.1\r\nHost: x\r\n\r\n", "10.0.0.1") is not None


def test_a_client_with_few_requests_is_let_in():
    assert door(Full("10.0.0.1")).refuse(HEAD, "10.0.0.1") is None
    assert door(Full("10.0.0.1")).refuse(HEAD, "10.0.0.2") is not None
    worker = Full()
    worker.has_room = True
    assert door(worker).refuse(HEAD, "10.0.0.2") is None
    assert worker.seen == []


def test_clients_are_told_apart_as_the_routes_do():
    from service.api_keys import hash_of

    worker = Full()
    doorkeeper = door(worker, "127.0.0.1")
    for line, peer in (
        (b"authorization: bearer  open sesame ", "10.0.0.1"),
        (b"X-API-Key: open sesame", "10.0.0.1"),
        (b"X-Forwarded-For: 10.9.9.9, 10.0.0.7", "127.0.0.1"),
        (b"X-Forwarded-For: 10.0.0.7", "10.0.0.1"),
        (b"X: y", "2001:db8::1:2:3:4"),
    ):
        doorkeeper.refuse(with_header(line), peer)
    key = hash_of("open sesame")
    assert worker.seen == [key, key, "10.0.0.7", "10.0.0.1", "2001:db8::/64"]


async def app(scope, receive, send):
    """Answers with what it was asked, after reading the body."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    body = scope["path"].encode() + b" " + body
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def served(doorkeeper, **limits):
    protocol = patient(LIMIT_SECONDS, LIMIT_SECONDS, limits.pop("connections", 20), doorkeeper)
    config = uvicorn.Config(app, http=protocol, lifespan="off", ws="none", log_config=None)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


def answers(connection, n):
    """The status and body of the next answers on a connection."""
    reader, found = connection.makefile("rb"), []
    for _ in range(n):
        status = int(reader.readline().split()[1])
        length = 0
        while (line := reader.readline().lower()) not in (b"\r\n", b""):
            length = int(line.split(b":")[1]) if line.startswith(b"content-length") else length
        found.append((status, reader.read(length)))
    return found


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_refused_and_answered_requests_share_a_connection(size):
    """Bodies of refused requests are dropped, wherever they are cut, and never taken for a request."""
    other = b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    trick = HEAD.replace(b"5", str(len(other)).encode()) + other
    with (
        served(door(Full())) as (_, port),
        socket.create_connection(("127.0.0.1", port), LIMIT_SECONDS) as connection,
    ):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request, status in ((HEAD + b"12345", 503), (other, 200), (trick, 503), (other, 200)):
            end = request.index(b"\r\n\r\n") + 4  # a head that comes in pieces takes the usual way
            connection.sendall(request[:end])
            for i in range(end, len(request), size):
                connection.sendall(request[i : i + size])
            ((found, body),) = answers(connection, 1)
            assert found == status
            assert body == b"/other abc" or status == 503
        connection.sendall(HEAD + b"12345" + other + trick + other)
        assert [body for _, body in answers(connection, 4)][1::2] == [b"/other abc", b"/other abc"]


def test_a_long_body_is_not_read_to_its_end():
    head = HEAD.replace(b": 5", b": %d" % 2**26)
    with (
        served(door(Full())) as (_, port),
        socket.create_connection(("127.0.0.1", port), LIMIT_SECONDS) as connection,
    ):
        connection.sendall(head + bytes(10**5))
        assert answers(connection, 1)[0][0] == 503
        assert connection.recv(1) == b"", "it is closed"


def test_a_connection_whose_body_does_not_come_gives_way(monkeypatch):
    monkeypatch.setattr("service.http.protocol.SLOW_SECONDS", 0.05)
    with served(None, connections=3) as (server, port):
        slow = [socket.create_connection(("127.0.0.1", port), LIMIT_SECONDS) for _ in range(3)]
        for connection in slow:
            connection.sendall(HEAD + b"12")
        until(lambda: len(server.server_state.tasks) == 3)
        until(lambda: len(next(iter(server.server_state.connections)).idle) == 3)
        with socket.create_connection(("127.0.0.1", port), LIMIT_SECONDS) as newcomer:
            newcomer.sendall(HEAD + b"12345")
            assert answers(newcomer, 1) == [(200, b"/v1/forecasts 12345")]
        slow[2].sendall(b"345")
        assert answers(slow[2], 1) == [(200, b"/v1/forecasts 12345")]

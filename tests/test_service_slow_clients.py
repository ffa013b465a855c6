"""Below HTTP: clients that draw out headers, bodies or answers, against uvicorn with our protocol."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from service.http.protocol import patient
from waiting import LIMIT_SECONDS, until

BIG = 64 * 2**20
"""More than the buffers of two sockets hold."""


LIMIT = 2.0
"""Seconds that a client has here: long enough for an honest one on a busy machine."""


async def app(scope, receive, send):
    """Answers at once, without reading the body; /read reads it first, /big and /chunks answer at length."""
    if scope["path"] == "/read":
        while (await receive()).get("more_body"):
            pass
    body = memoryview(bytes(BIG) if scope["path"] in ("/big", "/chunks") else b"ok")
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while scope["path"] == "/chunks" and body:
        await send({"type": "http.response.body", "body": bytes(body[: 2**16]), "more_body": True})
        body = body[2**16 :]
    await send({"type": "http.response.body", "body": bytes(body)})


@contextmanager
def running(**limits):
    protocol = patient(**({"header_seconds": LIMIT, "answer_seconds": LIMIT, "max_connections": 20} | limits))
    server = uvicorn.Server(
        uvicorn.Config(app, http=protocol, lifespan="off", ws="none", log_config=None, timeout_keep_alive=30)
    )
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True  # also where a failed test left requests open
        thread.join()


@pytest.fixture(scope="module")
def port():
    with running() as (_, number):
        yield number


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT_SECONDS)


def rest(connection):
    """What comes until the server closes."""
    received = b""
    try:
        while more := connection.recv(65536):
            received += more
    except ConnectionResetError:
        pass
    return received


def dribble(connection, text, pause=0.1):
    """A byte at a time, until the server has had enough; how many were sent."""
    for sent, byte in enumerate(text):
        try:
            connection.sendall(bytes([byte]))
        except OSError:
            return sent
        time.sleep(pause)
    return len(text)


def test_silence_is_ended(port):
    with connect(port) as connection:
        assert rest(connection).startswith(b"HTTP/1.1 408 ")


def test_the_answer_to_silence_is_a_whole_problem(port):
    with connect(port) as connection:
        head, _, body = rest(connection).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b'"status":408' in body


def test_headers_that_dribble_are_ended(port):
    with connect(port) as connection:
        assert dribble(connection, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 2000) < 1000


def test_headers_that_dribble_after_an_answer_are_ended(port):
    with connect(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in connection.recv(1000)
        assert dribble(connection, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 2000) < 1000
        assert b"408" not in rest(connection)


def test_a_body_that_nobody_reads_cannot_keep_the_connection(port):
    with connect(port) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        assert b"200 OK" in connection.recv(1000)
        assert dribble(connection, b"y" * 2000) < 1000


def test_a_slow_body_that_is_read_has_its_own_limit(port):
    """Here nobody sets one; `read_body` does in the service."""
    with connect(port) as connection:
        connection.sendall(
            b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\nConnection: close\r\n\r\n"
        )
        assert dribble(connection, b"y" * 15, pause=2 * LIMIT / 15) == 15
        assert b"200 OK" in rest(connection)


def test_an_answer_that_nobody_takes_is_given_up():
    with running() as (server, port), connect(port) as connection:
        connection.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: server.server_state.connections)
        until(lambda: not server.server_state.connections)
        assert len(rest(connection)) < BIG


def test_an_answer_in_chunks_may_take_longer_if_its_bytes_flow():
    """Far more than the least speed, for longer than the limit."""
    with running() as (_, port), connect(port) as connection:
        connection.sendall(b"GET /chunks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received, began = 0, time.monotonic()
        while taken := len(connection.recv(2**20)):
            received += taken
            if time.monotonic() - began < 2 * LIMIT:
                time.sleep(0.05)
        assert received > BIG
        assert time.monotonic() - began > LIMIT


def test_an_answer_in_chunks_that_trickles_is_given_up():
    """Ten kilobytes a second, once the buffers of the sockets are full."""
    with running() as (server, port), connect(port) as connection:
        connection.sendall(b"GET /chunks HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: server.server_state.connections)

        def ended():
            connection.recv(1000)
            return not server.server_state.connections

        until(ended, pause=0.1)
        assert len(rest(connection)) < BIG / 2


def test_connections_are_counted():
    """Those on which a request is under way keep their places."""
    with running(header_seconds=LIMIT_SECONDS, max_connections=3) as (server, port):
        held = [connect(port) for _ in range(3)]
        for connection in held:
            connection.sendall(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        until(lambda: len(server.server_state.tasks) == 3)
        with connect(port) as refused:
            assert rest(refused) == b""
        held.pop().close()
        until(lambda: len(server.server_state.connections) == 2)
        with connect(port) as taken:
            taken.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in taken.recv(1000)
        for connection in held:
            connection.close()


def test_a_newcomer_gets_the_place_that_was_idle_longest():
    with running(header_seconds=LIMIT_SECONDS, max_connections=3) as (server, port):
        answered, silent, unfinished = (connect(port) for _ in range(3))
        until(lambda: len(server.server_state.connections) == 3)
        unfinished.sendall(b"GET / HTTP/1.1\r\nHo")
        answered.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in answered.recv(1000)
        newcomers = []
        for ended in (silent, unfinished, answered):
            newcomers.append(connect(port))
            newcomers[-1].sendall(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
            assert rest(ended) in (b"", b"ok")  # the end of its first answer
            until(lambda: len(server.server_state.tasks) == len(newcomers))
        for newcomer in newcomers:
            newcomer.sendall(b"12345")
            assert b"200 OK" in newcomer.recv(1000)
            newcomer.close()

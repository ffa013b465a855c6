"""Large answers go through a file: slow readers hold no copies, and what waits for them is bounded."""

import asyncio
import gc
import os
import socket
import threading
import tracemalloc
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.requests import Request

from service.http.streaming import SMALL_BYTES, Spool, from_file
from service.problems import Unavailable
from service.wire.model_messages import Document
from waiting import LIMIT_SECONDS, until, until_async

SIZE = 16 * 2**20
"""More than the buffers of two sockets hold."""
READERS = 10
HEADERS = {"Stconv-Model": "air"}


@contextmanager
def serving(spool):
    """A server whose answers go through the spool."""

    async def app(scope, receive, send):
        document = Document(os.urandom(16) * (SIZE // 16), "application/x-netcdf", {})
        response = await spool.response(document, HEADERS)
        del document
        await response(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    until(lambda: server.started)
    yield listener.getsockname()[1]
    server.should_exit = server.force_exit = True
    thread.join()


def ask(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_SECONDS)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return connection


def test_slow_readers_hold_no_copies(tmp_path):
    spool = Spool(tmp_path, READERS * SIZE)
    with serving(spool) as port:
        tracemalloc.start()
        readers = [ask(port) for _ in range(READERS)]
        heads = [reader.recv(100) for reader in readers]
        until(lambda: spool._bytes == READERS * SIZE)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert all(b"200 OK" in head for head in heads)
        assert held < SIZE, f"{READERS} readers of {SIZE} bytes hold {held}"
        assert list(tmp_path.iterdir()) == [], "the files have no name"
        body = b"".join(iter(lambda: readers[0].recv(2**20), b""))
        assert body[-32:-16] == body[-16:]
        for reader in readers:
            reader.close()
        until(lambda: spool._bytes == 0)


def test_what_waits_for_slow_clients_is_bounded(tmp_path):
    document = Document(bytes(SMALL_BYTES + 1), "application/x-netcdf", {})
    spool = Spool(tmp_path, SMALL_BYTES + 1)

    async def run():
        first = await spool.response(document, HEADERS)
        assert first.headers["content-length"] == str(SMALL_BYTES + 1)
        assert first.headers["stconv-model"] == "air"
        with pytest.raises(Unavailable, match="wait for slow clients") as raised:
            await spool.response(document, HEADERS)
        assert raised.value.headers == {"Retry-After": "5"}
        small = await spool.response(Document(b"x", "application/json", {}), HEADERS)
        assert small.body == b"x"
        del first, raised
        await until_async(lambda: gc.collect() >= 0 and spool._bytes == 0)
        assert (await spool.response(document, HEADERS)).status_code == 200, "the first was never sent"

    asyncio.run(run())


def test_a_full_disk_takes_no_place(tmp_path, monkeypatch):
    spool = Spool(tmp_path, 2 * SMALL_BYTES)
    document = Document(bytes(SMALL_BYTES + 1), "application/x-netcdf", {})

    def full(body):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "_written", full)
    with pytest.raises(OSError, match="No space"):
        asyncio.run(spool.response(document, HEADERS))
    monkeypatch.undo()
    assert asyncio.run(spool.response(document, HEADERS)).status_code == 200


def test_a_head_of_a_file_has_its_length_only(tmp_path):
    (tmp_path / "result").write_bytes(b"12345")
    request = Request({"type": "http", "method": "HEAD", "headers": []})
    answer = from_file(request, (tmp_path / "result").open("rb"), "image/png", {})
    assert (answer.body, answer.headers["content-length"]) == (b"", "5")

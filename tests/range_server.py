"""A web server for tests: serves the files of a folder by ranges, and fails on request."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class RangeServer:
    """A running server.

    Attributes:
        url: Address of the folder.
        asked: Paths that were asked for, with GET.
        drop: Number of coming answers that break off after some bytes.
        status: Status of all answers, if set.
        ranges: Whether ranges are served; otherwise whole files are sent.
        latency_seconds: Wait before each answer.
    """

    url: str = ""
    asked: list[str] = field(default_factory=list)
    drop: int = 0
    status: int | None = None
    ranges: bool = True
    latency_seconds: float = 0.0


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[RangeServer]:
    """Serve the files of a folder; folders are not listed, as object storages do not list them."""
    state = RangeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            state.asked.append(self.path)
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            time.sleep(state.latency_seconds)
            file = folder / self.path.lstrip("/").partition("?")[0]
            status, body = (200, file.read_bytes()) if file.is_file() else (404, b"")
            status = state.status or status
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            total = len(body)
            if asked and state.ranges and status == 200:
                start, stop = int(asked[1]), int(asked[2] or total - 1) + 1
                status, body = 206, body[start:stop]
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{total}")
            if state.ranges:
                self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{file.stat().st_mtime_ns if file.is_file() else 0}"')
            self.end_headers()
            if with_body and state.drop > 0:
                state.drop -= 1
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                return
            if with_body:
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Print nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client may hang up."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

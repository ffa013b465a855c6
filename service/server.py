"""Running the application: port, signals and graceful shutdown."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.http.door import Door
from service.http.protocol import patient
from service.settings import Settings
from service.workers.worker import Worker
from stconv.errors import ServiceError

log = logging.getLogger(__name__)
KEEP_ALIVE_SECONDS = 5
POLL_SECONDS = 0.05
END_SECONDS = 5.0
"""Time for the answers to requests that the end of a drain interrupts, s."""


def serve(settings: Settings, on_ready: Callable[[Mapping[str, Worker], str], None]) -> int:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        settings: Settings of the server.
        on_ready: Function called with the workers by model name and the URL once every model is loaded and
            the port is open.

    Returns:
        Exit status 0 after a graceful shutdown.

    Raises:
        ServiceError: The port is in use, or a model cannot be loaded.
    """
    listener = _bind(settings.host, settings.port)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{listener.getsockname()[1]}"
    with listener:
        asyncio.run(_serve(create_app(settings), listener, lambda app: on_ready(app.state.workers, url)))
    return 0


class _Server(uvicorn.Server):
    """A uvicorn server that reports itself as not ready on SIGTERM and then exits with status 0."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, on_ready: Callable[[FastAPI], None]) -> None:
        super().__init__(config)
        self._application = app
        self._on_ready = on_ready
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready(self._application)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # uvicorn's handler raises the signal again at the end, which makes the exit status nonzero

    def drain(self) -> None:
        """Drain on the first signal; exit immediately on the second."""
        if self._draining is not None:
            self.force_exit = self.should_exit = True
            return
        log.info("draining")
        self._application.state.draining = True
        self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        settings: Settings = self._application.state.settings
        await asyncio.sleep(settings.drain_notice_seconds)
        if not await self._all_answered(settings.drain_seconds):
            log.warning("%d requests are not finished, and are ended", len(self.server_state.tasks))
            self._application.state.under_way.end()
            await self._all_answered(END_SECONDS)
        self.should_exit = True

    async def _all_answered(self, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self.server_state.tasks and loop.time() < end:
            await asyncio.sleep(POLL_SECONDS)
        return not self.server_state.tasks


async def _serve(app: FastAPI, listener: socket.socket, on_ready: Callable[[FastAPI], None]) -> None:
    settings: Settings = app.state.settings
    proxies = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1").split(",")  # as uvicorn does
    door = Door(app.state.workers, app.state.metrics, frozenset(map(str.strip, proxies)))
    config = uvicorn.Config(
        app,
        http=patient(settings.header_seconds, settings.answer_seconds, settings.max_connections, door),
        lifespan="off",  # run below, so that the error of a model that cannot be loaded keeps its message
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,  # `_drain` has finished by then
    )
    server = _Server(config, app, on_ready)
    loop = asyncio.get_running_loop()
    starting = asyncio.current_task()
    assert starting is not None
    interrupted = False

    def stop() -> None:
        nonlocal interrupted
        if server.started:
            server.drain()
        elif not interrupted:
            interrupted = True
            starting.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        async with app.router.lifespan_context(app):
            await server.serve(sockets=[listener])
    except asyncio.CancelledError:
        if not interrupted:
            raise


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio disables Nagle's algorithm (40 ms per answer) only if the protocol is named.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ServiceError(
                f"Port {port} of {host} is in use. Stop the program that uses it, or choose another port: "
                f"`--port {port + 1}` (`--port 0` picks a free one)."
            ) from error
        raise ServiceError(f"Cannot listen on {host} port {port}: {error.strerror}.") from error
    listener.setblocking(False)
    return listener

"""A server of our own, and clients that load it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.processes import memory

CORES = sorted(os.sched_getaffinity(0))
CLIENTS, SERVERS = {CORES[-1]}, set(CORES[:-1] or CORES)
"""Cores of the clients and of the server, where they are apart."""
KINDS = {"json": "application/json", "netcdf": "application/x-netcdf", "netcdf3": "application/x-netcdf"}


class Asked(NamedTuple):
    """An answer: its status, 0 for none, the seconds it took, when the last byte came, and Server-Timing."""

    status: int
    seconds: float
    at: float
    parts: dict[str, float]


class Service:
    """A server with the given settings, until the end of the block."""

    def __init__(self, bundle: Path, threads: int, cores: set[int] | None = None, **settings: str) -> None:
        environment = os.environ | {f"STCONV_SERVE_{key.upper()}": value for key, value in settings.items()}
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "stconv",
                "serve",
                "--model",
                str(bundle),
                "--port",
                "0",
                "--threads",
                str(threads),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        if cores:
            os.sched_setaffinity(self.process.pid, cores)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.match(r"^  http://127.0.0.1:(\d+)$", line):
                self.port = int(found[1])
            if "Ctrl-C" in line:
                break
        self.started = time.time()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def memory(self) -> float:
        return memory(self.process.pid)


class Client:
    """HTTP on one connection, as cheap as can be: a request made beforehand, an answer read to its length."""

    def __init__(self, port: int, kind: str, body: bytes) -> None:
        head = f"POST /v1/forecasts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {KINDS[kind]}\r\n"
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._port = port
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self) -> Asked:
        """Send the request; its seconds are from the first byte sent to the last received."""
        if self._writer is None or self._writer.is_closing():
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        began = time.perf_counter()
        try:
            self._writer.write(self._request)
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = re.search(rb"content-length: (\d+)", head)
            await self._reader.readexactly(int(length[1]) if length else 0)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.close()
            ended = time.perf_counter()
            return Asked(0, ended - began, ended, {})
        ended = time.perf_counter()
        if b"connection: close" in head:
            self.close()
        parts = {name.decode(): float(ms) for name, ms in re.findall(rb"(\w+);dur=([\d.]+)", head)}
        return Asked(int(head[9:12]), ended - began, ended, parts)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class Elsewhere:
    """A process with clients on the last core, until the end of the block."""

    def __enter__(self) -> Elsewhere:
        self._process = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), os.sched_setaffinity, (0, CLIENTS)
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.shutdown()

    def run(self, asking: Callable[..., Coroutine[Any, Any, list[Asked]]], *arguments: Any) -> list[Asked]:
        """Run `ask_on` or `ask_at` there."""
        return self._process.submit(_run, asking, arguments).result()


def _run(asking: Callable[..., Coroutine[Any, Any, list[Asked]]], arguments: tuple[Any, ...]) -> list[Asked]:
    return asyncio.run(asking(*arguments))


async def ask_on(port: int, kind: str, body: bytes, clients: int, seconds: float) -> list[Asked]:
    """Clients that each ask again as soon as they are answered."""
    end = time.perf_counter() + seconds
    found: list[Asked] = []

    async def one() -> None:
        client = Client(port, kind, body)
        while time.perf_counter() < end:
            found.append(await client.ask())
        client.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    return found


async def ask_at(port: int, kind: str, body: bytes, rate: float, seconds: float) -> list[Asked]:
    """So many requests a second, whether or not earlier ones are answered."""
    found: list[Asked] = []
    idle: list[Client] = []

    async def one() -> None:
        client = idle.pop() if idle else Client(port, kind, body)
        found.append(await client.ask())
        idle.append(client)

    began, tasks = time.perf_counter(), []
    for i in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + i / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    for client in idle:
        client.close()
    return found

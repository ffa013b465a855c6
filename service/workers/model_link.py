"""The server's end of one model process: what was sent to it, what came back, and whether it still lives."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from service.model.process import Load, run
from service.problems import Unavailable, library_problem

log = logging.getLogger(__name__)
END_SECONDS = 2


class WorkerLost(Exception):  # noqa: N818 - an event, seen only here
    """The process ended, hung, or could not load."""


@dataclass(frozen=True)
class Answer:
    """The body of a success, its type, what its headers say of it, facts, and the seconds of its parts."""

    body: bytes
    media_type: str
    headers: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(eq=False)
class Job:
    """A request and where its answer goes; the answer is cancelled when nobody waits for it any more."""

    request: dict[str, Any]
    body: bytes
    answer: asyncio.Future[Answer]
    came: float
    sent: float = 0.0


class ModelLink:
    """A loaded model in its own process. Made by `open`; all methods are for the event loop's thread.

    Attributes:
        load: What it was told to load.
        schema: The input schema of its bundle.
        version: Of the model, as its forecasts name it.
        under_way: Requests that were sent and are not answered, by number.
        lost: Why it can answer no more; None while it lives.
    """

    def __init__(
        self, load: Load, hello: dict[str, Any], process: SpawnProcess, connection: Connection
    ) -> None:
        self.load = load
        self.schema: dict[str, Any] = hello["schema"]
        self.version: str = hello["version"]
        self.under_way: dict[int, Job] = {}
        self.lost: str | None = None
        self._busy = False
        self.on_change: Callable[[], None] = lambda: None
        self.on_answer: Callable[[dict[str, Any]], None] = lambda header: None
        self._process, self._connection = process, connection
        self._loop = asyncio.get_running_loop()
        self._progress = self._loop.time()
        self._number = 0
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="model-sender")
        threading.Thread(target=self._receive, name="model-receiver", daemon=True).start()

    @classmethod
    async def open(cls, name: str, load: Load, limit_seconds: float) -> ModelLink:
        """Start a process, and wait until its model is loaded, its hash verified, and warm.

        Raises:
            WorkerLost: It is not; the message says why.
        """
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=run, args=(theirs, load), name=f"stconv-model-{name}", daemon=True
        )
        with ThreadPoolExecutor(1) as thread:
            loop = asyncio.get_running_loop()
            try:
                await loop.run_in_executor(thread, process.start)
                theirs.close()
                hello = await loop.run_in_executor(thread, _hello, ours, limit_seconds)
            except BaseException:
                if process.pid is not None:
                    process.kill()  # its end of the pipe closes, and the thread that reads returns
                raise
        log.info("model %s: worker %s is ready", name, process.pid)
        return cls(load, hello, process, ours)

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    @property
    def bytes_under_way(self) -> int:
        """Length of the bodies that were sent and are not answered."""
        return sum(len(job.body) for job in self.under_way.values())

    def idle_seconds(self) -> float:
        """How long nothing came back although something was asked; 0 if nothing was."""
        return self._loop.time() - self._progress if self.under_way else 0.0

    def send(self, job: Job) -> None:
        """Have a job done; its answer is set when it comes, or when the process is lost."""
        if not self.under_way:
            self._progress = self._loop.time()
        self._number = number = self._number + 1
        self.under_way[number] = job
        job.sent = self._loop.time()
        job.answer.add_done_callback(lambda answer: self._drop(number) if answer.cancelled() else None)
        self._sender.submit(self._transmit, job.request | {"number": number}, job.body)

    async def close(self) -> None:
        """End the process: an idle one by itself, a busy one, or one that does not, is killed."""
        self.lose("was ended")
        await asyncio.to_thread(self._end)

    def lose(self, reason: str) -> None:
        """Give up what is under way: the process died, hangs, or is to end."""
        if self.lost is not None:
            return
        self.lost, self._busy = reason, bool(self.under_way)
        for job in self.under_way.values():
            if not job.answer.done():
                job.answer.set_exception(Unavailable("The model's worker was lost.", retry_after_seconds=5))
        self.under_way.clear()
        self.on_change()

    def _drop(self, number: int) -> None:
        if number in self.under_way and self.lost is None:
            self._sender.submit(self._transmit, {"number": number, "kind": "drop"}, b"")

    def _transmit(self, header: dict[str, Any], body: bytes) -> None:
        try:
            self._connection.send_bytes(json.dumps(header).encode())
            self._connection.send_bytes(body)
        except (OSError, ValueError):
            self._on_loop(self.lose, "died")

    def _receive(self) -> None:
        try:
            while True:
                header = json.loads(self._connection.recv_bytes())
                self._on_loop(self._finish, header, self._connection.recv_bytes())
        except (EOFError, OSError, ValueError, TypeError):  # the last from a connection closed meanwhile
            self._on_loop(self.lose, "died")

    def _on_loop(self, function: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function, *args)

    def _finish(self, header: dict[str, Any], body: bytes) -> None:
        self._progress = self._loop.time()
        job = self.under_way.pop(header["number"], None)
        if job is None:
            return
        self.on_answer(header)
        if not job.answer.done():
            if header["status"] == "ok":
                seconds = {"queue": job.sent - job.came} | header["seconds"]
                said = header.get("headers", {}), header.get("facts", {})
                job.answer.set_result(Answer(body, header["media_type"], *said, seconds))
            else:
                job.answer.set_exception(library_problem(header["error"], header["message"]))
        self.on_change()

    def _end(self) -> None:
        """Say so on the pipe; closing it here would take it away under the thread that reads it."""
        if not self._busy:
            self._sender.submit(self._transmit, {"kind": "end"}, b"")
            self._process.join(END_SECONDS)
        self._process.kill()
        self._process.join()
        self._sender.shutdown(wait=False)


def _hello(connection: Connection, limit_seconds: float) -> dict[str, Any]:
    try:
        if not connection.poll(limit_seconds):
            raise WorkerLost(f"it was not loaded within {limit_seconds:g} s")
        header: dict[str, Any] = json.loads(connection.recv_bytes())
        connection.recv_bytes()
    except (EOFError, OSError) as error:
        raise WorkerLost("its process died while loading") from error
    if header["status"] != "ready":
        raise WorkerLost(header["message"] or header["error"])
    return header

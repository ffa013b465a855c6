"""The server's side of one model: a bounded queue before a process that is replaced when it dies or hangs."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from service.metrics import Metrics
from service.model_process import run
from service.problems import DeadlineExceeded, Unavailable, library_problem
from service.settings import Settings
from stconv.errors import ServiceError

log = logging.getLogger(__name__)
END_SECONDS = 2
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 10.0


class WorkerLost(Exception):  # noqa: N818 - an event, seen only here
    """The process ended, hung, or could not load."""


@dataclass(frozen=True)
class Answer:
    """The body of a success, its type, and what its headers say of it."""

    body: bytes
    media_type: str
    headers: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    request: dict[str, Any]
    body: bytes
    answer: asyncio.Future[Answer]


class Worker:
    """One model, one process, one request at a time; the next ones wait in order.

    Args:
        name: What clients call the model.
        bundle: Its local folder.
        settings: Limits and data.
        metrics: Where counts go.
    """

    def __init__(self, name: str, bundle: Path, settings: Settings, metrics: Metrics) -> None:
        self.name = name
        self.schema: dict[str, Any] = {}
        self.version = ""
        self._bundle = bundle
        self._settings = settings
        self._metrics = metrics
        self._ready = False
        self._computing = False
        self._jobs: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._supervisor: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"worker-{name}")
        self._context = multiprocessing.get_context("spawn")

    @property
    def ready(self) -> bool:
        """The model is loaded and its process lives."""
        return self._ready

    async def start(self) -> None:
        """Start the process and wait until the model is loaded and warm.

        Raises:
            ServiceError: It can not be loaded; the message says why.
        """
        self._supervisor = asyncio.create_task(self._supervise())
        await asyncio.shield(self._loaded)

    async def stop(self) -> None:
        """End the process; what waits is refused."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        while self._jobs:
            self._refuse(self._jobs.popleft(), Unavailable("The server is stopping.", retry_after_seconds=5))
        self._thread.shutdown(wait=False)

    async def ask(self, request: dict[str, Any], body: bytes = b"") -> Answer:
        """Have one request answered. Cancelling drops it, if it has not been started.

        Raises:
            Problem: 503: queue full or process lost; 504: past the deadline; 422: as the model finds.
        """
        if not self._ready:
            raise Unavailable(f"Model {self.name} is being loaded.", retry_after_seconds=5)
        if len(self._jobs) >= self._settings.queue_size:
            self._metrics.rejected.labels(self.name, "queue full").inc()
            raise Unavailable(
                f"Model {self.name} is busy: {len(self._jobs)} requests wait, the limit.",
                waiting=len(self._jobs),
                limit=self._settings.queue_size,
            )
        job = _Job(request, body, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._metrics.waiting.labels(self.name).set(len(self._jobs))
        self._wake.set()
        limit = self._settings.deadline_seconds
        try:
            return await asyncio.wait_for(job.answer, limit)
        except TimeoutError:
            self._metrics.rejected.labels(self.name, "deadline").inc()
            raise DeadlineExceeded(f"No forecast within {limit:g} s.", limit_seconds=limit) from None

    async def _supervise(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                process, connection = await self._begin()
            except WorkerLost as error:
                if not self._loaded.done():
                    self._loaded.set_exception(ServiceError(f"Model {self.name} can not be served: {error}"))
                    return
                log.error("model %s: %s; trying again in %g s", self.name, error, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            pause = FIRST_PAUSE_SECONDS
            self._computing = False
            try:
                self._set_ready(True)
                if not self._loaded.done():
                    self._loaded.set_result(None)
                await self._serve(process, connection)
            except WorkerLost as error:
                log.error("model %s: worker %s %s; replacing it", self.name, process.pid, error)
                self._metrics.restarts.labels(self.name).inc()
            finally:
                self._set_ready(False)
                await asyncio.get_running_loop().run_in_executor(None, self._end, process, connection)

    async def _begin(self) -> tuple[SpawnProcess, Connection]:
        ours, theirs = multiprocessing.Pipe()
        process = self._context.Process(
            target=run,
            args=(
                theirs,
                str(self._bundle),
                self._settings.versions.get(self.name),
                [str(path) for path in self._settings.data],
                self._settings.threads,
            ),
            name=f"stconv-model-{self.name}",
            daemon=True,
        )
        try:
            await self._in_thread(process.start)
            theirs.close()
            header, _ = await self._in_thread(_receive, ours, self._settings.load_seconds)
            if header["status"] != "ready":
                raise WorkerLost(header["message"] or header["error"])
        except BaseException:
            ours.close()
            if process.pid is not None:
                process.kill()
            raise
        self.schema, self.version = header["schema"], header["version"]
        log.info("model %s: worker %s is ready", self.name, process.pid)
        return process, ours

    def _end(self, process: SpawnProcess, connection: Connection) -> None:
        """Let an idle process end by itself; a busy one, or one that does not, is killed."""
        if not self._computing:
            connection.close()
            process.join(END_SECONDS)
        process.kill()
        process.join()
        connection.close()

    async def _serve(self, process: SpawnProcess, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        died = asyncio.Event()

        def on_death() -> None:
            loop.remove_reader(process.sentinel)
            died.set()
            self._wake.set()

        loop.add_reader(process.sentinel, on_death)
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._jobs and not died.is_set():
                    job = self._jobs.popleft()
                    self._metrics.waiting.labels(self.name).set(len(self._jobs))
                    if job.answer.done():
                        self._metrics.rejected.labels(self.name, "client left").inc()
                        continue
                    await self._run(job, connection)
                if died.is_set():
                    raise WorkerLost("died")
        finally:
            loop.remove_reader(process.sentinel)

    async def _run(self, job: _Job, connection: Connection) -> None:
        self._computing = True
        try:
            with self._metrics.computing.labels(self.name).time():
                header, body = await self._in_thread(
                    _exchange, connection, job.request, job.body, self._settings.hang_seconds
                )
        except (WorkerLost, asyncio.CancelledError):
            self._refuse(
                job, Unavailable(f"The worker of model {self.name} was lost.", retry_after_seconds=5)
            )
            raise
        self._computing = False
        if job.answer.done():
            return
        if header["status"] == "ok":
            job.answer.set_result(
                Answer(body, header["media_type"], header.get("headers", {}), header.get("facts", {}))
            )
        else:
            job.answer.set_exception(library_problem(header["error"], header["message"]))

    def _refuse(self, job: _Job, problem: Unavailable) -> None:
        if not job.answer.done():
            job.answer.set_exception(problem)

    def _set_ready(self, ready: bool) -> None:
        self._ready = ready
        self._metrics.ready.labels(self.name).set(ready)

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)


def _exchange(
    connection: Connection, request: dict[str, Any], body: bytes, limit_seconds: float
) -> tuple[dict[str, Any], bytes]:
    try:
        connection.send_bytes(json.dumps(request).encode())
        connection.send_bytes(body)
    except OSError as error:
        raise WorkerLost("died") from error
    return _receive(connection, limit_seconds)


def _receive(connection: Connection, limit_seconds: float) -> tuple[dict[str, Any], bytes]:
    try:
        if not connection.poll(limit_seconds):
            raise WorkerLost(f"did not answer within {limit_seconds:g} s")
        return json.loads(connection.recv_bytes()), connection.recv_bytes()
    except (EOFError, OSError) as error:
        raise WorkerLost("died") from error

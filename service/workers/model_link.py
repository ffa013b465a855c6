"""The server's end of one model process: what was sent to it, what came back, and whether it still lives."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from service.model.process import run
from service.model.settings import ModelSettings
from service.problems import Unavailable, refusal
from service.wire.channel import Garbled, receive, receive_hello, send
from service.wire.model_messages import (
    Answered,
    AnyRequest,
    Asked,
    BeginJob,
    End,
    ForecastUpload,
    FromModel,
    GivenUp,
    GiveUp,
    LoadingFailed,
    Ready,
    Refused,
    ToModel,
)

log = logging.getLogger(__name__)
END_SECONDS = 2


class WorkerLost(Exception):  # noqa: N818 - an event, seen only here
    """The process ended, hung, or could not load."""


@dataclass(eq=False)
class Pending:
    """A request whose answer is awaited; the answer is cancelled when nobody waits for it any more.

    Attributes:
        request: What is asked.
        answer: Where the answer goes.
        came: When the request came, by the clock of the event loop.
        sent: When it was sent to the process.
    """

    request: AnyRequest
    answer: asyncio.Future[Answered]
    came: float
    sent: float = 0.0

    @property
    def upload_bytes(self) -> int:
        """Length of the upload that goes with it."""
        return len(self.request.fields) if isinstance(self.request, ForecastUpload | BeginJob) else 0


class ModelLink:
    """A loaded model in its own process. Made by `open`; all methods are for the event loop's thread.

    Attributes:
        schema: The input schema of its bundle.
        version: Version of the model, as its forecasts name it.
        under_way: Requests that were sent and are not answered, by number.
        lost: Why it can answer no more; None while it lives.
    """

    def __init__(self, ready: Ready, process: SpawnProcess, connection: Connection) -> None:
        self.schema, self.version = ready.schema, ready.version
        self.under_way: dict[int, Pending] = {}
        self.lost: str | None = None
        self._busy = False
        self.on_change: Callable[[], None] = lambda: None
        self.on_answer: Callable[[Answered], None] = lambda answered: None
        self._process, self._connection = process, connection
        self._loop = asyncio.get_running_loop()
        self._progress = self._loop.time()
        self._number = 0
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="model-sender")
        threading.Thread(target=self._receive, name="model-receiver", daemon=True).start()

    @classmethod
    async def open(cls, name: str, settings: ModelSettings, limit_seconds: float) -> ModelLink:
        """Start a process, and wait until its model is loaded, its hash verified, and warm.

        Raises:
            WorkerLost: It is not; the message says why.
        """
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=run, args=(theirs, settings), name=f"stconv-model-{name}", daemon=True
        )
        with ThreadPoolExecutor(1) as thread:
            loop = asyncio.get_running_loop()
            try:
                await loop.run_in_executor(thread, process.start)
                theirs.close()
                ready = await loop.run_in_executor(thread, _await_ready, ours, limit_seconds)
            except BaseException:
                if process.pid is not None:
                    process.kill()  # its end of the pipe closes, and the thread that reads returns
                raise
        log.info("model %s: worker %s is ready", name, process.pid)
        return cls(ready, process, ours)

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._process.pid

    @property
    def bytes_under_way(self) -> int:
        """Length of the uploads that were sent and are not answered."""
        return sum(pending.upload_bytes for pending in self.under_way.values())

    def idle_seconds(self) -> float:
        """How long nothing came back although something was asked; 0 if nothing was."""
        return self._loop.time() - self._progress if self.under_way else 0.0

    def send(self, pending: Pending) -> None:
        """Send a request; its answer is set when it comes, or when the process is lost."""
        if not self.under_way:
            self._progress = self._loop.time()
        self._number = number = self._number + 1
        self.under_way[number] = pending
        pending.sent = self._loop.time()
        pending.answer.add_done_callback(lambda answer: self._give_up(number) if answer.cancelled() else None)
        self._sender.submit(self._transmit, Asked(number, pending.request))

    async def close(self) -> None:
        """End the process: an idle one by itself, a busy one, or one that does not, is killed."""
        self.lose("was ended")
        await asyncio.to_thread(self._end)

    def lose(self, reason: str) -> None:
        """Give up what is under way: the process died, hangs, or is to end."""
        if self.lost is not None:
            return
        self.lost, self._busy = reason, bool(self.under_way)
        for pending in self.under_way.values():
            if not pending.answer.done():
                lost = Unavailable("The model's worker was lost.", retry_after_seconds=5)
                pending.answer.set_exception(lost)
        self.under_way.clear()
        self.on_change()

    def _give_up(self, number: int) -> None:
        if number in self.under_way and self.lost is None:
            self._sender.submit(self._transmit, GiveUp(number))

    def _transmit(self, message: ToModel) -> None:
        try:
            send(self._connection, message)
        except (OSError, ValueError):
            self._on_loop(self.lose, "died")

    def _receive(self) -> None:
        """Decode what comes, in a thread of its own: the event loop only hands it on."""
        try:
            while True:
                self._on_loop(self._finish, receive(self._connection, FromModel))
        except (EOFError, OSError, ValueError, TypeError):  # the last from a connection closed meanwhile
            self._on_loop(self.lose, "died")

    def _on_loop(self, function: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function, *args)

    def _finish(self, message: Answered | GivenUp) -> None:
        self._progress = self._loop.time()
        pending = self.under_way.pop(message.number, None)
        if pending is None:
            return
        if isinstance(message, Answered):
            self.on_answer(message)
            if not pending.answer.done():
                if isinstance(message.answer, Refused):
                    pending.answer.set_exception(refusal(message.answer.code, message.answer.detail))
                else:
                    pending.answer.set_result(message)
        self.on_change()

    def _end(self) -> None:
        """Say so on the pipe; closing it here would take it away under the thread that reads it."""
        if not self._busy:
            self._sender.submit(self._transmit, End())
            self._process.join(END_SECONDS)
        self._process.kill()
        self._process.join()
        self._sender.shutdown(wait=False)


def _await_ready(connection: Connection, limit_seconds: float) -> Ready:
    end = time.monotonic() + limit_seconds

    def wait() -> None:
        if not connection.poll(max(0.0, end - time.monotonic())):
            raise WorkerLost(f"it was not loaded within {limit_seconds:g} s")

    try:
        wait()
        receive_hello(connection)
        wait()
        found = receive(connection, Ready | LoadingFailed)
    except Garbled as error:
        raise WorkerLost(str(error)) from error
    except (EOFError, OSError) as error:
        raise WorkerLost("its process died while loading") from error
    if isinstance(found, LoadingFailed):
        raise WorkerLost(found.reason)
    assert isinstance(found, Ready)
    return found

"""The server's connection to one model process: requests, answers, and loss of the process."""

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


class ModelLost(Unavailable):
    """The process was lost while it had the request."""


class WorkerLost(Exception):  # noqa: N818 - an event, handled by the worker
    """The process ended, stopped answering, or could not load its model."""


@dataclass(eq=False)
class Pending:
    """A request without an answer yet; the future is canceled when the answer is no longer needed.

    Attributes:
        request: Request to the model.
        answer: Future of the answer.
        came: Time at which the request arrived, clock of the event loop, s.
        sent: Time at which it was sent to the process, same clock, s.
    """

    request: AnyRequest
    answer: asyncio.Future[Answered]
    came: float
    sent: float = 0.0

    @property
    def upload_bytes(self) -> int:
        """Size of its upload, bytes."""
        return len(self.request.fields) if isinstance(self.request, ForecastUpload) else 0


class ModelLink:
    """A loaded model in its own process, created by `open`; call all methods in the event loop's thread.

    Attributes:
        schema: Input schema of the bundle.
        version: Model version that the forecasts state.
        under_way: Sent requests without an answer, by number.
        lost: Reason why the process cannot answer any more; None while it is alive.
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
        """Start a process and wait until its model is loaded, verified and warm.

        Raises:
            WorkerLost: The process could not load its model; the message gives the reason.
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
                    process.kill()  # this closes its end of the pipe, so that the reading thread returns
                raise
        log.info("model %s: worker %s is ready", name, process.pid)
        return cls(ready, process, ours)

    @property
    def pid(self) -> int | None:
        """Id of the process."""
        return self._process.pid

    @property
    def bytes_under_way(self) -> int:
        """Total size of the uploads without an answer, bytes."""
        return sum(pending.upload_bytes for pending in self.under_way.values())

    def idle_seconds(self) -> float:
        """Time since the last answer, s; 0 if no request waits for one."""
        return self._loop.time() - self._progress if self.under_way else 0.0

    def send(self, pending: Pending) -> None:
        """Send a request; its future gets the answer, or an error if the process is lost."""
        if not self.under_way:
            self._progress = self._loop.time()
        self._number = number = self._number + 1
        self.under_way[number] = pending
        pending.sent = self._loop.time()
        pending.answer.add_done_callback(lambda answer: self._give_up(number) if answer.cancelled() else None)
        self._sender.submit(self._transmit, Asked(number, pending.request))

    async def ask(self, request: AnyRequest) -> Answered:
        """Send a request and wait for the answer.

        Raises:
            ModelLost: The process was lost meanwhile.
            Problem: The model refuses the input.
        """
        pending = Pending(request, self._loop.create_future(), self._loop.time())
        self.send(pending)
        return await pending.answer

    async def close(self) -> None:
        """End the process; it is killed if it is busy or does not end."""
        self.lose("was ended")
        await asyncio.to_thread(self._end)

    def lose(self, reason: str) -> None:
        """Fail all requests without an answer, because the process died, hangs, or is being closed."""
        if self.lost is not None:
            return
        self.lost, self._busy = reason, bool(self.under_way)
        for pending in self.under_way.values():
            if not pending.answer.done():
                lost = ModelLost("The model's worker was lost. Try again later.", retry_after_seconds=5)
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
        """Receive and decode messages in a thread of its own, so that the event loop is not blocked."""
        try:
            while True:
                self._on_loop(self._finish, receive(self._connection, FromModel))
        except (EOFError, OSError, ValueError, TypeError):  # TypeError: the connection was closed meanwhile
            self._on_loop(self.lose, "died")

    def _on_loop(self, function: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the event loop has ended
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
        """Ask the process to end by a message; closing the pipe here would break the reading thread."""
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

"""The server's connection to one model process: requests, answers, and loss of the process."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

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
    Pulse,
    Ready,
    Refused,
    ToModel,
)
from service.workers.places import Place
from service.workers.starting import start

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
        place: Place that it has among the requests; None if the server itself asks.
        sent: Time at which it was sent to the process, same clock, s.
    """

    request: AnyRequest
    answer: asyncio.Future[Answered]
    came: float
    place: Place | None = None
    sent: float = 0.0

    @property
    def upload_bytes(self) -> int:
        """Size of its upload, bytes."""
        return len(self.request.fields) if isinstance(self.request, ForecastUpload) else 0


class ModelLink:
    """A loaded model in its own process, created by `open`; call all methods in the event loop's thread.

    Attributes:
        ready: Schema, facts and version of the model.
        version: Model version that the forecasts state.
        under_way: Sent requests without an answer, by number.
        lost: Reason why the process cannot answer any more; None while it is alive.
        heard: Time of its last sign of life, clock of the event loop, s.
    """

    def __init__(self, ready: Ready, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self.ready = ready
        self.under_way: dict[int, Pending] = {}
        self.lost: str | None = None
        self._busy = False
        self.on_change: Callable[[], None] = lambda: None
        self.on_answer: Callable[[Answered], None] = lambda answered: None
        self._process, self._connection = process, connection
        self._loop = asyncio.get_running_loop()
        self.heard = self._loop.time()
        self._number = 0
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="model-sender")
        threading.Thread(target=self._receive, name="model-receiver", daemon=True).start()

    @classmethod
    async def open(cls, name: str, settings: ModelSettings, limit_seconds: float) -> ModelLink:
        """Start a process and wait until its model is loaded, verified and warm.

        Raises:
            WorkerLost: The process could not load its model; the message gives the reason.
        """
        try:
            process, pipe = start("service.model.process")
        except OSError as error:
            raise WorkerLost(f"no process can be started: {error.strerror}") from error
        ours = Connection(pipe.detach())
        with ThreadPoolExecutor(1) as thread:
            loop = asyncio.get_running_loop()
            try:
                ready = await loop.run_in_executor(thread, _await_ready, ours, settings, limit_seconds)
            except BaseException:
                process.kill()  # this closes its end of the pipe, so that the reading thread returns
                process.wait()
                raise
        log.info("model %s: worker %s is ready", name, process.pid)
        return cls(ready, process, ours)

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def bytes_under_way(self) -> int:
        """Total size of the uploads without an answer, bytes."""
        return sum(pending.upload_bytes for pending in self.under_way.values())

    def send(self, pending: Pending) -> None:
        """Send a request; its future gets the answer, or an error if the process is lost."""
        self._number = number = self._number + 1
        self.under_way[number] = pending
        pending.sent = self._loop.time()
        if pending.place is not None:
            pending.place.movable = False
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

    def hang(self, reason: str) -> None:
        """Give up a process that does not go on, and that would not end by itself."""
        self.lose(reason)
        self._busy = True

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

    def _finish(self, message: Answered | GivenUp | Pulse) -> None:
        self.heard = self._loop.time()
        if isinstance(message, Pulse):
            if message.overdue:
                self.hang(message.overdue)
            return
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
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
        self._process.kill()
        self._process.wait()
        self._sender.shutdown(wait=False)


def _await_ready(connection: Connection, settings: ModelSettings, limit_seconds: float) -> Ready:
    end = time.monotonic() + limit_seconds

    def wait() -> None:
        if not connection.poll(max(0.0, end - time.monotonic())):
            raise WorkerLost(f"it was not loaded within {limit_seconds:g} s")

    try:
        wait()
        receive_hello(connection)
        send(connection, settings)
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

"""Processes that read uploads, forked in advance; an upload that C code reads is the last of its process."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections import deque
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Final

from service.problems import OF_UPLOADS, DeadlineExceeded, Unavailable, Unprocessable
from service.settings import Settings
from service.uploads.parser_child import read_uploads
from service.wire.channel import Garbled, receive, receive_hello, send
from service.wire.parser_messages import Fields, FromParser, Rejected, ToParser

log = logging.getLogger(__name__)
START_SECONDS = 60
START_METHOD: Final = "forkserver"
"""Forks from a process with one thread, which has read a small file of each kind already."""


class Parsers:
    """At most `settings.parsers` uploads are read at once; as many processes wait, already started."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context(START_METHOD)
        self._context.set_forkserver_preload(["service.uploads.parser_child", "service.uploads.rehearsal"])
        self._slots = asyncio.Semaphore(settings.parsers)
        self._spares: deque[tuple[ForkServerProcess, Connection]] = deque()
        self._refills: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the spare processes."""
        for _ in range(self._settings.parsers):
            self._spares.append(await asyncio.to_thread(self._begin))

    async def stop(self) -> None:
        """End the spare processes."""
        await asyncio.gather(*self._refills, return_exceptions=True)
        while self._spares:
            await asyncio.to_thread(_end, *self._spares.popleft())

    async def parse(self, upload: ToParser) -> bytes:
        """Read an upload in a limited process.

        Returns:
            The raw variables as `wire.codec.encode` writes them.

        Raises:
            Problem: 400, 413, 415 or 422 as the parser found; 503 when it took too long or was killed.
        """
        async with self._slots:
            process, connection = (
                self._spares.popleft() if self._spares else await asyncio.to_thread(self._begin)
            )
            goes_on = False
            try:
                answer = await asyncio.to_thread(self._exchange, connection, upload)
                goes_on = isinstance(answer, Fields) and answer.goes_on
            finally:
                if goes_on:
                    self._spares.appendleft((process, connection))
                else:
                    refill = asyncio.create_task(self._refill(process, connection))
                    self._refills.add(refill)
                    refill.add_done_callback(self._refills.discard)
        if isinstance(answer, Rejected):
            problem = OF_UPLOADS.get(answer.code, Unprocessable)(answer.detail)
            problem.extra = answer.extra  # and no headers, whatever a parser that was taken over sends
            raise problem
        return answer.fields

    async def _refill(self, used: ForkServerProcess, connection: Connection) -> None:
        await asyncio.to_thread(_end, used, connection)
        try:
            self._spares.append(await asyncio.to_thread(self._begin))
        except (OSError, EOFError, TimeoutError, Garbled) as error:
            log.error("no process for the next upload: %s", error)  # the next parse starts its own

    def _begin(self) -> tuple[ForkServerProcess, Connection]:
        ours, theirs = multiprocessing.Pipe()
        limits = self._settings
        process = self._context.Process(
            target=read_uploads,
            args=(theirs, limits.max_decoded_bytes, limits.parse_memory_bytes, limits.parse_seconds),
            name="stconv-parser",
            daemon=True,
        )
        process.start()
        theirs.close()
        if not ours.poll(START_SECONDS):
            _end(process, ours)
            raise TimeoutError(f"no process for uploads within {START_SECONDS} s")
        receive_hello(ours)
        return process, ours

    def _exchange(self, connection: Connection, upload: ToParser) -> Fields | Rejected:
        limit = self._settings.parse_seconds
        longest = 2 * self._settings.max_decoded_bytes + self._settings.max_body_bytes
        try:
            send(connection, upload)
            if not connection.poll(limit):
                raise DeadlineExceeded(f"The upload was not read within {limit:g} s.", limit_seconds=limit)
            answer: Fields | Rejected = receive(connection, FromParser, longest)
        except (EOFError, ConnectionError, Garbled) as error:
            raise Unprocessable(
                f"The upload cannot be read: its parser was stopped (limits: {limit:g} s of processor time, "
                f"{self._settings.parse_memory_bytes} bytes of memory).",
                kind="unreadable",
            ) from error
        except OSError as error:
            raise Unavailable("The upload cannot be read now.") from error
        return answer


def _end(process: ForkServerProcess, connection: Connection) -> None:
    connection.close()
    process.join(0.2)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()

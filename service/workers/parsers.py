"""Pool of parser processes that are started in advance."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import sys
import time
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
POLL_SECONDS = 0.1
CPU_SECONDS, BYTES_PER_CPU_SECOND = 2.0, 4 * 2**20
"""Processor time of a parse, and the bytes of an upload for which it gets another second."""
START_METHOD: Final = "forkserver"
"""Fork server with a single thread, in which all parsers have already run."""


class Parsers:
    """A pool that reads at most `settings.parsers` uploads in parallel and keeps as many spare processes."""

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
        """Read an upload in a restricted process.

        Returns:
            The raw variables, encoded by `wire.codec.encode`.

        Raises:
            Problem: 400, 413, 415 or 422 as reported by the parser; 503 if it took too long or was killed.
        """
        async with self._slots:
            process, connection = (
                self._spares.popleft() if self._spares else await asyncio.to_thread(self._begin)
            )
            goes_on = False
            try:
                answer = await asyncio.to_thread(self._exchange, process, connection, upload)
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
            problem.extra = answer.extra  # without headers, because a compromised parser must not set any
            raise problem
        return answer.fields

    async def _refill(self, used: ForkServerProcess, connection: Connection) -> None:
        await asyncio.to_thread(_end, used, connection)
        try:
            self._spares.append(await asyncio.to_thread(self._begin))
        except (OSError, EOFError, TimeoutError, Garbled) as error:
            log.error("cannot start a spare parser: %s", error)  # the next upload starts its own process

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
            raise TimeoutError(f"no parser process started within {START_SECONDS} s")
        receive_hello(ours)
        return process, ours

    def _exchange(
        self, process: ForkServerProcess, connection: Connection, upload: ToParser
    ) -> Fields | Rejected:
        limit = self._settings.parse_seconds
        longest = 2 * self._settings.max_decoded_bytes + self._settings.max_body_bytes
        try:
            send(connection, upload)
            self._await_answer(process, connection, upload)
            answer: Fields | Rejected = receive(connection, FromParser, longest)
        except (EOFError, ConnectionError, Garbled) as error:
            raise Unprocessable(
                f"The upload cannot be read: its parser was killed (limits: {limit:g} s of processor "
                f"time, {self._settings.parse_memory_bytes} bytes of memory).",
                kind="unreadable",
            ) from error
        except OSError as error:
            raise Unavailable("The upload cannot be read now. Try again later.") from error
        return answer

    def _await_answer(self, process: ForkServerProcess, connection: Connection, upload: ToParser) -> None:
        """Wait as long as the parser may take; what does not return costs the others two seconds.

        Raises:
            Unprocessable: It used too much processor time.
            DeadlineExceeded: It took too long.
        """
        limit = self._settings.parse_seconds
        processor = min(limit, CPU_SECONDS + len(upload.body) / BYTES_PER_CPU_SECOND)
        end, used = time.monotonic() + limit, _processor_seconds(process.pid)
        while not connection.poll(POLL_SECONDS):
            if _processor_seconds(process.pid) - used > processor:
                process.kill()
                raise Unprocessable(
                    f"The upload cannot be read: its parser was killed after {processor:.3g} s of processor "
                    "time without an answer. Is the file damaged?",
                    kind="unreadable",
                )
            if time.monotonic() > end:
                raise DeadlineExceeded(f"The upload was not read within {limit:g} s.", limit_seconds=limit)


def _processor_seconds(pid: int | None) -> float:
    """Processor time of another process; 0 where it has ended, or the system cannot say.

    Source:
        Linux: clock_getcpuclockid(3), whose clock of a process is (~pid << 3) | 2.
    """
    if pid is None or not sys.platform.startswith("linux"):
        return 0.0
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _end(process: ForkServerProcess, connection: Connection) -> None:
    connection.close()
    process.join(0.2)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()

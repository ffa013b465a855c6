"""Pool of parser processes that are started in advance."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from service.problems import OF_UPLOADS, DeadlineExceeded, Problem, Unavailable, Unprocessable
from service.settings import Settings
from service.wire.channel import receive, send
from service.wire.codec import check_header
from service.wire.parser_messages import Fields, FromParser, ParserLimits, Rejected, ToParser
from service.workers.forks import Forks, NoParser, Parser
from service.workers.places import asker

log = logging.getLogger(__name__)
POLL_SECONDS = 0.1
CPU_SECONDS, BYTES_PER_CPU_SECOND = 2.0, 4 * 2**20
"""Processor time of a parse, and the bytes of an upload for which it gets another second."""
STILL_SECONDS = 5.0
"""How long a parser may use no processor time at all; it is stopped, or waits for ever."""
TARGET = "service.uploads.parser_child:read_uploads"
MAX_MESSAGE_BYTES = 2**16
"""Limit of the answer of a parser without the fields."""


class ParserLost(Exception):  # noqa: N818 - an event, handled by the pool
    """A parser ended without an answer, or stands still.

    Attributes:
        problem: The answer to the client, if it happens again.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Slots:
    """Turns to parse: so many at once, and one more for each client that has none, up to twice as many.

    Next is the client that has the fewest, so that nobody waits for all uploads of another.

    Args:
        n: Number of turns at once.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._busy: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def one(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it."""
        mine = (client, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        self._call()
        try:
            await mine[1]
        except asyncio.CancelledError:
            if mine in self._waiting:
                self._waiting.remove(mine)
            elif not mine[1].cancelled():
                self._give_back(client)
            raise
        try:
            yield
        finally:
            self._give_back(client)

    def _give_back(self, client: str) -> None:
        self._busy[client] -= 1
        if not self._busy[client]:
            del self._busy[client]
        self._call()

    def _call(self) -> None:
        while self._waiting:
            mine = min(self._waiting, key=lambda each: self._busy[each[0]])
            busy = self._busy.total()
            if busy >= self._n and (self._busy[mine[0]] or busy >= 2 * self._n):
                return
            self._waiting.remove(mine)
            if not mine[1].cancelled():
                self._busy[mine[0]] += 1
                mine[1].set_result(None)


class Parsers:
    """A pool that reads `settings.parsers` uploads at once, see `Slots`, and keeps as many spare processes.

    Args:
        settings: Settings of the server.
        target: Function that reads uploads, as MODULE:NAME.
    """

    def __init__(self, settings: Settings, target: str = TARGET) -> None:
        self._settings = settings
        limits = ParserLimits(settings.max_decoded_bytes, settings.parse_memory_bytes, settings.parse_seconds)
        self._forks = Forks(limits, target)
        self._slots = Slots(settings.parsers)
        self._spares: deque[Parser] = deque()
        self._refills: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the spare processes.

        Raises:
            NoParser: They cannot be started.
        """
        for _ in range(self._settings.parsers):
            self._spares.append(await self._forks.begin())

    async def stop(self) -> None:
        """End the spare processes."""
        await asyncio.gather(*self._refills, return_exceptions=True)
        while self._spares:
            self._spares.popleft().close()
        await asyncio.to_thread(self._forks.stop)

    async def parse(self, upload: ToParser) -> bytes:
        """Read an upload in a restricted process.

        A process that is lost without an answer may have been killed from outside, so that the upload is
        tried once more, in a new process.

        Returns:
            The raw variables, encoded by `wire.codec.encode`.

        Raises:
            Problem: 400, 413, 415 or 422 as reported by the parser; 503 if no parser can be started; 504 if
                it took too long.
        """
        async with self._slots.one(asker.get()):
            try:
                answer = await self._read(upload, self._take)
            except ParserLost:
                try:
                    answer = await self._read(upload, self._forks.begin)
                except ParserLost as again:
                    raise again.problem from again
        if isinstance(answer, Rejected):
            problem = OF_UPLOADS.get(answer.code, Unprocessable)(answer.detail)
            problem.extra = answer.extra  # without headers, because a compromised parser must not set any
            raise problem
        return answer.fields

    async def _read(self, upload: ToParser, take: Callable[[], Awaitable[Parser]]) -> Fields | Rejected:
        try:
            parser = await take()
        except NoParser as error:
            log.error("cannot start a parser: %s", error)
            raise Unavailable("The upload cannot be read now. Try again later.") from error
        goes_on = False
        try:
            answer = await asyncio.to_thread(self._exchange, parser, upload)
            goes_on = isinstance(answer, Fields) and answer.goes_on
        finally:
            if goes_on:
                self._spares.appendleft(parser)
            else:
                refill = asyncio.create_task(self._refill(parser))
                self._refills.add(refill)
                refill.add_done_callback(self._refills.discard)
        return answer

    async def _take(self) -> Parser:
        while self._spares:
            spare = self._spares.popleft()
            if spare.waits():
                return spare
            spare.close()
        return await self._forks.begin()

    async def _refill(self, used: Parser) -> None:
        await asyncio.to_thread(used.close)
        if len(self._spares) >= self._settings.parsers:
            return
        try:
            self._spares.append(await self._forks.begin())
        except NoParser as error:
            log.error("cannot start a spare parser: %s", error)  # the next upload starts its own process

    def _exchange(self, parser: Parser, upload: ToParser) -> Fields | Rejected:
        longest = 2 * self._settings.max_decoded_bytes + self._settings.max_body_bytes
        try:
            send(parser.connection, upload)
            self._await_answer(parser, upload)
            answer: Fields | Rejected = receive(parser.connection, FromParser, longest, MAX_MESSAGE_BYTES)
            if isinstance(answer, Fields):
                check_header(answer.fields)
        except ValueError as error:  # it sends what a parser does not send
            raise self._killed() from error
        except (EOFError, ConnectionError) as error:
            raise ParserLost(self._killed()) from error
        except OSError as error:
            raise Unavailable("The upload cannot be read now. Try again later.") from error
        return answer

    def _killed(self) -> Unprocessable:
        return Unprocessable(
            "The upload cannot be read: its parser was killed (limits: "
            f"{self._settings.parse_seconds:g} s of processor time, {self._settings.parse_memory_bytes} "
            "bytes of memory).",
            kind="unreadable",
        )

    def _await_answer(self, parser: Parser, upload: ToParser) -> None:
        """Wait as long as the parser may take; what does not return costs the others two seconds.

        Raises:
            Unprocessable: It used too much processor time.
            DeadlineExceeded: It took too long.
            ParserLost: It stands still.
        """
        limit = self._settings.parse_seconds
        processor = min(limit, CPU_SECONDS + len(upload.body) / BYTES_PER_CPU_SECOND)
        began, before = time.monotonic(), parser.processor_seconds()
        moved, used = began, before
        while not parser.connection.poll(POLL_SECONDS):
            now, seconds = time.monotonic(), parser.processor_seconds()
            if seconds != used:
                moved, used = now, seconds
            if used - before > processor:
                raise Unprocessable(
                    f"The upload cannot be read: its parser was killed after {processor:.3g} s of processor "
                    "time without an answer. Is the file damaged?",
                    kind="unreadable",
                )
            if now - began > limit:
                raise DeadlineExceeded(f"The upload was not read within {limit:g} s.", limit_seconds=limit)
            if now - moved > STILL_SECONDS:
                raise ParserLost(Unavailable("The upload cannot be read now. Try again later."))

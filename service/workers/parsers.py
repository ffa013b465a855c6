"""Pool of parser processes that are started in advance."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

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
SMALL_BYTES, SLOW_SECONDS = 2**20, 1.0
"""Size of an upload that needs little memory, and time after which others need not wait for one."""
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


@dataclass(eq=False)
class Turn:
    """One upload's turn to be parsed.

    Attributes:
        client: Client that sent the upload.
        small: Whether little memory is needed for it.
        came: Resolved when the turn begins.
        slow: Whether it has lasted long.
    """

    client: str
    small: bool
    came: asyncio.Future[None]
    slow: bool = False


class Slots:
    """Turns to parse: so many at once, and some more so that nobody waits for the uploads of others.

    A client that has none gets one, up to twice as many; a small upload need not wait for slow ones, up to
    three times as many. Next is the client that has the fewest.

    Args:
        n: Number of turns at once.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._busy: list[Turn] = []
        self._waiting: list[Turn] = []

    @asynccontextmanager
    async def one(self, client: str, small: bool = True) -> AsyncIterator[None]:
        """Wait for a turn, and hold it."""
        loop = asyncio.get_running_loop()
        mine = Turn(client, small, loop.create_future())
        self._waiting.append(mine)
        self._call()
        slow = None
        try:
            await mine.came
            slow = loop.call_later(SLOW_SECONDS, self._is_slow, mine)
            yield
        finally:
            if slow is not None:
                slow.cancel()
            for turns in (self._waiting, self._busy):
                if mine in turns:
                    turns.remove(mine)
            self._call()

    def _is_slow(self, turn: Turn) -> None:
        turn.slow = True
        self._call()

    def _call(self) -> None:
        while (mine := self._next()) is not None:
            self._waiting.remove(mine)
            if not mine.came.cancelled():
                self._busy.append(mine)
                mine.came.set_result(None)

    def _next(self) -> Turn | None:
        held = Counter(turn.client for turn in self._busy)
        waiting = sorted(self._waiting, key=lambda turn: held[turn.client])
        busy, fast = len(self._busy), sum(not turn.slow for turn in self._busy)
        for mine in waiting:
            limit = 3 if mine.small and fast < self._n else 2 if not held[mine.client] else 1
            if busy < limit * self._n:
                return mine
        return None


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
        async with self._slots.one(asker.get(), len(upload.body) <= SMALL_BYTES):
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

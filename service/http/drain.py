"""The end of a drain: requests that are still under way are answered, not cut off."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.problem_answers import response
from service.problems import Unavailable

CAME_TO_AN_END = "The server is shutting down and could not finish this request. Try again later."


class UnderWay:
    """The requests under way."""

    def __init__(self) -> None:
        self._ends: set[asyncio.Timeout] = set()

    def add(self, end: asyncio.Timeout) -> None:
        """Note a request by what can end it."""
        self._ends.add(end)

    def discard(self, end: asyncio.Timeout) -> None:
        """Forget a request that is answered."""
        self._ends.discard(end)

    def end(self) -> None:
        """End all of them; each is answered with 503, unless its answer has begun."""
        now = asyncio.get_running_loop().time()
        for end in self._ends:
            if not end.expired():
                end.reschedule(now)


class Drain:
    """ASGI middleware that answers requests which the end of a drain interrupts."""

    def __init__(self, app: ASGIApp, under_way: UnderWay) -> None:
        self.app = app
        self.under_way = under_way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer it if it is ended."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def noting_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        end = asyncio.timeout(None)
        try:
            async with end:
                self.under_way.add(end)
                await self.app(scope, receive, noting_send)
        except TimeoutError:
            if not end.expired() or begun:
                raise
            problem = Unavailable(CAME_TO_AN_END, retry_after_seconds=5)
            await response(problem, scope["path"])(scope, receive, send)
        finally:
            self.under_way.discard(end)

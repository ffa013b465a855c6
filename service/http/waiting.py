"""Work for a request ends when its client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import Request

from service.problems import ClientLeft

T = TypeVar("T")


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Run a coroutine and cancel it when the client leaves. The body must have been read.

    Raises:
        ClientLeft: The client closed the connection.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeft
    finally:
        leaving.cancel()
        working.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

"""Bodies are read here and nowhere else: after the key is known, within a time, up to a number of bytes.

No route has a parameter of FastAPI for its body: FastAPI reads and parses it before any dependency runs, so
that a client without a key could keep the event loop busy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from service.http.problem_answers import parameter_faults
from service.media_types import JSON
from service.problems import TooLarge, TooSlow, Unavailable, UnsupportedMedia

SMALL_BYTES = 4096
"""The most that is parsed on the event loop, which takes far less than a millisecond."""
CLOSE = {"Connection": "close"}
BODIES = 8
"""Number of bodies of the greatest size for which there is memory while they arrive."""
M = TypeVar("M", bound=BaseModel)


class BodyRoom:
    """Memory for the bodies that are on their way. If it is used up, the one that is longest on its way ends.

    Args:
        limit: Bytes of all of them together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arriving: dict[asyncio.Timeout, int] = {}  # in the order of their beginnings
        self._ended: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def arriving(self, seconds: float) -> AsyncIterator[Callable[[int], None]]:
        """Hold room for one body; yields a function that counts bytes of it.

        Raises:
            TooSlow: It did not arrive in time.
            Unavailable: The room is needed for others.
        """
        timeout = asyncio.timeout(seconds)

        def count(n: int) -> None:
            self._arriving[timeout] += n
            while sum(self._arriving.values()) > self._limit:
                longest = next(iter(self._arriving))
                del self._arriving[longest]
                if not longest.expired():
                    self._ended.add(longest)
                    longest.reschedule(asyncio.get_running_loop().time())
                if longest is timeout:
                    break

        try:
            async with timeout:
                self._arriving[timeout] = 0
                yield count
        except TimeoutError:
            if timeout in self._ended:
                raise Unavailable("Too many bodies are on their way, and this one is slow.") from None
            raise TooSlow(f"The body did not arrive within {seconds:g} s.", headers=CLOSE) from None
        finally:
            self._arriving.pop(timeout, None)
            self._ended.discard(timeout)


async def read_body(request: Request, limit_seconds: float, room: BodyRoom) -> bytes:
    """Read a whole body, within a time.

    Raises:
        TooSlow: Not all of it arrived.
        TooLarge: More than the gate lets through.
        Unavailable: The room is needed for bodies that arrive faster.
    """
    chunks = []
    async with room.arriving(limit_seconds) as count:
        try:
            async for chunk in request.stream():
                chunks.append(chunk)
                count(len(chunk))
        except ClientDisconnect:
            raise TooSlow(
                f"The connection was closed after {sum(map(len, chunks))} bytes of the body.", headers=CLOSE
            ) from None
    return b"".join(chunks)


async def read_small_json(request: Request, expected: type[M], limit_seconds: float) -> M:
    """Read a small JSON document.

    Args:
        request: Its key must have been checked.
        expected: Description of the expected document, for the message.
        limit_seconds: In which all of it must arrive.

    Raises:
        UnsupportedMedia: The body is not said to be plain JSON.
        TooLarge: It has more than 4096 bytes; the rest is not read.
        TooSlow: Not all of it arrived.
        Unprocessable: It is no JSON, or another document.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type != JSON or encoding != "identity":
        raise UnsupportedMedia(
            f"The body is {media_type[:60] or 'of no type'!r} with Content-Encoding {encoding[:60]!r}; "
            f"expected {JSON}, not compressed.",
            headers={"Accept": JSON},
        )
    body = bytearray()
    try:
        async with asyncio.timeout(limit_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > SMALL_BYTES:
                    raise TooLarge(
                        f"The body has more than {SMALL_BYTES} bytes; a request of this kind needs fewer.",
                        headers=CLOSE,
                        limit_bytes=SMALL_BYTES,
                    )
    except TimeoutError:
        raise TooSlow(f"The body did not arrive within {limit_seconds:g} s.", headers=CLOSE) from None
    try:
        return expected.model_validate_json(bytes(body))
    except ValidationError as error:
        raise parameter_faults(
            [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()], request.url.path
        ) from None

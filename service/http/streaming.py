"""Large answers in chunks from a file, so that a slow reader holds one chunk and no copy of the answer."""

from __future__ import annotations

import asyncio
import os
import tempfile
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.problems import Unavailable
from service.wire.model_messages import Document

CHUNK_BYTES = 2**16
SMALL_BYTES = 2**18
"""Size of an answer that is held in memory."""


class Spool:
    """Answers on their way to clients, in files without a name.

    Args:
        folder: Folder of the files.
        max_bytes: Limit of all of them together, bytes.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._bytes = 0

    async def response(self, document: Document, headers: Mapping[str, str]) -> Response:
        """Answer with a document of the model's process.

        Raises:
            Unavailable: Too many bytes wait for slow clients.
            OSError: The disk is full.
        """
        size = len(document.body)
        if size <= SMALL_BYTES:
            return Response(document.body, media_type=document.media_type, headers=dict(headers))
        if self._bytes + size > self._max_bytes:
            raise Unavailable(
                f"{self._bytes} bytes of answers wait for slow clients; at most {self._max_bytes} may wait.",
                retry_after_seconds=5,
                limit_bytes=self._max_bytes,
            )
        self._bytes += size
        try:
            file = await asyncio.to_thread(self._written, document.body)
        except BaseException:
            self._bytes -= size
            raise
        release = weakref.finalize(file, self._release, size)  # where the answer is never begun
        return _Streamed(file, size, document.media_type, headers, release)

    def _release(self, size: int) -> None:
        self._bytes -= size

    def _written(self, body: bytes) -> BinaryIO:
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - who reads it closes it
        file.write(body)
        file.seek(0)
        return file


def spooled(request: Request, document: Document, headers: Mapping[str, str]) -> Awaitable[Response]:
    """Answer with a document of the model's process; see `Spool.response`."""
    spool: Spool = request.app.state.spool
    return spool.response(document, headers)


def from_file(request: Request, file: BinaryIO, media_type: str, headers: Mapping[str, str]) -> Response:
    """Answer with an open file, which is closed afterwards."""
    size = os.fstat(file.fileno()).st_size
    if request.method == "HEAD":
        file.close()
        return Response(media_type=media_type, headers={**headers, "Content-Length": str(size)})
    return _Streamed(file, size, media_type, headers, file.close)


class _Streamed(StreamingResponse):
    """A file, chunk by chunk; it is closed at the end, or as soon as the client leaves."""

    def __init__(
        self,
        file: BinaryIO,
        size: int,
        media_type: str,
        headers: Mapping[str, str],
        release: Callable[[], object],
    ) -> None:
        headers = {**headers, "Content-Length": str(size)}
        super().__init__(self._chunks(), media_type=media_type, headers=headers)
        self._file, self._release = file, release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()
            self._release()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while chunk := await asyncio.to_thread(self._file.read, CHUNK_BYTES):
            yield chunk

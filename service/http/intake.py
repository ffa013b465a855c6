"""The intake of fields that a client sends: their kind, a place among the uploads, reading and parsing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request

from service.http.bodies import read_body
from service.http.negotiation import UploadKind, answer_type, upload_kind
from service.http.waiting import while_connected
from service.media_types import JSON, NETCDF
from service.problems import Unavailable
from service.telemetry.observing import part
from service.wire.parser_messages import ReadJson, ReadNetcdf

PARSERS: dict[UploadKind, type[ReadJson] | type[ReadNetcdf]] = {
    "json": ReadJson,
    "netcdf": ReadNetcdf,
}
"""Parser request for each kind of body."""


@dataclass(frozen=True)
class Intake:
    """A request with fields in its body.

    Attributes:
        request: The request; its key must have been checked.
        kind: Kind of the body.
        media_type: Media type of the forecast.
    """

    request: Request
    kind: UploadKind
    media_type: str

    @classmethod
    def announced(cls, request: Request) -> Intake:
        """Read the headers.

        Raises:
            UnsupportedMedia: The body is of another type, or compressed.
            NotAcceptable: The client accepts none of the formats of a forecast.
        """
        headers = request.headers
        kind = upload_kind(headers.get("content-type"), headers.get("content-encoding"))
        return cls(request, kind, answer_type(headers.get("accept"), NETCDF if kind == "netcdf" else JSON))

    @asynccontextmanager
    async def body(self) -> AsyncIterator[bytes]:
        """Read the body, and keep one of the places of uploads to the end of the context.

        Raises:
            Unavailable: All places are taken.
            TooSlow: The body did not arrive in time.
            TooLarge: It has more bytes than the limit.
        """
        state = self.request.app.state
        if state.uploads.locked():
            raise Unavailable("Too many uploads at once.", retry_after_seconds=1)
        async with state.uploads:
            yield await read_body(self.request, state.settings.body_seconds)

    async def parsed(self, body: bytes) -> bytes:
        """Return the fields of a body as the model's process expects them.

        Raises:
            Problem: The body cannot be read, or exceeds a limit.
            ClientLeft: The client closed the connection.
        """
        parsers = self.request.app.state.parsers
        with part("parse"):
            fields: bytes = await while_connected(self.request, parsers.parse(PARSERS[self.kind](body)))
        return fields

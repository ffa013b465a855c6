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
from service.settings import Settings
from service.telemetry.observing import part
from service.wire.parser_messages import ReadJson, ReadNetcdf
from service.workers.places import Place
from service.workers.worker import Worker

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
    async def body(self, worker: Worker) -> AsyncIterator[tuple[Place, bytes]]:
        """Take a place with a model, then read the body; the deadline of the forecast begins at its end.

        Yields:
            The place, which is kept to the end of the context, and the body.

        Raises:
            Unavailable: All places are taken, or the memory for bodies is.
            TooSlow: The body did not arrive in time.
            TooLarge: It has more bytes than the limit.
            DeadlineExceeded: The deadline passed.
        """
        state = self.request.app.state
        settings: Settings = state.settings
        async with worker.place() as place:
            async with worker.places.while_read(place):
                body = await read_body(self.request, settings.body_seconds, state.bodies)
            place.set_deadline(settings.deadline_seconds)
            yield place, body

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

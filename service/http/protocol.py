"""uvicorn's HTTP/1.1 protocol with deadlines against slow clients, for headers, bodies and answers."""

from __future__ import annotations

import asyncio
import json
import sys
from http import HTTPStatus

import h11
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.http.door import MOST_DROPPED_BYTES, Door
from service.problems import MEDIA_TYPE, document

LEAST_BYTES_PER_SECOND = 16_000
"""Speed below which a client's patience runs out while it takes a large answer."""
MOST_UNSENT_BYTES = 2**16
LINGER_SECONDS = 2.0
SLOW_SECONDS = 1.0
"""Time after which a connection whose body has not arrived gives way to a new connection."""
LATE = "The headers did not arrive."
REFUSED = {
    400: "The request is not HTTP/1.1 (RFC 9112), or its body is not framed as its headers say.",
    431: "The request line and the headers are too long.",
    501: "The body's Transfer-Encoding is not known; send it chunked, or with a Content-Length.",
}
"""Sentence for a request that cannot be read, by status."""


class PatientProtocol(H11Protocol):
    """A protocol that closes connections whose client sends headers or takes its answer too slowly.

    Where all places are taken, a new connection replaces the one that has been idle longest: before its first
    request, in the midst of its headers, or after an answer. Silent connections keep nobody out.

    Created by `patient`, which sets the limits.
    """

    door: Door | None = None
    header_seconds = 10.0
    answer_seconds = 60.0
    max_connections = 1000
    idle: dict[PatientProtocol, None]
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _stalled_since = 0.0
    _patience = 0.0
    _unread = 0
    """Bytes of a refused body that are still to come."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first request, unless there are too many connections."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections and not self._end_an_idle_one():
            transport.abort()
        else:
            self._wait()
            self._is_idle(True)

    def data_received(self, data: bytes) -> None:
        """Keep the deadline if these bytes complete no headers, or belong to a body that no route reads."""
        data = self._refuse(data)
        if not data:
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
            self._is_idle(False)
            self._patience = self.answer_seconds
            if self.conn.their_state is h11.SEND_BODY:
                self.loop.call_later(SLOW_SECONDS, self._is_slow, self.cycle)
        elif self._deadline is None and not self.transport.is_closing():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadlines."""
        self._stop_waiting()
        if self._stalled is not None:
            self._stalled.cancel()
        self._is_idle(False)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Start the deadline for the client to receive the answer."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():  # else the next one has begun
            self._is_idle(True)
        if self.transport.get_write_buffer_size():
            self.loop.call_later(self.answer_seconds, self._abort_if_unread, self.cycle)

    def pause_writing(self) -> None:
        """Start to wait for a client that does not take what was written."""
        super().pause_writing()
        self._stalled_since = self.loop.time()
        self._stalled = self.loop.call_later(max(0.0, self._patience), self.transport.abort)

    def resume_writing(self) -> None:
        """Take the wait off the patience with this answer, and add the time that its bytes may have taken."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            waited = self.loop.time() - self._stalled_since
            taken = HIGH_WATER_LIMIT / LEAST_BYTES_PER_SECOND
            self._patience = min(self._patience - waited + taken, self.answer_seconds)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP with a problem document, unless another answer is being written."""
        status = getattr(sys.exc_info()[1], "error_status_hint", 400)  # h11's, which uvicorn passes over
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_refusal(status, REFUSED.get(status, REFUSED[400])))
        self.transport.close()

    def _refuse(self, data: bytes) -> bytes:
        """Answer what has no place, and drop its body; return what takes the usual way."""
        while data:
            if self._unread:
                dropped = min(self._unread, len(data))
                self._unread -= dropped
                data = data[dropped:]
            elif (
                self.door is None
                or self.conn.their_state is not h11.IDLE
                or self.conn.trailing_data[0]
                or self.transport.is_closing()
                or (refusal := self.door.refuse(data, self.client[0] if self.client else "")) is None
            ):
                return data
            else:
                self._unset_keepalive_if_required()
                self._stop_waiting()
                self._wait()
                self.transport.write(refusal.answer)
                self._unread = refusal.body_bytes
                data = data[refusal.head_bytes :]
                if (
                    self._unread > MOST_DROPPED_BYTES
                    or self.transport.get_write_buffer_size() > MOST_UNSENT_BYTES
                ):
                    # What has been received and not read would make the close take the answer away.
                    self.loop.call_later(LINGER_SECONDS, self.transport.close)
        return data

    def _is_slow(self, cycle: object) -> None:
        """Let a newcomer have the place of a connection whose body does not come to its end."""
        if self.cycle is cycle and self.conn.their_state is h11.SEND_BODY:
            self._is_idle(True)

    def _is_idle(self, idle: bool) -> None:
        self.idle.pop(self, None)
        if idle:
            self.idle[self] = None

    def _end_an_idle_one(self) -> bool:
        for longest in self.idle:
            if not longest.transport.get_write_buffer_size():  # else its answer is still on the way
                del self.idle[longest]
                longest.transport.abort()
                return True
        return False

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.header_seconds, self._too_late)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        if self.cycle is None and not self._unread:  # else it would be read as the answer of the next request
            self.transport.write(_refusal(408, LATE))
        self.transport.close()

    def _abort_if_unread(self, cycle: object) -> None:
        if self.cycle is cycle and self.transport.get_write_buffer_size():
            self.transport.abort()


def _refusal(status: int, detail: str) -> bytes:
    body = json.dumps(document(status, detail), separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def patient(
    header_seconds: float, answer_seconds: float, max_connections: int, door: Door | None = None
) -> type[PatientProtocol]:
    """Create the protocol class with limits.

    Args:
        header_seconds: Deadline for the end of the headers, s after the connection opened or the first byte
            after an answer.
        answer_seconds: Deadline for the client to receive all of an answer, s after the end of writing.
        max_connections: Limit of open connections; a further one replaces the one that has been idle longest,
            or is closed without an answer where none is idle.
        door: Refuses requests that there is no place for; None for no refusals here.
    """
    limits = {
        "idle": {},
        "header_seconds": header_seconds,
        "answer_seconds": answer_seconds,
        "max_connections": max_connections,
        "door": door,
    }
    return type("PatientProtocol", (PatientProtocol,), limits)

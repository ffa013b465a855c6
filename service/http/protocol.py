"""HTTP/1.1 as uvicorn speaks it, with an end to what a client may draw out: headers, bodies, answers."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
    b"Content-Length: 101\r\n\r\n"
    b'{"type":"about:blank","title":"Request Timeout","status":408,"detail":"The headers did not arrive."}\n'
)


class PatientProtocol(H11Protocol):
    """Close connections on which no request gets under way, and those that do not take their answer.

    Made by `patient`, which sets the limits.
    """

    header_seconds = 10.0
    answer_seconds = 60.0
    max_connections = 1000
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, unless there are too many connections already."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait on if these bytes begin no request: headers that dribble, or a body that nobody reads."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._deadline is None and not self.transport.is_closing():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Give the client some time to take what was written."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self.loop.call_later(self.answer_seconds, self._abort_if_unread, self.cycle)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.header_seconds, self._too_late)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        if self.cycle is None:  # else an answer was written, and another would be taken for the next one's
            self.transport.write(LATE)
        self.transport.close()

    def _abort_if_unread(self, cycle: object) -> None:
        if self.cycle is cycle and self.transport.get_write_buffer_size():
            self.transport.abort()


def patient(header_seconds: float, answer_seconds: float, max_connections: int) -> type[PatientProtocol]:
    """The protocol with limits.

    Args:
        header_seconds: From the connection, or the first byte after an answer, to the end of the headers.
        answer_seconds: From the end of an answer to the time when the client has taken all of it.
        max_connections: At once; more are closed without a word.
    """
    limits = {
        "header_seconds": header_seconds,
        "answer_seconds": answer_seconds,
        "max_connections": max_connections,
    }
    return type("PatientProtocol", (PatientProtocol,), limits)

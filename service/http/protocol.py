"""uvicorn's HTTP/1.1 protocol with deadlines against slow clients, for headers, bodies and answers."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
    b"Content-Length: 101\r\n\r\n"
    b'{"type":"about:blank","title":"Request Timeout","status":408,"detail":"The headers did not arrive."}\n'
)


class PatientProtocol(H11Protocol):
    """A protocol that closes connections whose client sends headers or takes its answer too slowly.

    Created by `patient`, which sets the limits.
    """

    header_seconds = 10.0
    answer_seconds = 60.0
    max_connections = 1000
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first request, unless there are too many connections."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Keep the deadline if these bytes complete no headers, or belong to a body that no route reads."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._deadline is None and not self.transport.is_closing():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Start the deadline for the client to receive the answer."""
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
        if (
            self.cycle is None
        ):  # otherwise an answer was sent already, and this one would be read as that of the next request
            self.transport.write(LATE)
        self.transport.close()

    def _abort_if_unread(self, cycle: object) -> None:
        if self.cycle is cycle and self.transport.get_write_buffer_size():
            self.transport.abort()


def patient(header_seconds: float, answer_seconds: float, max_connections: int) -> type[PatientProtocol]:
    """Create the protocol class with limits.

    Args:
        header_seconds: Deadline for the end of the headers, s after the connection opened or the first byte
            after an answer.
        answer_seconds: Deadline for the client to receive all of an answer, s after the end of writing.
        max_connections: Limit of open connections; further ones are closed without an answer.
    """
    limits = {
        "header_seconds": header_seconds,
        "answer_seconds": answer_seconds,
        "max_connections": max_connections,
    }
    return type("PatientProtocol", (PatientProtocol,), limits)

"""A queue of records for the tracking server, kept in order while it does not answer."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

OUR_FAULT = frozenset(
    {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}
)
"""MLflow error codes that a retry cannot cure."""


@dataclass(frozen=True)
class Record:
    """A record to send."""

    what: str
    send: Callable[[], object]


class Outbox:
    """Send records; if the server is lost, warn once, keep the records, and retry from time to time.

    Args:
        address: The server, for messages.
        retry_seconds: Shortest time between two attempts at a server that did not answer.
    """

    def __init__(self, address: str, retry_seconds: float = 60.0) -> None:
        self.address = address
        self.retry_seconds = retry_seconds
        self.waiting: deque[Record] = deque()
        self.refused: list[str] = []
        self._lost = False
        self._next_try = 0.0

    def put(self, what: str, send: Callable[[], object]) -> None:
        """Send a record now, or later if the server is lost. Never raises."""
        self.waiting.append(Record(what, send))
        if time.monotonic() >= self._next_try:
            self.flush()

    def flush(self) -> bool:
        """Try to send all waiting records.

        Returns:
            Whether all records were sent.
        """
        while self.waiting:
            record = self.waiting[0]
            try:
                record.send()
            except Exception as error:  # of MLflow, requests, SQLAlchemy or the operating system
                if getattr(error, "error_code", None) not in OUR_FAULT:
                    self._lose(error)
                    return False
                self.refused.append(record.what)
                log.warning("MLflow refused %s: %s", record.what, _first_line(error))
            self.waiting.popleft()
        if self._lost:
            log.warning("The tracking server %s answers again; nothing was lost.", self.address)
            self._lost, self._next_try = False, 0.0
        return True

    def _lose(self, error: Exception) -> None:
        if not self._lost:
            log.warning(
                "The tracking server %s does not answer (%s). The run continues, and its records are "
                "kept on this machine.",
                self.address,
                _first_line(error),
            )
        self._lost = True
        self._next_try = time.monotonic() + self.retry_seconds


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__

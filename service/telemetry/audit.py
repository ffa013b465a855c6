"""The audit log: who changed what, and who was refused for their key, one JSON object per line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry.observing import JsonLines
from stconv.errors import ServiceError

log = logging.getLogger("stconv.audit")

KEY_NAME, CHANGES, DETAILS = "key_name", "changes", "audit_details"
"""Names in a request's state: who sent it, whether it changes something, and to what."""
REFUSED = {401: "unauthorized", 403: "forbidden", 429: "over the limit"}
"""Results of requests that are refused for their key, by status."""
FILE_BYTES, OLDER_FILES = 10 * 2**20, 5
SAME_SECONDS = 10.0
"""Time for which equal refusals are counted instead of logged again, s."""
MOST_REFUSALS = 1000
MOST_LETTERS = 200


class Audit:
    """ASGI middleware that logs each action of a key that changes something or is refused for the key.

    Of equal refusals (name, address and status) one is logged in ten seconds, with the number since the last.

    Args:
        app: The application.
        clock: Monotonic clock, s.
    """

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self._clock = app, clock
        self._refusals: dict[tuple[str | None, str, int], tuple[float, int]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log it if it is of one of these kinds."""
        status = 0  # nothing was answered: the client left

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting_send)
        except Exception:
            status = 500
            raise
        finally:
            if scope["type"] == "http":
                self._note(scope, status)

    def _note(self, scope: Scope, status: int) -> None:
        state = scope.get("state", {})
        who, sender = state.get(KEY_NAME), (scope.get("client") or ("", 0))[0]
        entry: dict[str, Any] = {"who": who, "from": sender}
        if status in REFUSED:
            times = self._times((who, sender, status))
            if times == 0:
                return
            result = REFUSED[status]
            entry |= {"times": times}
        elif state.get(CHANGES):
            result = "done" if 200 <= status < 300 else "not done"
            entry |= state.get(DETAILS, {})
        else:
            return
        what = f"{scope['method'][:20]} {scope['path'][:MOST_LETTERS]}"
        log.info("audit", extra={"facts": entry | {"what": what, "status": status, "result": result}})

    def _times(self, refusal: tuple[str | None, str, int]) -> int:
        """Number of equal refusals that a line of the log is to tell; 0 for no line."""
        now = self._clock()
        said, unsaid = self._refusals.get(refusal, (-SAME_SECONDS, 0))
        if now - said < SAME_SECONDS:
            self._refusals[refusal] = said, unsaid + 1
            return 0
        self._refusals.pop(refusal, None)
        if len(self._refusals) >= MOST_REFUSALS:
            del self._refusals[next(iter(self._refusals))]  # the one that was logged first
        self._refusals[refusal] = now, 0
        return unsaid + 1


@contextmanager
def audit_file(path: Path | None) -> Iterator[None]:
    """Send the audit log to a file of its own, which is replaced at 10 MiB; None leaves it in the log.

    Raises:
        ServiceError: The file cannot be written.
    """
    if path is None:
        yield
        return
    try:
        handler = RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8")
    except OSError as error:
        raise ServiceError(
            f"The audit log '{path}' cannot be written: {error.strerror}. Choose another file with "
            "STCONV_SERVE_AUDIT_FILE."
        ) from error
    handler.setFormatter(JsonLines())
    propagate, level = log.propagate, log.level
    log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.propagate = propagate
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()

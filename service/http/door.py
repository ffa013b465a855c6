"""Refusals at the door: what no model has a place for is answered before anything else is done with it.

Under overload most requests are refused, and what a refusal costs is taken from the forecasts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from service.http.gate import HEADERS, address_of
from service.problems import MEDIA_TYPE, problem_document
from service.telemetry.metrics import Metrics
from service.workers.worker import Worker

log = logging.getLogger(__name__)
ASKED = re.compile(
    rb"(POST|GET) (/v1/(?:forecasts(?:/[^ ?/]+(?:/truth)?)?|forecast|jobs)"
    rb"|/edr/collections/[^ ?]+/(?:position|area|cube))(?:\?[^ ]*)? HTTP/1\.1\r\n"
)
LISTS = ((b"GET", b"/v1/forecasts"), (b"GET", b"/v1/jobs"))
"""Matches that need no place with a model."""
UNUSUAL = re.compile(rb"\r\n[ \t]|[^\r]\n|\r\n(?:transfer-encoding|expect):", re.IGNORECASE)
"""Heads whose bodies end where only a whole parser can say, or that wait for an answer before the body."""
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([^\r]*?)[ \t]*(?=\r)", re.IGNORECASE)
KEY = re.compile(
    rb"\r\n(?:authorization:[ \t]*bearer[ \t]+|x-api-key:[ \t]*)([^\r]*?)[ \t]*(?=\r)", re.IGNORECASE
)
FORWARDED = re.compile(rb"\r\nx-forwarded-for:[^\r]*?([^\r, \t]+)[ \t]*(?=\r)", re.IGNORECASE)
LOG_SECONDS = 10.0
MOST_DROPPED_BYTES = 2**20
"""Longest body that is dropped; the connection of a longer one is closed."""
ROUTE = "at the door"
"""Route of these refusals in the metrics."""
_FIXED = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())


@dataclass(frozen=True)
class Refusal:
    """An answer at the door.

    Attributes:
        answer: Bytes of the answer.
        head_bytes: Length of the head that it answers.
        body_bytes: Length of the body that follows, which nobody reads.
    """

    answer: bytes
    head_bytes: int
    body_bytes: int


class Door:
    """Refuses requests from their first bytes if no model has a place for them.

    Args:
        workers: Workers by model name.
        metrics: Metrics that count the refusals.
        proxies: Addresses whose `X-Forwarded-For` is believed.
    """

    def __init__(self, workers: Mapping[str, Worker], metrics: Metrics, proxies: frozenset[str]) -> None:
        self._workers, self._metrics, self._proxies = workers, metrics, proxies
        self._unsaid, self._said = 0, 0.0

    def refuse(self, data: bytes, peer: str) -> Refusal | None:
        """Answer a request if there is no place for it.

        Args:
            data: First bytes of a request.
            peer: Address of the other end of the connection.

        Returns:
            None if the request takes the usual way: there is a place, it needs none, or it is unusual.
        """
        if any(worker.has_room for worker in self._workers.values()):
            return None
        asked = ASKED.match(data)
        end = data.find(b"\r\n\r\n") + 4
        if asked is None or asked.groups() in LISTS or end < 4:
            return None
        head = data[:end]
        lengths = LENGTH.findall(head)
        if UNUSUAL.search(head) or len(lengths) > 1 or not all(each.isdigit() for each in lengths):
            return None
        refusals = [worker.refusal(self._client(head, peer)) for worker in self._workers.values()]
        problem = refusals[0] if refusals else None
        if problem is None or not all(refusals):
            return None
        self._count(asked[1].decode())
        document = problem_document(problem, asked[2].decode("ascii", "replace"))
        body = json.dumps(document, separators=(",", ":"))
        length = int(lengths[0][:20]) if lengths else 0
        close = {"Connection": "close"} if length > MOST_DROPPED_BYTES else {}
        headers = "".join(f"{name}: {value}\r\n" for name, value in (problem.headers | close).items())
        answer = (
            f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: {MEDIA_TYPE}\r\n{_FIXED}{headers}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        return Refusal(answer.encode(), end, length)

    def _client(self, head: bytes, peer: str) -> str:
        """The client as the routes know it, see `workers.places.asker`."""
        if key := KEY.search(head):
            return hashlib.sha256(key[1]).hexdigest()
        if peer in self._proxies and (forwarded := FORWARDED.search(head)):
            peer = forwarded[1].decode("ascii", "replace")
        return address_of(peer)

    def _count(self, method: str) -> None:
        self._metrics.requests.labels(method, ROUTE, 503).inc()
        for name in self._workers:
            self._metrics.rejected.labels(name, "queue full").inc()
        self._unsaid += 1
        now = time.monotonic()
        if now - self._said >= LOG_SECONDS:
            log.warning("no place: %d requests were refused at the door", self._unsaid)
            self._said, self._unsaid = now, 0

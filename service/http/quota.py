"""Request quota of each API key: a token bucket, of this server or shared with others."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable

from service.problems import Problem, Unavailable
from service.sharing.alone import Sharing

log = logging.getLogger(__name__)

QUOTA_HEADERS = "quota_headers"
"""Name in a request's state of the rate-limit headers of its answer."""


class QuotaExceeded(Problem):
    """The key has no quota left; Retry-After says when it may send the next request."""

    status = 429
    code = "quota-exceeded"


class Quota:
    """Token buckets that limit the requests per minute of each key; a full bucket allows a burst.

    Args:
        per_minute: Quota of each key, requests per minute; None for no limit.
        sharing: Place of the buckets.
        clock: Clock that all servers agree on, s.
    """

    def __init__(
        self, per_minute: int | None, sharing: Sharing, clock: Callable[[], float] = time.time
    ) -> None:
        self._limit, self._sharing, self._clock = per_minute, sharing, clock

    async def pay(self, key: str, per_minute: int | None = None) -> dict[str, str]:
        """Spend without blocking the event loop; arguments, result and errors are those of `spend`."""
        if self._sharing.several and (per_minute or self._limit) is not None:
            return await asyncio.to_thread(self.spend, key, per_minute)
        return self.spend(key, per_minute)

    def spend(self, key: str, per_minute: int | None = None) -> dict[str, str]:
        """Count one request of a key.

        Args:
            key: Hash of a configured key, so that the number of buckets is bounded.
            per_minute: Quota of this key; None for the quota of all keys.

        Returns:
            RateLimit headers (draft-ietf-httpapi-ratelimit-headers-07); empty without a limit.

        Raises:
            QuotaExceeded: The key has no quota left.
            Unavailable: The shared folder cannot be used.
        """
        limit = per_minute or self._limit
        if limit is None:
            return {}
        try:
            with self._sharing.turn(f"quota-{key}"):
                tokens, passes = self._take(f"quota-{key}", limit)
        except OSError as error:
            log.error("the quota of a key cannot be counted: %s", error)
            raise Unavailable("Quotas cannot be counted now.", retry_after_seconds=5) from error
        per_second = limit / 60
        headers = {
            "RateLimit-Limit": str(limit),
            "RateLimit-Remaining": str(int(tokens)),
            "RateLimit-Reset": str(math.ceil((limit - tokens) / per_second)),
        }
        if passes:
            return headers
        wait = math.ceil((1 - tokens) / per_second)
        raise QuotaExceeded(
            f"This key may send {limit} requests per minute. Try again in {wait} s.",
            headers=headers | {"Retry-After": str(wait)},
            limit=limit,
            retry_after_seconds=wait,
        )

    def _take(self, name: str, limit: int) -> tuple[float, bool]:
        """Take a token from a bucket, if there is one; return the number left, and whether there was one."""
        now = self._clock()
        try:
            tokens, since = map(float, (self._sharing.read(name) or b"").split())
        except ValueError:  # no bucket yet, or one that a power cut left empty
            tokens, since = float(limit), now
        tokens = min(limit, tokens + max(0.0, now - since) * limit / 60)
        passes = tokens >= 1
        tokens -= passes
        self._sharing.write(name, f"{tokens!r} {now!r}".encode())
        return tokens, passes

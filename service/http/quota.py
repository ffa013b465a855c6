"""Request quota of each API key: a token bucket in this process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from service.problems import Problem

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
        clock: Monotonic clock, s.
    """

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = per_minute
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def spend(self, key: str, per_minute: int | None = None) -> dict[str, str]:
        """Count one request of a key.

        Args:
            key: Hash of a configured key, so that the table is bounded.
            per_minute: Quota of this key; None for the quota of all keys.

        Returns:
            RateLimit headers (draft-ietf-httpapi-ratelimit-headers-07); empty without a limit.

        Raises:
            QuotaExceeded: The key has no quota left.
        """
        limit = per_minute or self._limit
        if limit is None:
            return {}
        now, per_second = self._clock(), limit / 60
        tokens, since = self._buckets.get(key, (float(limit), now))
        tokens = min(limit, tokens + (now - since) * per_second)
        passes = tokens >= 1
        tokens -= passes
        self._buckets[key] = tokens, now
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

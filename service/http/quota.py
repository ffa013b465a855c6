"""How much each key may ask: a bucket of tokens that fills evenly, counted here and nowhere else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from service.problems import Problem

QUOTA_HEADERS = "quota_headers"
"""Where a request's state keeps the headers that its answer carries."""


class QuotaExceeded(Problem):
    """The key has asked too often; Retry-After says when the next request passes."""

    status = 429
    code = "quota-exceeded"


class Quota:
    """Requests per minute of each key; as many may come at once after a pause.

    Args:
        per_minute: None lets everything pass.
        clock: Seconds, never falling.
    """

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = per_minute
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def spend(self, key: str, per_minute: int | None = None) -> dict[str, str]:
        """Take one request from a key.

        Args:
            key: Its hash; only those of configured keys come here, so that the table is bounded.
            per_minute: A limit of its own; None is that of all keys.

        Returns:
            RateLimit headers (draft-ietf-httpapi-ratelimit-headers-07); none without a limit.

        Raises:
            QuotaExceeded: Nothing is left.
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
            f"This key may ask {limit} times a minute; ask again in {wait} s.",
            headers=headers | {"Retry-After": str(wait)},
            limit=limit,
            retry_after_seconds=wait,
        )

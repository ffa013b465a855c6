"""Quota of each API key for one resource: a token bucket, of this server or shared with others."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.problems import Problem, Unavailable
from service.sharing.alone import Sharing

log = logging.getLogger(__name__)

QUOTA_HEADERS = "quota_headers"
"""Name in a request's state of the rate-limit headers of its answer."""


class QuotaExceeded(Problem):
    """The key has reached a limit; Retry-After says when it may send the next request.

    Remedy: Wait as long as `Retry-After` says; an operator raises the limits of a key.
    """

    status = 429
    code = "quota-exceeded"


@dataclass(frozen=True)
class Resource:
    """What a quota counts.

    Attributes:
        bucket: First part of the name of its buckets.
        allowance: Share of a key in a minute, for messages; with `{limit}`.
    """

    bucket: str
    allowance: str


REQUESTS = Resource("quota", "send {limit} requests")
BYTES = Resource("bytes", "send and receive {limit} bytes")
VALUES = Resource("values", "have {limit} values computed")


class Quota:
    """Token buckets that limit what each key uses per minute; a full bucket allows a burst.

    A request that costs more than a minute's worth waits for a full bucket and leaves a debt in it, so that
    no key uses more than its quota on average.

    Args:
        per_minute: Quota of each key per minute; None for no limit.
        sharing: Place of the buckets.
        clock: Clock that all servers agree on, s.
        resource: Kind of use that is counted.
    """

    def __init__(
        self,
        per_minute: int | None,
        sharing: Sharing,
        clock: Callable[[], float] = time.time,
        resource: Resource = REQUESTS,
    ) -> None:
        self._limit, self._sharing, self._clock, self._resource = per_minute, sharing, clock, resource

    async def pay(self, key: str, per_minute: int | None = None, cost: int = 1) -> dict[str, str]:
        """Spend without blocking the event loop; arguments, result and errors are those of `spend`."""
        if self._sharing.several and (per_minute or self._limit) is not None:
            return await asyncio.to_thread(self.spend, key, per_minute, cost)
        return self.spend(key, per_minute, cost)

    async def settle(self, key: str, per_minute: int | None, rest: int) -> None:
        """Take what a request has used beyond its cost, or give back what it has not used (`rest` < 0).

        Raises:
            Unavailable: The shared folder cannot be used.
        """
        limit = per_minute or self._limit
        if limit is None or rest == 0:
            return
        if self._sharing.several:
            await asyncio.to_thread(self._turn, key, limit, rest, -math.inf)
        else:
            self._turn(key, limit, rest, -math.inf)

    def spend(self, key: str, per_minute: int | None = None, cost: int = 1) -> dict[str, str]:
        """Count one request of a key.

        Args:
            key: Hash of a configured key, so that the number of buckets is bounded.
            per_minute: Quota of this key; None for the quota of all keys.
            cost: Amount of the resource that the request uses.

        Returns:
            RateLimit headers (draft-ietf-httpapi-ratelimit-headers-07); empty without a limit.

        Raises:
            QuotaExceeded: The key has no quota left.
            Unavailable: The shared folder cannot be used.
        """
        limit = per_minute or self._limit
        if limit is None:
            return {}
        needed = min(cost, limit)
        tokens, passes = self._turn(key, limit, cost, needed)
        per_second = limit / 60
        headers = {
            "RateLimit-Limit": str(limit),
            "RateLimit-Remaining": str(max(0, int(tokens))),
            "RateLimit-Reset": str(math.ceil((limit - tokens) / per_second)),
        }
        if passes:
            return headers
        wait = math.ceil((needed - tokens) / per_second)
        asked = "" if self._resource is REQUESTS else f", and this request needs {cost}"
        raise QuotaExceeded(
            f"This key may {self._resource.allowance.format(limit=limit)} per minute{asked}. Try again in "
            f"{wait} s.",
            headers=headers | {"Retry-After": str(wait)},
            limit=limit,
            retry_after_seconds=wait,
        )

    def _turn(self, key: str, limit: int, cost: int, needed: float) -> tuple[float, bool]:
        name = f"{self._resource.bucket}-{key}"
        try:
            with self._sharing.turn(name):
                return self._take(name, limit, cost, needed)
        except OSError as error:
            log.error("the quota of a key cannot be counted: %s", error)
            raise Unavailable("Quotas cannot be counted now.", retry_after_seconds=5) from error

    def _take(self, name: str, limit: int, cost: int, needed: float) -> tuple[float, bool]:
        """Take the cost from a bucket that holds what is needed; return what is left, and whether it did."""
        now = self._clock()
        try:
            tokens, since = map(float, (self._sharing.read(name) or b"").split())
        except ValueError:  # no bucket yet, or one that a power cut left empty
            tokens, since = float(limit), now
        tokens = min(limit, tokens + max(0.0, now - since) * limit / 60)
        passes = tokens >= needed
        tokens -= cost * passes
        self._sharing.write(name, f"{tokens!r} {now!r}".encode())
        return tokens, passes

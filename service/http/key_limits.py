"""All limits of keys: requests, bytes and computed values per minute, and requests at once."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api_keys import ApiKey
from service.http.quota import BYTES, VALUES, Quota, QuotaExceeded
from service.problems import Unavailable
from service.settings import Settings
from service.sharing.alone import Sharing

ADMISSION = "admission"
"""Name in a request's state of its admission."""


@dataclass
class Admission:
    """A request that is under way.

    Attributes:
        key: Its key.
        paid_bytes: Bytes that it has paid for: the length that it declares.
        headers: Rate-limit headers of its answer.
        paid_values: Computed values that it has paid for.
    """

    key: ApiKey
    paid_bytes: int
    headers: dict[str, str]
    paid_values: int = 0


class KeyLimits:
    """The limits of each key; its own come before those of the settings.

    Args:
        settings: Settings of the server.
        sharing: Place of the quotas. Requests at once are counted by each server for itself.
    """

    def __init__(self, settings: Settings, sharing: Sharing) -> None:
        self._at_once = settings.requests_at_once
        self._requests = Quota(settings.requests_per_minute, sharing)
        self._bytes = Quota(settings.bytes_per_minute, sharing, resource=BYTES)
        self._values = Quota(settings.values_per_minute, sharing, resource=VALUES)
        self._under_way: Counter[str] = Counter()

    async def admit(self, key: ApiKey, declared_bytes: int) -> Admission:
        """Let a request begin, which `end` must follow.

        Raises:
            QuotaExceeded: The key has reached one of its limits.
            Unavailable: The quotas cannot be counted.
        """
        limit = key.at_once or self._at_once
        if limit is not None and self._under_way[key.sha256] >= limit:
            raise QuotaExceeded(
                f"This key may have {limit} requests under way at once. Send the next one when one of them "
                "is answered.",
                headers={"Retry-After": "1"},
                limit=limit,
                retry_after_seconds=1,
            )
        self._under_way[key.sha256] += 1
        paid = max(declared_bytes, 1)
        try:
            headers = await self._requests.pay(key.sha256, key.per_minute)
            await self._bytes.pay(key.sha256, key.bytes_per_minute, paid)
        except BaseException:
            self._leave(key)
            raise
        return Admission(key, paid, headers)

    async def pay_for_values(self, admission: Admission, values: int) -> None:
        """Spend the values that a request asks to compute.

        Raises:
            QuotaExceeded: The key has too few left.
            Unavailable: The quotas cannot be counted.
        """
        key = admission.key
        await self._values.pay(key.sha256, key.values_per_minute, values)
        admission.paid_values += values

    async def end(self, admission: Admission, used_bytes: int, status: int) -> None:
        """Settle the account of a request that ended; what the server was too busy to compute costs nothing.

        Args:
            admission: Its admission.
            used_bytes: Bytes of its body and of its answer.
            status: Status of the answer.
        """
        key = admission.key
        self._leave(key)
        with suppress(Unavailable):  # logged there, and the request is answered
            await self._bytes.settle(key.sha256, key.bytes_per_minute, used_bytes - admission.paid_bytes)
            if status == Unavailable.status:
                await self._values.settle(key.sha256, key.values_per_minute, -admission.paid_values)

    def _leave(self, key: ApiKey) -> None:
        self._under_way[key.sha256] -= 1
        if not self._under_way[key.sha256]:
            del self._under_way[key.sha256]


class Meter:
    """ASGI middleware that counts the bytes of bodies, and ends the admission when a request ends."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        used = status = 0

        async def counting_receive() -> Message:
            nonlocal used
            message = await receive()
            used += len(message.get("body", b""))
            return message

        async def counting_send(message: Message) -> None:
            nonlocal used, status
            status = message.get("status", status)
            used += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, counting_receive, counting_send)
        finally:
            admission = scope.get("state", {}).get(ADMISSION)
            if admission is not None:
                limits: KeyLimits = scope["app"].state.key_limits
                await limits.end(admission, used, status)


async def pay_for_values(request: Request, values: int) -> None:
    """Spend the values that a request asks to compute, if it has a key; see `KeyLimits.pay_for_values`."""
    admission: Admission | None = getattr(request.state, ADMISSION, None)
    if admission is not None:
        limits: KeyLimits = request.app.state.key_limits
        await limits.pay_for_values(admission, values)

"""Reading the signing keys of the token provider, again and again, because providers replace them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx

from service.bearer_tokens import BearerTokens, check_address
from stconv.errors import ConfigError, StconvError

log = logging.getLogger(__name__)

REFRESH_SECONDS = 300.0
AGAIN_SECONDS = 10.0
"""Interval after a failure, and the shortest one if tokens name unknown keys, s."""
ANSWER_SECONDS = 5.0
MOST_BYTES = 1 << 20


class SigningKeys:
    """Keeps the keys of `tokens` up to date; while the provider does not answer, they stay as they were.

    Args:
        tokens: Receives the keys.
        client: Makes the HTTP client; another one for tests.
    """

    def __init__(
        self,
        tokens: BearerTokens,
        client: Callable[[], httpx.AsyncClient] = lambda: httpx.AsyncClient(timeout=ANSWER_SECONDS),
    ) -> None:
        self._tokens, self._client = tokens, client
        self.problem: str | None = None
        """Reason why the last reading failed, without an address, for `/readyz`."""

    async def run(self) -> None:
        """Read the keys, and again after five minutes or soon after a token with an unknown key."""
        from jwt import PyJWTError

        while True:
            try:
                self._tokens.keys = await self._read()
                if self.problem is not None:
                    log.info("the signing keys of the token provider are read again")
                self.problem, waited = None, REFRESH_SECONDS
            except (httpx.HTTPError, PyJWTError, StconvError, ValueError, KeyError, TypeError) as error:
                if self.problem is None:
                    log.error("cannot read the signing keys of the token provider: %s", error)
                self.problem, waited = "the signing keys of the token provider cannot be read", AGAIN_SECONDS
            self._tokens.unknown_key = False
            await asyncio.sleep(min(waited, AGAIN_SECONDS))
            for _ in range(int(waited / AGAIN_SECONDS) - 1):
                if self._tokens.unknown_key:
                    break
                await asyncio.sleep(AGAIN_SECONDS)

    async def _read(self) -> dict[str | None, Any]:
        from jwt import PyJWKSet

        issuer = self._tokens.provider.issuer
        async with self._client() as client:
            found = await _document(client, self._tokens.provider.document)
            if found["issuer"] != issuer:
                raise ConfigError(
                    f"the provider's document is of the issuer '{found['issuer']}', not '{issuer}'."
                )
            check_address(found["jwks_uri"], "the address of the keys")
            published = await _document(client, found["jwks_uri"])
        # A key of an unknown kind is passed over by PyJWT, and one for encryption by us.
        keys = [key for key in PyJWKSet.from_dict(published).keys if key.public_key_use in (None, "sig")]
        return {key.key_id: key for key in keys}


async def _document(client: httpx.AsyncClient, address: str) -> dict[str, Any]:
    async with client.stream("GET", address) as answer:
        answer.raise_for_status()
        body = b""
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > MOST_BYTES:
                raise ConfigError(f"the answer of '{address}' has more than {MOST_BYTES} bytes.")
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ConfigError(f"the answer of '{address}' is not a JSON object.")
    return found

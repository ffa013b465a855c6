"""API keys: only their sha256 is known here, and comparing takes the same time whatever matches."""

from __future__ import annotations

import hashlib
import hmac

from fastapi import Request

from service.problems import Unauthorized
from service.settings import Settings


def require_key(request: Request) -> None:
    """Let a request pass if it carries a configured key, or if none is configured.

    Raises:
        Unauthorized: No key in `Authorization: Bearer` or `X-API-Key`, or an unknown one.
    """
    settings: Settings = request.app.state.settings
    if not settings.api_keys:
        return
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    digest = hashlib.sha256(key.encode()).hexdigest()
    matches = [hmac.compare_digest(digest, known) for known in settings.api_keys]
    if not any(matches):
        raise Unauthorized(
            "A key is needed: send `Authorization: Bearer KEY`, or `X-API-Key: KEY`.",
            headers={"WWW-Authenticate": "Bearer"},
        )

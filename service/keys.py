"""API keys: only their sha256 is known here, and comparing takes the same time whatever matches."""

from __future__ import annotations

import hashlib
import hmac

from fastapi import Request

from service.problems import Unauthorized
from service.quota import QUOTA_HEADERS, Quota
from service.settings import Settings


def known_key(request: Request) -> str | None:
    """The hash of the request's key; None where no key is configured.

    Raises:
        Unauthorized: No key in `Authorization: Bearer` or `X-API-Key`, or an unknown one.
    """
    settings: Settings = request.app.state.settings
    if not settings.api_keys:
        return None
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    digest = hashlib.sha256(key.encode()).hexdigest()
    matches = [hmac.compare_digest(digest, known) for known in settings.api_keys]
    if not any(matches):
        raise Unauthorized(
            "A key is needed: send `Authorization: Bearer KEY`, or `X-API-Key: KEY`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return digest


def require_key(request: Request) -> None:
    """Let a request pass if it carries a configured key that has quota left, or if none is configured.

    Raises:
        Unauthorized: As `known_key`.
        QuotaExceeded: The key asked too often.
    """
    digest = known_key(request)
    if digest is not None:
        quota: Quota = request.app.state.quota
        setattr(request.state, QUOTA_HEADERS, quota.spend(digest))

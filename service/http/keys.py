"""The rights of a key: only the sha256 of a key is known here, and comparing takes the same time for any.

Dependencies are coroutines though they wait for nothing: plain functions cost a change of thread each.
"""

from __future__ import annotations

import hmac

from fastapi import Request

from service.api_keys import ApiKey, hash_of
from service.http.quota import QUOTA_HEADERS, Quota
from service.problems import Forbidden, Unauthorized
from service.settings import Settings

READING = frozenset({"GET", "HEAD", "OPTIONS"})


def known_key(request: Request) -> str | None:
    """The hash of the request's key; None where no key is configured.

    Raises:
        Unauthorized: No key in `Authorization: Bearer` or `X-API-Key`, or an unknown one.
        Forbidden: As `_find`.
    """
    key = _find(request, "read" if request.method in READING else "forecast")
    return None if key is None else key.sha256


async def require_key(request: Request) -> None:
    """Let a request pass if its key may read (GET) or forecast (any other method) and has quota left.

    Raises:
        Unauthorized: As `known_key`.
        Forbidden: The key has not that scope.
        QuotaExceeded: The key asked too often.
    """
    _spend(request, _find(request, "read" if request.method in READING else "forecast"))


async def require_admin(request: Request) -> None:
    """Let a request pass if it carries a key with the scope `admin`; without keys nobody has it.

    Raises:
        Unauthorized: No key, or an unknown one.
        Forbidden: The key has not that scope, or none is configured.
        QuotaExceeded: The key asked too often.
    """
    key = _find(request, "admin")
    if key is None:
        raise Forbidden(
            "No key may do this: start the server with a key of the scope 'admin' (`stconv key`)."
        )
    _spend(request, key)


def _find(request: Request, scope: str) -> ApiKey | None:
    settings: Settings = request.app.state.settings
    if not settings.keys:
        return None
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    digest = hash_of(given)
    matches = [key for key in settings.keys if hmac.compare_digest(digest, key.sha256)]
    if not matches:
        raise Unauthorized(
            "A key is needed: send `Authorization: Bearer KEY`, or `X-API-Key: KEY`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if scope not in matches[0].scopes:
        raise Forbidden(
            f"This key may {' and '.join(matches[0].scopes)}; the request needs the scope '{scope}'.",
            scope=scope,
        )
    return matches[0]


def _spend(request: Request, key: ApiKey | None) -> None:
    if key is not None:
        quota: Quota = request.app.state.quota
        setattr(request.state, QUOTA_HEADERS, quota.spend(key.sha256, key.per_minute))

"""Authentication and scopes of API keys, and of bearer tokens, which are keys made elsewhere.

The dependencies are coroutines although they await nothing, because FastAPI runs plain functions in a thread.
"""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import Request

from service.api_keys import ApiKey
from service.http.key_limits import ADMISSION, KeyLimits
from service.http.quota import QUOTA_HEADERS
from service.key_ring import KeyRing
from service.problems import Forbidden, Unauthorized
from service.telemetry.audit import CHANGES, KEY_NAME
from service.workers.places import asker

READING = frozenset({"GET", "HEAD", "OPTIONS"})


def known_key(request: Request) -> str | None:
    """Return the hash of the request's key; None if no keys are configured.

    Raises:
        Unauthorized: `Authorization: Bearer` and `X-API-Key` hold no key, an unknown key, or one that ended.
        Forbidden: The key lacks the scope.
    """
    key = _find(request, "read" if request.method in READING else "forecast")
    return None if key is None else key.sha256


async def require_key(request: Request) -> None:
    """Admit a request whose key has the scope (`read` for GET, else `forecast`) and is within its limits.

    Raises:
        Unauthorized: The request has no key, an unknown key, or one that ended.
        Forbidden: The key lacks the scope.
        QuotaExceeded: The key has reached one of its limits.
    """
    await _admit(request, _find(request, "read" if request.method in READING else "forecast"))


async def require_job_key(request: Request) -> None:
    """Admit a request about jobs: who may submit a job may follow it, read its result and delete it.

    Raises:
        Unauthorized: The request has no key, an unknown key, or one that ended.
        Forbidden: The key lacks the scope `forecast`.
        QuotaExceeded: The key has reached one of its limits.
    """
    key = _find(request, "forecast")
    await _admit(request, key)
    setattr(request.state, CHANGES, key is not None and request.method not in READING)


def job_owner(request: Request) -> str:
    """Return the hash of the key that owns the jobs of this request; "" if no keys are configured."""
    key = _find(request, "forecast")
    return "" if key is None else key.sha256


async def require_admin(request: Request) -> None:
    """Admit a request whose key has the scope `admin`; a server without keys admits none.

    Raises:
        Unauthorized: The request has no key, an unknown key, or one that ended.
        Forbidden: The key lacks the scope, or no keys are configured.
        QuotaExceeded: The key has reached one of its limits.
    """
    key = _find(request, "admin")
    if key is None:
        raise Forbidden(
            "This server has no API keys, so nobody may do this. Start it with a key of the scope "
            "'admin' (`stconv key`)."
        )
    await _admit(request, key)
    setattr(request.state, CHANGES, True)


def _find(request: Request, scope: str) -> ApiKey | None:
    ring: KeyRing = request.app.state.key_ring
    if not ring.required:
        return None
    given = request.headers.get("x-api-key", "")
    if "authorization" in request.headers:  # which decides, whatever else is sent
        scheme, _, token = request.headers["authorization"].partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
    key = ring.find(given)
    if key is None:
        raise Unauthorized(
            "An API key is required: send `Authorization: Bearer KEY`, or `X-API-Key: KEY`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    setattr(request.state, KEY_NAME, key.said)
    if key.has_ended(datetime.now(UTC)):
        raise Unauthorized(
            f"This key ended at {key.expires}. Ask the operator of the service for another.",
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    if scope not in key.scopes:
        raise Forbidden(
            f"The request needs the scope '{scope}'; this key has {' and '.join(key.scopes) or 'none'}.",
            scope=scope,
        )
    asker.set(key.sha256)
    return key


async def _admit(request: Request, key: ApiKey | None) -> None:
    if key is not None:
        limits: KeyLimits = request.app.state.key_limits
        declared = request.headers.get("content-length", "")
        admission = await limits.admit(key, int(declared) if declared.isdecimal() else 0)
        setattr(request.state, ADMISSION, admission)
        setattr(request.state, QUOTA_HEADERS, admission.headers)

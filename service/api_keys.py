"""Stored API keys: SHA-256 hash, scopes, limits and end of each key."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from stconv.errors import ConfigError

SCOPES = ("read", "forecast", "admin")
"""Scopes: `read` models and the server's own forecasts, `forecast` from uploads, `admin` to swap models."""
DEFAULT_SCOPES = ("read", "forecast")
PREFIX = "stconv_"
HEXADECIMAL = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class ApiKey:
    """An API key without the key itself.

    Attributes:
        sha256: SHA-256 hash of the key, hexadecimal; the key itself is not stored.
        scopes: Granted scopes, a subset of SCOPES.
        per_minute: Quota of the key, requests per minute; None for the quota of the server, also below.
        name: Name of the key's owner, for the operator.
        expires: Time from which the key is refused, ISO 8601 with its zone; None for never.
        at_once: Limit of its requests that are not answered yet.
        bytes_per_minute: Quota of the bodies that it sends and receives, bytes per minute.
        values_per_minute: Quota of the values that it has computed, per minute.
    """

    sha256: str
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    per_minute: int | None = None
    name: str = ""
    expires: str | None = None
    at_once: int | None = None
    bytes_per_minute: int | None = None
    values_per_minute: int | None = None

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or set(self.sha256) - HEXADECIMAL:
            raise ValueError(
                f"expected a SHA-256 hash of 64 hexadecimal digits, found {len(self.sha256)} characters. "
                "Give the hash, not the key: `printf %s KEY | sha256sum`, or make one with `stconv key`."
            )
        if unknown := set(self.scopes) - set(SCOPES):
            raise ValueError(f"unknown scope {sorted(unknown)[0]!r}; expected {', '.join(SCOPES)}.")
        for name in ("per_minute", "at_once", "bytes_per_minute", "values_per_minute"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise ValueError(f"{name} is {limit}; expected 1 or more.")
        if self.expires is not None and datetime.fromisoformat(self.expires).tzinfo is None:
            raise ValueError(f"expires is {self.expires!r}; expected a time with its zone.")

    @property
    def said(self) -> str:
        """Name for logs: that of the owner, or the beginning of the hash."""
        return self.name or self.sha256[:8]

    def has_ended(self, now: datetime) -> bool:
        """Whether the key has expired or was revoked."""
        return self.expires is not None and now >= datetime.fromisoformat(self.expires)


def read_entry(text: str) -> ApiKey:
    """Read `SHA256` or `SHA256:SCOPE+SCOPE`, the form in an environment variable.

    Raises:
        ValueError: The text has neither form.
    """
    digest, _, scopes = text.partition(":")
    return ApiKey(digest.lower(), tuple(scopes.split("+")) if scopes else DEFAULT_SCOPES)


def read_file(path: Path) -> list[ApiKey]:
    """Read the keys stored by `add_key`.

    Raises:
        ConfigError: The file does not exist or is not a key file.
    """
    try:
        entries = json.loads(path.read_text())
        return [ApiKey(**{**entry, "scopes": tuple(entry["scopes"])}) for entry in entries]
    except FileNotFoundError as error:
        raise ConfigError(
            f"Cannot find the file of API keys '{path}'. Create it: stconv key --name NAME --file {path}"
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"'{path}' is not a file of API keys written by `stconv key`: {error}") from error


def add_key(
    path: Path,
    name: str,
    scopes: tuple[str, ...],
    per_minute: int | None = None,
    expires: datetime | None = None,
    at_once: int | None = None,
    bytes_per_minute: int | None = None,
    values_per_minute: int | None = None,
) -> str:
    """Create a key of 256 random bits and store its hash.

    A fast hash is sufficient, because a random key of this length cannot be guessed.

    Returns:
        The key, which cannot be retrieved later.

    Raises:
        ConfigError: The file is not a key file, or the name is already used.
        ValueError: A scope is unknown, a limit is below 1, or the key would have expired already.
    """
    if expires is not None and expires <= datetime.now(UTC):
        raise ValueError(f"it would have expired at {expires.isoformat()}. Give a time to come.")
    key = PREFIX + secrets.token_urlsafe(32)
    end = None if expires is None else expires.isoformat()
    made = ApiKey(hash_of(key), scopes, per_minute, name, end, at_once, bytes_per_minute, values_per_minute)
    with _alone(path):
        keys = read_file(path) if path.exists() else []
        if name in {key.name for key in keys}:
            raise ConfigError(f"'{path}' has a key named '{name}' already. Choose another name.")
        _write(path, [*keys, made])
    return key


def revoke_key(path: Path, name: str) -> ApiKey:
    """Let a key end now; its entry stays, so that refusals and the audit log can name it.

    Returns:
        The key as it is stored now.

    Raises:
        ConfigError: The file is not a key file, has no key of this name, or the key has ended already.
    """
    now = datetime.now(UTC)
    with _alone(path):
        keys = read_file(path)
        found = next((key for key in keys if key.name == name), None)
        if found is None:
            known = ", ".join(f"'{key.name}'" for key in keys) or "none"
            raise ConfigError(f"'{path}' has no key named '{name}'. Its keys: {known}.")
        if found.has_ended(now):
            raise ConfigError(f"The key '{name}' in '{path}' ended at {found.expires} already.")
        ended = replace(found, expires=now.isoformat(timespec="seconds"))
        _write(path, [ended if key is found else key for key in keys])
    return ended


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other commands from changing the file meanwhile, so that no change is lost."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(path: Path, keys: list[ApiKey]) -> None:
    part = path.with_name(f"{path.name}.part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as target:
        json.dump([asdict(entry) for entry in keys], target, indent=2)
        target.write("\n")
    os.replace(part, path)


def hash_of(key: str) -> str:
    """SHA-256 hash of a key, hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()

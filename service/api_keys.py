"""API keys as they are stored: the sha256, what it may do, and how often."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from stconv.errors import ConfigError

SCOPES = ("read", "forecast", "admin")
"""Look at models and at forecasts from the server's own data; have one's own fields forecast; swap models."""
DEFAULT_SCOPES = ("read", "forecast")
PREFIX = "stconv_"
HEXADECIMAL = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key.

    Attributes:
        sha256: Hash of the key; the key itself is stored nowhere.
        scopes: Among SCOPES.
        per_minute: Requests; None is the quota of all keys.
        name: Whose it is, for the operator.
    """

    sha256: str
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    per_minute: int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or set(self.sha256) - HEXADECIMAL:
            raise ValueError(
                f"no sha256 in hexadecimal (64 digits, found {len(self.sha256)}). Give the hash, not the "
                "key: `printf %s KEY | sha256sum`, or make one with `stconv key`."
            )
        if unknown := set(self.scopes) - set(SCOPES):
            raise ValueError(f"unknown scope {sorted(unknown)[0]!r}; expected {', '.join(SCOPES)}.")
        if self.per_minute is not None and self.per_minute < 1:
            raise ValueError(f"per_minute is {self.per_minute}; expected 1 or more.")


def read_entry(text: str) -> ApiKey:
    """Read `SHA256` or `SHA256:SCOPE+SCOPE`, as in an environment variable.

    Raises:
        ValueError: It is neither.
    """
    digest, _, scopes = text.partition(":")
    return ApiKey(digest.lower(), tuple(scopes.split("+")) if scopes else DEFAULT_SCOPES)


def read_file(path: Path) -> list[ApiKey]:
    """Read the keys that `add_key` stored.

    Raises:
        ConfigError: The file is missing, or holds something else.
    """
    try:
        entries = json.loads(path.read_text())
        return [ApiKey(**{**entry, "scopes": tuple(entry["scopes"])}) for entry in entries]
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no '{path}' with API keys. Make one: stconv key --file {path}"
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"'{path}' holds no API keys as `stconv key` writes them: {error}") from error


def add_key(path: Path, name: str, scopes: tuple[str, ...], per_minute: int | None = None) -> str:
    """Make a key of 256 random bits and store its hash.

    A fast hash is enough: nobody guesses a key that no person chose.

    Returns:
        The key, for its only time.

    Raises:
        ConfigError: The file holds something else, or the name is taken.
    """
    keys = read_file(path) if path.exists() else []
    if name in {key.name for key in keys}:
        raise ConfigError(f"'{path}' has a key named '{name}' already. Choose another name.")
    key = PREFIX + secrets.token_urlsafe(32)
    keys.append(ApiKey(hash_of(key), scopes, per_minute, name))
    part = path.with_name(f"{path.name}.part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as target:
        json.dump([asdict(entry) for entry in keys], target, indent=2)
        target.write("\n")
    os.replace(part, path)
    return key


def hash_of(key: str) -> str:
    """As it is stored."""
    return hashlib.sha256(key.encode()).hexdigest()
